-- Secrets of functions, encrypted. A version's `secret_text` binding names one by its id, so that
-- versions which keep a secret share it, and a change of keys touches this table alone.

CREATE TABLE secrets (
    id       TEXT PRIMARY KEY,
    function TEXT NOT NULL REFERENCES functions (name) ON DELETE CASCADE,
    -- A Fernet token; the id is inside it as well.
    sealed   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX secrets_of_function ON secrets (function);

-- Databases that functions reach by `hyperdrive` bindings, which name one by its id.

CREATE TABLE hyperdrives (
    id          TEXT PRIMARY KEY,
    account_id  TEXT NOT NULL,
    name        TEXT NOT NULL,
    -- Everything of the origin but the password, as JSON.
    origin      TEXT NOT NULL,
    -- The password, encrypted like a secret.
    sealed      TEXT NOT NULL,
    -- JSON.
    settings    TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    modified_at TEXT NOT NULL,
    UNIQUE (account_id, name)
) STRICT, WITHOUT ROWID;

-- Logins of programs without a browser (RFC 8628), until they are fetched or over.

CREATE TABLE device_logins (
    -- SHA-256 of the device code.
    digest       TEXT PRIMARY KEY,
    user_code    TEXT NOT NULL UNIQUE,
    client_id    TEXT NOT NULL,
    scope        TEXT NOT NULL,
    -- Who asked, so that nobody can ask for all there may be.
    address      TEXT NOT NULL,
    expires_at   TEXT NOT NULL,
    -- Seconds that must be between two questions.
    interval     INTEGER NOT NULL,
    asked_at     TEXT,
    -- NULL: nobody has decided; 1: allowed, to `user_id`; 0: refused.
    allowed      INTEGER,
    user_id      TEXT REFERENCES users (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX device_logins_by_expiry ON device_logins (expires_at);
CREATE INDEX device_logins_by_address ON device_logins (address);

-- What functions write with `analytics_engine` bindings; the oldest of an account go first.

CREATE TABLE data_points (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id TEXT NOT NULL,
    dataset    TEXT NOT NULL,
    function   TEXT NOT NULL,
    at         TEXT NOT NULL,
    "index"    TEXT NOT NULL,
    -- JSON arrays.
    blobs      TEXT NOT NULL,
    doubles    TEXT NOT NULL
) STRICT;

CREATE INDEX data_points_of_dataset ON data_points (account_id, dataset, at);
CREATE INDEX data_points_of_account ON data_points (account_id, number);
