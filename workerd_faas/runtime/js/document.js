// From a load document (see workerd_faas/wire/bundle.py) to what the worker loader takes.

import { flags, prelude } from "inside.js";

const MAGIC = 0x57464c31; // "WFL1"
const PREFIX_SIZE = 8;

/** The name of our main module, and of the entrypoint it adds. Uploads cannot use names like it. */
export const PRIVATE = "__workerd_faas";
const MAIN = PRIVATE + ".js";
const COLLECT = PRIVATE + "_collect.js";

/** Takes V8's `gc` (see collect.js) away before the user's code is there. */
const COLLECT_SOURCE = `
export const collect = globalThis.${PRIVATE}_gc;
globalThis.${PRIVATE}_gc = undefined;
`;

const utf8 = new TextDecoder();
const utf8WithMark = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * The main module that stands before the user's: it passes on what the user's module exports, and
 * adds one entrypoint that only the router and the upload check call. A local export wins over
 * `export *`, so a function cannot put its own in the place of ours.
 *
 * The entrypoint speaks fetch and not RPC: that works with every compatibility date.
 */
function shim(main) {
  const specifier = JSON.stringify("./" + main);
  return `
import { collect } from "./${COLLECT}";
import * as user from ${specifier};
import { WorkerEntrypoint, DurableObject, WorkflowEntrypoint, abortIsolate } from "cloudflare:workers";
export * from ${specifier};
export default user.default ?? {};
const EVENTS = ["fetch", "scheduled", "queue", "tail", "tailStream", "email", "connect", "test"];
const CLASSES = [WorkerEntrypoint, DurableObject, WorkflowEntrypoint];
const isClass = (value) =>
  typeof value === "function" && CLASSES.some((base) => value.prototype instanceof base);
function handlers() {
  const names = Object.keys(user).filter((name) => name !== "default" && isClass(user[name]));
  const main = isClass(user.default) ? user.default.prototype : user.default;
  return EVENTS.filter((name) => typeof main?.[name] === "function").concat(names.sort());
}
function timed(work) {
  const begin = performance.now();
  work();
  return performance.now() - begin;
}
export class ${PRIVATE} extends WorkerEntrypoint {
  fetch(request) {
    if (request.method === "DELETE") abortIsolate();
    if (request.method === "PUT") return Response.json(timed(collect));
    if (request.method === "PATCH") return this.#tail(request);
    return Response.json(request.method === "POST" ? handlers() : null);
  }
  async #tail(request) {
    const events = await request.json();
    const main = isClass(user.default) ? new user.default(this.ctx, this.env) : user.default;
    await main.tail(events, this.env, this.ctx);
    return new Response(null);
  }
}
`;
}

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

const CONTENT = {
  esm: (bytes) => ({ js: utf8.decode(bytes) }),
  cjs: (bytes) => ({ cjs: utf8.decode(bytes) }),
  text: (bytes) => ({ text: utf8WithMark.decode(bytes) }),
  data: (bytes) => ({ data: bytes.slice().buffer }),
  json: (bytes, name) => ({ json: parse(utf8.decode(bytes), name) }),
  wasm: (bytes) => ({ wasm: bytes.slice().buffer }),
};

function parse(text, name) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new SyntaxError(`${error.message}\n  at ${name}`);
  }
}

/**
 * Decode an ArrayBuffer; throws when it is not a whole document or has a module that cannot be.
 *
 * Returns the header and the part of the loader's code object that follows from it.
 */
export function decode(buffer) {
  const view = new DataView(buffer);
  if (view.getUint32(0) !== MAGIC) throw new RangeError("not a load document");
  let offset = PREFIX_SIZE + view.getUint32(4);
  const header = JSON.parse(utf8.decode(new Uint8Array(buffer, PREFIX_SIZE, offset - PREFIX_SIZE)));
  const modules = Object.create(null);
  for (const { name, kind, size } of header.modules) {
    const end = offset + size;
    if (end > buffer.byteLength) throw new RangeError("the load document is cut short");
    // Kinds without an entry, such as source maps, are not for the isolate.
    if (Object.hasOwn(CONTENT, kind)) {
      modules[name] = CONTENT[kind](new Uint8Array(buffer, offset, size), name);
    }
    offset = end;
  }
  if (offset !== buffer.byteLength) throw new RangeError("the load document is too long");
  modules[MAIN] = { js: prelude(header.bindings, modules) + shim(header.main) };
  modules[COLLECT] = { js: COLLECT_SOURCE };
  return {
    header,
    code: {
      compatibilityDate: header.compatibility_date,
      compatibilityFlags: flags(header),
      mainModule: MAIN,
      modules,
      env: header.env,
    },
  };
}
