import * as workers from "cloudflare:workers";
import { connect } from "cloudflare:sockets";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { AsyncLocalStorage } from "node:async_hooks";

const atStart = { now: Date.now(), random: undefined };
try {
  atStart.random = Math.random() < 1;
} catch (error) {
  atStart.random = error.message;
}

export default ({ request, ctx }) => ({
  "navigator.userAgent": () => navigator.userAgent,
  "names of cloudflare:workers": () => Object.keys(workers).sort(),
  "ctx": () => ["waitUntil", "passThroughOnException", "props", "exports"].map((name) => typeof ctx[name]),
  "ctx.props": () => ctx.props,
  "ctx.exports": () => Object.keys(ctx.exports).sort(),
  "globals": () =>
    ["caches", "crypto", "fetch", "HTMLRewriter", "WebSocketPair", "process", "Buffer", "global", "scheduler",
      "Cloudflare", "performance", "MessageChannel", "EventSource", "gc", "require", "XMLHttpRequest", "localStorage"]
      .map((name) => `${name} ${typeof globalThis[name]}`),
  "other globals": () => Object.getOwnPropertyNames(globalThis).sort().join(" "),
  "compatibility flags": () => [
    Cloudflare.compatibilityFlags.nodejs_compat, Cloudflare.compatibilityFlags.global_navigator,
  ],
  "eval": () => eval("1"),
  "new Function": () => new Function("return 1")(),
  "WebAssembly from bytes": async () => {
    await WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));
  },
  "the time at the start": () => atStart.now > 0,
  "chance at the start": () => atStart.random,
  "the time goes on": async () => {
    const began = Date.now();
    await scheduler.wait(20);
    return Date.now() > began;
  },
  "caches.default": async () => {
    const key = "http://cached.example/x";
    const before = await caches.default.match(key);
    await caches.default.put(key, new Response("kept", { headers: { "cache-control": "max-age=60" } }));
    const found = await caches.default.match(key);
    return [before === undefined, await found?.text(), await caches.default.delete(key)];
  },
  "caches.open": async () => {
    const cache = await caches.open("own");
    await cache.put("http://cached.example/y", new Response("kept", { headers: { "cache-control": "max-age=60" } }));
    return (await cache.match("http://cached.example/y"))?.text();
  },
  "crypto.subtle": async () =>
    Buffer.from(await crypto.subtle.digest("SHA-256", new TextEncoder().encode("x"))).toString("hex"),
  "crypto.DigestStream": async () => {
    const stream = new crypto.DigestStream("MD5");
    await new Response("x").body.pipeTo(stream);
    return Buffer.from(await stream.digest).toString("hex");
  },
  "node:crypto": () => createHash("sha1").update("x").digest("hex"),
  "AsyncLocalStorage": async () => {
    const storage = new AsyncLocalStorage();
    return storage.run("kept", async () => (await scheduler.wait(1), storage.getStore()));
  },
  "HTMLRewriter": async () => {
    const page = new Response("<p class=a>x</p>", { headers: { "content-type": "text/html" } });
    const rewriter = new HTMLRewriter().on("p.a", { element: (e) => void e.setInnerContent("y") });
    return rewriter.transform(page).text();
  },
  "structuredClone": () => structuredClone({ a: new Map([[1, new Date(0)]]) }),
  "WebSocketPair": async () => {
    const [client, server] = Object.values(new WebSocketPair());
    server.accept();
    client.accept();
    const got = new Promise((resolve) => client.addEventListener("message", ({ data }) => resolve(data)));
    server.send("hi");
    return got;
  },
  "compression": async () => {
    const packed = new Response("x".repeat(100)).body.pipeThrough(new CompressionStream("gzip"));
    return (await new Response(packed.pipeThrough(new DecompressionStream("gzip"))).text()).length;
  },
  "AbortSignal.timeout": async () => {
    try {
      await scheduler.wait(5000, { signal: AbortSignal.timeout(10) });
    } catch (error) {
      return error.name;
    }
  },
  "request.cf": () => (typeof request.cf === "object" ? "an object" : typeof request.cf),
  "request.cf.country": () => typeof request.cf?.country,
  "request.cf.tlsVersion": () => typeof request.cf?.tlsVersion,
  "request.signal": () => request.signal?.aborted,
  "fetch of this machine": async () => (await fetch("http://127.0.0.1:9/")).status,
  "connect to this machine": async () => {
    const socket = connect({ hostname: "127.0.0.1", port: 9 });
    await socket.opened;
  },
  "fetch of a name that is none": async () => {
    try {
      return (await fetch("http://no-such-host.invalid/")).status;
    } catch (error) {
      return error.message.replace(/[0-9a-z]{20,}/, "…");
    }
  },
  "fetch without a scheme": async () => (await fetch("/path")).status,
});
