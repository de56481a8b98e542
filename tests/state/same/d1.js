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
    outcomes.push([name, `${error.name}: ${error.message}`]);
  }
}

const steady = (value) => JSON.parse(JSON.stringify(value, (key, member) =>
  ["duration", "sql_duration_ms", "size_after"].includes(key) ? 0 : member));
export default { async fetch(request, { D1 }) {
  if (request.cf?.probe) return Response.json({});
  outcomes.length = 0;
  const tried = (name, work) => attempt(name, async () => steady(await work() ?? null));
  await tried("exec", () => D1.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, v);\nINSERT INTO t (v) VALUES ('x')"));
  await tried("exec bad", () => D1.exec("SELECT * FROM nowhere"));
  for (const value of [1, 1.5, "é", null, true, false, new Uint8Array([1, 2]), new Uint8Array([3]).buffer, [4, 5]]) {
    await tried("bind " + typeof value, () => D1.prepare("INSERT INTO t (v) VALUES (?)").bind(value).run());
  }
  for (const value of [undefined, {}, Symbol.iterator, () => 1, 2n]) {
    await tried("bind bad " + typeof value, () => D1.prepare("INSERT INTO t (v) VALUES (?)").bind(value).run());
  }
  await tried("all", () => D1.prepare("SELECT * FROM t").all());
  await tried("raw", () => D1.prepare("SELECT * FROM t WHERE id < ?").bind(4).raw());
  await tried("raw names", () => D1.prepare("SELECT id, v AS value FROM t").raw({ columnNames: true }));
  await tried("first", () => D1.prepare("SELECT * FROM t WHERE id = ?2").bind(0, 1).first());
  await tried("first column", () => D1.prepare("SELECT * FROM t").first("v"));
  await tried("first no column", () => D1.prepare("SELECT * FROM t").first("w"));
  await tried("first none", () => D1.prepare("SELECT * FROM t WHERE id = 99").first());
  await tried("batch", () => D1.batch([
    D1.prepare("INSERT INTO t (v) VALUES (1)"), D1.prepare("SELECT count(*) AS n FROM t")]));
  await tried("batch bad", () => D1.batch([
    D1.prepare("INSERT INTO t (v) VALUES ('lost')"), D1.prepare("SELECT * FROM nowhere")]));
  await tried("rolled back", () => D1.prepare("SELECT count(*) AS n FROM t WHERE v = 'lost'").first("n"));
  await tried("no statement", () => D1.prepare("").run());
  await tried("begin", () => D1.prepare("BEGIN").run());
  await tried("too few", () => D1.prepare("SELECT ?, ?").bind(1).all());
  await tried("constraint", () => D1.prepare("INSERT INTO t (id) VALUES (1)").run());
  await tried("session", async () => {
    const session = D1.withSession("first-primary");
    return [session.getBookmark() === null, (await session.prepare("SELECT 1 AS one").first()), typeof session.getBookmark()];
  });
  await tried("session bad", () => D1.withSession(""));
  return Response.json(outcomes);
} };
