// Data points on their way to the daemon: gathered, bounded, sent in batches.

import { WorkerEntrypoint } from "cloudflare:workers";
import { within } from "clock.js";

const GATHER_MS = 20;
const SEND_MS = 10_000;
const BATCH = 50;
/** The daemon takes no more than 1 MiB, and one list may have as much as the others together. */
const BATCH_CHARACTERS = 256 * 1024;
const LONGEST = 512 * 1024;
const WAITING = 500;

const waiting = [];
/** Since when somebody is sending. A time, since workerd may drop whoever does in the middle. */
let sendingSince = -Infinity;

/** Takes a list of points as text; its props come from the binding. */
export class Analytics extends WorkerEntrypoint {
  async fetch(request) {
    const { account, function: name, dataset } = this.ctx.props;
    const text = await request.text();
    // What is too much is dropped: writing must not slow a function down, nor fill the cell.
    if (waiting.length >= WAITING || text.length > LONGEST) return new Response(null, { status: 429 });
    const points = listed(text);
    if (points === undefined) return new Response(null, { status: 400 });
    waiting.push(JSON.stringify({ of: { account, function: name, dataset }, points }));
    this.ctx.waitUntil(send(this.env.DAEMON));
    return new Response(null, { status: 202 });
  }
}

/** The function writes the text: as it is, it could go on behind its list with points of others. */
function listed(text) {
  try {
    const points = JSON.parse(text);
    return Array.isArray(points) ? points : undefined;
  } catch {
    return undefined;
  }
}

async function send(daemon) {
  if (within(SEND_MS, sendingSince)) return;
  sendingSince = Date.now();
  await scheduler.wait(GATHER_MS);
  try {
    while (waiting.length > 0) {
      sendingSince = Date.now();
      const body = `{"written":[${take().join()}]}`;
      const response = await daemon.fetch("http://daemon/points", { method: "POST", body });
      await response.body?.cancel();
    }
  } catch (error) {
    console.error(`data points were not sent: ${error}`);
  } finally {
    sendingSince = -Infinity;
  }
}

function take() {
  let characters = 0;
  let count = 0;
  while (count < Math.min(BATCH, waiting.length)) {
    characters += waiting[count].length;
    if (count > 0 && characters > BATCH_CHARACTERS) break;
    count++;
  }
  return waiting.splice(0, count);
}
