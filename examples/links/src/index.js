// Short links: PUT /name with an address makes one, GET /name leads there, GET / lists them.

const WEEK = 7 * 24 * 60 * 60;

export default {
  async fetch(request, env) {
    const name = new URL(request.url).pathname.slice(1);
    if (name === "") {
      const { keys } = await env.LINKS.list();
      return Response.json(keys.map(({ name, metadata }) => ({ name, ...metadata })));
    }
    switch (request.method) {
      case "PUT": {
        const to = await request.text();
        if (!URL.canParse(to)) return new Response("that is no address\n", { status: 400 });
        await env.LINKS.put(name, to, { expirationTtl: WEEK, metadata: { to } });
        return new Response(`${new URL(request.url)}\n`, { status: 201 });
      }
      case "DELETE":
        await env.LINKS.delete(name);
        return new Response(null, { status: 204 });
      case "GET": {
        const to = await env.LINKS.get(name);
        return to === null ? new Response("no such link\n", { status: 404 }) : Response.redirect(to);
      }
    }
    return new Response(null, { status: 405, headers: { allow: "GET, PUT, DELETE" } });
  },
};
