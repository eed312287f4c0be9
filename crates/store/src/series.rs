//! Statistics over time, in a file of their own: chunks of points, and the minutes that are not in chunks yet.
//!
//! They are worth less than everything else that is stored, and are written more often. So they have a hard bound on their
//! size, the oldest and finest going first, and a file that cannot be used is put aside: the past is lost, the manager serves.
//!
//! What the bytes mean is in `myagent_core::series`. A chunk's row id is its tier, window and entity, so that what belongs
//! together lies together, and going by age is deleting a range. Pages are small because most chunks are.

use crate::connections::{lock, transact};
use crate::error::{Fault, StoreError};
use crate::key_of_chunk::{self as chunk_key, ChunkKey};
use crate::open::create_private;
use myagent_core::ServiceId;
use myagent_core::series::{EntityKey, Tier};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, params};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use uuid::Uuid;

const APPLICATION_ID: i64 = 0x4D49_5453;
const VERSION: i64 = 1;
const PAGE: u64 = 1024;
/// Nobody else has this file open for long. Who waits is a thread of its own.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// The log that is written ahead is folded into the file when it is so long, pages.
const CHECKPOINT: u64 = 2_000;
/// Room for that log, and for what is being written.
const SPARE: u64 = 8 << 20;
/// Free pages that are left for what comes next.
const FREE_PAGES: u64 = 2_000;
const OPEN: &str = "open the statistics";

const SCHEMA: &str = "
    CREATE TABLE entities (id INTEGER PRIMARY KEY, service BLOB NOT NULL, place INTEGER NOT NULL, UNIQUE (service, place));
    CREATE TABLE chunks (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
    CREATE TABLE segments (start INTEGER PRIMARY KEY, data BLOB NOT NULL);
    CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 0), last_slot INTEGER NOT NULL, sums BLOB NOT NULL);
";

/// The open file. Blocking.
pub struct SeriesStore {
    path: PathBuf,
    limit: u64,
    /// Closed before the writer, whose closing then folds the write-ahead log into the file.
    reader: Mutex<Connection>,
    writer: Mutex<Connection>,
}

/// What the manager before has left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesState {
    /// The last slot that it measured.
    pub last_slot: Option<i64>,
    /// Its counters' sums at that slot, if it ended in order.
    pub sums: Vec<u8>,
    /// Minutes that are in no chunk yet.
    pub segments: BTreeMap<i64, Vec<u8>>,
}

/// A chunk that is to get more points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRef {
    /// Its tier.
    pub tier: Tier,
    /// Its window.
    pub window: i64,
    /// Whose.
    pub entity: EntityKey,
}

impl SeriesStore {
    /// Opens the file, or makes it (mode 0600). One that is damaged, or not ours, is renamed to `<name>.damaged` (with what
    /// SQLite keeps beside it) and a new one begun; then the second value says why. `limit`: bytes that it may take.
    pub fn open(path: &Path, limit: u64) -> Result<(Self, Option<StoreError>), StoreError> {
        match Self::open_once(path, limit) {
            Ok(store) => Ok((store, None)),
            Err(
                error @ (StoreError::Corrupt { .. }
                | StoreError::NotOurs { .. }
                | StoreError::NewerVersion { .. }
                | StoreError::Inconsistent { .. }),
            ) => {
                put_aside(path)?;
                Ok((Self::open_once(path, limit)?, Some(error)))
            }
            Err(error) => Err(error),
        }
    }

    fn open_once(path: &Path, limit: u64) -> Result<Self, StoreError> {
        create_private(path)?;
        let failed = |source| StoreError::from_sqlite(OPEN, path, source);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut writer = Connection::open_with_flags(path, flags).map_err(failed)?;
        writer.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        prepare(&mut writer, path, limit)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(path, flags).map_err(failed)?;
        reader.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        Ok(Self { path: path.to_owned(), limit, writer: Mutex::new(writer), reader: Mutex::new(reader) })
    }

    /// What there is to go on with.
    pub fn state(&self) -> Result<SeriesState, StoreError> {
        self.read("read the last statistics", |connection| {
            let state = connection
                .query_row("SELECT last_slot, sums FROM state", [], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let (last_slot, sums) = state.map_or((None, Vec::new()), |(slot, sums)| (Some(slot), sums));
            let mut statement = connection.prepare_cached("SELECT start, data FROM segments")?;
            let segments = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(SeriesState { last_slot, sums, segments: segments.collect::<Result<_, _>>()? })
        })
    }

    /// Adds minutes. `sums` are those of `last_slot`, for a manager that follows at once; empty: they will not be known.
    pub fn append(&self, segments: &[(i64, &[u8])], last_slot: i64, sums: &[u8]) -> Result<(), StoreError> {
        let bytes = segments.iter().map(|(_, data)| data.len() as u64).sum();
        self.make_room(bytes)?;
        self.write("store statistics", |transaction| {
            // What was written once stays.
            let mut insert = transaction.prepare_cached("INSERT OR IGNORE INTO segments VALUES (?1, ?2)")?;
            for (start, data) in segments {
                insert.execute(params![start, data])?;
            }
            let state =
                "INSERT INTO state VALUES (0, ?1, ?2) ON CONFLICT DO UPDATE SET last_slot = ?1, sums = ?2";
            transaction.prepare_cached(state)?.execute(params![last_slot, sums])?;
            Ok(())
        })
    }

    /// Changes chunks, in one transaction: `change` gets what there is, and returns what there shall be; none: as it is.
    /// `bytes`: about how much more that will be.
    pub fn change(
        &self,
        chunks: &[ChunkRef],
        bytes: u64,
        mut change: impl FnMut(&ChunkRef, Option<&[u8]>) -> Option<Vec<u8>>,
    ) -> Result<(), StoreError> {
        self.make_room(bytes)?;
        self.write("store statistics", |transaction| {
            let mut select = transaction.prepare_cached("SELECT data FROM chunks WHERE id = ?1")?;
            let mut put = transaction.prepare_cached("INSERT OR REPLACE INTO chunks VALUES (?1, ?2)")?;
            for chunk in chunks {
                let entity = entity_id(transaction, chunk.entity)?;
                let Some(id) = ChunkKey { tier: chunk.tier, window: chunk.window, entity }.row() else {
                    continue;
                };
                let there: Option<Vec<u8>> = select.query_row([id], |row| row.get(0)).optional()?;
                if let Some(data) = change(chunk, there.as_deref()) {
                    put.execute(params![id, data])?;
                }
            }
            Ok(())
        })
    }

    /// Forgets minutes that are in chunks now: those from `from` until before `to`.
    pub fn remove_segments(&self, from: i64, to: i64) -> Result<(), StoreError> {
        self.write("store statistics", |transaction| {
            let sql = "DELETE FROM segments WHERE start >= ?1 AND start < ?2";
            transaction.prepare_cached(sql)?.execute([from, to])?;
            Ok(())
        })
    }

    /// Shows every chunk of a tier and of windows `from` to `to`, of the entities that are wanted.
    pub fn chunks(
        &self,
        tier: Tier,
        (from, to): (i64, i64),
        wanted: &BTreeSet<EntityKey>,
        mut show: impl FnMut(EntityKey, i64, &[u8]),
    ) -> Result<(), StoreError> {
        self.read("read statistics", |connection| {
            let ids: BTreeMap<i64, EntityKey> =
                entities(connection)?.into_iter().filter(|(_, key)| wanted.contains(key)).collect();
            let mut statement =
                connection.prepare_cached("SELECT id, data FROM chunks WHERE id BETWEEN ?1 AND ?2")?;
            // An index look-up for each, unless that would be all.
            let (Some((first, _)), Some((last, _))) = (ids.first_key_value(), ids.last_key_value()) else {
                return Ok(());
            };
            for window in from..=to {
                let key = |entity| ChunkKey { tier, window, entity }.row();
                let ranges: Vec<_> = if ids.len() > 20 {
                    vec![(key(*first), key(*last))]
                } else {
                    ids.keys().map(|id| (key(*id), key(*id))).collect()
                };
                for range in ranges {
                    let (Some(first), Some(last)) = range else { continue };
                    let mut rows = statement.query([first, last])?;
                    while let Some(row) = rows.next()? {
                        // Data that nobody wants is not even read.
                        if let Some(entity) = ids.get(&chunk_key::entity_of(row.get(0)?)) {
                            let data = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
                            show(*entity, window, data);
                        }
                    }
                }
            }
            Ok(())
        })
    }

    /// Whose numbers there are.
    pub fn entities(&self) -> Result<Vec<EntityKey>, StoreError> {
        let all = self.read("read statistics", entities)?;
        Ok(all.into_iter().map(|(_, key)| key).collect())
    }

    /// Renames the file, as [`SeriesStore::open`] does with one that is damaged: for damage that is found later.
    pub fn put_aside(path: &Path) -> Result<(), StoreError> {
        put_aside(path)
    }

    /// Removes what is too old, or of a future that only a wrong clock has seen, and gives room back.
    pub fn prune(&self, now: i64) -> Result<(), StoreError> {
        self.write("remove old statistics", |transaction| {
            let mut delete = transaction.prepare_cached("DELETE FROM chunks WHERE id BETWEEN ?1 AND ?2")?;
            for tier in Tier::ALL {
                let (first, last) = chunk_key::all_of(tier);
                let kept = tier.kept(now);
                delete.execute([first, chunk_key::first_of(tier, *kept.start()) - 1])?;
                delete.execute([chunk_key::last_of(tier, *kept.end()) + 1, last])?;
            }
            Ok(())
        })?;
        self.make_room(0)?;
        self.give_back()
    }

    /// Removes everything of services that are not among these.
    pub fn keep_only(&self, services: &BTreeSet<ServiceId>) -> Result<(), StoreError> {
        let gone = self.read("read statistics", |connection| {
            let mut gone = entities(connection)?;
            gone.retain(|(_, key)| !services.contains(&key.service_id));
            Ok(gone)
        })?;
        if gone.is_empty() {
            return Ok(());
        }
        let gone: BTreeSet<i64> = gone.into_iter().map(|(id, _)| id).collect();
        self.write("remove statistics of a service", |transaction| {
            let mut windows: Vec<(Tier, i64)> = Vec::new();
            for tier in Tier::ALL {
                windows.extend(windows_of(transaction, tier)?.into_iter().map(|window| (tier, window)));
            }
            let mut chunk = transaction.prepare_cached("DELETE FROM chunks WHERE id = ?1")?;
            for entity in &gone {
                for (tier, window) in &windows {
                    if let Some(id) = (ChunkKey { tier: *tier, window: *window, entity: *entity }).row() {
                        chunk.execute([id])?;
                    }
                }
                transaction.prepare_cached("DELETE FROM entities WHERE id = ?1")?.execute([entity])?;
            }
            Ok(())
        })
    }

    /// Bytes of the file and of what SQLite keeps beside it.
    pub fn size(&self) -> u64 {
        let beside =
            |ending: &str| std::fs::metadata(beside(&self.path, ending)).map_or(0, |file| file.len());
        beside("") + beside("-wal")
    }

    /// Removes the oldest windows of the finest tier until so many bytes more will fit.
    fn make_room(&self, bytes: u64) -> Result<(), StoreError> {
        let most = self.limit.saturating_sub(SPARE) / PAGE;
        // Rows do not fill their pages.
        let wanted = bytes / PAGE * 5 / 4;
        let used = |connection: &Connection| -> Result<u64, Fault> {
            Ok(pragma(connection, "page_count")? - pragma(connection, "freelist_count")?)
        };
        if self.read("read statistics", used)? + wanted <= most {
            return Ok(());
        }
        self.write("remove old statistics", |transaction| {
            for tier in Tier::ALL {
                for window in windows_of(transaction, tier)? {
                    if used(transaction)? + wanted <= most {
                        return Ok(());
                    }
                    let range = [chunk_key::first_of(tier, window), chunk_key::last_of(tier, window)];
                    transaction
                        .prepare_cached("DELETE FROM chunks WHERE id BETWEEN ?1 AND ?2")?
                        .execute(range)?;
                }
            }
            Ok(())
        })
    }

    /// Makes the file shorter if much of it is free.
    fn give_back(&self) -> Result<(), StoreError> {
        let attempt = || -> Result<(), Fault> {
            let connection = lock(&self.writer);
            let free = pragma(&connection, "freelist_count")?;
            if free > FREE_PAGES {
                let sql = format!("PRAGMA incremental_vacuum({})", free - FREE_PAGES / 2);
                let mut vacuum = connection.prepare(&sql)?;
                let mut steps = vacuum.query([])?;
                // Each step frees a page.
                while steps.next()?.is_some() {}
                drop(steps);
                drop(vacuum);
                // The file itself gets shorter when the log is folded into it.
                connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
            }
            Ok(())
        };
        attempt().map_err(|fault| fault.named("shorten the statistics", &self.path))
    }

    fn read<T>(
        &self,
        operation: &str,
        work: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        work(&lock(&self.reader)).map_err(|fault| fault.named(operation, &self.path))
    }

    fn write<T>(
        &self,
        operation: &str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        transact(&self.writer, operation, &self.path, work)
    }
}

fn pragma(connection: &Connection, name: &str) -> Result<u64, Fault> {
    Ok(connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))?.unsigned_abs())
}

/// The windows of a tier that have chunks, oldest first: by a jump from each to the next.
fn windows_of(connection: &Connection, tier: Tier) -> Result<Vec<i64>, Fault> {
    let (mut first, last) = chunk_key::all_of(tier);
    let mut next = connection.prepare_cached("SELECT min(id) FROM chunks WHERE id BETWEEN ?1 AND ?2")?;
    let mut windows = Vec::new();
    while let Some(id) = next.query_row([first, last], |row| row.get::<_, Option<i64>>(0))? {
        let window = chunk_key::window_of(id);
        windows.push(window);
        first = chunk_key::last_of(tier, window) + 1;
    }
    Ok(windows)
}

fn entities(connection: &Connection) -> Result<Vec<(i64, EntityKey)>, Fault> {
    let mut statement = connection.prepare_cached("SELECT id, service, place FROM entities")?;
    let rows = statement.query_map([], |row| {
        let service_id = ServiceId(Uuid::from_bytes(row.get(1)?));
        // -1 is the service as a whole.
        Ok((row.get(0)?, EntityKey { service_id, index: u32::try_from(row.get::<_, i64>(2)?).ok() }))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn entity_id(transaction: &Transaction<'_>, key: EntityKey) -> Result<i64, Fault> {
    let place = key.index.map_or(-1, i64::from);
    let service = key.service_id.0.as_bytes();
    let mut select =
        transaction.prepare_cached("SELECT id FROM entities WHERE service = ?1 AND place = ?2")?;
    if let Some(id) = select.query_row(params![service, place], |row| row.get(0)).optional()? {
        return Ok(id);
    }
    let insert = "INSERT INTO entities (service, place) VALUES (?1, ?2)";
    transaction.prepare_cached(insert)?.execute(params![service, place])?;
    Ok(transaction.last_insert_rowid())
}

/// Whose file, and is it sound? Then settings, and tables if there are none.
fn prepare(connection: &mut Connection, path: &Path, limit: u64) -> Result<(), StoreError> {
    let failed = |source| StoreError::from_sqlite(OPEN, path, source);
    let number = |name: &str| {
        connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0)).map_err(failed)
    };
    let (application, version) = (number("application_id")?, number("user_version")?);
    let is_empty = number("schema_version")? == 0;
    if !is_empty && application != APPLICATION_ID {
        return Err(StoreError::NotOurs { path: path.to_owned() });
    }
    if version > VERSION {
        return Err(StoreError::NewerVersion { path: path.to_owned(), found: version, known: VERSION });
    }
    let verdict: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if verdict != "ok" {
        let detail = verdict.replace('\n', " ");
        return Err(StoreError::Corrupt { operation: OPEN.to_owned(), path: path.to_owned(), detail });
    }
    let set = |name: &str, value: i64| connection.pragma_update(None, name, value).map_err(failed);
    if is_empty {
        set("page_size", PAGE.cast_signed())?;
        // Incremental: freed pages are used again, and given back when there are many.
        set("auto_vacuum", 2)?;
    }
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
    set("wal_autocheckpoint", CHECKPOINT.cast_signed())?;
    set("journal_size_limit", (CHECKPOINT * PAGE).cast_signed())?;
    // The last resort: what would be longer fails.
    set("max_page_count", (limit.saturating_sub(SPARE / 2) / PAGE).cast_signed())?;
    if is_empty {
        let transaction = connection.transaction().map_err(failed)?;
        transaction.execute_batch(SCHEMA).map_err(failed)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
        transaction.pragma_update(None, "user_version", VERSION).map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
    Ok(())
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn put_aside(path: &Path) -> Result<(), StoreError> {
    for ending in ["", "-wal", "-shm"] {
        let (from, to) = (beside(path, ending), beside(&beside(path, ".damaged"), ending));
        match std::fs::rename(&from, to) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(StoreError::from_io("put aside the damaged statistics", &from, error));
            }
            _ => {}
        }
    }
    Ok(())
}
