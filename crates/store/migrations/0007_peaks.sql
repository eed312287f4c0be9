-- The most connections and sessions that a service had at once; those of the whole fleet have the id of zeros.

CREATE TABLE peaks (
    service_id  TEXT PRIMARY KEY NOT NULL,
    connections INTEGER NOT NULL,
    sessions    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
