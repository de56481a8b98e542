const encoder = new TextEncoder();

/** Server-sent events: a number every `every` milliseconds until the client has gone or `to`. */
function events(to, every, signal) {
  let next = 1;
  let timer;
  return new ReadableStream({
    start(controller) {
      const stop = () => {
        clearInterval(timer);
        controller.close();
      };
      timer = setInterval(() => {
        controller.enqueue(encoder.encode(`id: ${next}\ndata: ${next}\n\n`));
        if (next++ >= to) stop();
      }, every);
      signal.addEventListener("abort", () => clearInterval(timer));
    },
    cancel() {
      clearInterval(timer);
    },
  });
}

/** `size` bytes, made as fast as the client reads them and no faster. */
function bytes(size) {
  const chunk = new Uint8Array(65536).fill(0x2e);
  let left = size;
  return new ReadableStream({
    type: "bytes",
    pull(controller) {
      if (left === 0) return controller.close();
      const part = chunk.slice(0, Math.min(left, chunk.length));
      left -= part.length;
      controller.enqueue(part);
    },
  });
}

async function count(body) {
  let received = 0;
  for await (const chunk of body ?? []) received += chunk.length;
  return received;
}

function whole(text, fallback, most) {
  const number = Number(text ?? fallback);
  return Number.isInteger(number) && number >= 0 && number <= most ? number : fallback;
}

export default {
  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/events") {
      const to = whole(searchParams.get("to"), 5, 1000);
      const every = whole(searchParams.get("every"), 200, 10_000);
      return new Response(events(Math.max(to, 1), Math.max(every, 1), request.signal), {
        headers: { "Content-Type": "text/event-stream", "Cache-Control": "no-store" },
      });
    }
    if (pathname === "/bytes") {
      return new Response(bytes(whole(searchParams.get("size"), 1_000_000, 2 ** 40)), {
        headers: { "Content-Type": "application/octet-stream" },
      });
    }
    if (pathname === "/count" && request.method === "POST") {
      return Response.json({ received: await count(request.body) });
    }
    if (pathname === "/echo" && request.method === "POST") {
      return new Response(request.body);
    }
    return new Response("GET /events, GET /bytes?size=…, POST /count, POST /echo\n", {
      status: pathname === "/" ? 200 : 404,
    });
  },
};
