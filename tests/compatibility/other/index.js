// The other end of service bindings, and a tail consumer.

import { RpcTarget, WorkerEntrypoint } from "cloudflare:workers";

class Counter extends RpcTarget {
  #value;

  constructor(value) {
    super();
    this.#value = value;
  }

  get value() {
    return this.#value;
  }

  more(by) {
    return (this.#value += by);
  }
}

class OwnError extends TypeError {
  name = "OwnError";
}

export default class extends WorkerEntrypoint {
  value = "a field of the instance";

  async fetch(request) {
    const { pathname } = new URL(request.url);
    switch (pathname) {
      case "/teapot":
        return new Response("short", { status: 418, statusText: "Teapot", headers: { "x-other": "é" } });
      case "/away":
        return Response.redirect("http://elsewhere.example/");
      case "/throw":
        throw new Error("thrown in fetch");
      case "/stream":
        return new Response(await this.stream());
      case "/socket": {
        const [client, server] = Object.values(new WebSocketPair());
        server.accept();
        server.addEventListener("message", ({ data }) => server.send(`${data} pong`));
        return new Response(null, { status: 101, webSocket: client });
      }
    }
    const headers = Object.fromEntries([...request.headers].filter(([name]) => name.startsWith("x-")));
    return Response.json({
      url: request.url, method: request.method, headers, body: await request.text(), cf: typeof request.cf,
    });
  }

  add(a, b) {
    return a + b;
  }

  same(value) {
    return value;
  }

  fails() {
    throw new RangeError("thrown in a method");
  }

  failsTyped() {
    throw new OwnError("of an own class");
  }

  calls(given) {
    return given(41);
  }

  counter() {
    let count = 0;
    return () => ++count;
  }

  target(value) {
    return new Counter(value);
  }

  async length(stream) {
    return (await new Response(stream).text()).length;
  }

  stream() {
    const { readable, writable } = new TransformStream();
    const writer = writable.getWriter();
    const encoder = new TextEncoder();
    this.ctx.waitUntil(
      (async () => {
        for (const part of ["one ", "two ", "three"]) await writer.write(encoder.encode(part));
        await writer.close();
      })(),
    );
    return readable;
  }

  url(request) {
    return request.url;
  }

  response() {
    return new Response("as it is");
  }

  props() {
    return this.ctx.props;
  }

  names() {
    return Object.keys(this.env).sort();
  }

  database() {
    return this.env.D1 !== undefined;
  }

  async tail(events) {
    for (const event of events) {
      const path = event.event?.request && new URL(event.event.request.url).pathname;
      if (!path?.startsWith("/tailed")) continue;
      const { request, response } = event.event;
      const rows = {
        "names": Object.keys(event).sort(),
        "scriptName": event.scriptName,
        "entrypoint": event.entrypoint,
        "outcome": event.outcome,
        "scriptVersion": Object.keys(event.scriptVersion ?? {}).sort(),
        "logs": event.logs.map(({ level, message, timestamp }) => [level, message, typeof timestamp]),
        "exceptions": event.exceptions.map(({ name, message, timestamp }) => [name, message, typeof timestamp]),
        "request": [request.method, new URL(request.url).search, typeof request.headers, typeof request.cf],
        "a header that may be secret": request.headers.authorization,
        "a header": request.headers["x-tailed"],
        "response": response?.status,
        "times": [typeof event.eventTimestamp, typeof event.cpuTime, typeof event.wallTime],
        "truncated": event.truncated,
      };
      const named = Object.entries(rows).map(([what, value]) => [`${path.slice(8)}: ${what}`, value ?? null]);
      await this.env.TOLD.put(`told:tail:${path}`, JSON.stringify(named));
    }
  }
}

export class Named extends WorkerEntrypoint {
  fetch() {
    return new Response("the named one");
  }

  who() {
    return "named";
  }

  props() {
    return this.ctx.props;
  }
}
