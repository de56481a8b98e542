import gcd from "../gcd.wasm";
import note from "../note.txt";
import bytes from "../bytes.bin";

export default () => ({
  "a WebAssembly module": () => gcd instanceof WebAssembly.Module,
  "what it exports": () => WebAssembly.Module.exports(gcd),
  "an instance of it": () => new WebAssembly.Instance(gcd).exports.gcd(36, 60),
  "a text": () => note,
  "its type": () => typeof note,
  "data": () => bytes,
  "the type of data": () => Object.prototype.toString.call(bytes),
  "a module that is imported later": async () => Object.keys(await import("./late.js")),
});
