-- What became of sessions and turns, beside the other sums. JSON, because it is read and written as a whole, and because
-- histograms have no place in columns.

ALTER TABLE totals ADD COLUMN session_totals TEXT NOT NULL DEFAULT '{}';
