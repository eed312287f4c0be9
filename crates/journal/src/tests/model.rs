//! Random conversations against a plain model of them: what is read is what was said, in order, each event once, and a gap is only
//! where one may be. They are in two starts that live side by side, die, and let go of sessions for each other.

use super::rig::{Service, adopt, estate, id, plain, raw, texts, tiny};
use crate::limits::{Bounds, Limits};
use crate::{FetchError, Journal, Owner, ReleaseError};
use myagent_core::StartId;
use proptest::prelude::*;
use std::fs;
use std::sync::atomic::Ordering;
use uuid::Uuid;

const SESSIONS: u128 = 3;

#[derive(Clone, Debug)]
enum Step {
    Event {
        session: u128,
        length: usize,
        said: bool,
    },
    Message {
        session: u128,
        length: usize,
    },
    TurnBegins {
        session: u128,
    },
    TurnEnds {
        session: u128,
        answer: Option<usize>,
    },
    TurnAgain {
        session: u128,
    },
    Withdrawn {
        session: u128,
    },
    State {
        session: u128,
        length: Option<usize>,
    },
    End {
        session: u128,
    },
    Flush,
    Tick,
    Look {
        session: u128,
        seen: u64,
    },
    /// A start dies, its log perhaps torn; its sessions are adopted by the start after it, or by the other one.
    Restart {
        which: usize,
        other: bool,
        cut: Option<u16>,
    },
    /// The session is let go of and adopted by this one, which may be the same; its owner may have died in between.
    Release {
        session: u128,
        to: usize,
        dies: bool,
    },
    Full {
        full: bool,
    },
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
        4 => (session.clone(), 0..60_u64).prop_map(|(session, seen)| Step::Look { session, seen }),
        1 => (0..2_usize, any::<bool>(), prop::option::of(any::<u16>()))
            .prop_map(move |(which, other, cut)| Step::Restart { which, other, cut: cut.filter(|_| harsh) }),
        2 => (session, 0..2_usize, prop::bool::weighted(0.2))
            .prop_map(|(session, to, dies)| Step::Release { session, to, dies }),
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
    journals: [Option<Journal>; 2],
    /// Which of them has each session.
    home: Vec<usize>,
    generations: Vec<u128>,
    models: Vec<Model>,
    /// Each session at each step; for each session, from where on these are the past of what it is now, and which of them
    /// the kernel surely has.
    past: Vec<Vec<Model>>,
    born: Vec<usize>,
    flushed: Vec<usize>,
    /// Words that are not the same twice.
    words: usize,
    releases: u128,
    harsh: bool,
}

impl World {
    fn new(limits: Limits, harsh: bool) -> Self {
        let service = Service::new(limits);
        let journals = [Some(service.start()), Some(service.start())];
        let sessions = SESSIONS as usize;
        let mut world = Self {
            service,
            journals,
            home: (0..sessions).map(|session| session % 2).collect(),
            generations: vec![0; sessions],
            models: vec![Model::default(); sessions],
            past: Vec::new(),
            born: vec![0; sessions],
            flushed: vec![0; sessions],
            words: 0,
            releases: 0,
            harsh,
        };
        (0..SESSIONS).for_each(|session| world.begin(session));
        world.flush(Journal::flush);
        world.past.push(world.models.clone());
        world
    }

    fn start(&self, which: usize) -> &Journal {
        self.journals[which].as_ref().unwrap()
    }

    /// The one that has the session.
    fn journal(&self, session: u128) -> &Journal {
        self.start(self.home[session as usize])
    }

    /// Everything is with the kernel.
    fn flush(&mut self, how: impl Fn(&Journal)) {
        self.journals.iter().flatten().for_each(how);
        self.flushed.fill(self.past.len());
    }

    fn id(&self, session: u128) -> Uuid {
        id(session + SESSIONS * self.generations[session as usize])
    }

    /// Ids are not used again.
    fn begin(&mut self, session: u128) {
        self.generations[session as usize] += 1;
        self.journal(session).begin(self.id(session), Some(&raw(&format!("params {}", self.id(session)))));
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
                assert_eq!(self.journal(session).last_seq(self.id(session)) + 1, seq);
                self.journal(session).event(self.id(session), seq, word.as_bytes(), said);
            }
            Step::Message { session, length } => {
                let word = self.word(session, length);
                if self.models[session as usize].waiting.len() < 4 {
                    self.journal(session).message(self.id(session), &raw(&word), None);
                    self.models[session as usize].waiting.push((word, false));
                }
            }
            Step::TurnBegins { session } => {
                let model = &mut self.models[session as usize];
                if model.running.is_none() && !model.waiting.is_empty() {
                    let (word, again) = model.waiting.remove(0);
                    model.running = Some((word, false, again));
                    model.turn_first = Some(model.events.len() as u64 + 1);
                    self.journal(session).turn_begins(self.id(session), again);
                }
            }
            Step::TurnEnds { session, answer } => {
                let word = answer.map(|length| self.word(session, length));
                let model = &mut self.models[session as usize];
                let Some((message, ..)) = model.running.take() else { return };
                if let Some(word) = &word {
                    model.history.push((message, word.clone()));
                }
                self.journal(session).turn_ends(self.id(session), word.as_deref().map(raw).as_deref());
            }
            Step::TurnAgain { session } => {
                let model = &mut self.models[session as usize];
                if let Some((word, ..)) = model.running.take() {
                    model.waiting.insert(0, (word, true));
                }
                self.journal(session).turn_again(self.id(session), true);
            }
            Step::Withdrawn { session } => {
                let model = &mut self.models[session as usize];
                if !model.waiting.is_empty() {
                    model.waiting.remove(0);
                }
                self.journal(session).withdrawn(self.id(session));
            }
            Step::State { session, length } => {
                let word = length.map(|length| self.word(session, length));
                self.journal(session).save_state(self.id(session), word.as_deref().map(raw).as_deref());
                self.models[session as usize].state = word;
            }
            Step::End { session } => {
                self.journal(session).end(self.id(session));
                self.begin(session);
                self.flush(Journal::flush);
            }
            Step::Flush => self.flush(Journal::flush),
            Step::Tick => self.flush(|journal| drop(journal.tick())),
            Step::Look { session, seen } => self.look(session, seen),
            Step::Restart { which, other, cut } => self.restart(which, other, cut),
            Step::Release { session, to, dies } => self.release(session, to, dies),
            Step::Full { full } => self.service.disk.full.store(full, Ordering::Relaxed),
        }
        self.past.push(self.models.clone());
    }

    fn look(&self, session: u128, seen: u64) {
        let (model, bounds) = (&self.models[session as usize], &self.service.limits.full);
        let (gap, events) = texts(self.journal(session), self.id(session), seen);
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

    /// A process dies; another start takes its sessions.
    fn restart(&mut self, which: usize, other: bool, cut: Option<u16>) {
        self.service.disk.full.store(false, Ordering::Relaxed);
        let journal = self.journals[which].take().unwrap();
        let segments = self.service.segments(&journal);
        drop(journal);
        if let (Some(cut), Some(file)) = (cut, segments.last()) {
            let length = fs::metadata(file).unwrap().len();
            let file = fs::OpenOptions::new().write(true).open(file).unwrap();
            file.set_len(length * u64::from(cut) / u64::from(u16::MAX)).unwrap();
        }
        self.journals[which] = Some(self.service.start());
        for session in
            (0..SESSIONS).filter(|session| self.home[*session as usize] == which).collect::<Vec<_>>()
        {
            let since = if self.harsh { 0 } else { self.flushed[session as usize].saturating_sub(1) };
            self.home[session as usize] = if other { 1 - which } else { which };
            let Owner::Dead(estate) = self.journal(session).locate(self.id(session)) else {
                panic!("nobody has it")
            };
            match estate.fetch() {
                Ok(fetched) => {
                    self.journal(session).adopt(fetched).unwrap();
                    let then = self.recognise(session, since);
                    self.settle(session, then);
                }
                Err(FetchError::Lost { .. }) if self.harsh => {
                    self.begin(session);
                    self.settle(session, Model::default());
                }
                Err(error) => panic!("{error}"),
            }
        }
        self.flush(Journal::flush);
    }

    /// A living owner lets go of a session, and may die then; somebody takes it. As long as nobody has, it can be had, and by
    /// nobody twice.
    fn release(&mut self, session: u128, to: usize, dies: bool) {
        let (id, from) = (self.id(session), self.home[session as usize]);
        self.releases += 1;
        let start = StartId(Uuid::from_u128(0xf7e5 << 64 | self.releases));
        match self.start(from).release(id, start) {
            Ok(()) => {}
            // It is where it was.
            Err(ReleaseError::Write { .. } | ReleaseError::Lost { .. }) if self.harsh => {
                assert!(self.start(from).contains(id));
                return;
            }
            Err(error) => panic!("{error}"),
        }
        assert!(!self.start(from).contains(id));
        self.service.disk.full.store(false, Ordering::Relaxed);
        if dies {
            // Nobody's, so that it is not adopted with the others.
            self.home[session as usize] = usize::MAX;
            self.restart(from, false, None);
        }
        let too_late = estate(self.start(1 - to), id);
        self.home[session as usize] = to;
        adopt(self.start(to), id);
        assert!(matches!(too_late.fetch(), Err(FetchError::Moved { .. })));
        // It is as it was when it was let go of, written or not.
        self.past.push(self.models.clone());
        let then = self.recognise(session, self.past.len() - 1);
        assert!(self.harsh || then == self.models[session as usize]);
        self.settle(session, then);
    }

    /// From here on the session is this.
    fn settle(&mut self, session: u128, model: Model) {
        let session = session as usize;
        self.models[session] = model;
        (self.born[session], self.flushed[session]) = (self.past.len(), self.past.len());
    }

    /// Which of its past states the session has.
    fn recognise(&self, session: u128, since: usize) -> Model {
        let bounds = &self.service.limits.full;
        let last_seq = self.journal(session).last_seq(self.id(session));
        let (found, gap) = seen_in(self.journal(session), self.id(session));
        let since = since.max(self.born[session as usize]);
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
        let most = limits.max + limits.pending as u64 + 4 * limits.segment;
        assert!(world.journals.iter().flatten().all(|journal| journal.disk_bytes() <= most));
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
    steps.push(Step::Restart { which: 0, other: false, cut: None });
    let world = run(tiny(), &steps, false);
    let written = world.models.iter().flat_map(|model| &model.events).map(String::len).sum::<usize>();
    assert!(written > 2 * tiny().max as usize);
    let next = world.service.start();
    drop(world.journals);
    adopt(&next, id(SESSIONS));
}
