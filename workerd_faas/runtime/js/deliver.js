// Batches on their way to a consumer: the daemon knows which cell runs it.
//
// queues.js calls `env[consumer].queue(…)` as it would a service binding's. This stands in its place
// and passes the batch on over HTTP, its bodies as they are stored.

import { env } from "cloudflare:workers";

/** Batches that a consumer has not answered. */
export const deliveries = new Set();

const encoder = new TextEncoder();

function base64(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  }
  return btoa(text);
}

function packed({ id, timestamp, attempts, body, serializedBody }) {
  const message = { id, timestamp: timestamp.getTime(), attempts };
  if (serializedBody !== undefined) return { ...message, v8: base64(serializedBody) };
  if (body instanceof ArrayBuffer) return { ...message, bytes: base64(new Uint8Array(body)) };
  return typeof body === "string" ? { ...message, text: body } : { ...message, json: body };
}

async function queue(id, messages, metadata) {
  const ticket = {};
  deliveries.add(ticket);
  try {
    const body = encoder.encode(
      JSON.stringify({ queue: id, messages: messages.map(packed), metadata }),
    );
    const url = "http://daemon/deliver";
    const response = await env.DAEMON.fetch(url, { method: "POST", body });
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new Error("the consumer could not be reached: " + response.status);
    }
    return await response.json();
  } finally {
    deliveries.delete(ticket);
  }
}

env.DELIVER = { queue };
