export default ({ env }) => {
  const { OTHER, NAMED } = env;
  return {
    "fetch": async () => {
      const request = new Request("http://anything.example/p?q=1", {
        method: "POST", body: "hello", headers: { "x-sent": "1" },
      });
      return (await OTHER.fetch(request)).json();
    },
    "fetch of a path alone": async () => (await OTHER.fetch("/p")).status,
    "status and headers": async () => {
      const response = await OTHER.fetch("http://x.example/teapot");
      return [response.status, response.statusText, response.headers.get("x-other"), await response.text()];
    },
    "a redirect": async () => (await OTHER.fetch("http://x.example/away", { redirect: "manual" })).status,
    "a stream": async () => (await OTHER.fetch("http://x.example/stream")).text(),
    "a WebSocket": async () => {
      const response = await OTHER.fetch("http://x.example/socket", { headers: { upgrade: "websocket" } });
      const socket = response.webSocket;
      const answer = new Promise((resolve) => socket.addEventListener("message", ({ data }) => resolve(data)));
      socket.accept();
      socket.send("ping");
      const text = await answer;
      socket.close(1000, "bye");
      return [response.status, text];
    },
    "an exception in fetch": async () => (await OTHER.fetch("http://x.example/throw")).status,
    "a method": () => OTHER.add(1, 2),
    "values": () => OTHER.same([1, "é", null, true, { a: [1.5] }, new Date(0), new Uint8Array([1, 2]), new Map([[1, 2]]), new Set([3])]),
    "undefined": () => OTHER.same(undefined),
    "a bigint": () => OTHER.same(7n),
    "a large value": async () => (await OTHER.same("x".repeat(1_000_000))).length,
    "an instance of a class": () => OTHER.same(new (class Own { x = 1; })()),
    "an exception": () => OTHER.fails(),
    "an own exception": () => OTHER.failsTyped(),
    "an exception's stack": () => OTHER.fails().catch((error) => typeof error.stack),
    "a method that is not there": () => OTHER.nobody(),
    "a property": async () => OTHER.value,
    "a private method": () => OTHER["#hidden"](),
    "a method of Object": () => OTHER.hasOwnProperty("x"),
    "constructor": () => OTHER.constructor("x"),
    "a function as argument": () => OTHER.calls((x) => x + 1),
    "a function as answer": async () => {
      using answer = await OTHER.counter();
      return [await answer(), await answer()];
    },
    "a target": async () => {
      using target = await OTHER.target(5);
      return [await target.more(1), await target.more(2), await target.value];
    },
    "a call on what is promised": () => OTHER.target(5).more(3),
    "a stream as argument": () => OTHER.length(new Response("four").body),
    "a stream as answer": async () => new Response(await OTHER.stream()).text(),
    "a request as argument": () => OTHER.url(new Request("http://y.example/z")),
    "a response as answer": async () => (await OTHER.response()).text(),
    "a named entrypoint": () => NAMED.who(),
    "fetch of a named entrypoint": async () => (await NAMED.fetch("http://x.example/")).text(),
    "props": () => NAMED.props(),
    "props without any": () => OTHER.props(),
    "the type of a binding": () => [typeof OTHER, typeof OTHER.fetch, typeof OTHER.anything],
  };
};
