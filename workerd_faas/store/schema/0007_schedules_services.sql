-- Runs by the clock, and functions that are tied to one another.

CREATE TABLE schedules (
    function            TEXT NOT NULL REFERENCES functions (name) ON DELETE CASCADE,
    cron                TEXT NOT NULL,
    created_at          TEXT NOT NULL,
    modified_at         TEXT NOT NULL,
    next_at             TEXT NOT NULL,
    -- The newest run; all NULL before the first one, some while it runs.
    last_scheduled_at   TEXT,
    last_started_at     TEXT,
    last_ended_at       TEXT,
    last_outcome        TEXT,
    last_missed_since   TEXT,
    last_version        TEXT,
    last_detail         TEXT,
    PRIMARY KEY (function, cron)
) STRICT, WITHOUT ROWID;

-- Which other functions receive a function's tail events. The names need not exist any more.
CREATE TABLE tail_consumers (
    function TEXT NOT NULL REFERENCES functions (name) ON DELETE CASCADE,
    consumer TEXT NOT NULL,
    PRIMARY KEY (function, consumer)
) STRICT, WITHOUT ROWID;

CREATE INDEX tail_consumers_by_consumer ON tail_consumers (consumer);
