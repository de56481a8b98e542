// What the management API asks of a state cell: bulk changes of keys, SQL, deletion.

import { checkPairs, deleteKeys, putPairs } from "bulk.js";
import { GONE } from "objects.js";
import { destroy, metrics, purge } from "queue.js";
import { statements } from "sql.js";

const ROUTES = {
  "POST /kv/bulk": checkPairs,
  "PUT /kv/bulk": putPairs,
  "DELETE /kv/bulk": deleteKeys,
  "DELETE /kv": (_request, id, env) => object(env.KV, id).destroy(),
  "POST /d1/query": query,
  "POST /d1/import": (request, id, env) =>
    object(env.DATABASE, id).fetch("http://d1/transfer", { method: "PUT", body: request.body }),
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
  return object(env.DATABASE, id).fetch("http://d1/transfer", { method: "POST", body });
}
