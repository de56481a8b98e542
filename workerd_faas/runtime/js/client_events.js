// Inside the isolate of a service-worker script, before it: makes its bindings global variables, and
// lets the handlers of a module tell its listeners.

import { env } from "cloudflare:workers";

for (const [name, value] of Object.entries(env)) {
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
}

const listeners = { fetch: [], scheduled: [], queue: [], tail: [] };
/** Names that an event goes by as well. */
const ALIASES = { trace: "tail" };

const add = globalThis.addEventListener;
const remove = globalThis.removeEventListener;
const listening = (type) => {
  const name = ALIASES[type] ?? type;
  return Object.hasOwn(listeners, name) ? listeners[name] : undefined;
};

globalThis.addEventListener = function addEventListener(type, listener, ...options) {
  const found = listening(type);
  if (found === undefined) return add.call(globalThis, type, listener, ...options);
  if (!found.includes(listener)) found.push(listener);
};

globalThis.removeEventListener = function removeEventListener(type, listener, ...options) {
  const found = listening(type);
  if (found === undefined) return remove.call(globalThis, type, listener, ...options);
  if (found.includes(listener)) found.splice(found.indexOf(listener), 1);
};

class HandlerEvent extends Event {
  #ctx;

  constructor(type, ctx, members) {
    super(type);
    this.#ctx = ctx;
    for (const [name, value] of Object.entries(members)) {
      Object.defineProperty(this, name, { value, enumerable: true });
    }
  }

  waitUntil(promise) {
    this.#ctx.waitUntil(promise);
  }

  passThroughOnException() {
    this.#ctx.passThroughOnException();
  }
}

class RequestEvent extends HandlerEvent {
  response;

  respondWith(response) {
    if (this.response !== undefined) {
      throw new DOMException("respondWith() was called already.", "InvalidStateError");
    }
    this.response = Promise.resolve(response);
  }
}

function tell(event) {
  for (const listener of [...listeners[event.type]]) {
    if (typeof listener === "function") listener.call(globalThis, event);
    else listener.handleEvent(event);
    if (event.response !== undefined) return;
  }
}

const HANDLERS = {
  async fetch(request, _env, ctx) {
    const event = new RequestEvent("fetch", ctx, { request });
    tell(event);
    if (event.response === undefined) throw new TypeError("No listener called respondWith().");
    const response = await event.response;
    if (!(response instanceof Response)) {
      throw new TypeError("respondWith() was not given a Response.");
    }
    return response;
  },
  async scheduled({ scheduledTime, cron, noRetry }, _env, ctx) {
    tell(new HandlerEvent("scheduled", ctx, { scheduledTime, cron, noRetry: () => noRetry?.() }));
  },
  async queue(batch, _env, ctx) {
    const { queue, messages } = batch;
    tell(
      new HandlerEvent("queue", ctx, {
        queue,
        messages,
        ackAll: () => batch.ackAll(),
        retryAll: (options) => batch.retryAll(options),
      }),
    );
  },
  async tail(events, _env, ctx) {
    tell(new HandlerEvent("tail", ctx, { events, traces: events }));
  },
};

/** The handlers of what the script listens to, once it has run. */
export function handlers() {
  const found = Object.keys(HANDLERS).filter((type) => listeners[type].length > 0);
  return Object.fromEntries(found.map((type) => [type, HANDLERS[type]]));
}
