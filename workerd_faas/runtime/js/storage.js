// What the stubs in a function's `env` reach: this account's state cell, and there one namespace,
// database or queue. Which one is in the props, which the daemon made; nothing that a function
// sends can choose another.

import { WorkerEntrypoint } from "cloudflare:workers";

/** Pass a request on; path, query, body and the other fields are the bundled modules' protocol. */
function pass({ ctx, env }, kind, request) {
  const { account, id } = ctx.props;
  const { pathname, search } = new URL(request.url);
  const passed = new Request(`http://${account}.state${pathname}${search}`, request);
  passed.headers.set("state-kind", kind);
  passed.headers.set("state-id", id);
  return env.STATE.fetch(passed);
}

/** Behind the D1 binding that only lends its class. */
export class Nobody extends WorkerEntrypoint {
  fetch() {
    return new Response(null, { status: 404 });
  }
}

export class KV extends WorkerEntrypoint {
  fetch(request) {
    return pass(this, "kv", request);
  }
}

export class D1 extends WorkerEntrypoint {
  fetch(request) {
    return pass(this, "d1", request);
  }
}
