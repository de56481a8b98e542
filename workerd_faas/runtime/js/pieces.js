// What the body of a request or response brings, taken in order.
//
// What is large is not read whole to be cut up: a document of 64 MiB would be in a cell's memory
// several times, of which many functions share some 256 MiB.

/** Bytes of a body that is read whole. */
const WHOLE = 1024 * 1024;
/** Bytes of others that are read at once. */
const AT_ONCE = 256 * 1024;

export class Pieces {
  /** Of what has not been read yet, if there is any. */
  #reader;
  /** The memory that is read into, over and over. */
  #buffer;
  /** What has been read and not taken. */
  #ahead = new Uint8Array(0);

  /** Of a Request or Response. */
  static async of(message) {
    const pieces = new Pieces();
    if (Number(message.headers.get("content-length")) <= WHOLE) {
      pieces.#ahead = new Uint8Array(await message.arrayBuffer());
    } else {
      pieces.#reader = message.body.getReader({ mode: "byob" });
      pieces.#buffer = new ArrayBuffer(AT_ONCE);
    }
    return pieces;
  }

  /** The next so many bytes, which are there until more is taken; throws when there are fewer. */
  async bytes(size) {
    if (size <= AT_ONCE || this.#reader === undefined) return this.#piece(size);
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
    return this.#reader === undefined || (await this.#reader.read(new Uint8Array(1))).done;
  }

  async #piece(size) {
    if (size > this.#ahead.byteLength) await this.#readAhead(size);
    const taken = this.#ahead.subarray(0, size);
    this.#ahead = this.#ahead.subarray(size);
    return taken;
  }

  async #readAhead(size) {
    const had = this.#ahead.byteLength;
    const least = size - had;
    if (this.#reader === undefined) throw new RangeError("the body ended too early");
    const buffer = new Uint8Array(this.#buffer);
    buffer.set(this.#ahead);
    // The memory is handed over, and comes back.
    const { value } = await this.#reader.read(buffer.subarray(had), { min: least });
    const read = value?.byteLength ?? 0;
    if (read < least) throw new RangeError("the body ended too early");
    this.#buffer = value.buffer;
    this.#ahead = new Uint8Array(value.buffer, 0, had + read);
  }
}
