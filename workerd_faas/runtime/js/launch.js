// From a version's id to an isolate that runs it.

import { objects } from "bindings.js";
import { within } from "clock.js";
import { loadedOne } from "collect.js";
import { PRIVATE, readDocument, whenStarted } from "document.js";
import { LOAD_FAILED, UNAVAILABLE } from "errors.js";
import { Pace } from "pace.js";
import { openSite } from "site.js";
import { evictOldest, forget, slotOf, tick } from "versions.js";

/** Versions whose start failed: when, and how long to wait after that. */
const failed = new Map();

/** Bytes that a version with little code may take: LOADED_VERSIONS counts in these (options.py). */
const LITTLE = 5 * 1024 * 1024;
/** How many times a version's code is in memory. */
const COPIES = 3;

const RETRY_FIRST = 500;
const RETRY_MOST = 60_000;
const FAILED_MOST = 1000;

let made = 0;

/** How many isolates there have been. */
export const loads = () => made;

/** An isolate of a version that is in no slot; resolves to `{entry}` or `{error}`. */
export async function launch(version, depth, env, ctx, quiet = false) {
  const before = failed.get(version);
  if (before !== undefined && within(before.wait, before.at)) {
    return { error: LOAD_FAILED, reason: before.reason };
  }
  const entry = {
    // A name of its own for each load: workerd keeps a load that failed under its name for ever,
    // and an eviction that comes late must not hit a later load.
    key: `${version}/${++made}`,
    version,
    function: undefined,
    slot: version,
    leaf: true,
    site: undefined,
    used: tick(),
    calls: 0,
    weight: undefined,
    pending: 0,
    lost: false,
    // See quiet.js. A tail counts invocations that were `silent`, in a row; a quiet version's witness
    // was `heard` when that was the last use; it is `deaf` when it cannot be believed.
    quiet,
    silent: 0,
    heard: 0,
    deaf: false,
    listening: undefined,
    turning: undefined,
    fading: false,
    faded: 0,
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
    entry.pending = entry.quiet ? 0 : 1;
    try {
      return await fetchCode(entry, depth, env, ctx);
    } catch (error) {
      entry.lost = true;
      forget(entry);
      throw error;
    }
  };
  loadedOne();
  return { entry };
}

/** The code of a version, undefined if it is a site and nothing else; fills the entry. */
async function fetchCode(entry, depth, env, ctx) {
  const path = "http://daemon/versions/" + encodeURIComponent(entry.version);
  const response = await env.DAEMON.fetch(path);
  if (response.status !== 200) throw new Error("the daemon answered " + response.status);
  if (entry.weight === undefined) {
    entry.weight = weightOf(Number(response.headers.get("content-length")));
    if (entry.weight > 1) await evictOldest(entry, env, entry.weight);
  }
  const { code, header } = await readDocument(response, entry.quiet);
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

const weightOf = (bytes) => 1 + Math.floor((COPIES * bytes) / LITTLE);

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
  failed.set(version, { at: Date.now(), wait, reason });
}
