-- Accounts, users, sessions and tokens. Of credentials only SHA-256 digests are here.

CREATE TABLE accounts (
    id         TEXT PRIMARY KEY,
    -- For people; it need not be unique.
    name       TEXT NOT NULL,
    -- What the operator called it; NULL for the account of a login.
    handle     TEXT UNIQUE,
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    id            TEXT PRIMARY KEY,
    issuer        TEXT NOT NULL,
    subject       TEXT NOT NULL,
    account_id    TEXT NOT NULL UNIQUE REFERENCES accounts (id),
    -- Verified by the provider at the last login, else NULL.
    email         TEXT,
    created_at    TEXT NOT NULL,
    last_login_at TEXT NOT NULL,
    UNIQUE (issuer, subject)
) STRICT, WITHOUT ROWID;

CREATE TABLE used_logins (
    id         TEXT PRIMARY KEY,
    expires_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX used_logins_by_expiry ON used_logins (expires_at);

CREATE TABLE codes (
    digest       TEXT PRIMARY KEY,
    user_id      TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_id    TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    challenge    TEXT NOT NULL,
    scope        TEXT NOT NULL,
    expires_at   TEXT NOT NULL,
    used_at      TEXT,
    -- What came of it; no reference, since the session may end before the code is swept out.
    session_id   TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX codes_by_expiry ON codes (expires_at);

CREATE TABLE sessions (
    id           TEXT PRIMARY KEY,
    user_id      TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_id    TEXT NOT NULL,
    scope        TEXT NOT NULL,
    created_at   TEXT NOT NULL,
    last_used_at TEXT NOT NULL,
    -- Absolute.
    expires_at   TEXT NOT NULL,
    -- When its last refresh token expires.
    idle_at      TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_of_user ON sessions (user_id, created_at);

CREATE TABLE refresh_tokens (
    digest     TEXT PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    expires_at TEXT NOT NULL,
    used_at    TEXT,
    successor  TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX refresh_tokens_of_session ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);

CREATE TABLE api_tokens (
    id           TEXT PRIMARY KEY,
    digest       TEXT NOT NULL UNIQUE,
    name         TEXT NOT NULL,
    account_id   TEXT NOT NULL REFERENCES accounts (id),
    -- Who made it; NULL for the operator.
    user_id      TEXT REFERENCES users (id) ON DELETE CASCADE,
    created_at   TEXT NOT NULL,
    last_used_at TEXT,
    expires_at   TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX api_tokens_of_account ON api_tokens (account_id, created_at);
