// The main module of every function, before the user's, which the placeholder stands for: it passes on what
// that exports, and adds one entrypoint that only the router and the upload check call. A local
// export wins over `export *`, so a function cannot put its own in the place of ours.
//
// The entrypoint speaks fetch and not RPC: that works with every compatibility date.

import { collect } from "./__workerd_faas_collect.js";
// One of client_unwatched.js, client_witness.js, client_promoted.js.
import { look, watched } from "./__workerd_faas_watch.js";
import * as user from "MAIN";
export * from "MAIN";
export default watched(user.default);

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

export const __workerd_faas = {
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
