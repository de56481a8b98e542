// workerd's Durable Object classes with what the platform needs besides.

import { KVNamespace as BundledKV } from "kv.js";
import { D1Database as BundledD1 } from "d1.js";
import { QueueShard as BundledShard } from "queues.js";
import { check, statementsOf } from "dump.js";
import { Ingest } from "ingest.js";
import { statements } from "sql.js";

/** The path of files of SQL, which functions cannot ask for. */
const TRANSFER = "/transfer";
const BOOKMARK = "x-cf-d1-session-commit-token";

const named = (columns, row) => Object.fromEntries(columns.map((name, i) => [name, row[i]]));

/** Characters of answers since garbage was collected, and how many may be. */
let left = 0;
const LEFT_MOST = 16 * 1024 * 1024;

/** V8 does not know how little memory the process may have: it would leave a few large answers. */
function collectWhenDue() {
  if (left < LEFT_MOST) return;
  left = 0;
  __workerd_faas_gc();
}

const STATEMENTS = ["/query", "/execute"];

/** A request in the protocol of workerd's D1 binding. */
export async function askDatabase(request, id, env) {
  const known = STATEMENTS.includes(new URL(request.url).pathname);
  if (!known || request.method !== "POST") {
    return Response.json({ error: "Not found" }, { status: 404 });
  }
  try {
    return await env.DATABASE.getByName(id).fetch(request);
  } catch (error) {
    return Response.json({ success: false, error: String(error?.message ?? error) });
  }
}

/** Characters of SQL that are written at once. */
const PART = 1024 * 1024;
/** What follows the last of them: a stream that breaks off looks as if it had come to its end. */
const END = new Uint8Array([0]);

/** What functions are told that still bind something that was deleted. */
export const GONE = "It was deleted.";

/** Forget everything, and start afresh should anybody come back. */
async function empty(ctx, gone = false) {
  await ctx.storage.deleteAlarm();
  await ctx.storage.deleteAll();
  if (gone) ctx.storage.kv.put("gone", true);
  await ctx.storage.sync();
  ctx.waitUntil(scheduler.wait(0).then(() => ctx.abort("deleted")));
}

/** Forget everything, for good: what came later would be kept where nobody sees it. */
const destroy = (ctx) => empty(ctx, true);

/** Lines as bytes, many at once. */
function* parts(lines) {
  const encoder = new TextEncoder();
  let text = "";
  for (const line of lines) {
    text += line + "\n";
    if (text.length < PART) continue;
    yield encoder.encode(text);
    text = "";
  }
  yield encoder.encode(text);
}

function checkThere(ctx) {
  if (ctx.storage.kv.get("gone")) throw new Error(GONE);
}

export class KVNamespace extends BundledKV {
  constructor(ctx, env) {
    checkThere(ctx);
    super(ctx, env);
  }

  async destroy() {
    const stored = this.sql.exec(
      "SELECT blob FROM entries WHERE blob IS NOT NULL UNION SELECT blob FROM garbage",
    );
    for (const { blob } of stored.toArray()) {
      await this.env.BLOBS.fetch("http://blobs/" + blob, { method: "DELETE" });
    }
    await destroy(this.ctx);
  }
}

export class D1Database extends BundledD1 {
  constructor(ctx, env) {
    checkThere(ctx);
    super(ctx, env);
  }

  /** As the bundled one; what `exec()` sends may be lines of longer statements. */
  run(queries, bookmarked) {
    try {
      return this.#timed(queries, bookmarked);
    } catch (error) {
      if (!queries[0]?.lines || !error.message.includes("incomplete input")) throw error;
      const whole = statements(queries.map(({ sql }) => sql).join("\n"));
      if (whole.length >= queries.length) throw error;
      return this.#timed(
        whole.map((sql) => ({ sql })),
        bookmarked,
      );
    }
  }

  /** With the time it took. */
  #timed(queries, bookmarked) {
    const began = performance.now();
    const answer = super.run(queries, bookmarked);
    const duration = (performance.now() - began) / answer.results.length;
    for (const { meta } of answer.results) {
      meta.duration = duration;
      meta.timings.sql_duration_ms = duration;
    }
    return answer;
  }

  /** See dump.js. */
  dump(noSchema, noData, ...tables) {
    const { sql } = this.ctx.storage;
    check(sql, tables);
    return [...statementsOf(sql, { noSchema, noData, tables })];
  }

  /**
   * Statements of functions, and files of SQL. Not calls of methods: what these bring along may have
   * 32 MiB, and is in memory twice more.
   */
  fetch(request) {
    if (new URL(request.url).pathname !== TRANSFER) return this.#answer(request);
    return this.#transfer(request);
  }

  /** As the bundled Worker answers its binding. */
  async #answer(request) {
    try {
      const asked = await request.json();
      collectWhenDue();
      const bookmarked = request.headers.get(BOOKMARK)?.trim();
      const { results, bookmark } = this.run([asked].flat(), !!bookmarked);
      const asRows = new URL(request.url).searchParams.get("resultsFormat") === "ROWS_AND_COLUMNS";
      const answers = results.map(({ columns, rows, meta }) => ({
        success: true,
        results: asRows ? { columns, rows } : rows.map((row) => named(columns, row)),
        meta,
      }));
      const text = JSON.stringify(answers);
      left += text.length;
      const headers = { "content-type": "application/json" };
      if (bookmark) headers[BOOKMARK] = bookmark;
      return new Response(text, { headers });
    } catch (error) {
      return Response.json({ success: false, error: String(error?.message ?? error) });
    }
  }

  /** Meanwhile nobody else has the database, as at Cloudflare; workerd ends that in half a minute. */
  async #transfer(request) {
    try {
      if (request.method === "PUT") return Response.json(await this.#ingest(request.body));
      const options = await request.json();
      check(this.ctx.storage.sql, options.tables);
      return new Response(this.#dumped(options));
    } catch (error) {
      return Response.json({ error: String(error?.message ?? error) }, { status: 400 });
    }
  }

  #dumped(options) {
    const { readable, writable } = new IdentityTransformStream();
    const writer = writable.getWriter();
    // The answer has to be on its way before nothing else happens here.
    const answered = scheduler.wait(1);
    const work = async () => {
      for (const part of parts(statementsOf(this.ctx.storage.sql, options))) {
        await writer.write(part);
      }
      await writer.write(END);
      await writer.close();
    };
    const written = answered.then(() => this.#alone(work));
    this.ctx.waitUntil(written.catch((error) => writer.abort(error)).catch(() => {}));
    return readable;
  }

  /** Run a whole file of SQL in one transaction. */
  async #ingest(stream) {
    const began = performance.now();
    const { sql } = this.ctx.storage;
    const file = new Ingest(sql);
    await this.#alone(() =>
      this.ctx.storage.transaction(async () => {
        for await (const text of stream.pipeThrough(new TextDecoderStream())) file.add(text);
        file.end();
      }),
    );
    return {
      num_queries: file.statementCount,
      meta: {
        duration: performance.now() - began,
        rows_read: file.rowsRead,
        rows_written: file.rowsWritten,
        size_after: sql.databaseSize,
      },
    };
  }

  /** Run work while nothing else happens here. A failure of it must not end this object. */
  async #alone(work) {
    const { error } = await this.ctx.blockConcurrencyWhile(async () => {
      try {
        await work();
        return {};
      } catch (error) {
        return { error };
      }
    });
    if (error !== undefined) throw error;
  }

  /**
   * As the bundled one, which writes a table and its rows, then the next table. Rows cannot refer to
   * a table that comes later: then all tables come before all rows.
   */
  dump(...options) {
    const lines = super.dump(...options);
    if (!this.#refersToLater()) return lines;
    const isTable = (line) => line.startsWith("CREATE TABLE");
    const [first, ...rest] = lines;
    return [first, ...rest.filter(isTable), ...rest.filter((line) => !isTable(line))];
  }

  #refersToLater() {
    const sql = this.ctx.storage.sql;
    const seen = new Set();
    for (const { name } of sql
      .exec("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid")
      .toArray()) {
      seen.add(name.toLowerCase());
      const keys = sql.exec('SELECT "table" AS of FROM pragma_foreign_key_list(?)', name);
      if (keys.toArray().some(({ of }) => !seen.has(of.toLowerCase()))) return true;
    }
    return false;
  }

  info() {
    const sql = this.ctx.storage.sql;
    const { tables } = sql
      .exec(
        "SELECT count(*) AS tables FROM sqlite_schema WHERE type = 'table'" +
          " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'",
      )
      .one();
    return { num_tables: tables, file_size: sql.databaseSize };
  }

  destroy() {
    return destroy(this.ctx);
  }
}

export class QueueShard extends BundledShard {
  constructor(ctx, env) {
    checkThere(ctx);
    super(ctx, env);
  }

  destroy() {
    return destroy(this.ctx);
  }

  purge() {
    return empty(this.ctx);
  }
}
