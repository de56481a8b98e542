export default ({ env }) => {
  const get = async (path, init) => {
    const response = await env.ASSETS.fetch(`http://anywhere.example${path}`, init);
    const headers = Object.fromEntries(response.headers);
    for (const name of ["etag", "content-length", "cf-cache-status"]) delete headers[name];
    return [response.status, headers, await response.text()];
  };
  return {
    "a page": () => get("/page"),
    "with its extension": () => get("/page.html"),
    "a directory": () => get("/dir/"),
    "a directory without a slash": () => get("/dir"),
    "a text": () => get("/hello.txt"),
    "HEAD": () => get("/hello.txt", { method: "HEAD" }),
    "POST": () => get("/hello.txt", { method: "POST", body: "x" }),
    "nothing": () => get("/nothing"),
    "a redirect": () => get("/moved", { redirect: "manual" }),
    "a redirect that is followed": () => get("/moved"),
    "headers of _headers": () => get("/with-header.txt"),
    "a range": () => get("/hello.txt", { headers: { range: "bytes=1-3" } }),
    "If-None-Match": async () => {
      const first = await env.ASSETS.fetch("http://anywhere.example/hello.txt");
      await first.text();
      const headers = { "if-none-match": first.headers.get("etag") };
      return (await env.ASSETS.fetch("http://anywhere.example/hello.txt", { headers })).status;
    },
    "a name beyond ASCII": () => get("/%C3%BC.txt"),
    "the type of ASSETS.fetch": () => typeof env.ASSETS.fetch,
  };
};
