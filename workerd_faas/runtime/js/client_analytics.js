// `env.<dataset>` inside the function's own isolate: checks a data point as workerd does, and hands
// it to the router without keeping the caller waiting.

import { waitUntil } from "cloudflare:workers";

/** Points that are written without a pause in between; the others are dropped. */
const AT_ONCE = 250;
const VALUES = 20;
const BLOB_BYTES = 16 * 1024;
const INDEX_BYTES = 96;
const PREFIX = "writeDataPoint(): ";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function list(value, what, most) {
  if (value === undefined || value === null) return [];
  const found = Array.from(value);
  if (found.length > most) throw new TypeError(`${PREFIX}Maximum of ${most} ${what} supported.`);
  return found;
}

function text(value) {
  if (value === null || value === undefined) return null;
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return decoder.decode(value);
  return String(value).toWellFormed();
}

function checked(event) {
  if (event !== undefined && (typeof event !== "object" || event === null)) {
    throw new TypeError(`${PREFIX}The data point must be an object.`);
  }
  const blobs = list(event?.blobs, "blobs", VALUES).map(text);
  const bytes = blobs.reduce((sum, blob) => sum + encoder.encode(blob ?? "").length, 0);
  if (bytes > BLOB_BYTES) {
    throw new TypeError(`${PREFIX}Cumulative size of blobs exceeded ${BLOB_BYTES} bytes.`);
  }
  const doubles = list(event?.doubles, "doubles", VALUES).map(Number);
  if (!doubles.every(Number.isFinite)) {
    throw new TypeError(`${PREFIX}doubles must be finite numbers.`);
  }
  const index = text(list(event?.indexes, "indexes", 1)[0]) ?? "";
  if (encoder.encode(index).length > INDEX_BYTES) {
    throw new TypeError(`${PREFIX}Size of indexes[0] exceeded ${INDEX_BYTES} bytes.`);
  }
  return { index, blobs, doubles };
}

export class AnalyticsEngineDataset {
  #stub;
  #waiting = [];

  constructor(stub) {
    this.#stub = stub;
  }

  writeDataPoint(event) {
    const point = JSON.stringify(checked(event));
    if (this.#waiting.length >= AT_ONCE) return;
    this.#waiting.push(point);
    // Sent once the present step of the caller is over: no other request can come in between.
    if (this.#waiting.length === 1) waitUntil(Promise.resolve().then(() => this.#send()));
  }

  #send() {
    const body = `[${this.#waiting.splice(0).join()}]`;
    return this.#stub.fetch("http://analytics/", { method: "POST", body });
  }
}
