// A file of SQL, run as it comes, statement by statement.
//
// A statement may have 100 KB, as at Cloudflare: one with a large value is longer. So long texts and
// blobs are taken out of their statement and bound to it: what was exported can be imported.

/** Characters that are looked at together. */
const PART = 1024 * 1024;
/** A literal that is longer is bound. */
const LONG = 16 * 1024;

/** Where something begins in which a semicolon or a quote is none. */
const MARK = /['"`[;]|--|\/\*/g;
const CLOSING = { "'": "'", '"': '"', "`": "`", "[": "]", "--": "\n", "/*": "*/" };

const BLANK = /^(?:\s|;|--[^\n]*(?:\n|$)|\/\*[^]*?(?:\*\/|$))*$/;

/** `{mark, begin, end}` of what is marked, from a place outside of all marks; no end: there is more. */
function* marks(text, from) {
  let at = from;
  for (;;) {
    MARK.lastIndex = at;
    const found = MARK.exec(text);
    if (found === null) return;
    const { 0: mark, index: begin } = found;
    const end = mark === ";" ? begin + 1 : endOf(text, mark, begin + mark.length);
    yield { mark, begin, end };
    if (end === undefined) return;
    at = end;
  }
}

function endOf(text, mark, from) {
  const closing = CLOSING[mark];
  for (let at = from; ; ) {
    const found = text.indexOf(closing, at);
    if (found < 0) return undefined;
    const end = found + closing.length;
    // A quote that is doubled is one of the text; at the very end the next part may double it.
    if (mark === "[" || mark.length > 1 || (end < text.length && text[end] !== mark)) return end;
    if (end === text.length) return undefined;
    at = end + 1;
  }
}

const MAYBE_EMPTY = /(?:^|;)\s*(?:;|--|\/\*)/;

/** Without the semicolons of statements in which there is nothing; workerd takes these for mistakes. */
function withoutEmpty(text) {
  if (!MAYBE_EMPTY.test(text)) return text;
  let made = "";
  let taken = 0;
  let at = 0;
  let empty = true;
  for (const { mark, begin, end } of marks(text, 0)) {
    empty &&= text.slice(at, begin).trim() === "";
    at = end;
    if (mark === ";") {
      if (empty) {
        made += text.slice(taken, begin);
        taken = end;
      }
      empty = true;
    } else if (mark !== "--" && mark !== "/*") {
      empty = false;
    }
  }
  return made + text.slice(taken);
}

const isLong = (text, { mark, begin, end = text.length }) => mark === "'" && end - begin > LONG;

/** Replace long literals of a statement; the values are in `values`. */
function bound(text, values) {
  let made = "";
  let at = 0;
  for (const each of marks(text, 0)) {
    if (each.end === undefined || !isLong(text, each)) continue;
    const literal = text.slice(each.begin + 1, each.end - 1);
    const isBlob = /[xX]/.test(text[each.begin - 1] ?? "");
    values.push(isBlob ? fromHex(literal) : literal.replaceAll("''", "'"));
    made += text.slice(at, each.begin - (isBlob ? 1 : 0)) + "?";
    at = each.end;
  }
  return made + text.slice(at);
}

const fromHex = (text) => Uint8Array.fromHex(text).buffer;

export class Ingest {
  statementCount = 0;
  rowsRead = 0;
  rowsWritten = 0;
  #sql;
  #rest = "";
  #enough = PART;

  constructor(sql) {
    this.#sql = sql;
  }

  /** More of the file. Throws what SQLite says of a statement. */
  add(text) {
    this.#rest += text;
    if (this.#rest.length >= this.#enough) this.#run();
  }

  /** That was all of it. */
  end() {
    // What is open in the end must be seen to be closed, if it is.
    this.#rest += "\n";
    this.#run();
    if (!BLANK.test(this.#rest)) this.#one(this.#rest);
    this.#rest = "";
  }

  #run() {
    let text = withoutEmpty(this.#rest);
    for (let long; (long = firstLong(text)) !== undefined; ) {
      const begun = this.#whole(text.slice(0, long.begin));
      const statement = begun + text.slice(long.begin);
      const end = endOfStatement(statement, begun.length);
      if (end === undefined) {
        this.#keep(statement);
        return;
      }
      this.#one(statement.slice(0, end));
      text = statement.slice(end);
    }
    this.#keep(this.#whole(text));
  }

  /** A long statement must not be looked at again with each piece of it. */
  #keep(text) {
    this.#rest = text;
    this.#enough = Math.max(PART, 2 * text.length);
  }

  /** Run the statements that are whole; the rest. */
  #whole(text) {
    const done = this.#sql.ingest(text);
    this.#count(done, done.statementCount);
    return done.remainder;
  }

  #one(text) {
    const values = [];
    const cursor = this.#sql.exec(bound(text, values), ...values);
    cursor.toArray();
    this.#count(cursor, 1);
  }

  #count({ rowsRead, rowsWritten }, statements) {
    this.rowsRead += rowsRead;
    this.rowsWritten += rowsWritten;
    this.statementCount += statements;
  }
}

function firstLong(text) {
  for (const each of marks(text, 0)) if (isLong(text, each)) return each;
  return undefined;
}

/** From a place outside of all marks. */
function endOfStatement(text, from) {
  for (const { mark, end } of marks(text, from)) if (mark === ";") return end;
  return undefined;
}
