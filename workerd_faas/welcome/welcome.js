// The function that a new `--dev` installation starts with.
export default {
  async fetch(request) {
    const { hostname, pathname } = new URL(request.url);
    return new Response(`Hello from ${hostname}${pathname}\n`, {
      headers: { "content-type": "text/plain; charset=utf-8" },
    });
  },
};
