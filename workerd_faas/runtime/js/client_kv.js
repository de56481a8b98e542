// `env.<KV namespace>` inside the function's own isolate, so that it works with every compatibility
// date and fails as Cloudflare's does. It speaks the protocol of workerd's KV binding to a stub that
// reaches one namespace and nothing else.

const MAX_KEY = 512;
const MAX_VALUE = 25 * 1024 * 1024;
const PART = 64 * 1024;
/** What a value that comes as a stream ends with, so that one that broke off is not taken for whole. */
const END = new Uint8Array([1]);
const LOST = 502;
const ATTEMPTS = 3;
const TYPES =
  'Unknown response type. Possible types are "text", "arrayBuffer", "json", and "stream".';
const VALUES =
  "KV put() accepts only strings, ArrayBuffers, ArrayBufferViews, and ReadableStreams as values.";

const encoder = new TextEncoder();

function checked(name, method) {
  const key = String(name);
  if (key === "") throw new TypeError("Key name cannot be empty.");
  if (key === "." || key === "..") throw new TypeError(`"${key}" is not allowed as a key name.`);
  const { length } = encoder.encode(key);
  if (length > MAX_KEY) {
    throw new Error(
      `KV ${method} failed: 414 UTF-8 encoded length of ${length} exceeds key length limit of ` +
        `${MAX_KEY}.`,
    );
  }
  return encodeURIComponent(key);
}

async function failure(method, response) {
  let reason = "";
  try {
    const said = await response.json();
    reason = said.error ?? said.errors[0].message;
  } catch {
    // The status has to do.
  }
  return new Error(`KV ${method} failed: ${response.status} ${reason}`);
}

/** `type` and `{type, cacheTtl}` alike. */
function readOptions(given) {
  const options = typeof given === "string" ? { type: given } : (given ?? {});
  return { type: options.type ?? "text", cacheTtl: options.cacheTtl };
}

async function valueOf(response, type) {
  switch (type) {
    case "text":
      return response.text();
    case "arrayBuffer":
      return response.arrayBuffer();
    case "json":
      return response.json();
    case "stream":
      return response.body;
  }
}

const cacheStatus = (response) => response.headers.get("CF-Cache-Status");

const wholeNumber = (value) => Math.trunc(Number(value)) || 0;

/** JSON in ASCII, since a header cannot hold every text. */
const ascii = (value) =>
  JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (unit) => "\\u" + unit.charCodeAt(0).toString(16).padStart(4, "0"),
  );

function bodyOf(value) {
  if (value === null || (typeof value !== "object" && typeof value !== "function")) {
    return `${value}`;
  }
  if (
    value instanceof ArrayBuffer ||
    value instanceof ReadableStream ||
    ArrayBuffer.isView(value)
  ) {
    return value;
  }
  throw new TypeError(VALUES);
}

/** Throws what the binding throws that has fewer arguments than it needs. */
function need(given, method, ...types) {
  if (given.length >= types.length) return;
  throw new TypeError(
    `Failed to execute '${method}' on 'KvNamespace': parameter ${given.length + 1} is not of type ` +
      `'${types[given.length]}'.`,
  );
}

/** The next bytes of a stream, in large parts where it can give them; null at its end. */
function readerOf(stream) {
  let reader;
  try {
    reader = stream.getReader({ mode: "byob" });
  } catch {
    reader = stream.getReader();
    return { reader, next: async () => bytesOf(await reader.read()) };
  }
  return { reader, next: async () => bytesOf(await reader.read(new Uint8Array(PART))) };
}

function bytesOf({ done, value }) {
  if (done) return null;
  if (typeof value === "string") return encoder.encode(value);
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return value;
  throw new TypeError("This ReadableStream did not return bytes.");
}

/** Write a stream and `END`. Rejects with what broke the stream; it is cancelled if it is too long. */
async function copy(stream, writer) {
  let reader;
  try {
    const opened = readerOf(stream);
    reader = opened.reader;
    let size = 0;
    for (let bytes; (bytes = await opened.next()) !== null; ) {
      size += bytes.byteLength;
      if (size > MAX_VALUE) {
        throw new Error(
          `KV PUT failed: 413 Value length of ${size} exceeds limit of ${MAX_VALUE}.`,
        );
      }
      await writer.write(bytes);
    }
    await writer.write(END);
    await writer.close();
  } catch (error) {
    writer.abort(error).catch(() => {});
    reader?.cancel(error).catch(() => {});
    throw error;
  }
}

export class KvNamespace {
  #stub;

  constructor(stub) {
    this.#stub = stub;
  }

  /** All of this may be done twice: when the state cell ends in the middle, its successor is asked. */
  async #fetch(path, init) {
    const again = !(init?.body instanceof ReadableStream);
    for (let attempt = 1; ; attempt++) {
      const response = await this.#stub.fetch("http://kv/" + path, init);
      if (response.status !== LOST || !again || attempt === ATTEMPTS) return response;
      await response.body?.cancel();
    }
  }

  /** As `#fetch`, with a stream: what is answered counts only if all of the stream was sent. */
  #stream(path, stream, { method, headers }) {
    const { readable, writable } = new IdentityTransformStream();
    const copied = copy(stream, writable.getWriter());
    const answered = this.#fetch(path, {
      method,
      headers: { ...headers, "kv-stream": "1" },
      body: readable,
    });
    const whole = copied.then(() => answered);
    return Promise.race([whole, answered.then((response) => (response.ok ? whole : response))]);
  }

  async #read(name, given) {
    const { type, cacheTtl } = readOptions(given);
    const key = checked(name, "GET");
    if (!["text", "arrayBuffer", "json", "stream"].includes(type)) throw new TypeError(TYPES);
    const query = cacheTtl === undefined ? "" : `?cache_ttl=${encodeURIComponent(cacheTtl)}`;
    const response = await this.#fetch(key + query);
    if (response.status === 404) {
      await response.body?.cancel();
      return { value: null, metadata: null, cacheStatus: cacheStatus(response) };
    }
    if (!response.ok) throw await failure("GET", response);
    const sent = response.headers.get("CF-KV-Metadata");
    const metadata = sent === null ? null : JSON.parse(sent);
    const value = await valueOf(response, type);
    return { value, metadata, cacheStatus: cacheStatus(response) };
  }

  async #readMany(names, given, withMetadata) {
    const { type, cacheTtl } = readOptions(given);
    const body = JSON.stringify({ keys: names.map(String), type, cacheTtl, withMetadata });
    const response = await this.#fetch("bulk/get", { method: "POST", body });
    if (!response.ok) throw await failure("GET_BULK", response);
    return new Map(Object.entries(await response.json()));
  }

  async get(name, options) {
    need(arguments, "get", "string or Array");
    if (Array.isArray(name)) return this.#readMany(name, options, false);
    return (await this.#read(name, options)).value;
  }

  async getWithMetadata(name, options) {
    need(arguments, "getWithMetadata", "Array or string");
    if (Array.isArray(name)) return this.#readMany(name, options, true);
    return this.#read(name, options);
  }

  async list(options) {
    const { limit, prefix, cursor } = options ?? {};
    const query = new URLSearchParams();
    if (wholeNumber(limit) > 0) query.set("key_count_limit", wholeNumber(limit));
    if (prefix != null) query.set("prefix", prefix);
    if (cursor != null) query.set("cursor", cursor);
    const response = await this.#fetch("?" + query);
    if (!response.ok) throw await failure("GET", response);
    const page = await response.json();
    for (const key of page.keys) {
      if (key.metadata !== undefined) key.metadata = JSON.parse(key.metadata);
    }
    return { ...page, cacheStatus: null };
  }

  async put(name, value, options) {
    need(arguments, "put", "string", "string or Object");
    const key = checked(name, "PUT");
    const { expiration, expirationTtl, metadata } = options ?? {};
    const query = new URLSearchParams();
    if (expiration != null) query.set("expiration", wholeNumber(expiration));
    if (expirationTtl != null) query.set("expiration_ttl", wholeNumber(expirationTtl));
    const headers = metadata == null ? {} : { "kv-metadata": ascii(metadata) };
    const path = `${key}?${query}`;
    const body = bodyOf(value);
    const response =
      body instanceof ReadableStream
        ? await this.#stream(path, body, { method: "PUT", headers })
        : await this.#fetch(path, { method: "PUT", body, headers });
    if (!response.ok) throw await failure("PUT", response);
    await response.body?.cancel();
  }

  async delete(name) {
    need(arguments, "delete", "string");
    for (const each of Array.isArray(name) ? name : [name]) {
      const response = await this.#fetch(checked(each, "DELETE"), { method: "DELETE" });
      if (!response.ok) throw await failure("DELETE", response);
      await response.body?.cancel();
    }
  }
}
