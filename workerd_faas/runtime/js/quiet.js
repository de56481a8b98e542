// Quiet versions: functions that are asked much and say nothing run without a tail.
//
// A tail tells exactly what an invocation said and how it ended, and costs each of them as much as
// half of what the loader does, whether there is anything to tell or not. So a version whose
// invocations have said nothing and gone well many times in a row is loaded once more, with a
// witness inside (client_witness.js) and no tail, and takes the place of the first one. As soon as it
// says something, or somebody wants to know more than a witness sees, it goes back to one with a
// tail; the next time it is on trial for longer.

import { inside, look } from "document.js";
import { launch } from "launch.js";
import { traces } from "tail.js";
import { collectIn, exchange, renewed } from "versions.js";

/** Invocations in a row that say nothing before a version becomes quiet. */
const TRIAL = 500;
/** How many times longer the next trial is. */
const LONGER = 8;
const REMEMBERED = 1000;
/** As often must a version fit into its cell to become quiet. */
const AT_ONCE = 3;
/** How long an isolate may take to say what its witness has seen, and how long a probe waits. */
const LISTEN_MS = 5000;
const WAIT_MS = 300;

/** By version: how long its next trial is. */
const trials = new Map();

function trialOf(version) {
  return trials.get(version) ?? TRIAL;
}

function setTrial(version, invocations) {
  if (trials.size >= REMEMBERED) trials.clear();
  trials.set(version, invocations);
}

/** Count what a tail has told of an isolate's invocations: how many, and how many had nothing to tell. */
export function watch(entry, { count, silent, odd }, env, ctx) {
  if (odd) setTrial(entry.version, Infinity);
  entry.silent = silent === count ? entry.silent + count : 0;
  if (entry.silent < trialOf(entry.version) || entry.turning !== undefined) return;
  if (!entry.leaf || entry.key === undefined || traces.tails(entry.function)) return;
  // While one isolate takes the other's place there are both.
  if (AT_ONCE * entry.weight > env.LOADED_VERSIONS) return;
  ctx.waitUntil(turn(entry, env, ctx, true));
}

/** A quiet version gets its tail back; resolves to `{entry}` or `{error}`. */
export function louder(entry, env, ctx, forGood) {
  setTrial(entry.version, forGood ? Infinity : LONGER * trialOf(entry.version));
  const turned = turn(entry, env, ctx, false);
  ctx.waitUntil(turned);
  return turned;
}

/** Have another isolate of the version take this one's place. */
function turn(entry, env, ctx, quiet) {
  entry.turning ??= turned(entry, env, ctx, quiet).finally(() => (entry.turning = undefined));
  return entry.turning;
}

async function turned(entry, env, ctx, quiet) {
  const stamp = renewed();
  const { entry: next, error } = await launch(entry.version, 0, env, ctx, quiet);
  if (error !== undefined) {
    if (quiet) setTrial(entry.version, Infinity);
    return { error };
  }
  return { entry: exchange(entry, next, stamp, env, ctx) };
}

/**
 * Have the witnesses tell what they have seen, and give those a tail that shall have one. Returns
 * after a while even if one does not answer.
 */
export async function listenToAll(entries, env, ctx) {
  const listening = Promise.all(
    entries.filter(({ quiet }) => quiet).map((entry) => attend(entry, env, ctx)),
  );
  ctx.waitUntil(listening);
  await Promise.race([listening, scheduler.wait(WAIT_MS)]);
}

async function attend(entry, env, ctx) {
  if (entry.service !== undefined) {
    const { loud } = await listen(entry, env);
    entry.loud ||= loud || traces.tails(entry.function);
    return;
  }
  if (entry.used > entry.heard || entry.pending > 0 || entry.fading) {
    const { loud, forGood } = await listen(entry, env);
    if (entry.fading) return;
    if (loud && entry.turning === undefined) louder(entry, env, ctx, forGood);
  }
  // Whoever watches is told of every invocation from now on.
  if (traces.tails(entry.function)) await turn(entry, env, ctx, false);
}

/** Have a witness tell what it has seen: whether that was anything, and more than it can see. */
export function listen(entry, env) {
  entry.listening ??= heard(entry, env).finally(() => (entry.listening = undefined));
  return entry.listening;
}

async function heard(entry, env) {
  if (entry.deaf) return { loud: true, forGood: true };
  entry.heard = entry.used;
  entry.pending++;
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), LISTEN_MS);
  try {
    // What comes from there is the function's own: it may be anything.
    const told = await look(inside(entry, env), late.signal);
    const { pending, lost, loud, beyond, traces: seen, requests = 0 } = told;
    if (![pending, lost, requests].every(isCount) || !seen.every(isTrace)) {
      throw new TypeError("its witness talks nonsense");
    }
    for (const trace of seen) traces.add(entry.version, entry.function, trace);
    if (lost > 0) traces.lose(entry.version, 0, lost);
    entry.pending = pending;
    if (requests > 0 && entry.pace.due(requests)) await collectIn(entry, env);
    return { loud: loud || beyond, forGood: beyond };
  } catch (error) {
    entry.pending = 0;
    entry.deaf = true;
    console.error(`version ${entry.version}: ${error}`);
    return { loud: true, forGood: true };
  } finally {
    clearTimeout(timer);
  }
}

// A number below 0 would hide what others have pending.
const isCount = (value) => Number.isSafeInteger(value) && value >= 0;

const isTrace = (trace) => Array.isArray(trace?.logs) && Array.isArray(trace.exceptions);
