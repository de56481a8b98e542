// Tail events of a function for the functions that receive them in `tail()`.
//
// A consumer is called one level deeper than the producer, so a consumer that calls the producer
// comes to an end. Events of a consumer's `tail()` are not passed on in their turn.

import { PRIVATE } from "document.js";
import { DEPTH_MOST, find } from "services.js";
import { use } from "versions.js";

/** Hand events to all consumers; never rejects. */
export async function deliver(events, props, env, ctx) {
  const { account, function: producer, consumers, depth } = props;
  if (depth >= DEPTH_MOST) {
    console.error(`tail events of ${producer} are not delivered: functions tail one another`);
    return;
  }
  const ended = Date.now();
  const body = JSON.stringify(events.map((event) => told(event, ended, props)));
  const url = "http://private/?producer=" + encodeURIComponent(producer);
  await Promise.all(
    consumers.map(async (service) => {
      try {
        const entry = await find({ account, service, depth: depth + 1 }, env, ctx);
        const isolate = use(entry, env).getEntrypoint(PRIVATE);
        const response = await isolate.fetch(url, { method: "PATCH", body });
        await response.body?.cancel();
      } catch (error) {
        // What it threw is in its own log.
        console.error(`tail events of ${producer} were not taken by ${service}: ${error}`);
      }
    }),
  );
}

/**
 * An event as the producer's own log has it (domain/invocation.py): with its version, how long it
 * took, and nothing of what only the platform puts into `request.cf`.
 */
function told(event, ended, { version, function: producer }) {
  const trace = plain(event);
  const { version: _version, function: _function, ...cf } = trace.event?.request?.cf ?? {};
  if (trace.event?.request?.cf !== undefined) trace.event.request.cf = cf;
  return {
    ...trace,
    scriptName: producer,
    scriptVersion: { id: version },
    wallTime: Math.max(trace.wallTime ?? 0, ended - trace.eventTimestamp, 0),
  };
}

/**
 * The trace of a consumer's invocation as its owner knows it; undefined for one of ours in which no
 * code of the function ran.
 */
export function consumedTrace(event) {
  const { method, url } = event.event?.request ?? {};
  if (method !== "PATCH") return undefined;
  const scriptName = new URL(url).searchParams.get("producer");
  const { entrypoint, ...trace } = plain(event);
  return { ...trace, event: { consumedEvents: [{ scriptName }] } };
}

/** A trace as a plain object: workerd's own has its properties on its prototype. */
const plain = (event) => JSON.parse(JSON.stringify(event));
