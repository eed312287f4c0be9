//! Random conversations against a plain model of them: what is read is what was said, in order, each event once, and a gap is only
//! where one may be.

use super::rig::{Service, adopt, id, plain, raw, texts, tiny};
use crate::limits::{Bounds, Limits};
use crate::{FetchError, Journal, Owner};
use proptest::prelude::*;
use std::fs;
use std::sync::atomic::Ordering;
use uuid::Uuid;

const SESSIONS: u128 = 3;

#[derive(Clone, Debug)]
enum Step {
    Event { session: u128, length: usize, said: bool },
    Message { session: u128, length: usize },
    TurnBegins { session: u128 },
    TurnEnds { session: u128, answer: Option<usize> },
    TurnAgain { session: u128 },
    Withdrawn { session: u128 },
    State { session: u128, length: Option<usize> },
    End { session: u128 },
    Flush,
    Tick,
    Look { session: u128, seen: u64 },
    Restart { cut: Option<u16> },
    Full { full: bool },
}

fn step(harsh: bool) -> impl Strategy<Value = Step> {
    let session = 0..SESSIONS;
    let rare = u32::from(harsh);
    prop_oneof![
        20 => (session.clone(), 1..300_usize, any::<bool>()).prop_map(|(session, length, said)| Step::Event { session, length, said }),
        6 => (session.clone(), 1..100_usize).prop_map(|(session, length)| Step::Message { session, length }),
        8 => session.clone().prop_map(|session| Step::TurnBegins { session }),
        6 => (session.clone(), prop::option::weighted(0.8, 1..200_usize)).prop_map(|(session, answer)| Step::TurnEnds { session, answer }),
        1 => session.clone().prop_map(|session| Step::TurnAgain { session }),
        1 => session.clone().prop_map(|session| Step::Withdrawn { session }),
        2 => (session.clone(), prop::option::of(1..200_usize)).prop_map(|(session, length)| Step::State { session, length }),
        1 => session.clone().prop_map(|session| Step::End { session }),
        10 => Just(Step::Flush),
        2 => Just(Step::Tick),
        4 => (session, 0..60_u64).prop_map(|(session, seen)| Step::Look { session, seen }),
        1 => prop::option::of(any::<u16>()).prop_map(move |cut| Step::Restart { cut: cut.filter(|_| harsh) }),
        1 + rare => any::<bool>().prop_map(move |full| Step::Full { full: full && harsh }),
    ]
}

/// A session as it ought to be.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    /// All of its events.
    events: Vec<String>,
    turn_first: Option<u64>,
    running: Option<(String, bool, bool)>,
    waiting: Vec<(String, bool)>,
    /// All of its turns.
    history: Vec<(String, String)>,
    state: Option<String>,
}

impl Model {
    /// The first kept event.
    fn first_kept(&self, bounds: &Bounds) -> u64 {
        let last = self.events.len() as u64;
        let (mut first, mut bytes) = (last + 1, 0);
        for seq in (1..=last).rev() {
            bytes += self.events[seq as usize - 1].len();
            let in_turn = self.turn_first.is_some_and(|turn| seq >= turn);
            if seq != last && (bytes > bounds.event_bytes || last - seq >= bounds.events && !in_turn) {
                break;
            }
            first = seq;
        }
        first
    }

    fn kept_history(&self, bounds: &Bounds) -> Vec<(String, String)> {
        let mut bytes = 0;
        let mut kept: Vec<_> = self
            .history
            .iter()
            .rev()
            .take(bounds.turns)
            .take_while(|(message, answer)| {
                bytes += message.len() + answer.len() + 4;
                bytes <= bounds.history
            })
            .cloned()
            .collect();
        kept.reverse();
        kept
    }
}

/// What the journal has of a session, in the model's words. The events are only those that are kept.
fn seen_in(journal: &Journal, session: Uuid) -> (Model, Option<(u64, u64)>) {
    let restored = journal.restore(session).expect("a session that can be restored");
    assert_eq!(restored.params.map(|params| plain(&params)), Some(format!("params {session}")));
    let (gap, events) = texts(journal, session, 0);
    let model = Model {
        events,
        turn_first: None,
        running: restored.running.map(|run| (plain(&run.message.content), run.said, run.message.redelivered)),
        waiting: restored
            .waiting
            .iter()
            .map(|message| (plain(&message.content), message.redelivered))
            .collect(),
        history: journal.history(session).iter().map(|(a, b)| (plain(a), plain(b))).collect(),
        state: journal.state(session).map(|state| plain(&state)),
    };
    (model, gap)
}

struct World {
    service: Service,
    journal: Option<Journal>,
    generations: Vec<u128>,
    models: Vec<Model>,
    /// Each session at each step since the log began, and which of them the kernel surely has.
    past: Vec<Vec<Model>>,
    flushed: usize,
    /// Words that are not the same twice.
    words: usize,
    harsh: bool,
}

impl World {
    fn new(limits: Limits, harsh: bool) -> Self {
        let service = Service::new(limits);
        let journal = service.start();
        let mut world = Self {
            service,
            journal: Some(journal),
            generations: vec![0; SESSIONS as usize],
            models: vec![Model::default(); SESSIONS as usize],
            past: Vec::new(),
            flushed: 0,
            words: 0,
            harsh,
        };
        (0..SESSIONS).for_each(|session| world.begin(session));
        world.journal().flush();
        world.past.push(world.models.clone());
        world
    }

    fn journal(&self) -> &Journal {
        self.journal.as_ref().unwrap()
    }

    fn id(&self, session: u128) -> Uuid {
        id(session + SESSIONS * self.generations[session as usize])
    }

    /// Ids are not used again.
    fn begin(&mut self, session: u128) {
        self.generations[session as usize] += 1;
        self.journal().begin(self.id(session), Some(&raw(&format!("params {}", self.id(session)))));
        self.models[session as usize] = Model::default();
    }

    /// It tells whose it is.
    fn word(&mut self, session: u128, length: usize) -> String {
        self.words += 1;
        format!("{session}-{:0length$}", self.words)
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Event { session, length, said } => {
                let word = self.word(session, length);
                let model = &mut self.models[session as usize];
                model.events.push(word.clone());
                if let Some(running) = &mut model.running {
                    running.1 |= said;
                }
                let seq = model.events.len() as u64;
                assert_eq!(self.journal().last_seq(self.id(session)) + 1, seq);
                self.journal().event(self.id(session), seq, word.as_bytes(), said);
            }
            Step::Message { session, length } => {
                let word = self.word(session, length);
                if self.models[session as usize].waiting.len() < 4 {
                    self.journal().message(self.id(session), &raw(&word), None);
                    self.models[session as usize].waiting.push((word, false));
                }
            }
            Step::TurnBegins { session } => {
                let model = &mut self.models[session as usize];
                if model.running.is_none() && !model.waiting.is_empty() {
                    let (word, again) = model.waiting.remove(0);
                    model.running = Some((word, false, again));
                    model.turn_first = Some(model.events.len() as u64 + 1);
                    self.journal().turn_begins(self.id(session), again);
                }
            }
            Step::TurnEnds { session, answer } => {
                let word = answer.map(|length| self.word(session, length));
                let model = &mut self.models[session as usize];
                let Some((message, ..)) = model.running.take() else { return };
                if let Some(word) = &word {
                    model.history.push((message, word.clone()));
                }
                self.journal().turn_ends(self.id(session), word.as_deref().map(raw).as_deref());
            }
            Step::TurnAgain { session } => {
                let model = &mut self.models[session as usize];
                if let Some((word, ..)) = model.running.take() {
                    model.waiting.insert(0, (word, true));
                }
                self.journal().turn_again(self.id(session), true);
            }
            Step::Withdrawn { session } => {
                let model = &mut self.models[session as usize];
                if !model.waiting.is_empty() {
                    model.waiting.remove(0);
                }
                self.journal().withdrawn(self.id(session));
            }
            Step::State { session, length } => {
                let word = length.map(|length| self.word(session, length));
                self.journal().save_state(self.id(session), word.as_deref().map(raw).as_deref());
                self.models[session as usize].state = word;
            }
            Step::End { session } => {
                self.journal().end(self.id(session));
                self.begin(session);
                self.journal().flush();
                self.flushed = self.past.len();
            }
            Step::Flush => {
                self.journal().flush();
                self.flushed = self.past.len();
            }
            Step::Tick => {
                let _ = self.journal().tick();
                self.flushed = self.past.len();
            }
            Step::Look { session, seen } => self.look(session, seen),
            Step::Restart { cut } => self.restart(cut),
            Step::Full { full } => self.service.disk.full.store(full, Ordering::Relaxed),
        }
        self.past.push(self.models.clone());
    }

    fn look(&self, session: u128, seen: u64) {
        let (model, bounds) = (&self.models[session as usize], &self.service.limits.full);
        let (gap, events) = texts(self.journal(), self.id(session), seen);
        let (last, first) = (model.events.len() as u64, model.first_kept(bounds).max(seen + 1));
        let found = last - events.len() as u64 + 1;
        if last <= seen {
            assert_eq!((gap, events.len()), (None, 0));
            return;
        }
        assert_eq!(gap, (seen + 1 < found).then(|| (seen + 1, found - 1)));
        assert_eq!(events, model.events[found as usize - 1..], "each once, in order, up to the newest");
        assert!(self.harsh || found == first, "all that is kept, and no more");
    }

    /// The process dies; another start takes its sessions.
    fn restart(&mut self, cut: Option<u16>) {
        self.service.disk.full.store(false, Ordering::Relaxed);
        let journal = self.journal.take().unwrap();
        let segments = self.service.segments(&journal);
        drop(journal);
        if let (Some(cut), Some(file)) = (cut, segments.last()) {
            let length = fs::metadata(file).unwrap().len();
            let file = fs::OpenOptions::new().write(true).open(file).unwrap();
            file.set_len(length * u64::from(cut) / u64::from(u16::MAX)).unwrap();
        }
        self.journal = Some(self.service.start());
        let since = if self.harsh { 0 } else { self.flushed.saturating_sub(1) };
        for session in 0..SESSIONS {
            let Owner::Dead(estate) = self.journal().locate(self.id(session)) else {
                panic!("nobody has it")
            };
            match estate.fetch() {
                Ok(fetched) => {
                    self.journal().adopt(fetched).unwrap();
                    let then = self.recognise(session, since);
                    self.models[session as usize] = then;
                }
                Err(FetchError::Lost { .. }) if self.harsh => {
                    self.begin(session);
                }
                Err(error) => panic!("{error}"),
            }
        }
        self.journal().flush();
        self.past.clear();
        self.flushed = 0;
    }

    /// Which of its past states the session has.
    fn recognise(&self, session: u128, since: usize) -> Model {
        let bounds = &self.service.limits.full;
        let last_seq = self.journal().last_seq(self.id(session));
        let (found, gap) = seen_in(self.journal(), self.id(session));
        let candidates = self.past[since.min(self.past.len())..]
            .iter()
            .chain([&self.models])
            .map(|models| &models[session as usize]);
        let fits = |model: &&Model| {
            let first = model.first_kept(bounds);
            let kept = &model.events[first as usize - 1..];
            let history = model.kept_history(bounds);
            if model.events.len() as u64 != last_seq {
                return false;
            }
            if self.harsh {
                return model.events.ends_with(&found.events);
            }
            found.events == kept
                && gap == (first > 1).then(|| (1, first - 1))
                && found.history == history
                && (&found.state, &found.waiting, &found.running)
                    == (&model.state, &model.waiting, &model.running)
        };
        let Some(model) = candidates.clone().rev().find(fits) else {
            let now = &self.models[session as usize];
            panic!(
                "session {session} was never like this: {found:?}, gap {gap:?}, last {last_seq}; it is {now:?}"
            )
        };
        let mut model = model.clone();
        let is_its_own = |word: &String| word.starts_with(&format!("{session}-"));
        assert!(found.history.iter().all(|(message, answer)| is_its_own(message) && is_its_own(answer)));
        assert!(found.waiting.iter().all(|(message, _)| is_its_own(message)));
        assert!(found.state.iter().all(is_its_own));
        if self.harsh {
            (model.history, model.state) = (found.history, found.state);
            (model.waiting, model.running) = (found.waiting, found.running);
        }
        model
    }
}

/// Steps until what the model says of a session that lost a part is not sure any more.
fn run(limits: Limits, steps: &[Step], harsh: bool) -> World {
    let mut world = World::new(limits, harsh);
    for step in steps {
        world.take(step);
        assert!(world.journal().disk_bytes() <= limits.max + limits.pending as u64 + 4 * limits.segment);
    }
    for session in 0..SESSIONS {
        world.look(session, 0);
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// With room for what is kept, nothing that is kept is ever missing, whatever is cleaned and whoever dies.
    #[test]
    fn all_that_is_kept_is_there(steps in prop::collection::vec(step(false), 1..600)) {
        run(tiny(), &steps, false);
    }

    /// Without room, with a disk that fails and logs that are cut, what is there is right.
    #[test]
    fn what_is_there_is_right(steps in prop::collection::vec(step(true), 1..600)) {
        run(Limits { max: 8192, segment: 1024, pending: 4096, ..tiny() }, &steps, true);
    }
}

fn cases() -> u32 {
    if std::env::var_os("MYAGENT_SOAK").is_some() { 400 } else { 60 }
}

#[test]
fn the_model_is_cleaned_and_restarted() {
    // What the properties above are about does happen in them.
    let mut steps = Vec::new();
    for round in 0..400 {
        let session = round % SESSIONS;
        steps.extend([
            Step::Message { session, length: 20 },
            Step::TurnBegins { session },
            Step::Event { session, length: 150, said: true },
            Step::Event { session, length: 150, said: true },
            Step::TurnEnds { session, answer: Some(50) },
            Step::Flush,
            Step::Look { session, seen: 0 },
        ]);
    }
    steps.push(Step::Restart { cut: None });
    let world = run(tiny(), &steps, false);
    let written = world.models.iter().flat_map(|model| &model.events).map(String::len).sum::<usize>();
    assert!(written > 2 * tiny().max as usize);
    let next = world.service.start();
    drop(world.journal);
    adopt(&next, id(SESSIONS));
}
