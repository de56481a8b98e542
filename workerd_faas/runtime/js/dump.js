// A database as SQL, statement by statement: what SQLite's shell prints for `.dump`, in the form that
// D1 has. workerd's own takes all of it at once and each value as JavaScript has it, which has no
// integers beyond 2^53, does not tell 1.0 from 1, and confuses a line break with the letters `\n`.

const escaped = (name) => `"${name.replaceAll('"', '""')}"`;

/** SQL that gives a column's value as SQL. `quote()` ends at a NUL. */
function quoted(name) {
  const column = escaped(name);
  return (
    `CASE WHEN typeof(${column}) = 'text' AND instr(${column}, char(0))` +
    ` THEN 'CAST(X''' || hex(${column}) || ''' AS TEXT)' ELSE quote(${column}) END`
  );
}

/** On one line, as SQLite's shell writes it: with a replacement that the text does not have. */
function onOneLine(value) {
  for (const [character, code, letter] of [
    ["\r", 13, "r"],
    ["\n", 10, "n"],
  ]) {
    if (!value.includes(character)) continue;
    let stand = "\\" + letter;
    for (let n = 0; value.includes(stand); n++) stand = `(\\${letter}${n})`;
    value = `replace(${value.replaceAll(character, stand)},'${stand}',char(${code}))`;
  }
  return value;
}

/** Throws if there is a table that cannot be written as SQL. */
export function check(sql, tables) {
  for (const { name, sql: text } of wanted(sql, tables)) {
    if (/^CREATE VIRTUAL TABLE/i.test(text)) {
      throw new Error(
        `D1 Export error: cannot export databases with Virtual Tables (fts5): ${escaped(name)}`,
      );
    }
  }
}

function wanted(sql, tables) {
  const all = sql
    .exec(
      "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql NOT NULL" +
        " AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'" +
        " ORDER BY tbl_name = 'sqlite_sequence', rowid",
    )
    .toArray();
  return tables.length === 0 ? all : all.filter(({ name }) => tables.includes(name));
}

/** The statements; nothing may change between two of them. No tables: all of them. */
export function* statementsOf(sql, { noSchema, noData, tables }) {
  const all = wanted(sql, tables);
  const theirs = all.filter(({ name }) => !name.startsWith("sqlite_"));
  yield "PRAGMA defer_foreign_keys=TRUE;";
  // All tables before all rows, since rows may refer to those of any table.
  if (!noSchema) for (const { sql: text } of theirs) yield created(text);
  if (!noData) for (const { name } of theirs) yield* rowsOf(sql, name);
  for (const { name } of all) {
    const begin = OWN.find(([prefix]) => name.startsWith(prefix))?.[1];
    if (begin === undefined) continue;
    if (!noSchema) yield begin;
    if (!noData) yield* rowsOf(sql, name);
  }
  if (noSchema) return;
  const rest = sql.exec(
    "SELECT name, sql FROM sqlite_schema WHERE sql NOT NULL" +
      " AND type IN ('index', 'trigger', 'view')" +
      // Triggers last: they may be on views.
      " ORDER BY type = 'trigger', type COLLATE NOCASE, rowid",
  );
  for (const { name, sql: text } of rest.toArray()) {
    if (tables.length === 0 || tables.includes(name)) yield `${text};`;
  }
}

/** SQLite's own tables are not created, and have what their first rows would be already. */
const OWN = [
  ["sqlite_stat", "ANALYZE sqlite_schema;"],
  ["sqlite_sequence", "DELETE FROM sqlite_sequence;"],
];

/** As SQLite's shell: a quoted name gets IF NOT EXISTS. */
const created = (text) =>
  /^CREATE TABLE ['"]/.test(text)
    ? `CREATE TABLE IF NOT EXISTS ${text.slice("CREATE TABLE ".length)};`
    : `${text};`;

function* rowsOf(sql, table) {
  const columns = sql.exec(`PRAGMA table_info=${escaped(table)}`).toArray();
  const names = columns.map(({ name }) => name);
  const begin = `INSERT INTO ${escaped(table)} (${names.map(escaped).join(",")}) VALUES(`;
  const select = `SELECT ${names.map(quoted).join(",")} FROM ${escaped(table)}`;
  for (const row of sql.exec(select).raw()) {
    yield `${begin}${row.map(onOneLine).join(",")});`;
  }
}
