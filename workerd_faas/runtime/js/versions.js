// The versions that are loaded in this cell: loading on first use (launch.js), eviction of what was
// used longest ago.

import { within } from "clock.js";
import { collectWhenDue } from "collect.js";
import { collect, evict, inside } from "document.js";
import { launch, loads } from "launch.js";
import { hot, promoted } from "promoted.js";
import { listen, listenToAll, louder, watch } from "quiet.js";

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

/** For how long a quiet version that got its tail back is asked what its last requests have said. */
const FADE_MS = 30_000;

/** What a request to a site leaves behind, counted in requests to code: its file is one as well. */
const SITE_REQUEST = 2;

let uses = 0;
/** What all that is loaded takes, counted in versions with little code. */
let weight = 0;
/** How often something that loads depend on has changed. */
let renewals = 0;

/** Answer a request to a version with a site, by `worker` (if it has one) when that is asked. */
export function serveSite(entry, request, ctx, worker) {
  entry.used = ++uses;
  // No tail comes for what a file answers.
  collectWhenDue(SITE_REQUEST);
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
  entry.calls++;
  if (entry.pace.due(1)) ctx.waitUntil(collectIn(entry, env));
  collectWhenDue(1);
  return env.LOADER.get(entry.key, entry.reload);
}

export const tick = () => ++uses;

export const slotOf = (version, depth) => (depth === 0 ? version : `${version}+${depth}`);

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
  if (there?.quiet) {
    const { entry, error } = await louder(there, env, ctx, true);
    return entry ?? error ? { entry, error } : load(version, depth, env, ctx);
  }
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

/** Load what is deployed now if the function was in use; whether it is done. */
export function warm(version, name, env, ctx) {
  const used = loaded.values().some((entry) => entry.function === name);
  if (used && ready(version, 0) === undefined) ctx.waitUntil(load(version, 0, env, ctx));
  return used;
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
  keep(entry);
  if (weight > env.LOADED_VERSIONS) ctx.waitUntil(evictOldest(entry, env));
  return { entry };
}

function keep(entry) {
  weight += entry.weight - (loaded.get(entry.slot)?.weight ?? 0);
  loaded.set(entry.slot, entry);
}

/** It is not to be had any more. */
export function forget(entry) {
  if (loaded.get(entry.slot) !== entry) return;
  loaded.delete(entry.slot);
  weight -= entry.weight;
}

/** So that whoever loads something finds out whether it has changed meanwhile. */
export const renewed = () => renewals;

/**
 * Put an isolate in the place of another one of its version; returns what is there then, if anything
 * is.
 */
export function exchange(entry, next, stamp, env, ctx) {
  if (stamp !== renewals || loaded.get(entry.slot) !== entry) {
    ctx.waitUntil(release(next, env));
    return loaded.get(entry.slot);
  }
  keep(next);
  fade(entry, env, ctx);
  return next;
}

/** Let go of an isolate, which gets nothing any more, once nothing is pending in it. */
function fade(entry, env, ctx) {
  fading.set(entry.key, entry);
  entry.fading = true;
  entry.faded = Date.now();
  letFade(entry, env, ctx);
}

function letFade(entry, env, ctx) {
  if (entry.pending > 0 || (entry.quiet && within(FADE_MS, entry.faded))) return;
  if (!fading.delete(entry.key)) return;
  ctx.waitUntil(release(entry, env));
}

/**
 * Evict what was used longest ago and has nothing pending, until what is loaded does not take too
 * much, and there is room for `more`.
 */
export async function evictOldest(except, env, more = 0) {
  while (weight + more > env.LOADED_VERSIONS) {
    let oldest;
    for (const entry of loaded.values()) {
      if (entry === except || entry.pending > 0) continue;
      if (oldest === undefined || entry.used < oldest.used) oldest = entry;
    }
    if (oldest === undefined) return;
    if (oldest.quiet) await listen(oldest, env);
    if (oldest.pending === 0) await release(oldest, env);
  }
}

/** Let go of an isolate: what runs in it goes on and ends. */
export async function release(entry, env) {
  forget(entry);
  if (entry.key !== undefined) await evict(inside(entry, env));
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
  for (const entry of found) {
    forget(entry);
    // A quiet one may still have something to tell.
    if (entry.quiet) fade(entry, env, ctx);
    else ctx.waitUntil(release(entry, env));
  }
  return found.length > 0;
}

/** Count invocations that are over, and do what is due then. */
export async function over({ slot, key }, told, env, ctx) {
  const there = loaded.get(slot);
  const entry = there?.key === key ? there : fading.get(key);
  if (entry !== undefined) {
    entry.pending = Math.max(0, entry.pending - told.count);
    if (entry.pace.due(told.count)) await collectIn(entry, env);
    if (entry === there) watch(entry, told, env, ctx);
    else letFade(entry, env, ctx);
  }
  collectWhenDue(told.count);
  if (weight > env.LOADED_VERSIONS) await evictOldest(undefined, env);
}

/** For the daemon. */
export async function health(env, ctx) {
  const all = [...loaded.values(), ...fading.values()];
  const own = promoted(env);
  if (own !== undefined) all.push(own);
  await listenToAll(all, env, ctx);
  for (const entry of fading.values()) letFade(entry, env, ctx);
  let pending = 0;
  const busy = new Set();
  for (const entry of all) {
    pending += entry.pending;
    if (entry.pending > 0) busy.add(entry.function);
  }
  return {
    loaded: loaded.size,
    pending,
    loads: loads(),
    busy: Array.from(busy),
    hot: hot(loaded.values()),
    loud: own?.loud ?? false,
  };
}

/** Have the isolate of a version collect. */
export async function collectIn(entry, env) {
  entry.pace.begun();
  entry.pace.collected(await collect(inside(entry, env)));
}
