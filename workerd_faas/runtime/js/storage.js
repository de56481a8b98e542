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

/** What the relay says when the state cell ended before it answered. */
const LOST = 502;
const ATTEMPTS = 3;
/**
 * Milliseconds that statements may have taken to be run again. A state cell that hangs is ended after
 * more than that (StateOptions.times): with another try, what it hung on would hang the next one too.
 */
const REPEATED = 15_000;

const READS = /^\s*(?:SELECT|WITH|EXPLAIN)\b/i;
const WRITES = /\b(?:INSERT|UPDATE|DELETE|REPLACE|CREATE|DROP|ALTER)\b/i;

/** Whether statements can be run twice, as Cloudflare sees it. */
function onlyReads(body) {
  const queries = JSON.parse(body);
  const all = Array.isArray(queries) ? queries : [queries];
  return all.every(({ sql }) => READS.test(sql) && !WRITES.test(sql));
}

export class D1 extends WorkerEntrypoint {
  /**
   * What the state cell says is 200, failures too; anything else is that it could not be asked. When
   * it ends in the middle its successor is asked, but not for changes: they may have been made.
   */
  async fetch(request) {
    const { url, method } = request;
    const headers = new Headers(request.headers);
    headers.delete("content-length");
    let body = method === "POST" ? await request.text() : null;
    // `exec()` sends line by line what may be statements of several lines.
    if (new URL(url).pathname === "/execute") body = body?.replace("{", '{"lines":true,');
    const began = Date.now();
    for (let attempt = 1; ; attempt++) {
      const response = await pass(this, "d1", new Request(url, { method, headers, body }));
      if (response.status === 200 || response.status === 404) return response;
      await response.body?.cancel();
      if (response.status !== LOST || attempt === ATTEMPTS || !onlyReads(body)) break;
      if (Date.now() - began > REPEATED) break;
    }
    const error = "The database cannot be reached at the moment: network connection lost.";
    return Response.json({ success: false, error });
  }
}

const encoded = new Map();
let tickets = 0;

export class Queue extends WorkerEntrypoint {
  fetch(request) {
    return pass(this, "queue", request);
  }

  /**
   * A value as workerd stores it in a queue. Only its own queue binding can make that: one of ours
   * is told to send it, to `Codec`. The ticket takes the place of the delay.
   */
  async serialize(value) {
    const ticket = String((tickets = (tickets + 1) % 40_000));
    await this.env.CODEC.send(value, { contentType: "v8", delaySeconds: Number(ticket) });
    const bytes = encoded.get(ticket);
    encoded.delete(ticket);
    return bytes;
  }
}

export class Codec extends WorkerEntrypoint {
  async fetch(request) {
    const ticket = request.headers.get("X-Msg-Delay-Secs");
    encoded.set(ticket, new Uint8Array(await request.arrayBuffer()));
    const metrics = { backlogCount: 0, backlogBytes: 0, oldestMessageTimestamp: 0 };
    return Response.json({ metadata: { metrics } });
  }
}
