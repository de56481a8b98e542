// Many keys that the management API changes at once.

import { elementsOf } from "elements.js";
import kv from "kv.js";
import { synced } from "values.js";

const AT_ONCE = 32;
/** Characters of values that are stored at once, unless one has more. */
const TOGETHER = 1024 * 1024;
const MAX_CHANGES = 10_000;
const MAX_KEY = 512;
const PAIR = ["key", "value", "base64", "expiration", "expiration_ttl", "metadata"];

const encoder = new TextEncoder();

/** Throws what is wrong with the pairs of a request, of which none is stored then. */
export async function checkPairs(request) {
  let count = 0;
  for await (const pair of elementsOf(request.body)) {
    checkCount(++count);
    checkPair(pair);
  }
  return { count };
}

/** Store pairs that have been checked. */
export async function putPairs(request, id, env) {
  const outcome = { done: 0, failed: [] };
  const put = async (pair) => {
    const response = await putPair(pair, id, env);
    if (response.ok) outcome.done++;
    else outcome.failed.push({ key: pair.key, error: response.statusText });
  };
  let part = [];
  let size = 0;
  for await (const pair of elementsOf(request.body)) {
    checkPair(pair);
    part.push(pair);
    size += pair.value.length;
    if (part.length < AT_ONCE && size < TOGETHER) continue;
    await together(part, put);
    part = [];
    size = 0;
  }
  await together(part, put);
  return outcome;
}

export async function deleteKeys(request, id, env) {
  const keys = await request.json();
  if (!Array.isArray(keys)) throw new Error("The body must be a JSON array.");
  checkCount(keys.length);
  keys.forEach(checkKey);
  for (let i = 0; i < keys.length; i += AT_ONCE) {
    await together(keys.slice(i, i + AT_ONCE), (key) => call(id, env, "DELETE", key));
  }
  return { done: keys.length, failed: [] };
}

/** And let others have a turn, the daemon's probes among them. */
async function together(list, work) {
  await Promise.all(list.map(work));
  await scheduler.wait(0);
}

function putPair({ key, value, base64, expiration, expiration_ttl, metadata }, id, env) {
  const params = new URLSearchParams();
  if (expiration != null) params.set("expiration", expiration);
  if (expiration_ttl != null) params.set("expiration_ttl", expiration_ttl);
  return call(id, env, "PUT", key, {
    query: "?" + params,
    metadata: metadata == null ? null : JSON.stringify(metadata),
    value: base64 ? Uint8Array.fromBase64(value) : encoder.encode(value),
  });
}

function call(id, env, method, key, { query = "", metadata = null, value } = {}) {
  const request = {
    url: `http://kv/${encodeURIComponent(key)}${query}`,
    method,
    headers: { get: (name) => (name === "CF-KV-Metadata" ? metadata : null) },
    arrayBuffer: () => value,
  };
  return kv.fetch(request, { SHARD: env.KV, BLOBS: synced(env) }, { props: { namespace: id } });
}

function checkCount(count) {
  if (count > MAX_CHANGES) throw new Error(`At most ${MAX_CHANGES} keys at once.`);
}

function checkKey(key) {
  if (typeof key !== "string" || key === "" || key === "." || key === "..") {
    throw new Error(`A key must be a string that is not empty and not "." or "..".`);
  }
  const { length } = encoder.encode(key);
  if (length > MAX_KEY) throw new Error(`A key has ${length} bytes; ${MAX_KEY} are allowed.`);
}

function checkPair(pair) {
  checkKey(pair?.key);
  const unknown = Object.keys(pair).find((name) => !PAIR.includes(name));
  if (unknown !== undefined) throw new Error(`${JSON.stringify(unknown)} is not known.`);
  if (typeof pair.value !== "string") throw new Error("A value must be a string.");
  if (pair.base64) atob(pair.value);
}
