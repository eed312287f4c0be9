//! Statistics over time: measured every ten seconds from the views, kept in memory and in a file of their own, and asked for.
//!
//! One task measures ([`collector`]); what it has is in [`memory`], a minute at a time; each minute a blocking thread writes
//! what is new ([`writer`]), and at the end of an hour makes chunks of it. Questions ([`ask`]) read file and memory, in
//! blocking threads as well. Nothing here is waited for by the engine, and nothing of the engine is locked: a full disk or a
//! locked file costs memory, within a bound, until it is over.
//!
//! What is packed how, and what a question means, is decided in [`myagent_core::series`].

mod ask;
mod collector;
mod memory;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use collector::Collecting;

use memory::Memory;
use myagent_store::SeriesStore;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// Bytes that the file, and what is beside it, may take.
const FILE_LIMIT: u64 = 200_000_000;
/// Questions that are answered at once.
const QUESTIONS: usize = 2;

/// What collector, writer and questions share.
pub(crate) struct Statistics {
    path: PathBuf,
    limit: u64,
    memory: Mutex<Memory>,
    /// None: it could not be opened, or not yet.
    store: Mutex<Option<Arc<SeriesStore>>>,
    questions: Semaphore,
}

impl Statistics {
    pub(crate) fn new(path: PathBuf) -> Arc<Self> {
        Self::limited(path, FILE_LIMIT)
    }

    fn limited(path: PathBuf, limit: u64) -> Arc<Self> {
        Arc::new(Self {
            path,
            limit,
            memory: Mutex::default(),
            store: Mutex::default(),
            questions: Semaphore::new(QUESTIONS),
        })
    }

    /// Held for moments only, never while a file is used.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> Option<Arc<SeriesStore>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_store(&self, store: Option<Arc<SeriesStore>>) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = store;
    }
}
