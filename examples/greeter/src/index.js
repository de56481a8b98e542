export default {
  async fetch(request, env) {
    const name = new URL(request.url).searchParams.get("name") ?? "World";
    return new Response(`${env.GREETING}, ${name}!\n`);
  },
};
