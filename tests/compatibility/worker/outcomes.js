// What something came to, as JSON that tells apart what JSON does not.

function plain(value) {
  if (value === undefined) return { undefined: true };
  if (typeof value === "function") return { function: true };
  if (typeof value === "bigint" || typeof value === "symbol") return { [typeof value]: String(value) };
  if (typeof value === "number" && !Number.isFinite(value)) return { number: String(value) };
  if (value === null || typeof value !== "object") return value;
  if (value instanceof ArrayBuffer) return { buffer: [...new Uint8Array(value)] };
  if (ArrayBuffer.isView(value)) return { [value.constructor.name]: [...value] };
  if (value instanceof Date) return { date: value.toISOString() };
  if (value instanceof Map) return { map: [...value].map(([k, v]) => [plain(k), plain(v)]) };
  if (value instanceof Set) return { set: [...value].map(plain) };
  if (value instanceof Error) return { error: `${value.name}: ${value.message}` };
  if (Array.isArray(value)) return value.map(plain);
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]));
}

/** Run `{ what: () => … }` one after the other. */
export async function tried(tries) {
  const outcomes = [];
  for (const [what, run] of Object.entries(tries)) {
    try {
      outcomes.push([what, plain(await run())]);
    } catch (error) {
      outcomes.push([what, { thrown: `${error?.name}: ${error?.message ?? error}` }]);
    }
  }
  return outcomes;
}
