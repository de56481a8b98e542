-- Secrets of functions, encrypted. A version's `secret_text` binding names one by its id, so that
-- versions which keep a secret share it, and a change of keys touches this table alone.

CREATE TABLE secrets (
    id       TEXT PRIMARY KEY,
    function TEXT NOT NULL REFERENCES functions (name) ON DELETE CASCADE,
    -- A Fernet token; the id is inside it as well.
    sealed   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX secrets_of_function ON secrets (function);
