-- Functions, their versions, deployments and aliases.
-- Times are ISO 8601 in UTC with microseconds; lists and JSON values are JSON text.

CREATE TABLE functions (
    name        TEXT PRIMARY KEY,
    account_id  TEXT NOT NULL,
    tag         TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    modified_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX functions_of_account ON functions (account_id, name);

CREATE TABLE versions (
    id                  TEXT PRIMARY KEY,
    function            TEXT NOT NULL REFERENCES functions (name) ON DELETE CASCADE,
    number              INTEGER NOT NULL,
    created_at          TEXT NOT NULL,
    author              TEXT NOT NULL,
    source              TEXT NOT NULL,
    triggered_by        TEXT NOT NULL,
    message             TEXT,
    tag                 TEXT,
    bundle              TEXT NOT NULL,
    size                INTEGER NOT NULL,
    main_module         TEXT NOT NULL,
    compatibility_date  TEXT NOT NULL,
    compatibility_flags TEXT NOT NULL,
    bindings            TEXT NOT NULL,
    handlers            TEXT NOT NULL,
    startup_ms          INTEGER NOT NULL,
    UNIQUE (function, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE deployments (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL UNIQUE,
    function     TEXT NOT NULL REFERENCES functions (name) ON DELETE CASCADE,
    created_at   TEXT NOT NULL,
    author       TEXT NOT NULL,
    source       TEXT NOT NULL,
    triggered_by TEXT NOT NULL,
    message      TEXT,
    splits       TEXT NOT NULL
) STRICT;

CREATE INDEX deployments_of_function ON deployments (function, number);

CREATE TABLE aliases (
    function    TEXT NOT NULL REFERENCES functions (name) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    version_id  TEXT NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
    created_at  TEXT NOT NULL,
    modified_at TEXT NOT NULL,
    PRIMARY KEY (function, name)
) STRICT, WITHOUT ROWID;
