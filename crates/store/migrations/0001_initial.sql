-- The first schema. Released migrations are never edited: a change is a new file.
-- Times are nanoseconds since 1970 (UTC); ids are UUIDs as text, so that any SQLite shell can read them.

PRAGMA application_id = 1296646471; -- "MIAG": tells our file from another program's.

CREATE TABLE services (
    service_id  TEXT PRIMARY KEY NOT NULL,
    name        TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    source      TEXT NOT NULL, -- JSON
    host        TEXT NOT NULL,
    port        INTEGER,
    tags        TEXT NOT NULL, -- JSON array
    replicas    INTEGER NOT NULL,
    config      TEXT NOT NULL, -- JSON
    environment TEXT NOT NULL, -- JSON object
    desired     TEXT NOT NULL CHECK (desired IN ('running', 'stopped')),
    version     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE secrets (
    service_id TEXT NOT NULL REFERENCES services (service_id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    nonce      BLOB NOT NULL, -- 24 random bytes
    ciphertext BLOB NOT NULL, -- XChaCha20-Poly1305; associated data: service id, NUL, name
    PRIMARY KEY (service_id, name)
) STRICT, WITHOUT ROWID;

-- No reference to services: a runner that outlives its service must still be found and ended.
CREATE TABLE instances (
    service_id        TEXT NOT NULL,
    idx               INTEGER NOT NULL,
    start_id          TEXT NOT NULL,
    runner_pid        INTEGER,
    runner_start_time INTEGER NOT NULL,
    control           TEXT NOT NULL,
    takeover          TEXT NOT NULL,
    tree              TEXT NOT NULL,
    port              INTEGER NOT NULL,
    started_at        INTEGER NOT NULL,
    ready_at          INTEGER,
    restart_count     INTEGER NOT NULL,
    last_exit         TEXT, -- JSON
    last_lines        TEXT NOT NULL, -- JSON array
    error             TEXT,
    version           INTEGER NOT NULL,
    PRIMARY KEY (service_id, idx)
) STRICT, WITHOUT ROWID;

-- No reference to services: the audit log outlives what it tells of.
CREATE TABLE events (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    who        TEXT NOT NULL,
    kind       TEXT NOT NULL,
    service_id TEXT,
    service    TEXT,
    instance   TEXT,
    why        TEXT NOT NULL
) STRICT;

CREATE INDEX events_by_service ON events (service_id, id);

CREATE TABLE health_checks (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    service_id TEXT NOT NULL REFERENCES services (service_id) ON DELETE CASCADE,
    idx        INTEGER NOT NULL,
    healthy    INTEGER NOT NULL,
    latency_ms REAL,
    message    TEXT
) STRICT;

CREATE INDEX health_checks_by_service ON health_checks (service_id, id);

CREATE TABLE totals (
    service_id        TEXT PRIMARY KEY NOT NULL REFERENCES services (service_id) ON DELETE CASCADE,
    connections       INTEGER NOT NULL,
    sessions          INTEGER NOT NULL,
    messages_in       INTEGER NOT NULL,
    messages_out      INTEGER NOT NULL,
    bytes_in          INTEGER NOT NULL,
    bytes_out         INTEGER NOT NULL,
    log_lines_dropped INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
