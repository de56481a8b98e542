// The versions that are loaded in this cell: loading on first use, eviction of what was used
// longest ago.

import { objects } from "bindings.js";
import { Pace } from "collect.js";
import { collect, decode, evict, PRIVATE, whenStarted } from "document.js";
import { LOAD_FAILED, UNAVAILABLE } from "errors.js";
import { listen, louder, watch } from "quiet.js";
import { openSite } from "site.js";

/**
 * What is ready to run, by slot. Bounded: the least recently used is evicted for a new one, among
 * those with nothing pending. `pending` counts invocations whose tail has not come yet: requests,
 * calls of other functions, streams, sockets and `waitUntil` work, which an eviction would cut off.
 * (A function that calls itself by `ctx.exports` can only make its own count too low.)
 *
 * `site` is there if the version has assets, and then `key` may be missing: there is no code.
 *
 * The slot is the version's id. A version that calls other functions, or is watched by some, has one
 * more for each depth at which others call it, since its bindings and its tail know the depth.
 */
const loaded = new Map();
/** Those that another isolate of their version has taken the place of, by key, until they are over. */
const fading = new Map();
/** Loads under way, by slot, so that many first requests make one load. */
const loading = new Map();
/** Versions whose start failed: when the next attempt is due, and how long to wait after it. */
const failed = new Map();

const RETRY_FIRST = 500;
const RETRY_MOST = 60_000;
const FAILED_MOST = 1000;

/** What a request to a site leaves behind, counted in requests to code: its file is one as well. */
const SITE_REQUEST = 2;

let uses = 0;
let loads = 0;
/** How often something that loads depend on has changed. */
let renewals = 0;

/** When our own isolate collects its garbage. */
const pace = new Pace();

/** Answer a request to a version with a site, by `worker` (if it has one) when that is asked. */
export function serveSite(entry, request, ctx, worker) {
  entry.used = ++uses;
  // No tail comes for what a file answers.
  if (pace.due(SITE_REQUEST)) collectHere();
  return entry.site.serve(request, ctx, worker);
}

/** The site of a version that is loaded at some depth. */
export function siteOf(version) {
  const entry = loaded.get(version);
  if (entry !== undefined) return entry.site;
  for (const other of loaded.values()) if (other.version === version) return other.site;
}

/** Count an invocation and return the isolate to send it to. */
export function use(entry, env) {
  entry.used = ++uses;
  entry.pending++;
  return env.LOADER.get(entry.key, entry.reload);
}

/** As `use`, of a quiet version: no tail will come, so what is due is done now. */
export function useQuiet(entry, env, ctx) {
  entry.used = ++uses;
  if (entry.pace.due(1)) ctx.waitUntil(collectIn(entry, env));
  if (pace.due(1)) collectHere();
  return env.LOADER.get(entry.key, entry.reload);
}

const slotOf = (version, depth) => (depth === 0 ? version : `${version}+${depth}`);

/** The entry of a version that is called at this depth, undefined if it must be loaded. */
export function ready(version, depth) {
  const entry = loaded.get(version);
  return depth === 0 || entry?.leaf ? entry : loaded.get(slotOf(version, depth));
}

/**
 * Load a version unless that is being done already; resolves to `{entry}` or `{error}`.
 *
 * What comes here is more than a request from outside, so a quiet version is quiet no longer.
 */
export async function load(version, depth, env, ctx) {
  // At depth 0 it may turn out to call nobody: then one isolate does for all depths.
  if (depth > 0 && loading.has(version)) await loading.get(version);
  const there = ready(version, depth);
  if (there?.quiet) return louder(there, env, ctx, true);
  if (there !== undefined) return { entry: there };
  const slot = slotOf(version, depth);
  let load = loading.get(slot);
  if (load === undefined) {
    load = start(version, depth, env, ctx).finally(() => loading.delete(slot));
    loading.set(slot, load);
    // The load goes on for those who wait for it when the client of this request goes.
    ctx.waitUntil(load);
  }
  return load;
}

async function start(version, depth, env, ctx) {
  const stamp = renewals;
  const { entry, error, reason } = await launch(version, depth, env, ctx);
  if (error) return { error, reason };
  if (stamp !== renewals) {
    ctx.waitUntil(release(entry, env));
    return start(version, depth, env, ctx);
  }
  const other = loaded.get(entry.slot);
  if (other !== undefined) {
    // Loads at two depths of a version that calls nobody: the first one stays.
    ctx.waitUntil(release(entry, env));
    return { entry: other };
  }
  loaded.set(entry.slot, entry);
  if (loaded.size > env.LOADED_VERSIONS) ctx.waitUntil(evictOldest(entry, env));
  return { entry };
}

/** An isolate of a version that is in no slot; resolves to `{entry}` or `{error}`. */
export async function launch(version, depth, env, ctx, quiet = false) {
  const before = failed.get(version);
  if (before !== undefined && Date.now() < before.due) {
    return { error: LOAD_FAILED, reason: before.reason };
  }
  const entry = {
    // A name of its own for each load: workerd keeps a load that failed under its name for ever,
    // and an eviction that comes late must not hit a later load.
    key: `${version}/${++loads}`,
    version,
    function: undefined,
    slot: version,
    leaf: true,
    site: undefined,
    used: ++uses,
    pending: 0,
    lost: false,
    quiet,
    heard: 0,
    silent: 0,
    turning: undefined,
    pace: new Pace(),
    reload: undefined,
  };
  let code;
  try {
    code = await fetchCode(entry, depth, env, ctx);
  } catch (error) {
    console.error(`version ${version} could not be fetched: ${error}`);
    return { error: UNAVAILABLE };
  }
  if (code === undefined) {
    entry.key = undefined;
    return { entry };
  }
  try {
    await whenStarted(env.LOADER.get(entry.key, () => code).getEntrypoint(PRIVATE));
  } catch (error) {
    const reason = { function: entry.function, message: String(error?.message ?? error) };
    if (!quiet) postpone(version, before, reason);
    return { error: LOAD_FAILED, reason };
  }
  failed.delete(version);
  // Called only when the isolate is gone although we did not evict it: it aborted itself.
  entry.reload = async () => {
    entry.pending = 1;
    try {
      return await fetchCode(entry, depth, env, ctx);
    } catch (error) {
      entry.lost = true;
      forget(entry);
      throw error;
    }
  };
  pace.loaded();
  return { entry };
}

/** The code of a version, undefined if it is a site and nothing else; fills the entry. */
async function fetchCode(entry, depth, env, ctx) {
  const path = "http://daemon/versions/" + encodeURIComponent(entry.version);
  const response = await env.DAEMON.fetch(path);
  if (response.status !== 200) throw new Error("the daemon answered " + response.status);
  const { code, header } = decode(await response.arrayBuffer(), entry.quiet);
  entry.function = header.function;
  entry.leaf =
    header.tail_consumers === undefined && !header.bindings.some(({ type }) => type === "service");
  if (!entry.leaf) entry.slot = slotOf(entry.version, depth);
  if (header.site !== undefined) entry.site ??= await openSite(header, env);
  if (header.main === "") return undefined;
  Object.assign(code.env, objects(header, ctx, env, depth));
  code.globalOutbound = env.INTERNET;
  if (!entry.quiet) code.tails = [ctx.exports.Tail({ props: tailProps(entry, header, depth) })];
  return code;
}

const tailProps = ({ version, slot, key }, header, depth) => ({
  version,
  slot,
  key,
  depth,
  account: header.account,
  function: header.function,
  consumers: header.tail_consumers,
});

function postpone(version, before, reason) {
  if (failed.size >= FAILED_MOST) failed.clear();
  const wait = before === undefined ? RETRY_FIRST : Math.min(2 * before.wait, RETRY_MOST);
  failed.set(version, { due: Date.now() + wait, wait, reason });
}

function forget(entry) {
  if (loaded.get(entry.slot) === entry) loaded.delete(entry.slot);
}

/** Evict what was used longest ago and has nothing pending, until there are not too many. */
export async function evictOldest(except, env) {
  while (loaded.size > env.LOADED_VERSIONS) {
    let oldest;
    for (const entry of loaded.values()) {
      if (entry === except || entry.pending > 0) continue;
      if (oldest === undefined || entry.used < oldest.used) oldest = entry;
    }
    if (oldest === undefined) return;
    await release(oldest, env);
  }
}

/** Let go of an isolate: what runs in it goes on and ends. */
export async function release(entry, env) {
  forget(entry);
  if (entry.key !== undefined) await evict(env.LOADER.get(entry.key, entry.reload).getEntrypoint(PRIVATE));
}

/** Let go of all isolates of a version; whether there were any. */
export function releaseVersion(version, env, ctx) {
  return releaseAll((entry) => entry.version === version, env, ctx);
}

/** Let go of all isolates of a function, and of those that are being loaded. */
export function releaseFunction(name, env, ctx) {
  renewals++;
  return releaseAll((entry) => entry.function === name, env, ctx);
}

function releaseAll(which, env, ctx) {
  const found = [...loaded.values()].filter(which);
  for (const entry of found) ctx.waitUntil(release(entry, env));
  return found.length > 0;
}

/** Count invocations that are over, and do what is due then. */
export async function over(slot, invocations, env) {
  const entry = loaded.get(slot);
  if (entry !== undefined) {
    entry.pending = Math.max(0, entry.pending - invocations);
    if (entry.pace.due(invocations)) await collectIn(entry, env);
  }
  if (pace.due(invocations)) collectHere();
  if (loaded.size > env.LOADED_VERSIONS) await evictOldest(undefined, env);
}

async function collectIn(entry, env) {
  entry.pace.begun();
  const isolate = env.LOADER.get(entry.key, entry.reload);
  entry.pace.collected(await collect(isolate.getEntrypoint(PRIVATE)));
}

function collectHere() {
  const begin = performance.now();
  __workerd_faas_gc();
  pace.collected(performance.now() - begin);
}

/** For the daemon. */
export function health() {
  let pending = 0;
  const busy = new Set();
  for (const entry of loaded.values()) {
    pending += entry.pending;
    if (entry.pending > 0) busy.add(entry.function);
  }
  return { loaded: loaded.size, pending, loads, busy: Array.from(busy) };
}
