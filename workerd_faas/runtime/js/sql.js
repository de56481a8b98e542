// Where one SQL statement ends and the next begins, as SQLite's own sqlite3_complete() sees it.

// Comments, quoted text, words, semicolons; anything else one character at a time.
const TOKEN =
  /--[^\n]*|\/\*[^]*?(?:\*\/|$)|'(?:[^']|'')*(?:'|$)|"(?:[^"]|"")*(?:"|$)|`(?:[^`]|``)*(?:`|$)|\[[^\]]*(?:\]|$)|[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*|;|\s+|[^]/g;

const SPACE = /^(?:\s|--|\/\*)/;

/** The statements of a text, without those that are only comments. */
export function statements(text) {
  const found = [];
  let begin = 0;
  let empty = true;
  // How far `[EXPLAIN] CREATE [TEMP] TRIGGER` has been read; a trigger's body has semicolons of its
  // own and ends with `; END;`.
  let head = "start";
  let body = null;
  for (const { 0: token, index } of text.matchAll(TOKEN)) {
    if (SPACE.test(token)) continue;
    if (token !== ";") {
      empty = false;
      const word = token.toUpperCase();
      if (body === null) {
        head = NEXT[head]?.[word] ?? "other";
        if (head === "trigger") body = "inside";
      } else {
        body = body === "semicolon" && word === "END" ? "end" : "inside";
      }
    } else if (body === null || body === "end") {
      if (!empty) found.push(text.slice(begin, index + 1));
      begin = index + 1;
      empty = true;
      head = "start";
      body = null;
    } else {
      body = "semicolon";
    }
  }
  if (!empty) found.push(text.slice(begin));
  return found.map((statement) => statement.trim());
}

const NEXT = {
  start: { EXPLAIN: "explain", CREATE: "create" },
  explain: { QUERY: "explain", PLAN: "explain", CREATE: "create" },
  create: { TEMP: "create", TEMPORARY: "create", TRIGGER: "trigger" },
};
