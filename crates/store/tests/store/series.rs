//! The file of statistics: what is kept, what goes, and what becomes of a file that cannot be used.

use crate::id;
use myagent_core::series::{EntityKey, Tier};
use myagent_store::{ChunkRef, SeriesState, SeriesStore, StoreError};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const LIMIT: u64 = 200 << 20;
const NOW: i64 = 1_800_000_000;

fn open(path: &Path) -> SeriesStore {
    let (store, aside) = SeriesStore::open(path, LIMIT).unwrap();
    assert!(aside.is_none(), "{aside:?}");
    store
}

fn entity(service: u128, index: Option<u32>) -> EntityKey {
    EntityKey { service_id: id(service), index }
}

fn chunk(tier: Tier, window: i64, entity: EntityKey) -> ChunkRef {
    ChunkRef { tier, window, entity }
}

fn put(store: &SeriesStore, chunks: &[ChunkRef], data: &[u8]) -> Result<(), StoreError> {
    store.change(chunks, (data.len() * chunks.len()) as u64, |_, _| Some(data.to_vec()))
}

/// Window and first byte of each chunk.
fn chunks(
    store: &SeriesStore,
    tier: Tier,
    windows: (i64, i64),
    wanted: &[EntityKey],
) -> Vec<(EntityKey, i64, u8)> {
    let mut found = Vec::new();
    let wanted: BTreeSet<_> = wanted.iter().copied().collect();
    store
        .chunks(tier, windows, &wanted, |entity, window, data| found.push((entity, window, data[0])))
        .unwrap();
    found
}

#[test]
fn what_was_stored_is_there_after_the_next_opening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.db");
    let store = open(&path);
    assert_eq!(store.state().unwrap(), SeriesState::default());
    store.append(&[(60, b"a"), (120, b"b"), (3_600, b"c")], 3_610, b"").unwrap();
    // What was written once stays.
    store.append(&[(120, b"x")], 3_620, b"sums").unwrap();
    let (a, b) = (entity(1, Some(0)), entity(1, None));
    put(&store, &[chunk(Tier::Slots, 5, a), chunk(Tier::Minutes, 5, a), chunk(Tier::Slots, 6, b)], b"1")
        .unwrap();
    let mut seen = Vec::new();
    store
        .change(&[chunk(Tier::Slots, 5, a), chunk(Tier::Slots, 5, b)], 0, |chunk, there| {
            seen.push((chunk.entity, there.map(<[u8]>::to_vec)));
            there.map(|_| b"2".to_vec())
        })
        .unwrap();
    assert_eq!(seen, [(a, Some(b"1".to_vec())), (b, None)]);
    drop(store);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let store = open(&path);
    let segments = [(60, b"a".to_vec()), (120, b"b".to_vec()), (3_600, b"c".to_vec())].into();
    assert_eq!(
        store.state().unwrap(),
        SeriesState { last_slot: Some(3_620), sums: b"sums".to_vec(), segments }
    );
    store.remove_segments(0, 3_600).unwrap();
    assert_eq!(store.state().unwrap().segments.into_keys().collect::<Vec<_>>(), [3_600]);
    assert_eq!(chunks(&store, Tier::Slots, (0, 9), &[a, b]), [(a, 5, b'2'), (b, 6, b'1')]);
    assert_eq!(chunks(&store, Tier::Slots, (6, 9), &[a, b]), [(b, 6, b'1')]);
    assert_eq!(chunks(&store, Tier::Minutes, (0, 9), &[b]), []);
}

#[test]
fn of_many_entities_those_that_are_wanted_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("metrics.db"));
    let all: Vec<_> = (0..60).map(|number| entity(number, Some(0))).collect();
    for window in [3, 4] {
        put(&store, &all.iter().map(|one| chunk(Tier::Hours, window, *one)).collect::<Vec<_>>(), b"1")
            .unwrap();
    }
    let some: Vec<_> = all.iter().step_by(2).copied().collect();
    let found = chunks(&store, Tier::Hours, (4, 4), &some);
    assert_eq!(found.iter().map(|(entity, ..)| *entity).collect::<Vec<_>>(), some);
}

#[test]
fn what_is_old_or_of_the_future_or_of_nobody_goes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("metrics.db"));
    let (a, b) = (entity(1, Some(0)), entity(2, None));
    for tier in Tier::ALL {
        let now = tier.window(NOW);
        let span = tier.retention() / tier.chunk();
        let windows = [0, now - span - 2, now - span, now, tier.window(NOW + 86_400) + 1];
        put(&store, &windows.map(|window| chunk(tier, window, a)), b"1").unwrap();
        put(&store, &[chunk(tier, now, b), chunk(tier, now - 1, b)], b"2").unwrap();
    }
    store.prune(NOW).unwrap();
    for tier in Tier::ALL {
        let now = tier.window(NOW);
        let kept: Vec<_> = chunks(&store, tier, (0, 0), &[a]);
        assert_eq!(kept, [], "{tier:?}");
        let kept: Vec<_> = chunks(&store, tier, (now - 5_000.min(now), now + 30), &[a]);
        let kept: Vec<_> = kept.into_iter().map(|(_, window, _)| window).collect();
        assert_eq!(kept, [now - tier.retention() / tier.chunk(), now], "{tier:?}");
    }
    store.keep_only(&[id(1), id(3)].into()).unwrap();
    for tier in Tier::ALL {
        let now = tier.window(NOW);
        assert_eq!(chunks(&store, tier, (now - 1, now), &[a, b]), [(a, now, b'1')]);
    }
    // The next one with its number is somebody else.
    let c = entity(3, None);
    put(&store, &[chunk(Tier::Slots, 1, c)], b"3").unwrap();
    assert_eq!(chunks(&store, Tier::Slots, (0, 9), &[b, c]), [(c, 1, b'3')]);
}

#[test]
fn the_file_stays_within_its_limit_and_the_oldest_of_the_finest_goes_first() {
    const SMALL: u64 = 12 << 20;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.db");
    let (store, _) = SeriesStore::open(&path, SMALL).unwrap();
    let all: Vec<_> = (0..50).map(|number| entity(number, Some(0))).collect();
    let data = vec![7; 5_000];
    let window = |tier, window| all.iter().map(|one| chunk(tier, window, *one)).collect::<Vec<_>>();
    for number in 0..5 {
        put(&store, &window(Tier::Minutes, number), &data).unwrap();
    }
    for number in 0..60 {
        put(&store, &window(Tier::Slots, number), &data).unwrap();
        assert!(store.size() <= SMALL, "{} after {number}", store.size());
    }
    let windows = |tier| -> Vec<i64> {
        let found: BTreeSet<i64> =
            chunks(&store, tier, (0, 99), &all).into_iter().map(|(_, window, _)| window).collect();
        found.into_iter().collect()
    };
    assert_eq!(windows(Tier::Minutes), [0, 1, 2, 3, 4]);
    let left = windows(Tier::Slots);
    assert!(
        left.len() > 3 && left.last() == Some(&59) && left.windows(2).all(|pair| pair[0] + 1 == pair[1]),
        "{left:?}"
    );
    // When there is nothing finer, the next tier goes.
    for number in 5..20 {
        put(&store, &window(Tier::Minutes, number), &data).unwrap();
        assert!(store.size() <= SMALL);
    }
    assert!(windows(Tier::Slots).is_empty());
    assert!(!windows(Tier::Minutes).contains(&0) && windows(Tier::Minutes).contains(&19));
    // What is free is given back.
    let before = store.size();
    store.keep_only(&BTreeSet::new()).unwrap();
    store.prune(0).unwrap();
    assert!(fs::metadata(&path).unwrap().len() < before / 2, "{before}");
}

#[test]
fn a_file_that_cannot_be_used_is_put_aside_and_a_new_one_begun() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.db");
    let damaged = dir.path().join("metrics.db.damaged");
    let check = |expected: &str| {
        let before = fs::read(&path).unwrap();
        let (store, aside) = SeriesStore::open(&path, LIMIT).unwrap();
        let why = aside.unwrap().to_string();
        assert!(why.contains(expected), "{why}");
        assert_eq!(fs::read(&damaged).unwrap().len(), before.len());
        assert_eq!(store.state().unwrap(), SeriesState::default());
        store.append(&[(0, b"a")], 0, b"").unwrap();
    };
    fs::write(&path, b"no database at all, but long enough to be looked at as if it were one").unwrap();
    check("damaged");
    let other = rusqlite_file(&path);
    assert!(other > 0);
    check("another program");
    // In the middle.
    let store = open(&path);
    let all: Vec<_> = (0..50).map(|number| chunk(Tier::Slots, 1, entity(number, None))).collect();
    put(&store, &all, &[7; 900]).unwrap();
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8_192].fill(0xff);
    fs::write(&path, bytes).unwrap();
    check("damaged");
}

/// Makes the file a database of another program; returns its size.
fn rusqlite_file(path: &Path) -> usize {
    for ending in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        let _ = fs::remove_file(name);
    }
    drop(myagent_store::Store::open(path, crate::key()).unwrap());
    fs::read(path).unwrap().len()
}

#[test]
fn a_file_that_somebody_else_holds_is_said_to_be_locked_and_serves_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.db");
    let (one, other) = (open(&path), open(&path));
    let error = one
        .change(&[chunk(Tier::Slots, 1, entity(1, None))], 0, |_, _| {
            Some(other.append(&[(0, b"a")], 0, b"").unwrap_err().to_string().into_bytes())
        })
        .map(|()| {
            let mut said = String::new();
            let wanted = [entity(1, None)].into();
            one.chunks(Tier::Slots, (1, 1), &wanted, |_, _, data| {
                said = String::from_utf8_lossy(data).into()
            })
            .unwrap();
            said
        })
        .unwrap();
    assert!(error.contains("locked"), "{error}");
    other.append(&[(0, b"a")], 0, b"").unwrap();
    assert_eq!(one.state().unwrap().segments.len(), 1);
}
