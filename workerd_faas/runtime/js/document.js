// From a load document (see workerd_faas/wire/bundle.py) to what the worker loader takes.

import witnessSource from "client_witness.js";
import { flags, prelude } from "inside.js";
import { asModule } from "script.js";

const MAGIC = 0x57464c31; // "WFL1"
const PREFIX_SIZE = 8;

/** The name of our main module, and of the entrypoint it adds. Uploads cannot use names like it. */
export const PRIVATE = "__workerd_faas";
const MAIN = PRIVATE + ".js";
const COLLECT = PRIVATE + "_collect.js";
const WITNESS = PRIVATE + "_witness.js";

/**
 * Before the user's code is there: takes V8's `gc` (see pace.js) away, and has caches keep nothing,
 * which a cache may always do. Without this every use of one would throw, as none is configured.
 */
const COLLECT_SOURCE = `
export const collect = globalThis.${PRIVATE}_gc;
globalThis.${PRIVATE}_gc = undefined;
const forgetful = {
  async match(request) {
    if (arguments.length === 0) throw new TypeError("match() takes a request");
  },
  async put(request, response) {
    if (arguments.length < 2) throw new TypeError("put() takes a request and a response");
    await response.body?.cancel();
  },
  async delete(request) {
    if (arguments.length === 0) throw new TypeError("delete() takes a request");
    return false;
  },
};
const prototype = Object.getPrototypeOf(caches.default);
for (const name of Object.keys(forgetful)) {
  Object.defineProperty(prototype, name, { value: forgetful[name], writable: true, configurable: true });
}
`;

/** Bytes of what a witness tells at once; what it keeps is less. */
const LOOK_MOST = 8 * 1024 * 1024;

const utf8 = new TextDecoder();
const utf8WithMark = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * The main module that stands before the user's: it passes on what the user's module exports, and
 * adds one entrypoint that only the router and the upload check call. A local export wins over
 * `export *`, so a function cannot put its own in the place of ours.
 *
 * The entrypoint speaks fetch and not RPC: that works with every compatibility date.
 *
 * A quiet version has a witness in it (client_witness.js) instead of a tail.
 */
function shim(main, quiet) {
  const specifier = JSON.stringify("./" + main);
  return `
import { collect } from "./${COLLECT}";
${quiet ? `import { look, witness } from "./${WITNESS}";` : "const look = () => null;"}
import * as user from ${specifier};
export * from ${specifier};
export default ${quiet ? "witness(user.default)" : "user.default ?? {}"};
const EVENTS = ["fetch", "scheduled", "queue", "tail", "tailStream", "email", "connect", "test"];
// Not imported at the start, when it would keep the first request waiting.
const workers = () => import("cloudflare:workers");
async function classes() {
  const { WorkerEntrypoint, DurableObject, WorkflowEntrypoint } = await workers();
  const bases = [WorkerEntrypoint, DurableObject, WorkflowEntrypoint];
  return (value) =>
    typeof value === "function" && bases.some((base) => value.prototype instanceof base);
}
async function handlers() {
  const isClass = await classes();
  const names = Object.keys(user).filter((name) => name !== "default" && isClass(user[name]));
  const main = isClass(user.default) ? user.default.prototype : user.default;
  return EVENTS.filter((name) => typeof main?.[name] === "function").concat(names.sort());
}
function timed(work) {
  const begin = performance.now();
  work();
  return performance.now() - begin;
}
async function tail(request, env, ctx) {
  const events = await request.json();
  const isClass = await classes();
  const main = isClass(user.default) ? new user.default(ctx, env) : user.default;
  await main.tail(events, env, ctx);
  return new Response(null);
}
export const ${PRIVATE} = {
  async fetch(request, env, ctx) {
    switch (request.method) {
      case "DELETE":
        return (await workers()).abortIsolate();
      case "PUT":
        return Response.json(timed(collect));
      case "PATCH":
        return tail(request, env, ctx);
      case "OPTIONS":
        return Response.json(look());
      case "POST":
        return Response.json(await handlers());
      default:
        return Response.json(null);
    }
  },
};
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
 * Decode an ArrayBuffer; throws when it is not a whole document or has a module that cannot be, or
 * a quiet version is wanted of what cannot be one.
 *
 * Returns the header and the part of the loader's code object that follows from it.
 */
export function decode(buffer, quiet = false) {
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
  if (quiet) checkQuiet(header, modules);
  const main = asModule(header.main, modules);
  modules[MAIN] = { js: prelude(header.bindings, modules) + shim(main, quiet) };
  modules[COLLECT] = { js: COLLECT_SOURCE };
  if (quiet) modules[WITNESS] = { js: witnessSource };
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
