-- The last version of a service that only a restart puts into force, and the creations that were asked for with a key, so that
-- one that is asked for again is done once.

ALTER TABLE services ADD COLUMN restart_version INTEGER NOT NULL DEFAULT 0;

CREATE TABLE idempotency_keys (
    key         TEXT PRIMARY KEY NOT NULL,
    fingerprint TEXT NOT NULL, -- of what was asked for
    subject     TEXT NOT NULL, -- the id of what was made
    at          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
