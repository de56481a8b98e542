const outcomes = [];
const plain = (value) => {
  if (value instanceof ArrayBuffer) return { buffer: [...new Uint8Array(value)] };
  if (value instanceof Map) return { map: [...value].map(([k, v]) => [k, plain(v)]) };
  if (value instanceof Date) return { date: 0 };
  if (value === undefined) return { undefined: true };
  return value;
};
async function attempt(name, work) {
  try {
    outcomes.push([name, plain(await work())]);
  } catch (error) {
    // Ours say what was too large; workerd's say only "Payload Too Large".
    const message = error.message.replace(/failed: .* exceeds limit$/, "failed: Payload Too Large");
    outcomes.push([name, `${error.name}: ${message}`]);
  }
}

export default { async fetch(request, { QUEUE }) {
  if (request.cf?.probe) return Response.json({});
  outcomes.length = 0;
  const tried = (name, work) => attempt(name, async () => JSON.parse(
    JSON.stringify(await work() ?? null, (key, member) =>
      ["oldestMessageTimestamp", "backlogBytes"].includes(key) ? 0 : member)));
  const bodies = () => [1, "text", { a: [null] }, null, undefined, new Uint8Array([1, 2]), new Map([[1, 2]])];
  for (const contentType of [undefined, "json", "text", "bytes", "v8", "xml"]) {
    for (const body of bodies()) {
      await tried(`${contentType} ${typeof body}`, () => QUEUE.send(body, { contentType }));
    }
  }
  await tried("function", () => QUEUE.send(() => 1, { contentType: "v8" }));
  class Shop { open = true; }
  for (const body of [new Shop(), Object.create(null), Symbol.iterator]) {
    await tried("odd " + typeof body, () => QUEUE.send(body, { contentType: "v8" }));
  }
  for (const delaySeconds of ["2", "x", 1.5, NaN, null]) {
    await tried("delay " + delaySeconds, () => QUEUE.send(1, { delaySeconds }));
    await tried("batch delay " + delaySeconds, () => QUEUE.sendBatch([{ body: 1, delaySeconds }]));
  }
  await tried("delay", () => QUEUE.send(1, { delaySeconds: 3 }));
  await tried("too long", () => QUEUE.send("x".repeat(130_000)));
  await tried("batch", () => QUEUE.sendBatch([{ body: 1 }, { body: "x", contentType: "text" }]));
  await tried("batch options", () => QUEUE.sendBatch([{ body: 1 }], { delaySeconds: 9 }));
  await tried("batch iterable", () => QUEUE.sendBatch(new Set([{ body: 2 }])));
  await tried("batch empty", () => QUEUE.sendBatch([]));
  await tried("batch nothing", () => QUEUE.sendBatch([{}]));
  await tried("batch too many", () => QUEUE.sendBatch(Array.from({ length: 101 }, (_, body) => ({ body }))));
  await tried("metrics", () => QUEUE.metrics());
  return Response.json(outcomes);
} };
