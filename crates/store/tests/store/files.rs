//! Real files: what survives, and what is left alone because it cannot be used.

use crate::{at, draft, id, key, service, values};
use myagent_core::service::Desired;
use myagent_store::{EventFilter, SecretKey, Store, StoreError};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Place {
    dir: TempDir,
    db: PathBuf,
}

/// A folder with a database that holds one service and is closed again.
fn stored() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("manager.db");
    let store = Store::open(&db, key()).unwrap();
    store.insert_service(&service(1, "weather"), &values(&[("TOKEN", "find-me-if-you-can")]), None).unwrap();
    for second in 0..200 {
        store.add_event(&draft(second, Some(1))).unwrap();
    }
    Place { dir, db }
}

/// Everything in the folder, byte for byte.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        // The index of the write-ahead log is made anew by each reader and holds no data.
        .filter(|(path, bytes)| !path.to_string_lossy().ends_with("-shm") && !bytes.is_empty())
        .collect();
    files.sort();
    files
}

/// Opening fails with this message and changes nothing.
fn refused(place: &Place, expected: &str) -> StoreError {
    let before = contents(place.dir.path());
    let error = Store::open(&place.db, key()).unwrap_err();
    let message = error.problem().detail;
    assert!(message.contains(expected), "{message}");
    assert!(message.contains(&*place.db.to_string_lossy()) && !message.contains('\n'), "{message}");
    assert!(contents(place.dir.path()) == before, "the file was changed");
    error
}

#[test]
fn everything_is_there_after_closing_and_opening() {
    let place = stored();
    let store = Store::open(&place.db, key()).unwrap();
    assert_eq!(store.service("weather").unwrap().unwrap().name, "weather");
    assert_eq!(store.secrets(id(1)).unwrap(), values(&[("TOKEN", "find-me-if-you-can")]));
    assert_eq!(store.events(&EventFilter { limit: 1000, ..Default::default() }).unwrap().len(), 200);
    assert_eq!(store.path(), place.db);
    for entry in fs::read_dir(place.dir.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
}

#[test]
fn secrets_are_not_in_the_files_and_need_their_key() {
    let place = stored();
    let open = Store::open(&place.db, key()).unwrap();
    open.update_service(&service(1, "weather"), Some(&values(&[("TOKEN", "find-me-too")]))).unwrap();
    for (path, bytes) in contents(place.dir.path()) {
        assert!(!bytes.windows(7).any(|window| window == b"find-me"), "{}", path.display());
    }
    drop(open);
    let store = Store::open(&place.db, SecretKey::from_bytes([8; 32])).unwrap();
    let error = store.secrets(id(1)).unwrap_err();
    assert!(matches!(error, StoreError::SecretUnreadable { .. }), "{error:?}");
    assert!(error.to_string().contains("TOKEN"), "{error}");
}

#[test]
fn a_newer_database_is_left_alone() {
    let place = stored();
    rusqlite::Connection::open(&place.db).unwrap().execute_batch("PRAGMA user_version = 999").unwrap();
    let error = refused(&place, "newer version");
    assert!(matches!(error, StoreError::NewerVersion { found: 999, .. }), "{error:?}");
}

#[test]
fn another_programs_database_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("other.db");
    rusqlite::Connection::open(&db).unwrap().execute_batch("CREATE TABLE services (id INTEGER)").unwrap();
    refused(&Place { dir, db }, "another program");
}

#[test]
fn files_that_are_no_database_are_left_alone() {
    let place = stored();
    fs::write(&place.db, "name,port\n".repeat(1000)).unwrap();
    refused(&place, "damaged");
}

#[test]
fn a_truncated_database_is_left_alone() {
    let place = stored();
    let length = fs::metadata(&place.db).unwrap().len();
    fs::OpenOptions::new().write(true).open(&place.db).unwrap().set_len(length / 2).unwrap();
    refused(&place, "damaged");
}

#[test]
fn a_database_with_damaged_pages_is_left_alone() {
    let place = stored();
    let mut bytes = fs::read(&place.db).unwrap();
    for byte in bytes.iter_mut().skip(4096 + 8) {
        *byte = 0xa5;
    }
    fs::write(&place.db, bytes).unwrap();
    refused(&place, "damaged");
}

#[test]
fn a_directory_or_a_missing_folder_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let error = Store::open(dir.path(), key()).unwrap_err();
    assert!(matches!(error, StoreError::IsDirectory { .. }), "{error:?}");
    let error = Store::open(&dir.path().join("none/manager.db"), key()).unwrap_err();
    assert!(error.problem().detail.contains("No such file or directory"), "{error}");
    fs::write(dir.path().join("file"), "x").unwrap();
    let error = Store::open(&dir.path().join("file/manager.db"), key()).unwrap_err();
    assert!(error.problem().detail.contains("Not a directory"), "{error}");
}

#[test]
fn a_killed_manager_leaves_a_database_that_opens() {
    let place = stored();
    let store = Store::open(&place.db, key()).unwrap();
    store.set_desired(id(1), Desired::Running, at(500)).unwrap();
    // What a kill leaves: the file with its write-ahead log, never closed. Taken while the store is open.
    let crashed = tempfile::tempdir().unwrap();
    for name in ["manager.db", "manager.db-wal"] {
        fs::copy(place.dir.path().join(name), crashed.path().join(name)).unwrap();
    }
    let log = crashed.path().join("manager.db-wal");
    assert!(fs::metadata(&log).unwrap().len() > 0);
    let again = Store::open(&crashed.path().join("manager.db"), key()).unwrap();
    assert_eq!(again.service("weather").unwrap().unwrap().desired, Desired::Running);
    drop(again);

    // The same, with the last write cut in the middle: that change is gone as a whole, the rest is there.
    for name in ["manager.db", "manager.db-wal"] {
        fs::copy(place.dir.path().join(name), crashed.path().join(name)).unwrap();
    }
    let length = fs::metadata(&log).unwrap().len();
    fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(length - 100).unwrap();
    let again = Store::open(&crashed.path().join("manager.db"), key()).unwrap();
    let weather = again.service("weather").unwrap().unwrap();
    assert_eq!((weather.desired, weather.updated_at), (Desired::Stopped, at(1)));
    again.add_event(&draft(501, None)).unwrap();
}

#[test]
fn a_lock_that_another_process_keeps_is_said() {
    let place = stored();
    let store = Store::open(&place.db, key()).unwrap();
    let other = rusqlite::Connection::open(&place.db).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Reading goes on meanwhile.
    assert_eq!(store.services().unwrap().len(), 1);
    let error = store.add_event(&draft(0, None)).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    other.execute_batch("ROLLBACK").unwrap();
    store.add_event(&draft(0, None)).unwrap();
}

#[test]
fn many_threads_read_and_write_at_once() {
    let place = stored();
    let store = Store::open(&place.db, key()).unwrap();
    let write = || {
        for second in 0..50 {
            store.add_event(&draft(second, Some(1))).unwrap();
        }
    };
    let read = || {
        for _ in 0..50 {
            assert_eq!(store.services().unwrap().len(), 1);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(write);
            scope.spawn(read);
        }
    });
    assert_eq!(store.events(&EventFilter { limit: 1000, ..Default::default() }).unwrap().len(), 400);
}
