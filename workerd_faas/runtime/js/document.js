// From a load document (see workerd_faas/wire/bundle.py) to what the worker loader takes.

import collectSource from "client_collect.js";
import mainSource from "client_main.js";
import unwatchedSource from "client_unwatched.js";
import witnessSource from "client_witness.js";
import { flags, prelude } from "inside.js";
import { Pieces } from "pieces.js";
import { asModule } from "script.js";

const MAGIC = 0x57464c31; // "WFL1"
const PREFIX_SIZE = 8;

/** The name of our main module, and of the entrypoint it adds. Uploads cannot use names like it. */
export const PRIVATE = "__workerd_faas";
const MAIN = PRIVATE + ".js";
const COLLECT = PRIVATE + "_collect.js";
const WATCH = PRIVATE + "_watch.js";

/** Bytes of what a witness tells at once; what it keeps is less. */
const LOOK_MOST = 8 * 1024 * 1024;

/** See client_main.js. */
const shim = (main) => mainSource.replaceAll('"MAIN"', () => JSON.stringify("./" + main));

/** Where our entrypoint in the isolate of a version is. */
export const inside = (entry, env) =>
  entry.service ?? env.LOADER.get(entry.key, entry.reload).getEntrypoint(PRIVATE);

/** Ask the isolate nothing but to be there: rejects with what kept it from starting. */
export async function whenStarted(entrypoint) {
  await (await entrypoint.fetch("http://private/")).json();
}

/** What the isolate's modules export. The user's code may make this say anything. */
export async function handlersOf(entrypoint) {
  return await (await entrypoint.fetch("http://private/", { method: "POST" })).text();
}

/** Have the isolate collect its garbage; how many milliseconds that took. */
export async function collect(entrypoint) {
  return await (await entrypoint.fetch("http://private/", { method: "PUT" })).json();
}

/** What the witness of a quiet version has seen. The user's code may make this say anything. */
export async function look(entrypoint, signal) {
  const response = await entrypoint.fetch("http://private/", { method: "OPTIONS", signal });
  return JSON.parse(await textWithin(response, LOOK_MOST));
}

async function textWithin(response, most) {
  const chunks = [];
  let size = 0;
  for await (const chunk of response.body) {
    size += chunk.byteLength;
    if (size > most) throw new RangeError("it says too much");
    chunks.push(chunk);
  }
  return new Blob(chunks).text();
}

/**
 * Make the loader forget the isolate: what runs in it goes on and ends; the memory comes back then.
 * The answer of success is a rejection, since the isolate ends the call with itself.
 */
export async function evict(entrypoint) {
  try {
    await entrypoint.fetch("http://private/", { method: "DELETE" });
  } catch {
    // Evicted.
  }
}

/** Bytes of code that are worth a collection of what reading them has left. */
const LARGE = 8 * 1024 * 1024;

/** In a buffer of its own. */
const alone = (bytes) =>
  bytes.byteLength === bytes.buffer.byteLength ? bytes.buffer : bytes.slice().buffer;

const CONTENT = {
  esm: async (pieces, size) => ({ js: await pieces.text(size) }),
  cjs: async (pieces, size) => ({ cjs: await pieces.text(size) }),
  text: async (pieces, size) => ({ text: await pieces.text(size, { ignoreBOM: true }) }),
  data: async (pieces, size) => ({ data: alone(await pieces.bytes(size)) }),
  json: async (pieces, size, name) => ({ json: parse(await pieces.text(size), name) }),
  wasm: async (pieces, size) => ({ wasm: alone(await pieces.bytes(size)) }),
};

function parse(text, name) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new SyntaxError(`${error.message}\n  at ${name}`);
  }
}

/**
 * Read a load document, the body of a Request or Response; rejects when it is not a whole one or has
 * a module that cannot be, or a quiet version is wanted of what cannot be one.
 *
 * Resolves to the header and the part of the loader's code object that follows from it.
 */
export async function readDocument(message, quiet = false) {
  const pieces = await Pieces.of(message);
  const prefix = (await pieces.bytes(PREFIX_SIZE)).slice();
  const [magic, length] = [0, 4].map((at) => new DataView(prefix.buffer).getUint32(at));
  if (magic !== MAGIC) throw new RangeError("not a load document");
  const header = JSON.parse(await pieces.text(length));
  const modules = Object.create(null);
  let read = 0;
  for (const { name, kind, size } of header.modules) {
    // Kinds without an entry, such as source maps, are not for the isolate.
    if (Object.hasOwn(CONTENT, kind)) modules[name] = await CONTENT[kind](pieces, size, name);
    else await pieces.bytes(size);
    read += size;
  }
  if (!(await pieces.over())) throw new RangeError("the load document is too long");
  if (read > LARGE) globalThis.__workerd_faas_gc?.();
  if (quiet) checkQuiet(header, modules);
  const main = asModule(header.main, modules);
  modules[MAIN] = { js: prelude(header.bindings, modules) + shim(main) };
  modules[COLLECT] = { js: collectSource };
  modules[WATCH] = { js: quiet ? witnessSource : unwatchedSource };
  return {
    header,
    code: {
      compatibilityDate: header.compatibility_date,
      compatibilityFlags: quiet ? withStorage(flags(header)) : flags(header),
      mainModule: MAIN,
      modules,
      env: header.env,
    },
  };
}

/** Throws if the function can do what a witness would not see. */
function checkQuiet({ bindings, compatibility_flags }, modules) {
  const hidden =
    compatibility_flags.includes("no_nodejs_als") ||
    // These wait for work of their own (client_analytics.js).
    bindings.some(({ type }) => type === "analytics_engine") ||
    Object.values(modules).some(
      ({ js = "" }) => js.includes("cloudflare:workers") && js.includes("waitUntil"),
    );
  if (hidden) throw new TypeError("a witness would not see all of it");
}

/** The witness needs AsyncLocalStorage. */
const withStorage = (flags) => (flags.includes("nodejs_als") ? flags : [...flags, "nodejs_als"]);
