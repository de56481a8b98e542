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

export default { async fetch(request, { KV }) {
  if (request.cf?.probe) return Response.json({});
  outcomes.length = 0;
  const text = (stream) => new Response(stream).text();
  const now = Math.floor(Date.now() / 1000);
  const keys = ["plain", "a/b", " ", "ünï ∂", "%41", "a?b#c", "//", "..a", "x".repeat(512), 7, null];
  for (const key of keys) {
    await attempt("put " + key, () => KV.put(key, `value ${key}`));
    await attempt("get " + key, () => KV.get(key));
  }
  for (const key of ["", ".", "..", "x".repeat(513), "é".repeat(300)]) {
    for (const method of ["get", "getWithMetadata", "put", "delete"]) {
      await attempt(method + " bad " + key.slice(0, 3), () => KV[method](key, "x"));
    }
  }
  const bytes = new Uint8Array([0, 1, 254, 255]);
  await attempt("buffer", () => KV.put("buffer", bytes.buffer));
  await attempt("view", () => KV.put("view", bytes.subarray(1, 3)));
  await attempt("dataview", () => KV.put("dataview", new DataView(bytes.buffer, 2)));
  await attempt("stream", () => KV.put("stream", new Response("streamed").body));
  for (const method of ["get", "getWithMetadata", "put", "delete"]) {
    await attempt(method + " of nothing", () => KV[method]());
  }
  await attempt("put without a value", () => KV.put("odd"));
  await attempt("empty", () => KV.put("empty", ""));
  await attempt("large", () => KV.put("large", new Uint8Array(200_000).fill(65)));
  for (const key of ["buffer", "view", "dataview", "stream", "empty", "none"]) {
    for (const type of ["text", "arrayBuffer"]) {
      await attempt(`${key} as ${type}`, () => KV.get(key, type));
      await attempt(`${key} as {${type}}`, () => KV.get(key, { type }));
    }
    await attempt(key + " as stream", async () => {
      const stream = await KV.get(key, "stream");
      return stream === null ? null : [stream.constructor.name, await text(stream)];
    });
  }
  await attempt("large read", async () => (await KV.get("large")).length);
  for (const value of [1, true, null, undefined, {}, [], new Date(0), Symbol.iterator, new Blob(["x"])]) {
    await attempt("put " + typeof value, () => KV.put("odd", value));
  }
  await attempt("json", () => KV.put("json", '{"a":[1,null]}'));
  await attempt("json read", () => KV.get("json", "json"));
  await attempt("json broken", () => KV.get("plain", "json"));
  await attempt("type", () => KV.get("plain", "blob"));
  await attempt("type of many", () => KV.get(["plain"], "arrayBuffer"));
  for (const options of [undefined, null, {}, { type: undefined }, { cacheTtl: 60 }, { cacheTtl: 5 }]) {
    await attempt("options " + JSON.stringify(options), () => KV.get("plain", options));
  }
  const long = "m".repeat(1100);
  for (const metadata of [{ a: 1 }, "é∂", 0, false, null, undefined, [1], { t: "\u0000\n😀" }, long]) {
    await attempt("metadata", () => KV.put("meta", "v", { metadata }));
    await attempt("metadata read", () => KV.getWithMetadata("meta"));
  }
  await attempt("metadata of none", () => KV.getWithMetadata("none"));
  await attempt("metadata json", () => KV.getWithMetadata("json", "json"));
  for (const expiration of [now + 100, now + 10, now - 5, "soon", 0]) {
    await attempt("expiration", async () => {
      try {
        return await KV.put("old", "v", { expiration });
      } catch (error) {
        throw new Error(error.message.replaceAll(/[0-9]{6,}/g, "N"));
      }
    });
  }
  for (const expirationTtl of [60, 59, 0, -1, "120", "x"]) {
    await attempt("ttl " + expirationTtl, () => KV.put("ttl", "v", { expirationTtl }));
  }
  for (let i = 0; i < 5; i++) await KV.put("list/" + i, "v", i ? { metadata: { i } } : {});
  await attempt("list", () => KV.list({ prefix: "list/" }));
  await attempt("list one", async () => {
    const pages = [];
    let cursor;
    do {
      const page = await KV.list({ prefix: "list/", limit: 2, cursor });
      pages.push(page);
      cursor = page.list_complete ? undefined : page.cursor;
    } while (cursor);
    return pages;
  });
  await attempt("list none", () => KV.list({ prefix: "no such" }));
  await attempt("list nulls", () => KV.list({ prefix: "list/4", cursor: null, limit: null }));
  await attempt("list names", async () => (await KV.list()).keys.map((key) => key.name));
  for (const limit of [0, -1, 1001, "2"]) {
    await attempt("limit " + limit, () => KV.list({ prefix: "list/", limit }));
  }
  await attempt("cursor", () => KV.list({ cursor: "%%" }));
  await attempt("many", () => KV.get(["plain", "none", "a/b"]));
  await attempt("many json", () => KV.get(["json", "none"], "json"));
  await attempt("many broken", () => KV.get(["json", "plain"], { type: "json" }));
  await attempt("many metadata", () => KV.getWithMetadata(["json", "list/3", "none"]));
  await attempt("many of none", () => KV.get([]));
  await attempt("too many", () => KV.get(Array.from({ length: 101 }, (_, i) => "k" + i)));
  await attempt("delete", () => KV.delete("plain"));
  await attempt("delete none", () => KV.delete("none"));
  await attempt("deleted", () => KV.get("plain"));
  return Response.json(outcomes);
} };
