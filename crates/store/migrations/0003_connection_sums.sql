-- Sums by the name of the rule that routed a connection (JSON), sums of instances, and the sums of runners that may still
-- live, so that what they counted is not lost if they end while no manager looks.

ALTER TABLE totals ADD COLUMN rules TEXT NOT NULL DEFAULT '{}';

CREATE TABLE instance_totals (
    service_id TEXT NOT NULL REFERENCES services (service_id) ON DELETE CASCADE,
    idx        INTEGER NOT NULL,
    totals     TEXT NOT NULL, -- JSON
    PRIMARY KEY (service_id, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE live_sums (
    service_id TEXT NOT NULL REFERENCES services (service_id) ON DELETE CASCADE,
    idx        INTEGER NOT NULL,
    start_id   TEXT NOT NULL,
    sums       TEXT NOT NULL, -- JSON
    PRIMARY KEY (service_id, idx)
) STRICT, WITHOUT ROWID;
