//! How much is kept, and in which portions work is done. Tests have smaller ones.

/// The smallest log that makes sense: some segments, each with some sessions.
const MIN_BYTES: u64 = 1024 * 1024;

/// Sizes of a log, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The whole log.
    pub(crate) max: u64,
    /// A segment is closed when it is as large as this.
    pub(crate) segment: u64,
    /// Largest payload; what is larger is not kept.
    pub(crate) payload: usize,
    /// What may wait for a disk that cannot be written.
    pub(crate) pending: usize,
    /// A disk that could not be written is tried again when this much more waits (and at every tick).
    pub(crate) retry: usize,
    /// A flush happens by itself when this much waits.
    pub(crate) batch: usize,
    /// Of what was written last so much is also kept in memory (at times twice as much): how a session stands is asked for again
    /// and again while a turn of it runs.
    pub(crate) recent: usize,
    /// Cleaning writes at least this much in a portion, if there is as much to do.
    pub(crate) portion: u64,
    /// … and about this much at most; what remains to be done is done by later calls.
    pub(crate) call: u64,
    /// What is kept of a session.
    pub(crate) full: Bounds,
    /// What is kept of it when there is not enough room for all.
    pub(crate) less: Bounds,
}

/// What is kept of one session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Turns of the history.
    pub(crate) turns: usize,
    /// Bytes of their messages and answers.
    pub(crate) history: usize,
    /// Events, unless the newest turn has more.
    pub(crate) events: u64,
    /// Bytes of events; the newest event is kept even if it is larger.
    pub(crate) event_bytes: usize,
}

impl Limits {
    /// The sizes of a log of at most `max` bytes.
    pub(crate) fn new(max: u64) -> Self {
        const KIB: usize = 1024;
        const MIB: usize = 1024 * KIB;
        let max = max.max(MIN_BYTES);
        Self {
            max,
            segment: (max / 8).clamp(64 * KIB as u64, 8 * MIB as u64),
            payload: usize::try_from(max / 8).unwrap_or(usize::MAX).min(crate::record::MAX_PAYLOAD),
            pending: 8 * MIB,
            retry: 64 * KIB,
            batch: MIB,
            recent: 64 * KIB,
            portion: 64 * KIB as u64,
            call: MIB as u64,
            full: Bounds { turns: 100, history: MIB, events: 1000, event_bytes: 4 * MIB },
            less: Bounds { turns: 100, history: 64 * KIB, events: 1, event_bytes: 64 * KIB },
        }
    }
}
