import { getD1 } from "wrkst-d1";

// A guest book in the database that every function has: nothing is configured for it.
export default {
  async fetch(request: Request, env: unknown): Promise<Response> {
    const db = getD1(env);
    await db.exec(`
      CREATE TABLE IF NOT EXISTS guests (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        visits INTEGER NOT NULL DEFAULT 1
      )
    `);
    const name = new URL(request.url).searchParams.get("name");
    if (name === null) {
      const { results } = await db.prepare("SELECT name, visits FROM guests ORDER BY id").all();
      return Response.json(results);
    }
    const { visits } = await db
      .prepare(
        "INSERT INTO guests (name) VALUES (?)" +
          " ON CONFLICT (name) DO UPDATE SET visits = visits + 1 RETURNING visits",
      )
      .bind(name)
      .first();
    return new Response(`Hello ${name}, this is your visit number ${visits}.\n`);
  },
};
