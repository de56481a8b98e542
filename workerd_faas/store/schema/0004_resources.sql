-- Storage that accounts own: KV namespaces, D1 databases, queues. Their content is not here but in
-- the account's state directory.

CREATE TABLE resources (
    id          TEXT PRIMARY KEY,
    account_id  TEXT NOT NULL,
    -- `kv`, `d1` or `queue`.
    kind        TEXT NOT NULL,
    name        TEXT NOT NULL,
    -- Of a database: the function whose `env.D1` it is without having been asked for.
    function    TEXT,
    -- JSON: of a queue its delivery delay and retention.
    settings    TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    modified_at TEXT NOT NULL,
    UNIQUE (account_id, kind, name)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX default_databases ON resources (account_id, function)
    WHERE function IS NOT NULL;

CREATE TABLE consumers (
    id          TEXT PRIMARY KEY,
    -- A queue has one consumer.
    queue_id    TEXT NOT NULL UNIQUE REFERENCES resources (id) ON DELETE CASCADE,
    function    TEXT NOT NULL,
    -- The id of the queue that takes what could not be delivered.
    dead_letter TEXT,
    -- JSON.
    settings    TEXT NOT NULL,
    created_at  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX consumers_of_function ON consumers (function);
