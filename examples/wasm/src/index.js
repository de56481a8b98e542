import module from "./gcd.wasm";

// An import of a .wasm file is a compiled WebAssembly.Module; instances are cheap.
const { gcd } = new WebAssembly.Instance(module).exports;

export default {
  async fetch(request) {
    const query = new URL(request.url).searchParams;
    const [a, b] = ["a", "b"].map((name) => Number(query.get(name)));
    if (![a, b].every((n) => Number.isInteger(n) && n > 0 && n < 2 ** 32)) {
      return new Response("Ask for ?a=…&b=… with two positive integers.\n", { status: 400 });
    }
    return Response.json({ a, b, gcd: gcd(a, b) >>> 0 });
  },
};
