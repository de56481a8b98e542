-- What is said of a function beside its versions. No row: nothing has been said.

CREATE TABLE unversioned (
    function      TEXT PRIMARY KEY REFERENCES functions (name) ON DELETE CASCADE,
    -- A JSON array of strings.
    tags          TEXT NOT NULL,
    -- A JSON object, as it was sent.
    observability TEXT NOT NULL
) STRICT, WITHOUT ROWID;
