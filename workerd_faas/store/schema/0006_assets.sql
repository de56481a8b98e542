-- Static assets of a version: the SHA-256 of its site document in the bundle directory.

ALTER TABLE versions ADD COLUMN assets TEXT;
