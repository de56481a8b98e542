// What functions said and how their invocations ended: to the daemon, and to the functions that want
// to be told.

import { WorkerEntrypoint } from "cloudflare:workers";
import { PRIVATE } from "document.js";
import { consumedTrace, deliver } from "consumers.js";
import { Traces } from "traces.js";
import { over } from "versions.js";

export const traces = new Traces();

/** Told by workerd of each invocation once it is over, `waitUntil` and streams included. */
export class Tail extends WorkerEntrypoint {
  async tail(events) {
    const { version, slot, function: name, consumers } = this.ctx.props;
    const own = [];
    let count = 0;
    for (const event of events) {
      if (event.entrypoint === PRIVATE) {
        const consumed = consumedTrace(event);
        if (consumed === undefined) continue;
        count++;
        traces.add(version, name, consumed);
        continue;
      }
      const { request, rpcMethod, batchSize } = event.event ?? {};
      if (request !== undefined || rpcMethod !== undefined || batchSize !== undefined) count++;
      traces.add(version, name, event);
      own.push(event);
    }
    if (consumers !== undefined && own.length > 0) {
      this.ctx.waitUntil(deliver(own, this.ctx.props, this.env, this.ctx));
    }
    // Only then is the invocation over: what is sent would be cut off by an eviction too.
    await traces.send(this.env.DAEMON);
    await over(slot, count, this.env);
  }
}

/** A request came to a version that does not start. */
export function reportNotStarted(version, request, reason, env, ctx) {
  traces.add(version, reason.function, notStarted(request, reason));
  ctx.waitUntil(traces.send(env.DAEMON));
}

/** Its trace; the request may have secrets. */
function notStarted(request, { message }) {
  const timestamp = Date.now();
  const headers = {};
  for (const name of ["cf-connecting-ip", "cf-ray", "host", "user-agent"]) {
    if (request.headers.has(name)) headers[name] = request.headers.get(name);
  }
  const { url, method, cf } = request;
  return {
    outcome: "exception",
    eventTimestamp: timestamp,
    logs: [],
    exceptions: [{ name: "Error", message, timestamp }],
    event: { request: { url, method, headers, cf }, response: { status: 500 } },
  };
}
