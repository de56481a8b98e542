// The Worker inside a function cell: runs each request in the version that the daemon chose.
//
// Every line of `fetch` and `run` is paid by every request; the rest runs when something is loaded,
// fails or is asked by the daemon. `request.cf` is ours: the relay sets it on every request.

import { WorkerEntrypoint } from "cloudflare:workers";
import { objects } from "bindings.js";
import { Pace } from "collect.js";
import { collect, decode, evict, PRIVATE, whenStarted } from "document.js";
import { LOAD_FAILED, THREW, UNAVAILABLE, errorPage } from "errors.js";
import { Traces } from "traces.js";

/**
 * Versions ready to run, by id: `{key, used, pending, lost, pace, reload}`. Bounded: the least
 * recently used one is evicted for a new one, among those with nothing pending. `pending` counts
 * invocations whose tail has not come yet: requests, streams, sockets and `waitUntil` work, which
 * an eviction would cut off. (A function that calls itself can only make its own count too low.)
 */
const loaded = new Map();
/** Loads under way, by version id, so that many first requests make one load. */
const loading = new Map();
/** Versions whose start failed: when the next attempt is due, and how long to wait after it. */
const failed = new Map();

const RETRY_FIRST = 500;
const RETRY_MOST = 60_000;
const FAILED_MOST = 1000;

let uses = 0;
let loads = 0;

const traces = new Traces();
/** When this isolate collects its own garbage. */
const pace = new Pace();

export default {
  fetch(request, env, ctx) {
    const version = request.cf?.version;
    const entry = loaded.get(version);
    return entry === undefined ? first(request, env, ctx, version) : run(entry, request, env);
  },
};

function run(entry, request, env) {
  entry.used = ++uses;
  entry.pending++;
  return env.LOADER.get(entry.key, entry.reload)
    .getEntrypoint()
    .fetch(request)
    .catch(() => threw(entry, request));
}

function threw(entry, request) {
  return errorPage(request, entry.lost ? UNAVAILABLE : THREW);
}

async function first(request, env, ctx, version) {
  if (typeof version !== "string") return internal(request, env, ctx);
  let load = loading.get(version);
  if (load === undefined) {
    load = start(version, env, ctx).finally(() => loading.delete(version));
    loading.set(version, load);
    // The load goes on for those who wait for it when the client of this request goes.
    ctx.waitUntil(load);
  }
  const { entry, error } = await load;
  return error ? errorPage(request, error) : run(entry, request, env);
}

/** Load a version; resolves to `{entry}` or `{error}`, never rejects. */
async function start(version, env, ctx) {
  const before = failed.get(version);
  if (before !== undefined && Date.now() < before.due) return { error: LOAD_FAILED };
  let code;
  try {
    code = await fetchCode(version, env, ctx);
  } catch (error) {
    console.error(`version ${version} could not be fetched: ${error}`);
    return { error: UNAVAILABLE };
  }
  // A name of its own for each load: workerd keeps a load that failed under its name for ever, and
  // an eviction that comes late must not hit a later load.
  const key = `${version}/${++loads}`;
  const entry = { key, used: 0, pending: 0, lost: false, pace: new Pace(), reload: undefined };
  try {
    await whenStarted(env.LOADER.get(key, () => code).getEntrypoint(PRIVATE));
  } catch (error) {
    console.error(`version ${version} does not start: ${error}`);
    postpone(version, before);
    return { error: LOAD_FAILED };
  }
  failed.delete(version);
  // Called only when the isolate is gone although we did not evict it: it aborted itself.
  entry.reload = async () => {
    entry.pending = 1;
    try {
      return await fetchCode(version, env, ctx);
    } catch (error) {
      entry.lost = true;
      forget(version, entry);
      throw error;
    }
  };
  pace.loaded();
  entry.used = ++uses;
  loaded.set(version, entry);
  if (loaded.size > env.LOADED_VERSIONS) ctx.waitUntil(evictOldest(version, env));
  return { entry };
}

async function fetchCode(version, env, ctx) {
  const response = await env.DAEMON.fetch("http://daemon/versions/" + encodeURIComponent(version));
  if (response.status !== 200) throw new Error("the daemon answered " + response.status);
  const { code, header } = decode(await response.arrayBuffer());
  Object.assign(code.env, objects(header, ctx, env));
  code.globalOutbound = env.INTERNET;
  code.tails = [ctx.exports.Tail({ props: { version } })];
  return code;
}

function postpone(version, before) {
  if (failed.size >= FAILED_MOST) failed.clear();
  const wait = before === undefined ? RETRY_FIRST : Math.min(2 * before.wait, RETRY_MOST);
  failed.set(version, { due: Date.now() + wait, wait });
}

function forget(version, entry) {
  if (loaded.get(version) === entry) loaded.delete(version);
}

/** Evict what was used longest ago and has nothing pending, until there are not too many. */
async function evictOldest(except, env) {
  while (loaded.size > env.LOADED_VERSIONS) {
    let oldest;
    for (const [version, entry] of loaded) {
      if (version === except || entry.pending > 0) continue;
      if (oldest === undefined || entry.used < oldest.entry.used) oldest = { version, entry };
    }
    if (oldest === undefined) return;
    await release(oldest.version, oldest.entry, env);
  }
}

function release(version, entry, env) {
  forget(version, entry);
  return evict(env.LOADER.get(entry.key, entry.reload).getEntrypoint(PRIVATE));
}

/** What the daemon asks: how are you, and drop that version. */
function internal(request, env, ctx) {
  const asked = request.cf;
  if (asked?.probe) {
    let pending = traces.size;
    for (const entry of loaded.values()) pending += entry.pending;
    return Response.json({ loaded: loaded.size, pending, loads });
  }
  if (asked?.forget) {
    const entry = loaded.get(asked.forget);
    if (entry !== undefined) ctx.waitUntil(release(asked.forget, entry, env));
    return Response.json({ forgotten: entry !== undefined });
  }
  return errorPage(request, UNAVAILABLE);
}

/** Told by workerd of each invocation once it is over, `waitUntil` and streams included. */
export class Tail extends WorkerEntrypoint {
  async tail(events) {
    const { version } = this.ctx.props;
    let over = 0;
    for (const event of events) {
      if (event.entrypoint === PRIVATE) continue;
      if (event.event?.request !== undefined) over++;
      if (event.outcome !== "ok" || event.logs.length > 0 || event.exceptions.length > 0) {
        traces.add(version, event);
      }
    }
    // Only then is the invocation over: what is sent would be cut off by an eviction too.
    await traces.send(this.env.DAEMON);
    const entry = loaded.get(version);
    if (entry !== undefined) {
      entry.pending = Math.max(0, entry.pending - over);
      if (entry.pace.due(over)) await this.#collectIn(entry);
    }
    if (pace.due(over)) collectHere();
    if (loaded.size > this.env.LOADED_VERSIONS) await evictOldest(undefined, this.env);
  }

  async #collectIn(entry) {
    entry.pace.begun();
    const isolate = this.env.LOADER.get(entry.key, entry.reload);
    entry.pace.collected(await collect(isolate.getEntrypoint(PRIVATE)));
  }
}

function collectHere() {
  const begin = performance.now();
  __workerd_faas_gc();
  pace.collected(performance.now() - begin);
}
