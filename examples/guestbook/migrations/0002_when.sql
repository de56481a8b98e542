ALTER TABLE entries ADD COLUMN written TEXT NOT NULL DEFAULT '';
CREATE INDEX entries_by_name ON entries (name);
