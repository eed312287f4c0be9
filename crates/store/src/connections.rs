//! [`Store`] itself: one connection that writes, a few that read, and what every operation on them has in common.
//!
//! The tables are in the other modules, each with its own `impl Store`; opening is in `open.rs`.

use crate::error::{Fault, StoreError};
use crate::key::SecretKey;
use crate::open;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// The open database. Blocking; share it in an `Arc`.
pub struct Store {
    path: PathBuf,
    pub(crate) key: SecretKey,
    /// None for a database in memory, which is seen by its own connection only. Closed before the writer, whose
    /// closing then folds the write-ahead log into the file.
    readers: Vec<Mutex<Connection>>,
    writer: Mutex<Connection>,
    /// Why the last write failed, if it did and that was not for what was to be written.
    failed: Mutex<Option<String>>,
}

impl Store {
    /// Opens the database file, makes it (mode 0600) if there is none, and brings it to the present schema. Its folder
    /// must exist. A file that cannot be used is left as it is.
    pub fn open(path: &Path, key: SecretKey) -> Result<Self, StoreError> {
        let (writer, readers) = open::file(path)?;
        Ok(Self {
            path: path.to_owned(),
            key,
            readers: readers.into_iter().map(Mutex::new).collect(),
            writer: Mutex::new(writer),
            failed: Mutex::default(),
        })
    }

    /// Whether [`Store::open`] would know this file: ours, sound, and of no later version. Nothing is changed, and another
    /// process may have it open.
    pub fn check(path: &Path) -> Result<(), StoreError> {
        open::check(path)
    }

    /// A database that ends with this value; the same code as for files.
    pub fn in_memory(key: SecretKey) -> Result<Self, StoreError> {
        Ok(Self {
            path: PathBuf::from(":memory:"),
            key,
            readers: Vec::new(),
            writer: Mutex::new(open::memory()?),
            failed: Mutex::default(),
        })
    }

    /// The database file, or `:memory:`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on a connection that sees all that was committed.
    pub(crate) fn read<T>(
        &self,
        operation: &str,
        work: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        work(&self.reader()).map_err(|fault| fault.named(operation, &self.path))
    }

    /// Runs `work` in a transaction: all of it is stored, or nothing.
    pub(crate) fn write<T>(
        &self,
        operation: &str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let result = transact(&self.writer, operation, &self.path, work);
        let failure = result.as_ref().err().filter(|error| error.is_of_the_place());
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) =
            failure.map(|error| error.problem().detail);
        result
    }

    /// Why nothing can be written, as the last attempt found; none: it succeeded, or failed for what was to be written.
    pub fn write_problem(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A free reader, else the first to become free of those there are.
    fn reader(&self) -> MutexGuard<'_, Connection> {
        for reader in &self.readers {
            match reader.try_lock() {
                Ok(connection) => return connection,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        lock(self.readers.first().unwrap_or(&self.writer))
    }
}

/// Runs `work` in a transaction of a database: all of it is stored, or nothing.
pub(crate) fn transact<T>(
    writer: &Mutex<Connection>,
    operation: &str,
    path: &Path,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>,
) -> Result<T, StoreError> {
    let attempt = || {
        let mut connection = lock(writer);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = work(&transaction)?;
        transaction.commit()?;
        Ok(result)
    };
    attempt().map_err(|fault: Fault| fault.named(operation, path))
}

/// A panic in another thread does not harm the connection: its transaction was rolled back when it was dropped.
pub(crate) fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventDraft;
    use std::collections::BTreeMap;

    fn store() -> Store {
        Store::in_memory(SecretKey::from_bytes([7; 32])).unwrap()
    }

    fn draft() -> EventDraft {
        EventDraft {
            at: jiff::Timestamp::UNIX_EPOCH,
            who: "cli".into(),
            kind: "service.registered".into(),
            service_id: None,
            service: None,
            instance: None,
            why: "x".repeat(4000),
        }
    }

    #[test]
    fn a_full_disk_is_said_and_stores_nothing_of_the_change() {
        let store = store();
        store.add_event(&draft()).unwrap();
        lock(&store.writer).execute_batch("PRAGMA max_page_count = 1").unwrap();
        let error = (0..100).find_map(|_| store.add_event(&draft()).err()).unwrap();
        assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
        let before = store.events(&crate::EventFilter::default()).unwrap().len();
        store.add_event(&draft()).unwrap_err();
        lock(&store.writer).execute_batch("PRAGMA max_page_count = 100000").unwrap();
        assert_eq!(store.events(&crate::EventFilter::default()).unwrap().len(), before);
        store.add_event(&draft()).unwrap();
    }

    #[test]
    fn a_read_only_database_is_said() {
        let store = store();
        lock(&store.writer).execute_batch("PRAGMA query_only = 1").unwrap();
        let error = store.add_event(&draft()).unwrap_err();
        assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
        assert!(error.to_string().contains("add an event"), "{error}");
    }

    #[test]
    fn values_that_cannot_be_read_name_the_operation() {
        let store = store();
        let sql = "INSERT INTO instances VALUES ('x', 0, 'y', 1, 1, 'a', 'b', 'c', 1, 1, NULL, 1, NULL, '[]', NULL, 1)";
        lock(&store.writer).execute_batch(sql).unwrap();
        let error = store.instances().unwrap_err();
        assert!(matches!(error, StoreError::Inconsistent { .. }), "{error:?}");
        assert!(error.to_string().contains("list instances"), "{error}");
    }

    #[test]
    fn a_panic_in_the_middle_of_a_write_rolls_it_back_and_the_store_goes_on() {
        let store = store();
        let panicked = std::thread::scope(|scope| {
            let write = || {
                store.write("test", |transaction| -> Result<(), Fault> {
                    transaction
                        .execute_batch("INSERT INTO events VALUES (1, 1, 'w', 'k', NULL, NULL, NULL, 'y')")?;
                    panic!("on purpose")
                })
            };
            scope.spawn(write).join().is_err()
        });
        assert!(panicked);
        assert!(store.events(&crate::EventFilter::default()).unwrap().is_empty());
        store.add_event(&draft()).unwrap();
        assert_eq!(store.totals().unwrap(), BTreeMap::new());
        assert_eq!(format!("{store:?}"), "Store { path: \":memory:\", .. }");
    }
}
