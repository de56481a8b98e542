// A batch of a queue for a function's `queue()`: its bodies come as they are stored (deliver.js).

import { load, use } from "versions.js";

const bytesOf = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

function message({ id, timestamp, attempts, ...body }) {
  const made = { id, timestamp: new Date(timestamp), attempts };
  if ("v8" in body) return { ...made, serializedBody: bytesOf(body.v8) };
  if ("bytes" in body) return { ...made, body: bytesOf(body.bytes).buffer };
  return { ...made, body: "text" in body ? body.text : body.json };
}

export async function runQueue({ version, name }, request, env, ctx) {
  const { entry, error } = await load(version, 0, env, ctx);
  if (error !== undefined) return Response.json({ error: error.message }, { status: 503 });
  const { messages, metadata } = await request.json();
  const run = use(entry, env).getEntrypoint().queue(name, messages.map(message), metadata);
  ctx.waitUntil(run.catch(() => {}));
  try {
    return Response.json(await run);
  } catch (error) {
    console.error(`queue ${name}: ${error}`);
    const failed = { outcome: "exception", retryBatch: { retry: false }, explicitAcks: [] };
    return Response.json(failed);
  }
}
