// Everything below /api; all other paths are the site's.

const CENTS = 450;

export default {
  fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname !== "/api/quote") return new Response("no such thing\n", { status: 404 });
    const count = Number(searchParams.get("count") ?? 1);
    if (!Number.isInteger(count) || count < 1) {
      return new Response("count is a whole number from 1\n", { status: 400 });
    }
    return Response.json({ count, cents: count * CENTS });
  },
};
