//! Writing, each minute: what is new, and chunks of the hours that are over. Runs in a blocking thread.

use super::Statistics;
use super::memory::{Job, seal};
use myagent_core::ServiceId;
use myagent_core::series::segment::{entities as segment_entities, fill_columns, gather, of_tier};
use myagent_core::series::{Columns, EntityKey, Tier, decode, encode, hour_of};
use myagent_store::{ChunkRef, SeriesStore, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Entities whose chunks are changed in one transaction.
const BATCH: usize = 32;
/// About how much their chunks may grow, bytes each.
const GROWTH: u64 = 16 << 10;

/// Writes, and remembers how that went, so that it is told once.
pub(super) struct Writer {
    statistics: Arc<Statistics>,
    fails: bool,
    gives_up: bool,
    /// Services whose removal is in the file.
    services: Option<BTreeSet<ServiceId>>,
    /// The hour in which old chunks were removed.
    pruned: Option<i64>,
}

impl Writer {
    pub(super) fn new(statistics: Arc<Statistics>) -> Self {
        Self { statistics, fails: false, gives_up: false, services: None, pruned: None }
    }

    /// Opens the file and takes up what is in it.
    pub(super) fn open(&mut self) {
        let result = self.opened().map(|_| ());
        self.note(result);
    }

    /// Takes up what is in the file once more: a manager that hands over to this one writes its last after it has let go.
    pub(super) fn look_again(&mut self) {
        let state = self.statistics.store().map(|store| store.state()).transpose();
        let result = state.map(|state| {
            if let Some(state) = state {
                self.statistics.memory().restore(state);
            }
        });
        self.note(result);
    }

    /// Writes what there is to write. `last`: also the minute that is not over, and the sums for the next manager.
    pub(super) fn flush(&mut self, last: bool) {
        self.seal(last);
        let result = self.write(last);
        self.note(result);
    }

    /// Makes segments of minutes that are over, whether they can be stored or not: they take less memory.
    fn seal(&mut self, all: bool) {
        let minutes = self.statistics.memory().to_seal(all);
        let mut gave_up = false;
        for (minute, slots) in minutes {
            let data = seal(&slots);
            gave_up |= self.statistics.memory().sealed(minute, &slots, data);
        }
        if gave_up && !self.gives_up {
            tracing::warn!("the oldest statistics in memory are given up until they can be stored again");
        }
        self.gives_up = gave_up;
    }

    fn write(&mut self, last: bool) -> Result<(), StoreError> {
        let store = self.opened()?;
        let job = self.statistics.memory().job();
        let Some(last_slot) = job.last_slot else { return Ok(()) };
        let sums = if last { self.statistics.memory().sums() } else { Vec::new() };
        let new: Vec<(i64, &[u8])> = job.new.iter().map(|(start, data)| (*start, &**data)).collect();
        store.append(&new, last_slot, &sums)?;
        self.statistics.memory().stored(&job.new);
        // What is left of an hour is made chunks of by the next manager, too.
        if let (false, Some(services)) = (last, &job.services) {
            for (hour, segments) in &job.hours {
                close(&store, *hour, segments, services)?;
                self.statistics.memory().done(segments);
            }
        }
        self.tidy(&store, &job, last_slot)
    }

    fn tidy(&mut self, store: &SeriesStore, job: &Job, last_slot: i64) -> Result<(), StoreError> {
        if let Some(services) =
            job.services.as_ref().filter(|services| self.services.as_ref() != Some(services))
        {
            store.keep_only(services)?;
            self.services = Some(services.clone());
        }
        let hour = hour_of(last_slot);
        if let Some(now) = job.now.filter(|_| self.pruned != Some(hour)) {
            store.prune(now)?;
            self.pruned = Some(hour);
        }
        Ok(())
    }

    fn opened(&mut self) -> Result<Arc<SeriesStore>, StoreError> {
        if let Some(store) = self.statistics.store() {
            return Ok(store);
        }
        let (store, aside) = SeriesStore::open(&self.statistics.path, self.statistics.limit)?;
        if let Some(error) = aside {
            let path = self.statistics.path.display();
            tracing::error!(%error, %path, "statistics were put aside as *.damaged, and new ones begun");
        }
        let state = store.state()?;
        self.statistics.memory().restore(state);
        self.services = None;
        let store = Arc::new(store);
        self.statistics.set_store(Some(Arc::clone(&store)));
        Ok(store)
    }

    fn note(&mut self, result: Result<(), StoreError>) {
        let path = self.statistics.path.display();
        match result {
            Ok(()) => {
                if std::mem::take(&mut self.fails) {
                    tracing::info!(%path, "statistics are stored again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.fails, true) {
                    tracing::error!(%error, "statistics cannot be stored; they are kept in memory until they can");
                }
                if matches!(error, StoreError::Corrupt { .. } | StoreError::Inconsistent { .. }) {
                    self.statistics.set_store(None);
                    match SeriesStore::put_aside(&self.statistics.path) {
                        Ok(()) => {
                            tracing::error!(%path, "the damaged statistics were put aside as *.damaged")
                        }
                        Err(error) => tracing::error!(%error, "the damaged statistics stay where they are"),
                    }
                }
            }
        }
    }
}

/// Makes chunks of all tiers of an hour that is over. What fails in the middle can be done again: points that are there stay.
fn close(
    store: &SeriesStore,
    hour: i64,
    segments: &[(i64, Arc<[u8]>)],
    services: &BTreeSet<ServiceId>,
) -> Result<(), StoreError> {
    let mut keys = BTreeSet::new();
    for (start, data) in segments {
        match segment_entities(data) {
            Ok(some) => keys.extend(some),
            Err(error) => tracing::warn!(%error, start, "a minute of statistics is lost"),
        }
    }
    let keys: Vec<EntityKey> = keys.into_iter().filter(|key| services.contains(&key.service_id)).collect();
    // Some at a time: an hour of everybody takes hundreds of megabytes when it is unpacked.
    for batch in keys.chunks(BATCH) {
        let mut entities = BTreeMap::new();
        for (start, data) in segments {
            let is_wanted = |key: EntityKey| batch.binary_search(&key).is_ok();
            if let Err(error) = gather(data, hour, &mut entities, is_wanted, |_| true) {
                tracing::warn!(%error, start, "a minute of statistics is lost");
            }
        }
        let chunk = |tier: Tier, entity| ChunkRef { tier, window: tier.window(hour), entity };
        let chunks: Vec<_> =
            Tier::ALL.iter().flat_map(|tier| batch.iter().map(|key| chunk(*tier, *key))).collect();
        store.change(&chunks, GROWTH * batch.len() as u64, |chunk, there| {
            let slots = entities.get(&chunk.entity)?;
            let points = of_tier(slots, hour, chunk.tier);
            let mut columns = match there.map(|data| decode(data, chunk.tier, |_| true)) {
                None => Columns::new(),
                Some(Ok(columns)) => columns,
                Some(Err(error)) => {
                    tracing::warn!(%error, ?chunk, "a chunk of statistics is lost");
                    Columns::new()
                }
            };
            fill_columns(&mut columns, points).then(|| encode(&columns, chunk.tier))
        })?;
    }
    store.remove_segments(hour, hour + 3_600)
}
