-- What the operator has decided for single accounts. NULL, or no row: as the settings say for all.

CREATE TABLE account_policies (
    account_id  TEXT PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    -- account, function or shared.
    isolation   TEXT,
    -- As domain.policies.Reach writes itself: none, or public and networks.
    egress      TEXT,
    modified_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
