// A guest book: POST / signs it, GET / reads it, newest first.

interface Env {
  DB: D1Database;
}

interface Entry {
  name: string;
  text: string;
}

export default {
  async fetch(request, env): Promise<Response> {
    if (request.method === "POST") {
      const { name, text } = await request.json<Entry>();
      const done = await env.DB.prepare("INSERT INTO entries (name, text, written) VALUES (?, ?, ?)")
        .bind(name, text, new Date().toISOString())
        .run();
      return Response.json({ id: done.meta.last_row_id }, { status: 201 });
    }
    const { results } = await env.DB.prepare(
      "SELECT id, name, text FROM entries ORDER BY id DESC LIMIT 20",
    ).all<Entry>();
    return Response.json(results);
  },
} satisfies ExportedHandler<Env>;
