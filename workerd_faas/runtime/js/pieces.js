// What a byte stream brings, taken in order.
//
// Nothing is read whole to be cut up: a document of 64 MiB would be in a cell's memory several times,
// of which many functions share some 256 MiB.

/** Bytes that are read at once, at most and to begin with. */
const AT_ONCE = 256 * 1024;
const BEGIN = 16 * 1024;

export class Pieces {
  #reader;
  /** The memory that is read into, over and over; and what has been read and not taken. */
  #buffer = new ArrayBuffer(BEGIN);
  #ahead = new Uint8Array(0);

  constructor(stream) {
    this.#reader = stream.getReader({ mode: "byob" });
  }

  /** The next so many bytes, which are there until more is taken; throws when there are fewer. */
  async bytes(size) {
    if (size <= AT_ONCE) return this.#piece(size);
    const whole = new Uint8Array(size);
    for (let at = 0; at < size; at += AT_ONCE) {
      whole.set(await this.#piece(Math.min(AT_ONCE, size - at)), at);
    }
    return whole;
  }

  /**
   * The next so many bytes as text. In pieces, since a `TextDecoder` may take twelve times the memory
   * of what it is given.
   */
  async text(size, options) {
    const decoder = new TextDecoder("utf-8", options);
    if (size <= AT_ONCE) return decoder.decode(await this.#piece(size));
    let text = "";
    for (let at = 0; at < size; at += AT_ONCE) {
      text += decoder.decode(await this.#piece(Math.min(AT_ONCE, size - at)), { stream: true });
    }
    text += decoder.decode();
    // Puts it into one place, so that the pieces are garbage.
    text.charCodeAt(0);
    return text;
  }

  /** Whether there is nothing more. */
  async over() {
    if (this.#ahead.byteLength > 0) return false;
    return (await this.#reader.read(new Uint8Array(1))).done;
  }

  async #piece(size) {
    if (size > this.#ahead.byteLength) await this.#readAhead(size);
    const taken = this.#ahead.subarray(0, size);
    this.#ahead = this.#ahead.subarray(size);
    return taken;
  }

  #large() {
    return this.#buffer.byteLength === AT_ONCE ? this.#buffer : new ArrayBuffer(AT_ONCE);
  }

  async #readAhead(size) {
    const had = this.#ahead.byteLength;
    const buffer = new Uint8Array(size > BEGIN ? this.#large() : this.#buffer);
    buffer.set(this.#ahead);
    const least = size - had;
    // The memory is handed over, and comes back.
    const { value } = await this.#reader.read(buffer.subarray(had), { min: least });
    const read = value?.byteLength ?? 0;
    if (read < least) throw new RangeError("the stream ended too early");
    this.#buffer = value.buffer;
    this.#ahead = new Uint8Array(value.buffer, 0, had + read);
  }
}
