-- Which other accounts' functions may call a function. The account need not exist.

CREATE TABLE grants (
    function    TEXT NOT NULL REFERENCES functions (name) ON DELETE CASCADE,
    account_id  TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    author      TEXT NOT NULL,
    PRIMARY KEY (function, account_id)
) STRICT, WITHOUT ROWID;
