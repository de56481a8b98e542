// Keys as functions and the API ask for them: workerd's own KV, which has each value in memory whole.
// A process has room for few of the largest, so what is not stored inline goes between disk and
// caller as it comes: `BLOBS` is ours while such a request is served.

import kv from "kv.js";

/**
 * `BLOBS` whose files are on the disk when they have been written: the daemon sees to that, since
 * workerd does not.
 */
export const synced = ({ BLOBS, DAEMON }) => ({
  async fetch(url, init) {
    const response = await BLOBS.fetch(url, init);
    if (init?.method !== "PUT" || !response.ok) return response;
    const body = new URL(url).pathname.slice(1);
    const { status } = await DAEMON.fetch("http://daemon/sync", { method: "POST", body });
    if (status !== 204) throw new Error(`the value could not be synced to the disk: ${status}`);
    return response;
  },
});

/** As in kv.js: what is larger is a blob; what a value may have. */
const INLINE = 64 * 1024;
const MAX_VALUE = 25 * 1024 * 1024;
const PART = 64 * 1024;
/** Reads of many keys that are answered at a time: each may have 25 MiB in memory. */
const MANY_AT_ONCE = 2;

/** A request in the protocol of workerd's KV binding. */
export async function serve(request, id, env) {
  const { pathname } = new URL(request.url);
  if (request.method === "GET" && pathname !== "/") return get(request, id, env);
  if (request.method === "PUT" && isLarge(request)) return put(request, id, env);
  if (pathname === "/bulk/get") return oneOfFew(() => call(asKV(request), id, env));
  return call(asKV(request), id, env);
}

const call = (request, id, env, BLOBS = synced(env)) =>
  kv.fetch(request, { SHARD: env.KV, BLOBS }, { props: { namespace: id } });

/** Metadata travels as ASCII, since headers cannot hold every text. */
function asKV(request, value) {
  const sent = request.headers.get("kv-metadata");
  const metadata = sent === null ? null : JSON.stringify(JSON.parse(sent));
  return {
    url: request.url,
    method: request.method,
    headers: { get: (name) => (name === "CF-KV-Metadata" ? metadata : null) },
    arrayBuffer: () => value ?? request.arrayBuffer(),
    json: () => request.json(),
  };
}

async function get(request, id, env) {
  let blob;
  const stored = {
    async fetch(url) {
      const response = await env.BLOBS.fetch(url);
      if (!response.ok) return response;
      await blob?.cancel();
      blob = response.body;
      return { ok: true, status: 200, arrayBuffer: () => new ArrayBuffer(0) };
    },
  };
  const response = await call(asKV(request), id, env, stored);
  return blob === undefined ? response : new Response(blob, response);
}

const isStream = (request) => request.headers.has("kv-stream");
const lengthOf = (request) => Number(request.headers.get("content-length"));
const isLarge = (request) => isStream(request) || lengthOf(request) > INLINE;

function put(request, id, env) {
  const stored = {
    fetch: (url) => (isStream(request) ? putStream : putWhole)(url, request, synced(env)),
  };
  // Takes the place of the value, to be one that is not stored inline.
  return call(asKV(request, new ArrayBuffer(INLINE + 1)), id, env, stored);
}

const failure = (status, message) => Object.assign(new Error(message), { status });
const brokenOff = () => failure(400, "The value's stream broke off.");

function checkLength(length) {
  if (length > MAX_VALUE) {
    throw failure(413, `Value length of ${length} exceeds limit of ${MAX_VALUE}.`);
  }
}

/** A body that breaks off may look as if it had come to its end: so what is stored is looked at. */
async function putWhole(url, request, blobs) {
  const length = lengthOf(request);
  checkLength(length);
  const response = await blobs.fetch(url, { method: "PUT", body: request.body });
  if (!response.ok) return response;
  const found = await blobs.fetch(url, { method: "HEAD" });
  if (Number(found.headers.get("content-length")) !== length) throw brokenOff();
  return response;
}

/** A stream's last byte says that it is the last one (client_kv.js), and is none of the value. */
async function putStream(url, request, blobs) {
  const { readable, writable } = new IdentityTransformStream();
  const copied = copy(request.body, writable.getWriter());
  const answered = blobs.fetch(url, { method: "PUT", body: readable });
  const [copy_, answer] = await Promise.allSettled([copied, answered]);
  if (copy_.status === "rejected") throw copy_.reason;
  if (answer.status === "rejected") throw answer.reason;
  return answer.value;
}

async function copy(stream, writer) {
  try {
    const reader = stream.getReader({ mode: "byob" });
    let length = -1;
    let held;
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(PART));
      if (done) break;
      checkLength((length += value.byteLength));
      if (held !== undefined) await writer.write(held);
      held = value;
    }
    if (held?.at(-1) !== 1) throw brokenOff();
    if (held.byteLength > 1) await writer.write(held.subarray(0, -1));
    await writer.close();
  } catch (error) {
    writer.abort(error).catch(() => {});
    throw error;
  }
}

let underWay = 0;
const waiting = [];

async function oneOfFew(work) {
  if (underWay >= MANY_AT_ONCE) await new Promise((resolve) => waiting.push(resolve));
  else underWay++;
  try {
    return await work();
  } finally {
    const next = waiting.shift();
    if (next === undefined) underWay--;
    else next();
  }
}
