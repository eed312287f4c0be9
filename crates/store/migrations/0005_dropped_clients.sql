-- Clients that were dropped because they took nothing, and those that were given up because they did not answer any more.

ALTER TABLE totals ADD COLUMN slow_clients INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN vanished_clients INTEGER NOT NULL DEFAULT 0;
