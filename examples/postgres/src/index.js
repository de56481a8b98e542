import pg from "pg";

export default {
  async fetch(request, env, ctx) {
    const name = new URL(request.url).searchParams.get("name") ?? "World";
    // A connection belongs to the request that opened it: workerd lets no other one use it.
    const client = new pg.Client({ connectionString: env.DATABASE_URL });
    try {
      await client.connect();
      const { rows } = await client.query(
        "SELECT 'Hello, ' || $1::text || '!' AS greeting, current_setting('server_version') AS server",
        [name],
      );
      return Response.json(rows[0]);
    } catch (error) {
      console.error("query failed", error);
      return Response.json({ error: "the database did not answer" }, { status: 502 });
    } finally {
      ctx.waitUntil(client.end().catch(() => {}));
    }
  },
};
