//! Opening a database: look first, change later. Nothing is written before the file is known to be ours, sound and of a
//! schema that this program knows.

use crate::error::StoreError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// One line per file in `migrations/`, in order; the number of lines is the schema version.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_initial.sql"),
    include_str!("../migrations/0002_session_totals.sql"),
    include_str!("../migrations/0003_connection_sums.sql"),
    include_str!("../migrations/0004_routing_rules.sql"),
    include_str!("../migrations/0005_dropped_clients.sql"),
    include_str!("../migrations/0006_api.sql"),
    include_str!("../migrations/0007_peaks.sql"),
];

/// `PRAGMA application_id` of our files; set by the first migration.
const APPLICATION_ID: i64 = 0x4D49_4147;

/// How long to wait for another process, for instance the manager that is being replaced.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a write waits for another process once the database is open: the engine stands still meanwhile.
const WRITE_TIMEOUT: Duration = Duration::from_millis(250);

const READERS: usize = 2;

const OPEN: &str = "open the database";

/// Opens a file: the connection that writes, and those that read.
pub(crate) fn file(path: &Path) -> Result<(Connection, Vec<Connection>), StoreError> {
    create_private(path)?;
    let failed = |source| StoreError::from_sqlite(OPEN, path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut writer = Connection::open_with_flags(path, flags).map_err(failed)?;
    writer.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    // Without this, closing a file that we refuse would still fold its write-ahead log into it.
    writer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    inspect(&writer, path)?;
    writer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(failed)?;
    prepare(&mut writer, path)?;
    writer.busy_timeout(WRITE_TIMEOUT).map_err(failed)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let reader = || {
        let reader = Connection::open_with_flags(path, flags)?;
        reader.busy_timeout(BUSY_TIMEOUT)?;
        reader.pragma_update(None, "cache_size", -512)?;
        Ok(reader)
    };
    let readers = (0..READERS).map(|_| reader()).collect::<Result<_, _>>().map_err(failed)?;
    Ok((writer, readers))
}

/// Whether this program could open the file; it is only read. One that is not there could be made.
pub(crate) fn check(path: &Path) -> Result<(), StoreError> {
    if !path.exists() {
        return Ok(());
    }
    let failed = |source| StoreError::from_sqlite(OPEN, path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let reader = Connection::open_with_flags(path, flags).map_err(failed)?;
    reader.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    inspect(&reader, path)
}

/// Opens a database in memory.
pub(crate) fn memory() -> Result<Connection, StoreError> {
    let path = Path::new(":memory:");
    let mut connection =
        Connection::open_in_memory().map_err(|source| StoreError::from_sqlite(OPEN, path, source))?;
    prepare(&mut connection, path)?;
    Ok(connection)
}

/// SQLite would make the file with the mode of the umask; the files beside it get the mode of this one.
pub(crate) fn create_private(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Err(StoreError::IsDirectory { operation: OPEN.to_owned(), path: path.to_owned() });
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::from_io(OPEN, path, error)),
    }
}

/// Whose file, of which version, and is it sound? Reads only.
fn inspect(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::from_sqlite(OPEN, path, source);
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(failed);
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let objects = number("SELECT count(*) FROM sqlite_schema")?;
    if application != APPLICATION_ID && (application, version, objects) != (0, 0, 0) {
        return Err(StoreError::NotOurs { path: path.to_owned() });
    }
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if version > known {
        return Err(StoreError::NewerVersion { path: path.to_owned(), found: version, known });
    }
    let verdict: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if verdict != "ok" {
        let detail = verdict.replace('\n', " ");
        return Err(StoreError::Corrupt { operation: OPEN.to_owned(), path: path.to_owned(), detail });
    }
    Ok(())
}

/// Settings and migrations of the connection that writes.
fn prepare(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::from_sqlite(OPEN, path, source);
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    // In WAL mode this survives a killed process always; a power cut may take the last commits, never the file.
    connection.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20).map_err(failed)?;
    let migrations = Migrations::new(MIGRATIONS.iter().copied().map(M::up).collect());
    migrations.to_latest(connection).map_err(|error| match error {
        rusqlite_migration::Error::RusqliteError { err, .. } => {
            StoreError::from_sqlite("bring the database to the present schema", path, err)
        }
        other => StoreError::Corrupt {
            operation: "bring the database to the present schema".to_owned(),
            path: path.to_owned(),
            detail: other.to_string(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_apply_in_order_and_set_our_mark() {
        let connection = memory().unwrap();
        let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(number("PRAGMA application_id"), APPLICATION_ID);
        assert_eq!(usize::try_from(number("PRAGMA user_version")), Ok(MIGRATIONS.len()));
        assert_eq!(number("PRAGMA foreign_keys"), 1);
    }

    #[test]
    fn every_migration_file_is_listed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let files = std::fs::read_dir(folder).unwrap().filter(|entry| {
            entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "sql")
        });
        assert_eq!(files.count(), MIGRATIONS.len());
    }

    #[test]
    fn sums_of_the_first_schema_are_kept() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("manager.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.execute_batch(
            "PRAGMA user_version = 1;
             INSERT INTO services VALUES ('00000000-0000-0000-0000-000000000001', 'weather', '', '{}', '', NULL, '[]',
                 1, '{}', '{}', 'stopped', 1, 0, 0);
             INSERT INTO totals VALUES ('00000000-0000-0000-0000-000000000001', 1, 2, 3, 4, 5, 6, 7)",
        )
        .unwrap();
        drop(old);
        let store = crate::Store::open(&path, crate::SecretKey::from_bytes([7; 32])).unwrap();
        let sums = store.totals().unwrap().into_values().next().unwrap();
        assert_eq!((sums.totals.sessions, sums.totals.log_lines_dropped), (2, 7));
        assert_eq!((sums.totals.slow_clients, sums.totals.vanished_clients), (0, 0));
        assert_eq!((sums.sessions, sums.rules.len()), (Default::default(), 0));
    }
}
