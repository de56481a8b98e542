-- What an API token may do: words with spaces between them; NULL for everything, and for all
-- functions.

ALTER TABLE api_tokens ADD COLUMN scopes TEXT;
ALTER TABLE api_tokens ADD COLUMN functions TEXT;
