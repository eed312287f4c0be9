//! A session on its way to another place: to a newer segment when its old one is cleaned, to our log when it is taken over from a
//! dead one, or past records that could not be written.
//!
//! Which of its parts move is asked for each position; the others stay where they are and are pointed to.

use crate::Position;
use crate::index::Entry;
use crate::limits::Bounds;
use crate::log::Log;
use crate::reader::Source;
use crate::record::{Checkpoint, Header, Kind, Open, history_prefix};
use crate::session::{self, Texts, Turn};

/// A piece of a session.
#[derive(Debug)]
pub(crate) enum Part {
    /// There is none, or it is lost.
    None,
    /// It can stay where it is.
    Stays(Position),
    /// It must be written again.
    Moves(Vec<u8>),
}

/// A message that is not answered yet.
#[derive(Debug)]
struct Message {
    content: Part,
    redelivered: bool,
    said: bool,
}

/// A session that is being carried over.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) epoch: u32,
    last_seq: u64,
    turn_first: u64,
    meta: Part,
    /// Turns that move, oldest first.
    history: Vec<Turn>,
    /// The turn that they follow, which stays.
    history_stays: Position,
    state: Part,
    running: Option<Message>,
    waiting: Vec<Message>,
    /// The kept events, if they are to move. A fresh chain begins then.
    events: Option<Texts>,
    /// The oldest segment that has something that stays.
    oldest: u32,
}

/// What becomes of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Events {
    /// If one of those that are kept moves, all do.
    Keep,
    /// All stay where they are, if they are still there: in no older segment than this.
    Stay(u32),
    /// They are lost.
    Drop,
}

impl Carried {
    /// Reads what has to move. `None`: there is no checkpoint that could be read.
    pub(crate) fn read(
        source: &dyn Source,
        id: u128,
        entry: &Entry,
        bounds: &Bounds,
        events: Events,
        moves: impl Fn(Position) -> bool,
    ) -> Option<Self> {
        let point = session::checkpoint(source, id, entry)?;
        let mut oldest = u32::MAX;
        let mut stays = |at: Position| {
            oldest = oldest.min(at.segment());
            Part::Stays(at)
        };
        let mut part = |at: Position, kind| {
            if at.is_none() {
                return Part::None;
            }
            if !moves(at) {
                return stays(at);
            }
            session::payload(source, id, at, kind).map_or(Part::None, Part::Moves)
        };
        let meta = part(point.meta, Kind::Meta);
        let state = part(point.state, Kind::State);
        let mut message = |open: &Open, said| {
            let content = part(open.at, Kind::Message);
            (!matches!(content, Part::None)).then_some(Message {
                content,
                redelivered: open.redelivered,
                said,
            })
        };
        let running = point.running.as_ref().and_then(|open| message(open, open.said || entry.said));
        let waiting = point.waiting.iter().filter_map(|open| message(open, false)).collect();
        let (history, history_stays) = turns(source, id, point.history, bounds, &moves);
        // A chain of turns that stays is not read to its end: it ends where what is kept of a session ends, at its oldest segment.
        if !history_stays.is_none() {
            let deepest = session::history(source, id, history_stays, bounds).last().map(|turn| turn.at);
            stays(deepest.unwrap_or(history_stays));
        }
        let texts = match events {
            Events::Drop => Some(Texts::default()),
            Events::Stay(from) => {
                stays(Position::new(from, 0));
                None
            }
            Events::Keep => {
                let kept = session::events(source, id, entry, 0, bounds);
                match kept.last() {
                    Some(deepest) if !moves(*deepest) => {
                        stays(*deepest);
                        None
                    }
                    _ => Some(Texts::read(source, id, &kept)),
                }
            }
        };
        Some(Self {
            epoch: point.epoch,
            last_seq: entry.last_seq,
            turn_first: entry.turn_first,
            meta,
            history,
            history_stays,
            state,
            running,
            waiting,
            events: texts,
            oldest,
        })
    }

    /// Nothing of the session can be read: it only goes on counting.
    pub(crate) fn bare(entry: &Entry) -> Self {
        Self {
            epoch: entry.epoch,
            last_seq: entry.last_seq,
            turn_first: entry.turn_first,
            meta: Part::None,
            history: Vec::new(),
            history_stays: Position::NONE,
            state: Part::None,
            running: None,
            waiting: Vec::new(),
            events: Some(Texts::default()),
            oldest: u32::MAX,
        }
    }

    /// Without what it needs to be resumed.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.meta, Part::None)
    }

    /// Its checkpoint is older than its newest records: which messages are open is not known.
    pub(crate) fn forget_messages(&mut self) {
        self.running = None;
        self.waiting.clear();
    }

    /// Writes what moves, as long as there is room for it, and a checkpoint; the session's new entry. The records stand together:
    /// nobody else's come between.
    pub(crate) fn write(&self, log: &mut Log, id: u128, entry: &Entry, room: &mut u64) -> Entry {
        let mut to = Writer { log, id, entry: *entry, room, epoch: self.epoch };
        to.entry.oldest = self.oldest.min(to.log.head());
        if self.events.is_some() {
            (to.entry.last, to.entry.base) = (Position::NONE, Position::NONE);
        }
        let meta = to.part(&self.meta, Kind::Meta);
        let mut history = self.history_stays;
        for Turn { message, answer, .. } in &self.history {
            let prefix = history_prefix(history, message.len());
            history = to.put(Kind::History, 0, &[&prefix, message, answer]).unwrap_or(history);
        }
        let state = to.part(&self.state, Kind::State);
        let mut open = |message: &Message| {
            let at = to.part(&message.content, Kind::Message);
            (!at.is_none()).then_some(Open { at, redelivered: message.redelivered, said: message.said })
        };
        let running = self.running.as_ref().and_then(&mut open);
        let waiting = self.waiting.iter().filter_map(&mut open).collect();
        if let Some(texts) = &self.events {
            let first = (self.last_seq + 1).saturating_sub(texts.iter().len() as u64);
            for (index, text) in texts.iter().enumerate() {
                to.put(Kind::Event, first + index as u64, &[text]);
            }
        }
        let said = running.is_some_and(|open| open.said);
        let point = Checkpoint {
            epoch: self.epoch,
            turn_first: self.turn_first,
            meta,
            history,
            state,
            running,
            waiting,
        };
        // There is always room for this one: without it the session is lost altogether.
        let at = to.record(Kind::Checkpoint, self.last_seq, &[&point.encode()]);
        let Writer { entry, .. } = to;
        Entry {
            base: at.unwrap_or_default(),
            last_seq: self.last_seq,
            turn_first: self.turn_first,
            epoch: self.epoch,
            said,
            ..entry
        }
    }
}

/// The turns that move, oldest first, and the one that they follow. A turn points to the one before it, so with one that moves all newer ones do.
fn turns(
    source: &dyn Source,
    id: u128,
    newest: Position,
    bounds: &Bounds,
    moves: &impl Fn(Position) -> bool,
) -> (Vec<Turn>, Position) {
    let mut found = session::history(source, id, newest, bounds);
    let Some(deepest) = found.iter().rposition(|turn| moves(turn.at)) else {
        return (Vec::new(), if found.is_empty() { Position::NONE } else { newest });
    };
    let stays = if deepest + 1 < found.len() { found[deepest].prev } else { Position::NONE };
    found.truncate(deepest + 1);
    found.reverse();
    (found, stays)
}

struct Writer<'a> {
    log: &'a mut Log,
    id: u128,
    entry: Entry,
    room: &'a mut u64,
    epoch: u32,
}

impl Writer<'_> {
    fn part(&mut self, part: &Part, kind: Kind) -> Position {
        match part {
            Part::None => Position::NONE,
            Part::Stays(at) => *at,
            Part::Moves(bytes) => {
                let seq = if kind == Kind::Meta { u64::from(self.epoch) } else { 0 };
                self.put(kind, seq, &[bytes]).unwrap_or_default()
            }
        }
    }

    fn put(&mut self, kind: Kind, seq: u64, parts: &[&[u8]]) -> Option<Position> {
        let length = parts.iter().map(|part| part.len() as u64).sum::<u64>();
        *self.room = self.room.checked_sub(length)?;
        self.record(kind, seq, parts)
    }

    fn record(&mut self, kind: Kind, seq: u64, parts: &[&[u8]]) -> Option<Position> {
        let Entry { last: prev, base, .. } = self.entry;
        let header = Header { kind, flags: 0, session: self.id, seq, prev, base };
        let at = self.log.append(&header, parts)?;
        self.entry.last = at;
        Some(at)
    }
}
