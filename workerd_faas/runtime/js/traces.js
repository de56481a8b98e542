// Reports of invocations on their way to the daemon: chosen, bounded, sent in batches.
//
// Whoever prints a million lines pays for it here, in the own cell: each function may report so much
// a second, and beyond that its invocations are counted and not even read.

import { within } from "clock.js";

const GATHER_MS = 20;
const SEND_MS = 10_000;

/** Characters. The daemon refuses a batch of more than 1 MiB. */
const BATCH = 128 * 1024;
const WAITING = 2 * 1024 * 1024;
const LONGEST = 256 * 1024;

/** Levels of arrays and objects. The daemon could not read much more, nor could people. */
const DEEPEST = 64;

/** Characters that one function may report at once, and per second in the long run. */
const BURST = 512 * 1024;
const PER_SECOND = 128 * 1024;
const REMEMBERED = 1000;

export class Traces {
  #waiting = [];
  #characters = 0;
  /** By version: how many invocations and lines were not reported. */
  #lost = new Map();
  /** By function: `{left, at}`. */
  #allowances = new Map();
  /** Functions of which the daemon wants every invocation. */
  #tailed = new Set();
  #underWay = 0;
  /** Since when somebody is sending. A time, since workerd may drop whoever does in the middle. */
  #sendingSince = -Infinity;

  /** How many have not been sent. */
  get size() {
    return this.#waiting.length + this.#underWay;
  }

  /** From now on every invocation of these functions is reported, also one that says nothing. */
  tail(functions) {
    this.#tailed = new Set(functions);
  }

  /** Whether somebody watches a function. */
  tails(name) {
    return this.#tailed.size > 0 && this.#tailed.has(name);
  }

  /**
   * Keep a report if it is worth one; what is too much is dropped and counted. Whether there was
   * nothing to tell.
   */
  add(version, name, trace) {
    const silent = isSilent(trace);
    if (silent && !this.tails(name)) return true;
    const allowance = this.#allowance(name);
    if (allowance.left > 0 && this.#characters < WAITING) {
      const { text, dropped } = written(version, trace);
      allowance.left -= text.length;
      this.#waiting.push({ text, version });
      this.#characters += text.length;
      if (dropped > 0) this.lose(version, 0, dropped);
    } else {
      this.lose(version, 1, trace.logs.length);
    }
    return silent;
  }

  /** Send all that waits and comes meanwhile, unless that is being done already. */
  async send(daemon) {
    if (!this.#any() || within(SEND_MS, this.#sendingSince)) return;
    this.#sendingSince = Date.now();
    try {
      await scheduler.wait(GATHER_MS);
      while (this.#any()) {
        this.#sendingSince = Date.now();
        const lost = Array.from(this.#lost.values());
        this.#lost.clear();
        const batch = this.#take();
        this.#underWay = batch.length;
        const traces = batch.map(({ text }) => text).join(",");
        const body = `{"lost":${JSON.stringify(lost)},"traces":[${traces}]}`;
        // The answer comes when the daemon has room for more.
        const response = await daemon.fetch("http://daemon/traces", { method: "POST", body });
        await response.body?.cancel();
        if (!response.ok) for (const { version } of batch) this.lose(version, 1, 0);
      }
    } catch (error) {
      // The daemon is away: its cells end with it.
      console.error(`traces were not sent: ${error}`);
    } finally {
      this.#underWay = 0;
      this.#sendingSince = -Infinity;
    }
  }

  #any() {
    return this.#waiting.length > 0 || this.#lost.size > 0;
  }

  /** Count what is not reported. */
  lose(version, invocations, lines) {
    const lost = this.#lost.get(version) ?? { version, invocations: 0, lines: 0 };
    lost.invocations += invocations;
    lost.lines += lines;
    this.#lost.set(version, lost);
  }

  #allowance(name) {
    const now = Date.now();
    const known = this.#allowances.get(name);
    if (known === undefined) {
      if (this.#allowances.size >= REMEMBERED) this.#allowances.clear();
      const fresh = { left: BURST, at: now };
      this.#allowances.set(name, fresh);
      return fresh;
    }
    const seconds = Math.max(0, now - known.at) / 1000;
    known.left = Math.min(BURST, known.left + seconds * PER_SECOND);
    known.at = now;
    return known;
  }

  #take() {
    let characters = 0;
    let count = 0;
    while (count < this.#waiting.length) {
      characters += this.#waiting[count].text.length;
      if (count > 0 && characters > BATCH) {
        characters -= this.#waiting[count].text.length;
        break;
      }
      count++;
    }
    this.#characters -= characters;
    return this.#waiting.splice(0, count);
  }
}

/** Nothing was said, nothing went wrong, and it is none of the rare events that are always told. */
const isSilent = (trace) =>
  trace.outcome === "ok" &&
  trace.logs.length === 0 &&
  trace.exceptions.length === 0 &&
  trace.event?.cron === undefined;

/**
 * A report as text, without the last lines if it would be too long, and with values that are nested
 * too deep written as text; and how many lines are missing.
 */
function written(version, trace) {
  const ended = trace.ended ?? Date.now();
  let text = JSON.stringify({ version, ended, trace });
  const truncated = text.length > LONGEST;
  if (!truncated && !isDeep(text)) return { text, dropped: 0 };
  // workerd itself cuts at 256 KiB, but of what is printed, not of how JSON writes it.
  const logs = [];
  let left = truncated ? LONGEST / 2 : LONGEST;
  for (const log of trace.logs.map(flat)) {
    left -= JSON.stringify(log).length;
    if (left < 0) break;
    logs.push(log);
  }
  const { outcome, eventTimestamp, entrypoint, event } = trace;
  const request = event?.request;
  const shown = request
    ? { request: { ...plain(request), headers: {} }, response: event.response }
    : truncated || isDeep(JSON.stringify(event ?? null))
      ? null
      : event;
  const exceptions = trace.exceptions.slice(0, 10).map(shortened);
  const short = { outcome, eventTimestamp, entrypoint, logs, exceptions, truncated };
  text = JSON.stringify({ version, ended, trace: { ...short, event: shown } });
  if (text.length > LONGEST) {
    logs.length = 0;
    text = JSON.stringify({ version, ended, trace: { ...short, exceptions: [], event: null } });
  }
  return { text, dropped: trace.logs.length - logs.length };
}

function plain({ url, method, cf }) {
  return { url: url.slice(0, 4096), method, cf: isDeep(JSON.stringify(cf ?? {})) ? {} : cf };
}

/** A line whose values can be read: what is nested too deep is told as its JSON. */
function flat(log) {
  const { message, level, timestamp, errorInfo } = log;
  const values = Array.isArray(message) ? message : [message];
  const words = values.map((value) => {
    const text = JSON.stringify(value);
    return text !== undefined && isDeep(text) ? text : value;
  });
  return { message: words, level, timestamp, errorInfo };
}

/** Whether JSON is nested deeper than can be read. */
function isDeep(text) {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case '"':
        at = endOfString(text, at);
        break;
      case "{":
      case "[":
        if (++depth > DEEPEST) return true;
        break;
      case "}":
      case "]":
        depth--;
    }
  }
  return false;
}

function endOfString(text, start) {
  for (let end = start; ; ) {
    end = text.indexOf('"', end + 1);
    let escapes = 0;
    while (text[end - 1 - escapes] === "\\") escapes++;
    if (escapes % 2 === 0) return end;
  }
}

function shortened({ name, message, stack, timestamp }) {
  return { name, message: message.slice(0, 4096), stack: stack?.slice(0, 8192), timestamp };
}
