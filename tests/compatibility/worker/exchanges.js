// Requests that are looked at from outside.

const own = ["accept", "accept-encoding", "content-length", "content-type", "cookie", "host", "user-agent"];

function seen(request) {
  const headers = [...request.headers].sort(([a], [b]) => (a < b ? -1 : 1));
  return { method: request.method, url: request.url, redirect: request.redirect, headers };
}

const parts = (list) =>
  new ReadableStream({
    async start(controller) {
      for (const part of list) {
        controller.enqueue(new TextEncoder().encode(part));
        await scheduler.wait(1);
      }
      controller.close();
    },
  });

const answers = {
  seen: async ({ request }) => Response.json({ ...seen(request), body: await request.text() }),
  names: ({ request }) =>
    Response.json([...request.headers.keys()].filter((name) => !own.includes(name)).sort()),
  form: async ({ request }) => {
    const form = await request.formData();
    const fields = [...form].map(([name, value]) =>
      typeof value === "string" ? [name, value] : [name, value.name, value.type, value.size]);
    return Response.json(fields);
  },
  text: () => new Response("text"),
  bytes: () => new Response(new Uint8Array([1, 2, 3])),
  json: () => Response.json({ a: 1 }),
  html: () => new Response("<p>", { headers: { "content-type": "text/html" } }),
  empty: () => new Response(null),
  nothing: () => new Response(null, { status: 204 }),
  unchanged: () => new Response(null, { status: 304, headers: { etag: '"x"' } }),
  reset: () => new Response(null, { status: 205 }),
  reason: () => new Response("x", { status: 299, statusText: "As I Like" }),
  redirect: () => Response.redirect("http://elsewhere.example/x?y", 307),
  stream: () => new Response(parts(["one ", "two ", "three"])),
  length: () => new Response("12345", { headers: { "content-length": "5" } }),
  fixed: async ({ ctx }) => {
    const { readable, writable } = new FixedLengthStream(4);
    const writer = writable.getWriter();
    ctx.waitUntil(writer.write(new TextEncoder().encode("four")).then(() => writer.close()));
    return new Response(readable);
  },
  cookies: () => {
    const headers = new Headers();
    headers.append("set-cookie", "a=1; Path=/");
    headers.append("set-cookie", "b=2; Secure");
    headers.append("x-list", "1");
    headers.append("x-list", "2");
    return new Response("x", { headers });
  },
  latin: () => new Response("x", { headers: { "x-name": "é" } }),
  vary: () => new Response("x", { headers: { vary: "accept", "cache-control": "no-store", server: "mine", date: "mine" } }),
  gzip: () => new Response("x".repeat(2000), { headers: { "content-encoding": "gzip", "content-type": "text/plain" } }),
  packed: async () => {
    const stream = new Response("x".repeat(2000)).body.pipeThrough(new CompressionStream("gzip"));
    return new Response(stream, { encodeBody: "manual", headers: { "content-encoding": "gzip" } });
  },
  large: () => new Response("x".repeat(300_000)),
  connection: () => new Response("x", { headers: { connection: "close", "keep-alive": "timeout=5", "x-own": "1" } }),
  throw: () => {
    throw new Error("thrown on purpose");
  },
  reject: async () => Promise.reject("not even an error"),
  undefined: () => undefined,
  string: () => "a string",
  hangs: () => new Promise(() => {}),
  error: () => Response.error(),
  broken: () =>
    new Response(
      new ReadableStream({
        pull(controller) {
          controller.enqueue(new TextEncoder().encode("part"));
          controller.error(new Error("in the middle"));
        },
      }),
    ),
  pass: ({ ctx }) => {
    ctx.passThroughOnException();
    throw new Error("passed through");
  },
  early: () => new Response("the body was not read"),
  late: ({ ctx, env }) => {
    ctx.waitUntil(scheduler.wait(5).then(() => env.TOLD.put("late", "done")));
    return new Response("x");
  },
  waited: async ({ env }) => new Response(await env.TOLD.get("late")),
  emit: async ({ env }) => {
    await env.EVENTS.send({ told: "json", body: { a: [1, null, "é"] } });
    await env.EVENTS.send({ told: "v8", body: new Date(0) }, { contentType: "v8" });
    await env.EVENTS.send({ told: "again", body: "x", retry: true });
    return new Response("sent");
  },
  tailed: async ({ request }) => {
    console.log("a text", { a: [1] }, 7, null);
    console.error("an error");
    console.debug(new Error("logged"));
    if (request.url.endsWith("fails")) throw new TypeError("told to the tail");
    return new Response("x", { status: 202 });
  },
};

export async function exchange(name, given) {
  const answer = answers[name];
  return answer ? answer(given) : new Response("no such exchange", { status: 404 });
}
