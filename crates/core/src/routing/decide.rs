//! The decision: the pool that a request asks for, those of it that are eligible, and one of those.
//!
//! One walk, with or without a [`Trace`] of it: [`decide`] takes it without, [`super::explain`] with.

use super::context::Context;
use super::hash::{hash, mix};
use super::load::{Loads, Reading};
use super::plan::{Member, Skip};
use super::pool::{Pool, PoolId, PoolKind};
use super::rule::Rule;
use super::snapshot::{RoutedInstance, RoutingSnapshot};
use super::strategy::{Candidate, Inputs, Strategy, UNLIMITED};
use super::values::Values;
use crate::clock::Tick;
use crate::ids::InstanceKey;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::IpAddr;

/// What to do with a client.
#[derive(Debug)]
pub enum Decision<'a> {
    /// Hand it to this instance.
    Go(Choice<'a>),
    /// Nobody is eligible, but somebody may become so: wait.
    Wait {
        /// Why nobody is, for the client if it is turned away in the end.
        reason: String,
        /// For whose instances it waits: clients of one pool wait in one queue.
        pool: PoolId,
    },
    /// Nobody will be.
    Refuse {
        /// Why, for the client.
        reason: String,
        /// Whether trying again later can help: what it asked for is wanted running.
        recoverable: bool,
    },
}

/// The instance chosen.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Which.
    pub instance: &'a RoutedInstance,
    /// Its index in the snapshot.
    pub index: usize,
    /// By which strategy; `manual` for a client that named a session and so chose the instance itself.
    pub strategy: Strategy,
    /// From which pool.
    pub pool: PoolId,
    /// How the request came to it.
    pub kind: PoolKind,
    /// The rule that matched, if one did.
    pub rule: Option<&'a Rule>,
}

/// What changes all the time, or with each client. Kept by the caller.
#[derive(Clone, Copy)]
pub struct Live<'a, L: ?Sized> {
    /// Loads of the snapshot's instances.
    pub loads: &'a L,
    /// Where sessions live.
    pub sessions: &'a dyn KnownSessions,
    /// Counters of the pools.
    pub ticks: &'a dyn Ticks,
    /// Now.
    pub now: Tick,
    /// A random number, equally distributed over all of `u64`, new for each decision.
    pub random: u64,
    /// Instances that gave this client back, or that get nothing at the moment.
    pub tried: &'a [InstanceKey],
}

/// Which instance has a session.
pub trait KnownSessions {
    /// The instance that has it, as far as is known.
    fn instance_of(&self, session_id: &str) -> Option<InstanceKey>;

    /// A client that named this session was just taken by that instance; its runner's report of it follows.
    fn taken(&self, _session_id: &str, _instance: InstanceKey) {}
}

/// None are known.
impl KnownSessions for () {
    fn instance_of(&self, _session_id: &str) -> Option<InstanceKey> {
        None
    }
}

impl<S: BuildHasher> KnownSessions for HashMap<String, InstanceKey, S> {
    fn instance_of(&self, session_id: &str) -> Option<InstanceKey> {
        self.get(session_id).copied()
    }
}

/// Counts the choices made from each pool.
pub trait Ticks {
    /// The number of choices made before from this pool. Asked at most once for each strategy that is tried in a decision, and only
    /// if there is somebody to choose from; an implementation for real routing counts on, one for looking does not.
    fn next(&self, pool: PoolId) -> u64;
}

/// The same number whatever the pool.
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedTick(pub u64);

impl Ticks for FixedTick {
    fn next(&self, _pool: PoolId) -> u64 {
        self.0
    }
}

/// Memory that decisions need, kept from one to the next so that they allocate nothing. Holds nothing in between.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) values: Values,
    candidates: Vec<Candidate>,
    tried: Vec<u32>,
}

/// Decides.
pub fn decide<'s, L: Loads + ?Sized>(
    snapshot: &'s RoutingSnapshot,
    context: &Context<'_>,
    live: &Live<'_, L>,
    scratch: &mut Scratch,
) -> Decision<'s> {
    Walk { snapshot, context, live, scratch, trace: &mut () }.decide()
}

/// Is told what happens on the way.
pub(super) trait Trace {
    /// Whether anybody listens.
    const ON: bool;
    fn rule_skipped(&mut self, _rule: usize, _skip: Skip, _values: &Values) {}
    fn rule_matched(&mut self, _rule: usize) {}
    fn pool(&mut self, _pool: Pool) {}
    fn member(&mut self, _index: u32, _standing: Standing) {}
}

impl Trace for () {
    const ON: bool = false;
}

/// How a member of the pool stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Eligible,
    /// It gave this client back.
    Tried,
    Full,
    Ejected,
    /// Out of service for a while.
    NotYet,
    /// Out of service.
    Not,
    /// Eligible, and of another part of the split.
    OtherPart,
}

pub(super) struct Walk<'s, 'w, 'c, L: ?Sized, T> {
    pub(super) snapshot: &'s RoutingSnapshot,
    pub(super) context: &'w Context<'c>,
    pub(super) live: &'w Live<'w, L>,
    pub(super) scratch: &'w mut Scratch,
    pub(super) trace: &'w mut T,
}

impl<'s, L: Loads + ?Sized, T: Trace> Walk<'s, '_, '_, L, T> {
    pub(super) fn decide(mut self) -> Decision<'s> {
        let (snapshot, target) = (self.snapshot, &self.context.target);
        self.scratch.tried.clear();
        self.scratch.tried.extend(self.live.tried.iter().filter_map(|key| snapshot.index_of(*key)));
        let session = target
            .session_id
            .as_deref()
            .and_then(|id| self.live.sessions.instance_of(id))
            .and_then(|key| snapshot.index_of(key));
        if let Some(name) = &target.service {
            let Some(index) = snapshot.service_index(name) else {
                // As much of it as tells which; the client may have sent anything.
                let name: String = name.chars().take(100).collect();
                let reason = format!("no running service is named {name:?}");
                return Decision::Refuse { reason, recoverable: false };
            };
            let session = session.filter(|session| snapshot.owner(*session) == index);
            if let Some(choice) = session.and_then(|session| self.session_owner(session)) {
                return Decision::Go(choice);
            }
            return self.choose_from(Pool::Service { index, by_session: false });
        }
        if let Some(session) = session {
            if let Some(choice) = self.session_owner(session) {
                return Decision::Go(choice);
            }
            // The other instances of its service can take the session over; those of others cannot.
            let index = snapshot.owner(session);
            if snapshot.members_of(index).any(|member| can_serve(snapshot, member)) {
                return self.choose_from(Pool::Service { index, by_session: true });
            }
        }
        if target.has_tags {
            return self.choose_from(Pool::Tags);
        }
        match self.matching_rule() {
            Some(rule) => self.choose_from(Pool::Rule(rule)),
            None => self.choose_from(Pool::All),
        }
    }

    /// The instance that has the client's session, if it is ready: whether it has a place is its own to say, since the session
    /// may have one already.
    fn session_owner(&mut self, index: u32) -> Option<Choice<'s>> {
        if !self.snapshot.facts(index).eligible || self.scratch.tried.contains(&index) {
            return None;
        }
        let pool = Pool::Service { index: self.snapshot.owner(index), by_session: true };
        self.trace.pool(pool);
        self.trace.member(index, Standing::Eligible);
        Some(self.choice(index, Strategy::Manual, pool))
    }

    fn matching_rule(&mut self) -> Option<usize> {
        let plan = self.snapshot.plan();
        if plan.rules.is_empty() {
            return None;
        }
        plan.fields.read(self.context, &mut self.scratch.values);
        let values = &self.scratch.values;
        let trace = &mut *self.trace;
        let found =
            plan.find(values, self.snapshot.alive(), |rule, skip| trace.rule_skipped(rule, skip, values));
        if let Some(rule) = found {
            self.trace.rule_matched(rule);
        }
        found
    }

    fn choose_from(&mut self, pool: Pool) -> Decision<'s> {
        self.trace.pool(pool);
        // Where everybody who is ready is ejected, the fault is likely not theirs, and somebody is better than nobody.
        let ignore_ejection = !self.collect(pool, false) && self.collect(pool, true);
        let key = self.key(pool);
        let part = self.keep_part(pool, key);
        if T::ON {
            self.tell_members(pool, ignore_ejection, part);
        }
        if self.scratch.candidates.is_empty() {
            return self.nobody(pool);
        }
        let inputs = Inputs {
            tick: &|| self.live.ticks.next(pool.id(self.snapshot, self.context, part.unwrap_or(0))),
            random: self.live.random,
            key,
            seeds: self.snapshot.seeds(),
            latency: &|index| self.live.loads.latency(index as usize, self.live.now),
        };
        for strategy in self.strategies(pool) {
            if let Some(place) = strategy.select(&self.scratch.candidates, &inputs) {
                return Decision::Go(self.choice(self.scratch.candidates[place].index, strategy, pool));
            }
        }
        self.nobody(pool)
    }

    /// Collects the eligible members. Returns whether some member is ready and not ejected, be it full.
    fn collect(&mut self, pool: Pool, ignore_ejection: bool) -> bool {
        let (snapshot, live) = (self.snapshot, self.live);
        let Scratch { candidates, tried, .. } = &mut *self.scratch;
        candidates.clear();
        let mut any_healthy = false;
        pool.for_each(snapshot, self.context, |member| {
            let (standing, reading, free) = stand(snapshot, live, tried, member.index, ignore_ejection);
            any_healthy |= matches!(standing, Standing::Eligible | Standing::Tried | Standing::Full);
            if standing == Standing::Eligible {
                candidates.push(candidate(snapshot, &member, reading, free));
            }
        });
        any_healthy
    }

    /// Of a split rule: keeps the candidates of the client's part, or of the next one that has any.
    fn keep_part(&mut self, pool: Pool, key: Option<u64>) -> Option<u8> {
        let Pool::Rule(rule) = pool else { return None };
        let rule = self.snapshot.plan().rules[rule].rule.rule();
        let split = &rule.spec.split;
        if split.is_empty() {
            return None;
        }
        let key = key.unwrap_or_else(|| address_key(self.context.client_ip));
        // With the rule in it, so that a client is not always among the few.
        let (high, low) = rule.rule_id.0.as_u64_pair();
        let point = mix(key ^ mix(high ^ low.rotate_left(1))) % 100;
        let mut sum = 0;
        let own = split.iter().position(|share| {
            sum += u64::from(share.percent);
            point < sum
        });
        let candidates = &mut self.scratch.candidates;
        let part = (0..split.len())
            .map(|step| (own.unwrap_or(0) + step) % split.len())
            .find(|part| candidates.iter().any(|candidate| candidate.parts & (1 << part) != 0))?;
        candidates.retain(|candidate| candidate.parts & (1 << part) != 0);
        Some(part as u8)
    }

    /// The hash by which the client is told apart.
    fn key(&self, pool: Pool) -> Option<u64> {
        let slot = match pool {
            Pool::Rule(rule) => self.snapshot.plan().rules[rule].hash_slot,
            _ => None,
        };
        match slot {
            Some(slot) => self.scratch.values.bytes(slot, true).map(hash),
            None => Some(address_key(self.context.client_ip)),
        }
    }

    /// The strategies to ask, the first that has an answer decides; the last one always has.
    fn strategies(&self, pool: Pool) -> [Strategy; 4] {
        let default = self.snapshot.default_strategy();
        let (own, fallback, allow_hint) = match pool {
            Pool::Rule(rule) => {
                let spec = &self.snapshot.plan().rules[rule].rule.rule().spec;
                (spec.target_strategy, spec.fallback_strategy, spec.allow_hint)
            }
            _ => (None, None, true),
        };
        let own = own.unwrap_or(default);
        let hint = self.context.target.hint.filter(|_| allow_hint);
        [hint.unwrap_or(own), own, fallback.unwrap_or(default), Strategy::RoundRobin]
    }

    fn choice(&self, index: u32, strategy: Strategy, pool: Pool) -> Choice<'s> {
        let index = index as usize;
        let rule = match pool {
            Pool::Rule(rule) => Some(self.snapshot.plan().rules[rule].rule.rule()),
            _ => None,
        };
        Choice {
            instance: self.snapshot.at(index),
            index,
            strategy,
            pool: pool.id(self.snapshot, self.context, 0),
            kind: pool.kind(),
            rule,
        }
    }

    fn nobody(&self, pool: Pool) -> Decision<'s> {
        let (mut any, mut any_alive) = (false, false);
        pool.for_each(self.snapshot, self.context, |member| {
            any = true;
            any_alive |= can_serve(self.snapshot, member.index);
        });
        let whose = pool.whose(self.snapshot, self.context);
        if any_alive {
            return Decision::Wait {
                reason: format!("every instance{whose} is full or starting"),
                pool: pool.id(self.snapshot, self.context, 0),
            };
        }
        let state = if any { "healthy" } else { "running" };
        // A service without instances, or one whose instances are all broken, is wanted running all the same.
        let recoverable = match pool {
            Pool::Service { .. } | Pool::Rule(_) => true,
            Pool::Tags => any,
            Pool::All => !self.snapshot.services().is_empty(),
        };
        Decision::Refuse { reason: format!("no instance{whose} is {state}"), recoverable }
    }

    fn tell_members(&mut self, pool: Pool, ignore_ejection: bool, part: Option<u8>) {
        let (snapshot, live) = (self.snapshot, self.live);
        let (trace, tried) = (&mut *self.trace, &self.scratch.tried);
        pool.for_each(snapshot, self.context, |member| {
            let (standing, ..) = stand(snapshot, live, tried, member.index, ignore_ejection);
            let is_other = part.is_some_and(|part| member.parts & (1 << part) == 0);
            let standing =
                if is_other && standing == Standing::Eligible { Standing::OtherPart } else { standing };
            trace.member(member.index, standing);
        });
    }
}

fn can_serve(snapshot: &RoutingSnapshot, index: u32) -> bool {
    let facts = snapshot.facts(index);
    facts.eligible || facts.may_become_eligible
}

/// How an instance stands, what its load is, and how many of its places are free.
#[inline]
fn stand<L: Loads + ?Sized>(
    snapshot: &RoutingSnapshot,
    live: &Live<'_, L>,
    tried: &[u32],
    index: u32,
    ignore_ejection: bool,
) -> (Standing, Reading, u32) {
    let facts = snapshot.facts(index);
    if !facts.eligible {
        let standing = if facts.may_become_eligible { Standing::NotYet } else { Standing::Not };
        return (standing, Reading::NONE, 0);
    }
    let reading = live.loads.reading(index as usize, live.now);
    // What the runner last reported, and at least what was handed over since.
    let used = facts.places.max(reading.active);
    let free = if facts.max_places == 0 { UNLIMITED } else { facts.max_places.saturating_sub(used) };
    let standing = if !ignore_ejection && reading.is_ejected {
        Standing::Ejected
    } else if tried.contains(&index) {
        Standing::Tried
    } else if free == 0 {
        Standing::Full
    } else {
        Standing::Eligible
    };
    (standing, reading, free)
}

#[inline]
fn candidate(snapshot: &RoutingSnapshot, member: &Member, reading: Reading, free: u32) -> Candidate {
    let weight = if member.weight == 0 { snapshot.facts(member.index).weight } else { member.weight };
    Candidate {
        index: member.index,
        active: reading.active,
        weight,
        share: weight as f32 * reading.warmth,
        free,
        rank: member.rank,
        matches: member.matches,
        parts: member.parts,
    }
}

/// The hash of an address.
fn address_key(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => hash(&v4.octets()),
        IpAddr::V6(v6) => hash(&v6.octets()),
    }
}
