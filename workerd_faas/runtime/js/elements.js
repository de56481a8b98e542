// A JSON array as it comes, element by element: all of it would take several times its size.

const PART = 1024 * 1024;
const IN_STRING = /["\\]/g;
const OUTSIDE = /["[\]{},]/g;
const NO_ARRAY = "The body must be a JSON array.";

/** The elements; throws what is wrong when it comes to it. */
export async function* elementsOf(stream) {
  const reader = new Reader();
  for await (const text of stream.pipeThrough(new TextDecoderStream())) yield* reader.add(text);
  yield* reader.end();
}

class Reader {
  #waiting = "";
  #enough = PART;
  #text = "";
  /** How far it has been looked at, and where the element begins. */
  #at = 0;
  #begin = 0;
  #depth = 0;
  #inString = false;
  #found = false;
  #over = false;

  *add(text) {
    this.#waiting += text;
    if (this.#waiting.length >= this.#enough) yield* this.#read();
  }

  *end() {
    yield* this.#read();
    if (!this.#over) throw new SyntaxError("The body is not a whole JSON array.");
    if (this.#text.slice(this.#at).trim() !== "") throw new SyntaxError(NO_ARRAY);
  }

  *#read() {
    this.#text = this.#text.slice(this.#begin) + this.#waiting;
    this.#at -= this.#begin;
    this.#begin = 0;
    this.#waiting = "";
    while (this.#at < this.#text.length && !this.#over) {
      const element = this.#inString ? this.#string() : this.#outside();
      if (element !== undefined) yield JSON.parse(element);
    }
    // A long element must not be copied again with each piece of it.
    this.#enough = Math.max(PART, this.#text.length - this.#begin);
  }

  #next(marks) {
    marks.lastIndex = this.#at;
    const found = marks.exec(this.#text);
    this.#at = found === null ? this.#text.length : found.index + 1;
    return found?.[0];
  }

  #string() {
    const mark = this.#next(IN_STRING);
    if (mark === '"') this.#inString = false;
    // What follows may not be here yet; then it is looked at first, and means nothing.
    else if (mark === "\\") this.#at++;
  }

  #outside() {
    const before = this.#at;
    const mark = this.#next(OUTSIDE);
    if (this.#depth === 0) {
      if (mark === undefined && this.#text.trim() === "") return undefined;
      if (mark !== "[" || this.#text.slice(before, this.#at - 1).trim() !== "") {
        throw new SyntaxError(NO_ARRAY);
      }
    }
    if (mark === '"') this.#inString = true;
    else if (mark === "[" || mark === "{") this.#open();
    else if (mark === "]" || mark === "}") return this.#close(mark);
    else if (mark === "," && this.#depth === 1) return this.#take();
    return undefined;
  }

  #open() {
    this.#depth++;
    if (this.#depth === 1) this.#begin = this.#at;
  }

  #close(mark) {
    this.#depth--;
    if (this.#depth > 0) return undefined;
    if (mark !== "]") throw new SyntaxError(NO_ARRAY);
    this.#over = true;
    const alone = !this.#found;
    const last = this.#take();
    return alone && last.trim() === "" ? undefined : last;
  }

  #take() {
    const element = this.#text.slice(this.#begin, this.#at - 1);
    this.#begin = this.#at;
    this.#found = true;
    return element;
  }
}
