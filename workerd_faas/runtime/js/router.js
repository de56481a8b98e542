// The Worker inside a function cell: runs each request in the version that the daemon chose.
//
// Every line of `fetch` and `run` is paid by every request; the rest runs when something is loaded,
// fails or is asked by the daemon. `request.cf` is ours: the relay sets it on every request.

import { CALLED, called } from "called.js";
import { THREW, UNAVAILABLE, errorPage } from "errors.js";
import { runQueue } from "queue_event.js";
import { runScheduled } from "scheduled.js";
import { forgetShares } from "services.js";
import { reportNotStarted, traces } from "tail.js";
import {
  health,
  load,
  ready,
  releaseFunction,
  releaseVersion,
  serveSite,
  use,
  useQuiet,
  warm,
} from "versions.js";

export { Analytics } from "analytics.js";
export { Assets } from "assets.js";
export { RateLimit } from "ratelimit.js";
export { Service } from "services.js";
export { Codec, D1, KV, Nobody, Queue } from "storage.js";
export { Tail } from "tail.js";

export default {
  fetch(request, env, ctx) {
    const version = request.cf?.version;
    const entry = ready(version, 0);
    return entry === undefined
      ? first(request, env, ctx, version)
      : answer(entry, request, env, ctx);
  },
};

function answer(entry, request, env, ctx) {
  return entry.site === undefined ? run(entry, request, env, ctx) : serve(entry, request, env, ctx);
}

function serve(entry, request, env, ctx) {
  const worker = entry.key === undefined ? undefined : (asked) => run(entry, asked, env, ctx);
  return serveSite(entry, request, ctx, worker);
}

function run(entry, request, env, ctx) {
  const isolate = entry.quiet ? useQuiet(entry, env, ctx) : use(entry, env);
  return isolate
    .getEntrypoint()
    .fetch(request)
    .catch(() => threw(entry, request));
}

function threw(entry, request) {
  return errorPage(request, entry.lost ? UNAVAILABLE : THREW);
}

async function first(request, env, ctx, version) {
  if (typeof version !== "string") return internal(request, env, ctx);
  if (version.startsWith(CALLED)) return called(version.slice(CALLED.length), request, env, ctx);
  const { entry, error, reason } = await load(version, 0, env, ctx);
  if (error === undefined) return answer(entry, request, env, ctx);
  if (reason !== undefined) reportNotStarted(version, request, reason, env, ctx);
  return errorPage(request, error);
}

/** What the daemon asks. */
function internal(request, env, ctx) {
  const asked = request.cf;
  if (asked?.probe) return probed(asked, env, ctx);
  if (asked?.warm) {
    const { version: next, function: name } = asked.warm;
    return Response.json({ warmed: warm(next, name, env, ctx) });
  }
  if (asked?.forget) {
    return Response.json({ forgotten: releaseVersion(asked.forget, env, ctx) });
  }
  if (asked?.changed) {
    const { function: name, reload } = asked.changed;
    forgetShares(name);
    return Response.json({ released: reload && releaseFunction(name, env, ctx) });
  }
  if (asked?.queue) return runQueue(asked.queue, request, env, ctx);
  if (asked?.scheduled) return runScheduled(asked.scheduled, env, ctx);
  return errorPage(request, UNAVAILABLE);
}

async function probed({ tailed }, env, ctx) {
  traces.tail(tailed);
  const { pending, ...said } = await health(env, ctx);
  ctx.waitUntil(traces.send(env.DAEMON));
  return Response.json({ ...said, pending: pending + traces.size });
}
