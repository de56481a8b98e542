// Inside the isolate of a quiet version (quiet.js): sees what the function says and what goes wrong
// in it, where no tail does. An invocation that does neither costs next to nothing.
//
// What there is to tell waits here until the router asks for it. It is plain data, so it outlives the
// invocation, however that ends.

import { AsyncLocalStorage } from "node:async_hooks";

/** Characters of what one invocation says that are kept, as many as workerd keeps for a tail. */
const OF_ONE = 256 * 1024;
/** Characters that wait at most; what is more is counted. */
const OF_ALL = 1024 * 1024;
/** How long an invocation that has said something may go on until it is told as it is. */
const OPEN_MS = 30_000;

const HEADERS = ["cf-connecting-ip", "cf-ray", "host", "user-agent"];

const current = new AsyncLocalStorage();
// The function may put something else in its place.
const { Response } = globalThis;

/** Those with something to tell. */
const telling = new Set();
/** Promises given to `waitUntil` that have not settled: since when. */
const work = new Set();
let characters = 0;
let lost = 0;
/** Something goes on that a witness does not see the end of. */
let beyond = false;

class Invocation {
  began = Date.now();
  answer = undefined;
  trace = undefined;
  work = 0;
  left = OF_ONE;
  /** Of the characters that wait. */
  waiting = 0;

  constructor(request) {
    this.request = request;
  }
}

/** The trace of an invocation that has something to tell. */
function traceOf(invocation) {
  if (invocation.trace !== undefined) return invocation.trace;
  telling.add(invocation);
  invocation.trace = {
    outcome: undefined,
    eventTimestamp: invocation.began,
    logs: [],
    exceptions: [],
    event: invocation.request === undefined ? null : { request: described(invocation.request) },
  };
  // What is said after the answer does not change how it ended.
  if (invocation.request === undefined) ended(invocation, "ok");
  if (invocation.answer !== undefined) ended(invocation, "ok", invocation.answer.status);
  return invocation.trace;
}

function described({ method, url, headers, cf }) {
  const sent = {};
  for (const name of HEADERS) if (headers.has(name)) sent[name] = headers.get(name);
  return { url, method, headers: sent, cf };
}

function ended(invocation, outcome, status) {
  const { trace } = invocation;
  trace.outcome = outcome;
  trace.ended = Date.now();
  if (status !== undefined) trace.event.response = { status };
}

/** Whether there is room for so many characters more. */
function room(invocation, size) {
  if (size > invocation.left || characters + size > OF_ALL) {
    lost++;
    return false;
  }
  invocation.left -= size;
  invocation.waiting += size;
  characters += size;
  return true;
}

/** What speaks; listeners of events are called outside of all invocations. */
function speaker() {
  return current.getStore() ?? new Invocation(undefined);
}

function say(level, values) {
  const invocation = speaker();
  const trace = traceOf(invocation);
  const message = values.map(shown);
  if (room(invocation, JSON.stringify(message).length)) {
    trace.logs.push({ level, timestamp: Date.now(), message });
  }
}

/** As workerd tells it: JSON of plain values, text of all others. */
function shown(value) {
  if (value === undefined) return null;
  if (typeof value === "symbol") return {};
  if (value instanceof Error) return String(value.stack ?? value);
  if (typeof value === "bigint" || typeof value === "function") return String(value);
  if (typeof value === "object" && value !== null && !isPlain(value)) return String(value);
  try {
    return JSON.parse(JSON.stringify(value));
  } catch {
    return String(value);
  }
}

function isPlain(value) {
  const prototype = Object.getPrototypeOf(value);
  return (
    prototype === Object.prototype ||
    prototype === null ||
    Array.isArray(value) ||
    typeof value.toJSON === "function"
  );
}

function note(error, invocation = speaker()) {
  const { exceptions } = traceOf(invocation);
  const told = error instanceof Error ? error : { name: "Error", message: error, stack: "" };
  const name = String(told.name);
  const message = String(told.message);
  const stack = String(told.stack).split("\n").filter(isFrame).join("\n");
  if (room(invocation, name.length + message.length + stack.length)) {
    exceptions.push({ name, message, stack, timestamp: Date.now() });
  }
}

const isFrame = (line) => /^\s+at /.test(line);

for (const level of ["debug", "error", "info", "log", "warn"]) {
  const native = console[level];
  console[level] = (...values) => {
    native(...values);
    try {
      say(level, values);
    } catch {
      lost++;
    }
  };
}

for (const name of ["setTimeout", "setInterval"]) {
  const native = globalThis[name];
  globalThis[name] = (callback, ...rest) =>
    native(typeof callback === "function" ? guarded(callback) : callback, ...rest);
}

function guarded(callback) {
  return (...values) => {
    try {
      return callback(...values);
    } catch (error) {
      note(error);
      throw error;
    }
  };
}

let watching = false;

/** From the first invocation on, `ctx.waitUntil` of all of them is seen. */
function watchWork(ctx) {
  watching = true;
  const prototype = Object.getPrototypeOf(ctx);
  const native = prototype.waitUntil;
  prototype.waitUntil = function waitUntil(promise) {
    native.call(this, promise);
    const invocation = current.getStore();
    const since = { at: Date.now() };
    work.add(since);
    if (invocation !== undefined) invocation.work++;
    const over = () => {
      work.delete(since);
      if (invocation === undefined) return;
      invocation.work--;
      if (invocation.trace?.ended !== undefined) invocation.trace.ended = Date.now();
    };
    Promise.resolve(promise).then(over, (error) => {
      note(error, invocation);
      over();
    });
  };
}

/** The module's default export with a witness; throws if that is not an object with `fetch`. */
export function watched(handler) {
  if (typeof handler !== "object" || typeof handler?.fetch !== "function") {
    throw new TypeError("there is no handler to watch");
  }
  const call = (request, env, ctx) => handler.fetch(request, env, ctx);
  return {
    __proto__: handler,
    fetch(request, env, ctx) {
      if (!watching) watchWork(ctx);
      const invocation = new Invocation(request);
      let result;
      try {
        result = current.run(invocation, call, request, env, ctx);
      } catch (error) {
        thrown(invocation, error);
        throw error;
      }
      if (result instanceof Promise) {
        result.then(
          (response) => answered(invocation, response),
          (error) => thrown(invocation, error),
        );
      } else {
        answered(invocation, result);
      }
      return result;
    },
  };
}

function answered(invocation, response) {
  if (!(response instanceof Response)) {
    thrown(invocation, new TypeError("The handler did not answer with a Response."));
  } else if (invocation.trace !== undefined) {
    ended(invocation, "ok", response.status);
  }
  if (response?.webSocket) beyond = true;
  invocation.answer = response;
}

function thrown(invocation, error) {
  note(error, invocation);
  ended(invocation, "exception", 500);
}

/** What there is to tell since this was asked last, and whether anything goes on. */
export function look() {
  const now = Date.now();
  for (const since of work) if (Math.abs(now - since.at) > OPEN_MS) work.delete(since);
  const traces = [];
  let open = 0;
  for (const invocation of telling) {
    const { trace } = invocation;
    const over = trace.outcome !== undefined && invocation.work === 0;
    if (!over && Math.abs(now - invocation.began) < OPEN_MS) {
      open++;
      continue;
    }
    telling.delete(invocation);
    characters -= invocation.waiting;
    invocation.waiting = 0;
    // If it says more, in a stream say, that is told in its turn.
    invocation.trace = undefined;
    trace.outcome ??= "canceled";
    traces.push(trace);
  }
  const loud = open + traces.length + lost > 0;
  const told = { pending: work.size + open, loud, beyond, lost, traces };
  lost = 0;
  return told;
}
