// Queues as the cell sees them: which shards a queue has, and what is in all of them.
//
// A queue is up to 1024 Durable Objects of queues.js, chosen by rules that follow its consumer's
// `maxConcurrency`. When that changes, messages stay where they are: so shards are found on disk.

import { GONE } from "objects.js";
import queues from "queues.js";

/** What SQLite says when there is no space left on the disk. */
const FULL = "SQLITE_FULL";
const AT_ONCE = 32;
const SHARDS = 1024;
/** What `max_concurrency` may be at most, and how often queues.js looks for another shard. */
const LIMITED = 250;
const MISSES = 4;

/** A request in the protocol of workerd's queue binding. */
export async function serve(request, id, env) {
  try {
    return await served(request, id, env);
  } catch (error) {
    const { message } = error;
    if (message === GONE) return Response.json(GONE, { status: 410 });
    if (message.includes(FULL)) return Response.json(message, { status: 507 });
    throw error;
  }
}

async function served(request, id, env) {
  const limit = env.CONSUMERS[id]?.maxConcurrency ?? 0;
  if (limit < 2) return queues.fetch(request, env, { props: { queue: id } });
  const path = new URL(request.url).pathname;
  if (path === "/metrics") return Response.json(await metrics(id, env));
  const sent = path === "/message" || path === "/batch";
  if (!sent || request.method !== "POST") return new Response(null, { status: 404 });
  return send(request, path, id, env, limit);
}

const turns = new Map();

/**
 * Each shard of a limited queue has one batch in flight. queues.js would send all to the same one;
 * here the next one has its turn when a batch is full.
 */
async function send(request, path, id, env, limit) {
  const format = request.headers.get("X-Msg-Fmt") ?? "v8";
  const delay = Number(request.headers.get("X-Msg-Delay-Secs") ?? 0);
  const body = await request.arrayBuffer();
  const size = env.CONSUMERS[id].maxBatchSize ?? 10;
  const turn = turns.get(id) ?? { shard: 0, taken: 0 };
  turns.set(id, turn);
  for (let tried = 1; ; tried++) {
    const stub = env.SHARD.getByName(`${id}#${turn.shard % limit}`);
    turn.taken += path === "/batch" ? size : 1;
    if (turn.taken >= size) next(turn);
    const answer = await stub.call(id, path, format, delay, body);
    if (answer.status !== 429 || tried === limit) {
      return new Response(answer.body, { status: answer.status });
    }
    next(turn);
  }
}

function next(turn) {
  turn.shard++;
  turn.taken = 0;
}

/** How many messages there are, in all shards; asked, each sets its alarm. */
export async function metrics(id, env, stored) {
  const sum = { backlogCount: 0, backlogBytes: 0, oldestMessageTimestamp: 0 };
  await inParts(await shards(id, env, stored), async (name) => {
    const { body } = await env.SHARD.getByName(name).call(id, "/metrics");
    const { backlogCount, backlogBytes, oldestMessageTimestamp: oldest } = JSON.parse(body);
    sum.backlogCount += backlogCount;
    sum.backlogBytes += backlogBytes;
    const earlier = sum.oldestMessageTimestamp;
    if (oldest && (!earlier || oldest < earlier)) sum.oldestMessageTimestamp = oldest;
  });
  return sum;
}

/** How many messages wait for a consumer. */
export async function backlog(env) {
  let count = 0;
  const stored = await files(env);
  for (const id of Object.keys(env.CONSUMERS)) {
    count += (await metrics(id, env, stored)).backlogCount;
  }
  return count;
}

export async function purge(id, env) {
  await inParts(await shards(id, env), (name) => env.SHARD.getByName(name).purge());
}

/** For good: what producers send from now on is refused. */
export async function destroy(id, env) {
  const names = new Set([...(await shards(id, env)), ...chosen(id).map((n) => `${id}#${n}`)]);
  await inParts([...names], async (name) => {
    try {
      await env.SHARD.getByName(name).destroy();
    } catch (error) {
      if (error.message !== GONE) throw error;
    }
  });
}

async function files(env) {
  const response = await env.OBJECTS.fetch("http://objects/queues/");
  if (!response.ok) return new Set();
  return new Set((await response.json()).map(({ name }) => name));
}

/** Names of the shards that there are. */
async function shards(id, env, stored) {
  stored ??= await files(env);
  const limited = Array.from({ length: LIMITED }, (_, n) => n);
  const names = [...new Set([...limited, ...chosen(id)])].map((n) => `${id}#${n}`);
  return names.filter((name) => stored.has(`${env.SHARD.idFromName(name)}.sqlite`));
}

/** Where queues.js sends to without a limit: the first one, further ones when that is full. */
const chosen = (id) =>
  Array.from({ length: MISSES }, (_, miss) => fnv(`local/${id}/${miss}`) % SHARDS);

async function inParts(list, work) {
  for (let i = 0; i < list.length; i += AT_ONCE) {
    await Promise.all(list.slice(i, i + AT_ONCE).map(work));
  }
}

function fnv(text) {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 16777619);
  }
  return hash >>> 0;
}
