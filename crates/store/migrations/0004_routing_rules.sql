-- Rules by which clients get to instances. What a rule says is read and written as a whole (JSON); the name stands beside it
-- because it is unique.

CREATE TABLE routing_rules (
    rule_id    TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL UNIQUE,
    spec       TEXT NOT NULL, -- JSON
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
