// workerd's Durable Object classes with what the platform needs besides.

import { KVNamespace as BundledKV } from "kv.js";
import { D1Database as BundledD1 } from "d1.js";
import { QueueShard as BundledShard } from "queues.js";

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

function check(ctx) {
  if (ctx.storage.kv.get("gone")) throw new Error(GONE);
}

export class KVNamespace extends BundledKV {
  constructor(ctx, env) {
    check(ctx);
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

/** How long an answer is kept for who lost it, in milliseconds, and how long it may be. */
const KEPT_FOR = 30_000;
const KEPT_LENGTH = 100_000;
const ONCE = "once/";

export class D1Database extends BundledD1 {
  /** Names of kept answers, the oldest first but for those of an earlier cell. */
  #kept;

  constructor(ctx, env) {
    check(ctx);
    super(ctx, env);
  }

  /**
   * As the bundled one, with the time it took. Changes that were made under the name `once` are not
   * made again: whoever asks again did not get the answer.
   */
  run(queries, bookmarked) {
    const once = queries[0]?.once;
    if (once === undefined) return this.#timed(queries, bookmarked);
    const { kv } = this.ctx.storage;
    const kept = kv.get(ONCE + once);
    if (kept !== undefined) {
      if (kept.answer === null) throw new Error("This was done, but its answer is lost.");
      return JSON.parse(kept.answer);
    }
    return this.ctx.storage.transactionSync(() => {
      const answer = this.#timed(queries, bookmarked);
      if (answer.results.some(({ meta }) => meta.changed_db)) this.#keep(once, answer);
      return answer;
    });
  }

  #keep(once, answer) {
    const { kv } = this.ctx.storage;
    const at = Date.now();
    const text = JSON.stringify(answer);
    this.#kept ??= Array.from(kv.list({ prefix: ONCE }), ([key, { at }]) => ({ key, at }));
    while (this.#kept.length > 0 && this.#kept[0].at < at - KEPT_FOR) {
      kv.delete(this.#kept.shift().key);
    }
    kv.put(ONCE + once, { at, answer: text.length > KEPT_LENGTH ? null : text });
    this.#kept.push({ key: ONCE + once, at });
  }

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

  /** Run a whole file of SQL in one transaction, statement by statement. */
  ingest(text) {
    const began = performance.now();
    const sql = this.ctx.storage.sql;
    return this.ctx.storage.transactionSync(() => {
      const done = sql.ingest(text);
      let { rowsRead, rowsWritten, statementCount } = done;
      if (done.remainder.trim() !== "") {
        const last = sql.exec(done.remainder);
        last.toArray();
        rowsRead += last.rowsRead;
        rowsWritten += last.rowsWritten;
        statementCount += 1;
      }
      return {
        num_queries: statementCount,
        meta: {
          duration: performance.now() - began,
          rows_read: rowsRead,
          rows_written: rowsWritten,
          size_after: sql.databaseSize,
        },
      };
    });
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
    check(ctx);
    super(ctx, env);
  }

  destroy() {
    return destroy(this.ctx);
  }

  purge() {
    return empty(this.ctx);
  }
}
