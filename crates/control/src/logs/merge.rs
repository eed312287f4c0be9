//! The lines of several instances as one sequence, the newest first. Of each instance only one block is in memory, and at each
//! moment everything that is newer than [`Merge::newest`] has been seen.

use super::back::{Chain, End, Stored};
use jiff::Timestamp;
use std::collections::{BTreeMap, BinaryHeap};
use std::path::Path;

pub(super) struct Merge {
    chains: Vec<Chain>,
    /// The newest line of each. Of two that were written at the same time the one of the later instance comes first, for the
    /// sequence is turned round in the end.
    heads: BinaryHeap<(Timestamp, usize)>,
}

impl Merge {
    pub(super) fn new(folder: &Path, instances: Vec<String>, ends: &BTreeMap<String, End>) -> Self {
        let chain = |instance: String| {
            let end = ends.get(&instance).copied();
            Chain::new(folder, instance, end)
        };
        let mut chains: Vec<Chain> = instances.into_iter().map(chain).collect();
        let heads =
            chains.iter_mut().enumerate().filter_map(|(number, chain)| Some((chain.advance()?, number)));
        let heads = heads.collect();
        Self { chains, heads }
    }

    /// When the next line was written; none: there is no more.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.heads.peek().map(|(at, _)| *at)
    }

    /// Has `take` look at the next line, if `wants` its time, and goes on.
    pub(super) fn next<T>(
        &mut self,
        take: impl FnOnce(&str, &Stored<'_>) -> Option<T>,
        wants: impl FnOnce(Timestamp) -> bool,
    ) -> Option<T> {
        let (at, number) = self.heads.pop()?;
        let chain = self.chains.get_mut(number)?;
        let taken = wants(at).then(|| chain.head()).flatten().and_then(|line| take(chain.instance(), &line));
        if let Some(at) = chain.advance() {
            self.heads.push((at, number));
        }
        taken
    }

    /// Bytes that were read.
    pub(super) fn bytes(&self) -> u64 {
        self.chains.iter().map(|chain| chain.bytes).sum()
    }

    /// Files that were read, if only in part.
    pub(super) fn files(&self) -> usize {
        self.chains.iter().map(|chain| chain.files).sum()
    }
}
