// Rate limits, counted in this process: by account, namespace and key, over a window that slides.
//
// Of the window before this one as much counts as the sliding window still covers of it, as if its
// requests had come evenly. So at most about `limit` requests pass in any `period`.

import { WorkerEntrypoint } from "cloudflare:workers";

/** How many keys a namespace counts in one window; the ones counted first are let go of. */
const KEYS_MOST = 10_000;
const NAMESPACES_MOST = 1000;
const KEY_CHARACTERS = 256;

const namespaces = new Map();

class Windows {
  #epoch = 0;
  #now = new Map();
  #before = new Map();

  /** Whether one more may pass; counts it then. `at` is the time in windows. */
  take(key, limit, at) {
    this.#turn(Math.floor(at));
    const past = (this.#before.get(key) ?? 0) * (1 - (at - this.#epoch));
    const count = this.#now.get(key) ?? 0;
    if (past + count >= limit) return false;
    if (count === 0 && this.#now.size >= KEYS_MOST) dropFirst(this.#now);
    this.#now.set(key, count + 1);
    return true;
  }

  #turn(epoch) {
    if (epoch === this.#epoch) return;
    this.#before = epoch === this.#epoch + 1 ? this.#now : new Map();
    this.#now = new Map();
    this.#epoch = epoch;
  }
}

function dropFirst(map) {
  map.delete(map.keys().next().value);
}

/** Long keys are told apart by their digest, so that a key cannot take much memory. */
async function short(key) {
  if (key.length <= KEY_CHARACTERS) return key;
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key));
  return "sha256:" + new Uint8Array(digest).toHex();
}

function windowsOf(name) {
  let windows = namespaces.get(name);
  // The one used longest ago is the first to go.
  if (windows === undefined) windows = new Windows();
  else namespaces.delete(name);
  namespaces.set(name, windows);
  if (namespaces.size > NAMESPACES_MOST) dropFirst(namespaces);
  return windows;
}

/** Answers 204 if the key in the body may pass, 429 if not. Its props come from the binding. */
export class RateLimit extends WorkerEntrypoint {
  async fetch(request) {
    const { account, namespace, limit, period } = this.ctx.props;
    const key = await short(await request.text());
    const windows = windowsOf(`${account} ${period} ${namespace}`);
    const passes = windows.take(key, limit, Date.now() / (period * 1000));
    return new Response(null, { status: passes ? 204 : 429 });
  }
}
