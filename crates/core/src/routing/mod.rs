//! Who gets a client: a snapshot of the fleet with its rules, a request, and a pure choice. `docs/design/routing.md` has the whole.
//!
//! A request is read into a [`Context`]; rules ([`rule`]) are compiled when they are saved and put into a [`RoutingSnapshot`],
//! which the control plane publishes at each change; [`decide`] chooses, [`explain`] does the same and tells why; [`dry_run`] tells
//! what a rule would change for those who are connected. The front door
//! keeps what changes all the time (loads, ticks, known sessions) and passes it in as [`Live`]; deciding takes no lock.

mod condition;
mod context;
mod decide;
pub mod dry_run;
mod explain;
mod field;
mod forwarded;
mod hash;
mod head;
pub mod load;
mod pairs;
mod plan;
mod pool;
pub mod rule;
mod snapshot;
mod strategy;
mod target;
#[cfg(test)]
mod tests;
mod values;

pub use condition::{Condition, MAX_LIST, MAX_VALUE, Operator};
pub use context::{Context, Headers};
pub use decide::{Choice, Decision, FixedTick, KnownSessions, Live, Scratch, Ticks, decide};
pub use explain::{
    CandidateState, CandidateView, ExplainRequest, Explanation, FailedCondition, Outcome, RuleOutcome,
    RuleView, explain,
};
pub use field::Field;
pub use forwarded::TrustedProxies;
pub use load::{Load, Loads, Reading, SharedLoad};
pub use pool::{PoolId, PoolKind};
pub use rule::{CompiledRule, Rule, RuleSpec, Share, TagMatch, Weights};
pub use snapshot::{RoutedInstance, RoutedService, RoutingSnapshot};
pub use strategy::Strategy;
pub(crate) use target::decode;
pub use target::{OWN_QUERY_NAMES, Target};
