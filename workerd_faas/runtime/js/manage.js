// What the management API asks of a state cell: bulk changes of keys, SQL, deletion.

import kv from "kv.js";
import { GONE } from "objects.js";
import { destroy, metrics, purge } from "queue.js";
import { statements } from "sql.js";

const AT_ONCE = 32;

const ROUTES = {
  "PUT /kv/bulk": putKeys,
  "DELETE /kv/bulk": deleteKeys,
  "DELETE /kv": (_request, id, env) => object(env.KV, id).destroy(),
  "POST /d1/query": query,
  "POST /d1/import": (request, id, env) =>
    object(env.DATABASE, id).fetch("http://d1/", { method: "PUT", body: request.body }),
  "POST /d1/export": dump,
  "GET /d1": (_request, id, env) => object(env.DATABASE, id).info(),
  "DELETE /d1": (_request, id, env) => object(env.DATABASE, id).destroy(),
  "GET /queue": (_request, id, env) => metrics(id, env),
  "POST /queue/purge": (_request, id, env) => purge(id, env),
  "DELETE /queue": (_request, id, env) => destroy(id, env),
};

export async function manage(request, id, env) {
  const route = ROUTES[`${request.method} ${new URL(request.url).pathname}`];
  if (route === undefined) return new Response(null, { status: 404 });
  try {
    const answer = await route(request, id, env);
    return answer instanceof Response ? answer : Response.json(answer ?? null);
  } catch (error) {
    const message = String(error?.message ?? error);
    if (request.method === "DELETE" && message === GONE) return Response.json(null);
    return Response.json({ error: message }, { status: 400 });
  }
}

const object = (namespace, name) => namespace.get(namespace.idFromName(name));

// Keys.

async function inParts(list, work) {
  for (let i = 0; i < list.length; i += AT_ONCE) {
    await Promise.all(list.slice(i, i + AT_ONCE).map(work));
  }
}

const kvEnv = (env) => ({ SHARD: env.KV, BLOBS: env.BLOBS });

function kvCall(id, env, method, key, { query = "", metadata = null, value } = {}) {
  const request = {
    url: `http://kv/${encodeURIComponent(key)}${query}`,
    method,
    headers: { get: (name) => (name === "CF-KV-Metadata" ? metadata : null) },
    arrayBuffer: () => value,
  };
  return kv.fetch(request, kvEnv(env), { props: { namespace: id } });
}

const MAX_CHANGES = 10_000;
const MAX_KEY = 512;
const PAIR = ["key", "value", "base64", "expiration", "expiration_ttl", "metadata"];

async function listOf(request) {
  const list = await request.json();
  if (!Array.isArray(list)) throw new Error("The body must be a JSON array.");
  if (list.length > MAX_CHANGES) throw new Error(`At most ${MAX_CHANGES} keys at once.`);
  return list;
}

function checkKey(key) {
  if (typeof key !== "string" || key === "" || key === "." || key === "..") {
    throw new Error(`A key must be a string that is not empty and not "." or "..".`);
  }
  const { length } = new TextEncoder().encode(key);
  if (length > MAX_KEY) throw new Error(`A key has ${length} bytes; ${MAX_KEY} are allowed.`);
}

function checkPair(pair) {
  checkKey(pair?.key);
  const unknown = Object.keys(pair).find((name) => !PAIR.includes(name));
  if (unknown !== undefined) throw new Error(`${JSON.stringify(unknown)} is not known.`);
  if (typeof pair.value !== "string") throw new Error("A value must be a string.");
  if (pair.base64) atob(pair.value);
}

async function putKeys(request, id, env) {
  const pairs = await listOf(request);
  pairs.forEach(checkPair);
  const failed = [];
  let done = 0;
  await inParts(pairs, async ({ key, value, base64, expiration, expiration_ttl, metadata }) => {
    const params = new URLSearchParams();
    if (expiration != null) params.set("expiration", expiration);
    if (expiration_ttl != null) params.set("expiration_ttl", expiration_ttl);
    const response = await kvCall(id, env, "PUT", key, {
      query: "?" + params,
      metadata: metadata == null ? null : JSON.stringify(metadata),
      value: base64
        ? Uint8Array.from(atob(value), (character) => character.charCodeAt(0))
        : new TextEncoder().encode(value),
    });
    if (response.ok) done++;
    else failed.push({ key, error: response.statusText });
  });
  return { done, failed };
}

async function deleteKeys(request, id, env) {
  const keys = await listOf(request);
  keys.forEach(checkKey);
  await inParts(keys, (key) => kvCall(id, env, "DELETE", key));
  return { done: keys.length, failed: [] };
}

// Databases.

async function query(request, id, env) {
  const asked = await request.json();
  const queries = asked.flatMap(({ sql, params = [] }) => {
    const found = statements(sql);
    if (found.length > 1 && params.length > 0) {
      throw new Error("Parameters can be bound to one statement only.");
    }
    return found.map((text) => ({ sql: text, params }));
  });
  const { results } = await object(env.DATABASE, id).run(queries, false);
  const shape = SHAPES[new URL(request.url).searchParams.get("shape")];
  return shape === undefined ? results : results.map(shape);
}

/** Results as the API gives them: made here, since the daemon could not read many for all of us. */
const SHAPES = {
  objects: ({ columns, rows, meta }) => ({
    results: rows.map((row) => Object.fromEntries(columns.map((name, i) => [name, row[i]]))),
    success: true,
    meta,
  }),
  raw: ({ columns, rows, meta }) => ({ results: { columns, rows }, success: true, meta }),
};

async function dump(request, id, env) {
  const { no_schema, no_data, tables } = await request.json();
  const body = JSON.stringify({ noSchema: no_schema, noData: no_data, tables });
  return object(env.DATABASE, id).fetch("http://d1/", { method: "POST", body });
}
