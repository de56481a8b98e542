// The Worker inside a check cell: loads an upload, once, and says what became of it.
//
// The code it loads has no network and no bindings but its own. After a bad upload the process ends.

import { evict, handlersOf, PRIVATE, readDocument, whenStarted } from "document.js";

const HANDLERS_CHARACTERS = 64 * 1024;

let checks = 0;

export default {
  async fetch(request, env, ctx) {
    if (request.cf?.probe) return Response.json({});
    return Response.json(await check(request, env, ctx));
  },
};

async function check(request, env, ctx) {
  let code;
  try {
    let header;
    ({ code, header } = await readDocument(request));
    // Bindings are there by name, and do nothing: loading has no request to use them in.
    for (const { name } of header.bindings) code.env[name] = {};
  } catch (error) {
    return { error: String(error) };
  }
  code.globalOutbound = null;
  const begin = performance.now();
  try {
    const entrypoint = env.LOADER.get(`upload/${++checks}`, () => code).getEntrypoint(PRIVATE);
    await whenStarted(entrypoint);
    const startup = performance.now() - begin;
    const handlers = await handlersOf(entrypoint);
    if (handlers.length > HANDLERS_CHARACTERS) return { error: "Error: too many exports." };
    ctx.waitUntil(evict(entrypoint));
    return { startup_ms: Math.ceil(startup), handlers };
  } catch (error) {
    return { error: String(error?.message ?? error) };
  }
}
