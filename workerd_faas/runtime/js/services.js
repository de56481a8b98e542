// Functions that call other functions: `service` bindings. Those of other accounts, which a binding
// has the `owner` of, are called where they run (elsewhere.js).
//
// What is in a function's `env` is a stub of `Service`, which finds the version that serves the
// target now, loads it if need be, and passes the call on. Which version that is the daemon says
// once; it tells us when it changes, before it answers whoever changed it.

import { WorkerEntrypoint } from "cloudflare:workers";
import { PRIVATE } from "document.js";
import { fetchElsewhere, onlyFetch } from "elsewhere.js";
import { load, ready, serveSite, use } from "versions.js";

/** How deep functions may call one another. */
export const DEPTH_MOST = 16;

const FUNCTIONS_MOST = 1000;

/** By function, then by account and selector: `{live, asked}`, what the daemon said and will say. */
const known = new Map();

/** Another version may serve a function from now on. */
export function forgetShares(name) {
  known.delete(name);
}

/** Calls a function; its props come from the binding of the caller. */
export class Service extends WorkerEntrypoint {
  constructor(ctx, env) {
    super(ctx, env);
    return new Proxy(this, { get: property });
  }

  fetch(request) {
    const { props } = this.ctx;
    if (props.owner === undefined) {
      return withTarget(this, (target) => target.fetch(request), request);
    }
    checkDepth(props);
    return fetchElsewhere(request, props, this.env);
  }

  /** Not passed on: the caller's socket ends at once. What we would throw, nobody would be told. */
  connect() {}

  /** Passed on; no tail counts it. */
  scheduled(event) {
    if (this.ctx.props.owner !== undefined) onlyFetch(this.ctx.props, "scheduled");
    return withTarget(this, (target, entry) =>
      target.scheduled(event).finally(() => {
        entry.pending--;
      }),
    );
  }
}

const OWN = new Set(["connect", "constructor", "ctx", "env", "fetch", "scheduled"]);

/** Everything that we do not have ourselves is a method or property of the target. */
function property(self, name) {
  if (typeof name === "symbol" || OWN.has(name)) return self[name];
  if (self.ctx.props.owner !== undefined) return () => onlyFetch(self.ctx.props, name);
  const method = (...args) => withTarget(self, (target) => target[name](...args));
  // Awaited without having been called it is a property: stubs of workerd behave so too.
  method.then = (resolve, reject) =>
    withTarget(self, (target) => Promise.resolve(target[name])).then(resolve, reject);
  return method;
}

/** `request` is what the call brings if it is a request. */
function withTarget({ ctx, env }, call, request) {
  const { props } = ctx;
  checkDepth(props);
  const there = (entry) => reach(entry, props, env, ctx, call, request);
  const entry = findNow(props, env, ctx);
  return entry === undefined ? find(props, env, ctx).then(there) : there(entry);
}

/** Make a call at the isolate that it is for. */
export function reach(entry, props, env, ctx, call, request) {
  return request !== undefined && entry.site !== undefined && props.entrypoint === undefined
    ? throughSite(entry, props, env, ctx, request)
    : send(entry, props, env, call);
}

/** A request to a function with assets meets them first, as one from outside does. */
function throughSite(entry, props, env, ctx, request) {
  const worker = (asked) => send(entry, props, env, (target) => target.fetch(asked));
  return serveSite(entry, request, ctx, entry.key === undefined ? undefined : worker);
}

function send(entry, { service, entrypoint, props }, env, call) {
  if (entry.key === undefined) throw new Error(`The function "${service}" has assets and no code.`);
  // Ours, and an upload cannot name it; whoever can ends isolates and makes up tail events.
  if (entrypoint === PRIVATE) return Promise.reject(new Error("Worker has no such entrypoint."));
  const result = call(use(entry, env).getEntrypoint(entrypoint, { props: props ?? {} }), entry);
  result.catch((error) => {
    // Nothing was invoked then, so no tail will come.
    if (String(error?.message).startsWith("Worker has no such entrypoint")) entry.pending--;
  });
  return result;
}

export function checkDepth({ service, depth }) {
  if (depth > DEPTH_MOST) {
    throw new Error(
      `Subrequest depth limit exceeded: functions called one another ${DEPTH_MOST} deep before ` +
        `"${service}". This happens when functions call each other in a ring.`,
    );
  }
}

/** The target's isolate, if it is known and loaded. */
function findNow(props, env, ctx) {
  const { live } = sharesOf(props, env, ctx);
  const entry = live === undefined ? undefined : ready(pick(live), props.depth);
  return entry?.quiet ? undefined : entry;
}

/** The target's isolate. Rejects with a message for the caller. */
export async function find(props, env, ctx) {
  const { service, depth } = props;
  const version = pick(await sharesOf(props, env, ctx).asked);
  const { entry, error } = await load(version, depth, env, ctx);
  if (error !== undefined) {
    // Whatever is wrong with this version, the next call shall ask again.
    forgetShares(service);
    throw new Error(`The function "${service}" cannot be called: ${error.message}.`);
  }
  return entry;
}

function pick(live) {
  if (live.length === 1) return live[0][1];
  const position = Math.random() * 100;
  return (live.find(([end]) => position < end) ?? live.at(-1))[1];
}

function sharesOf({ account, service, environment }, env, ctx) {
  let shares = known.get(service);
  if (shares === undefined) {
    if (known.size >= FUNCTIONS_MOST) known.clear();
    known.set(service, (shares = new Map()));
  }
  const key = `${account}/${environment ?? ""}`;
  let share = shares.get(key);
  if (share === undefined) {
    share = { live: undefined, asked: undefined };
    shares.set(key, share);
    share.asked = ask(account, service, environment, env).then(
      (live) => (share.live = live),
      (error) => {
        shares.delete(key);
        throw error;
      },
    );
    // Others may wait for it when the caller that asked first goes.
    ctx.waitUntil(share.asked.catch(() => {}));
  }
  return share;
}

async function ask(account, service, selector, env) {
  const query = new URLSearchParams({ account });
  if (selector !== undefined && selector !== "production") query.set("selector", selector);
  const url = `http://daemon/functions/${encodeURIComponent(service)}?${query}`;
  const response = await env.DAEMON.fetch(url);
  const document = await response.json();
  if (response.status !== 200) {
    throw new Error(`The function "${service}" cannot be called: ${document.error}`);
  }
  return document.live;
}
