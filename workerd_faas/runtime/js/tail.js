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
    const { version, function: name, consumers } = this.ctx.props;
    const own = [];
    const told = { count: 0, silent: 0, odd: false };
    for (const event of events) {
      if (event.entrypoint === PRIVATE) {
        const consumed = consumedTrace(event);
        if (consumed === undefined) continue;
        told.count++;
        told.odd = true;
        traces.add(version, name, consumed);
        continue;
      }
      const { request, response, rpcMethod, batchSize } = event.event ?? {};
      if (request !== undefined || rpcMethod !== undefined || batchSize !== undefined) told.count++;
      if (request === undefined || response?.status === 101 || event.entrypoint) told.odd = true;
      if (traces.add(version, name, event)) told.silent++;
      own.push(event);
    }
    if (consumers !== undefined && own.length > 0) {
      this.ctx.waitUntil(deliver(own, this.ctx.props, this.env, this.ctx));
    }
    // Only then is the invocation over: what is sent would be cut off by an eviction too.
    await traces.send(this.env.DAEMON);
    await over(this.ctx.props, told, this.env, this.ctx);
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
