//! The pool that a request asks for: whose instances may serve it.

use super::context::Context;
use super::plan::Member;
use super::snapshot::RoutingSnapshot;
use crate::ids::{RuleId, ServiceId};
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// A pool, as the name of its counter ([`super::Ticks`]) and its queue. There are no more of them than services and parts of rules, and some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PoolId {
    /// All instances.
    All,
    /// Those of a service.
    Service(ServiceId),
    /// Those of a rule; for counters of that part of its split, else part 0.
    Rule(RuleId, u8),
    /// Those with certain tags. A client may ask for any set of them, so that sets share counters: there are 64.
    Tags(u8),
}

/// How a request came to its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PoolKind {
    /// It names a service.
    Service,
    /// It goes on with a session, to the session's instance or at least its service.
    Session,
    /// It asks for tags.
    Tags,
    /// A rule matched.
    Rule,
    /// None of these: all instances.
    Default,
}

/// A pool of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pool {
    /// The service of that index; whether a session led there.
    Service {
        index: usize,
        by_session: bool,
    },
    Tags,
    /// The rule of that place.
    Rule(usize),
    All,
}

impl Pool {
    pub(super) fn kind(self) -> PoolKind {
        match self {
            Self::Service { by_session: false, .. } => PoolKind::Service,
            Self::Service { by_session: true, .. } => PoolKind::Session,
            Self::Tags => PoolKind::Tags,
            Self::Rule(_) => PoolKind::Rule,
            Self::All => PoolKind::Default,
        }
    }

    /// The name of its counter. `part` is the part of a rule's split.
    pub(super) fn id(self, snapshot: &RoutingSnapshot, context: &Context<'_>, part: u8) -> PoolId {
        match self {
            Self::Service { index, .. } => snapshot
                .service_at(index)
                .instances
                .first()
                .map_or(PoolId::All, |instance| PoolId::Service(instance.key.service_id)),
            Self::Tags => {
                // In any order.
                let sum = context
                    .target
                    .tags()
                    .map(|tag| super::hash::hash(tag.as_bytes()))
                    .fold(0, u64::wrapping_add);
                PoolId::Tags((sum % 64) as u8)
            }
            Self::Rule(rule) => PoolId::Rule(snapshot.plan().rules[rule].rule.rule().rule_id, part),
            Self::All => PoolId::All,
        }
    }

    /// Calls `each` with every member.
    #[inline]
    pub(super) fn for_each(
        self,
        snapshot: &RoutingSnapshot,
        context: &Context<'_>,
        mut each: impl FnMut(Member),
    ) {
        match self {
            Self::Service { index, .. } => {
                snapshot.members_of(index).for_each(|index| each(Member::plain(index)))
            }
            Self::Tags => {
                let mut tags = context.target.tags();
                let first = tags.next().unwrap_or_default();
                // The tags that are left must be there, too.
                for service in snapshot.plan().with_tag(&first) {
                    if tags.clone().all(|tag| snapshot.service_at(*service).tags.contains(&*tag)) {
                        snapshot.members_of(*service).for_each(|index| each(Member::plain(index)));
                    }
                }
            }
            Self::Rule(rule) => {
                let plan = snapshot.plan();
                plan.pools[plan.rules[rule].pool].iter().for_each(|member| each(*member));
            }
            Self::All => (0..snapshot.instance_count()).for_each(|index| each(Member::plain(index))),
        }
    }

    /// Whose instances they are, as part of a sentence: ` of weather`.
    pub(super) fn whose<'a>(self, snapshot: &'a RoutingSnapshot, context: &'a Context<'a>) -> Whose<'a> {
        Whose { pool: self, snapshot, context }
    }
}

pub(super) struct Whose<'a> {
    pool: Pool,
    snapshot: &'a RoutingSnapshot,
    context: &'a Context<'a>,
}

impl fmt::Display for Whose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pool {
            Pool::Service { index, .. } => write!(f, " of {}", self.snapshot.service_at(index).name),
            Pool::Tags => {
                f.write_str(" with the tags")?;
                // Enough to know which; the client may have sent any number of any length.
                for (number, tag) in self.context.target.tags().take(5).enumerate() {
                    let tag: String = tag.chars().take(64).collect();
                    write!(f, "{} {tag:?}", if number > 0 { "," } else { "" })?;
                }
                Ok(())
            }
            Pool::Rule(rule) => {
                write!(f, " of rule {:?}", self.snapshot.plan().rules[rule].rule.rule().spec.name)
            }
            Pool::All => Ok(()),
        }
    }
}
