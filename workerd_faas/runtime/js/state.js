// The Worker inside a state cell: one account's KV namespaces, D1 databases and queues, each a
// Durable Object of workerd's own implementations (the bundled modules).
//
// Who can reach its socket may do anything with this account's data: that is the router's binding
// classes and the daemon. `state-kind` and `state-id` say what a request is about; the rest of the
// request is the bundled modules' own protocol, or one of ours (manage.js).

import { deliveries } from "deliver.js"; // First: queues.js reads what it sets.
import { Pace } from "pace.js";
import { manage } from "manage.js";
import { askDatabase } from "objects.js";
import { backlog, serve } from "queue.js";
import { serve as serveKeys } from "values.js";

export { D1Database, KVNamespace, QueueShard } from "objects.js";

export default {
  async fetch(request, env, ctx) {
    if (pace.due(1)) collect();
    const id = request.headers.get("state-id");
    switch (request.headers.get("state-kind")) {
      case "kv":
        return readable(await serveKeys(request, id, env));
      case "d1":
        return askDatabase(request, id, env);
      case "queue":
        return serve(request, id, env);
      case "manage":
        return manage(request, id, env);
    }
    if (request.cf?.probe) {
      ctx.waitUntil(resume(env));
      return Response.json({ pending: deliveries.size });
    }
    if (request.cf?.backlog) return Response.json({ backlog: await backlog(env) });
    return new Response(null, { status: 404 });
  },
};

const pace = new Pace();

function collect() {
  const begin = performance.now();
  __workerd_faas_gc();
  pace.collected(performance.now() - begin);
}

let resumed;

/**
 * A queue's alarm was set for the consumer that it had then, or for none; asking the queue sets it
 * for the one that it has now. Once in the life of a cell; the next probe tries what failed.
 */
async function resume(env) {
  resumed ??= backlog(env);
  try {
    await resumed;
  } catch (error) {
    resumed = undefined;
    console.error(`queues do not go on yet: ${error}`);
  }
}

/** What went wrong is the status text there; a body gets through every proxy whole. */
function readable(response) {
  if (response.ok || response.status === 404) return response;
  return Response.json({ error: response.statusText }, { status: response.status });
}
