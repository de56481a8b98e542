-- Whether requests from outside reach a function at its host, and its versions at theirs.

ALTER TABLE functions ADD COLUMN enabled INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1));
ALTER TABLE functions ADD COLUMN previews INTEGER NOT NULL DEFAULT 1 CHECK (previews IN (0, 1));
