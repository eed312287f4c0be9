//! The decision with its reasons: the very walk of [`super::decide`], told on the way. In forms for people and for the API.

use super::context::{Context, Headers};
use super::decide::{Decision, Live, Scratch, Standing, Trace, Walk};
use super::forwarded::TrustedProxies;
use super::load::Loads;
use super::plan::Skip;
use super::pool::{Pool, PoolKind};
use super::rule::{CompiledRule, Rule};
use super::snapshot::RoutingSnapshot;
use super::strategy::Strategy;
use super::values::Values;
use crate::error::FieldError;
use crate::ids::RuleId;
use crate::secrets::{HIDDEN, is_secret};
use crate::wire::handover::{MAX_HEAD, MAX_HEADERS};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use utoipa::ToSchema;

/// A request to be explained, as the API and the CLI take it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ExplainRequest {
    /// Path and query, as in a request line.
    pub path: String,
    /// The client's address.
    #[schema(value_type = String)]
    pub client_ip: IpAddr,
    /// And its port.
    pub client_port: u16,
    /// Its headers, names in any case.
    pub headers: std::collections::BTreeMap<String, String>,
}

impl Default for ExplainRequest {
    fn default() -> Self {
        Self {
            path: "/".to_owned(),
            client_ip: Ipv4Addr::LOCALHOST.into(),
            client_port: 0,
            headers: Default::default(),
        }
    }
}

impl ExplainRequest {
    /// The request as routing sees it; `headers` are [`Self::header_list`]. With `trusted` peers the client's address is
    /// the one that they tell, as for a real client.
    pub fn context<'a>(&'a self, headers: &'a dyn Headers, trusted: &TrustedProxies) -> Context<'a> {
        let client_ip = trusted.client_ip(self.client_ip, headers);
        Context::new(SocketAddr::new(client_ip, self.client_port), &self.path, headers)
    }

    /// Checks that a client could have sent it; all faults at once.
    pub fn validate(&self) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        if !self.path.starts_with('/') || !self.path.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = "must begin with / and have no spaces, as in a request line; write a space as %20";
            errors.push(FieldError::new("path", message));
        }
        if self.headers.len() > MAX_HEADERS {
            errors.push(FieldError::new("headers", format!("are more than {MAX_HEADERS}")));
        }
        let is_token = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
        };
        for (name, value) in &self.headers {
            if !is_token(name) {
                errors.push(FieldError::new("headers", format!("{name:?} is no name of a header")));
            } else if value.chars().any(char::is_control) {
                errors.push(FieldError::new(format!("headers.{name}"), "has control characters"));
            }
        }
        let size = self.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>();
        if self.path.len() + size > MAX_HEAD - 64 {
            errors.push(FieldError::new(
                "headers",
                format!("and path are longer than {MAX_HEAD} bytes together"),
            ));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// The headers as a list.
    pub fn header_list(&self) -> Vec<(&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

/// What would become of a client, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// Go, wait or refuse.
    pub outcome: Outcome,
    /// The address that the client counts as: its own, or what a trusted proxy says.
    #[schema(value_type = String)]
    pub client_ip: IpAddr,
    /// Why there is nobody, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The instance chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Its service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The strategy that chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// How the request came to its pool; none: it names a service that is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolKind>,
    /// The rule that matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The rules that were looked at, in order; none if the request itself says where it wants to go.
    pub rules: Vec<RuleView>,
    /// The members of the pool.
    pub candidates: Vec<CandidateView>,
}

/// What a decision comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The client goes to an instance.
    Go,
    /// It waits for one.
    Wait,
    /// It is turned away.
    Refuse,
}

/// A rule that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ExplainedRule)]
pub struct RuleView {
    /// Which.
    #[schema(value_type = uuid::Uuid)]
    pub rule_id: RuleId,
    /// Its name.
    pub name: String,
    /// Its priority.
    pub priority: i32,
    /// What came of it.
    pub outcome: RuleOutcome,
    /// The condition that does not hold. Quick ones are tried first, so others may not hold either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedCondition>,
}

/// What came of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleOutcome {
    /// It applies.
    Matched,
    /// It is switched off.
    Disabled,
    /// A condition does not hold.
    ConditionFailed,
    /// All hold, but no instance that it leads to is or can become eligible.
    NoMember,
}

/// A condition that does not hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FailedCondition {
    /// Its place in the rule, from 0.
    pub index: usize,
    /// Its field.
    pub field: String,
    /// Its operator.
    pub operator: super::Operator,
    /// What it wants.
    pub value: Value,
    /// What the request has; none: no such field.
    pub actual: Option<String>,
}

/// A member of the pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CandidateView {
    /// `weather-0`.
    pub instance: String,
    /// Its service.
    pub service: String,
    /// Whether it is eligible, or why not.
    pub state: CandidateState,
    /// The same in words; none: it is eligible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
    /// Open connections, as far as the front door knows.
    pub active: u32,
    /// Places in use as last reported.
    pub places: u32,
    /// Places that there are; 0: no limit.
    pub max_places: u32,
    /// Weight of its service.
    pub weight: u32,
    /// Answer time, if one was measured lately, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// It is the one.
    pub chosen: bool,
}

/// How a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CandidateState {
    /// It can be chosen.
    Eligible,
    /// It gave this client back.
    Tried,
    /// All its places are taken.
    Full,
    /// It failed too often lately.
    Ejected,
    /// It is starting or coming back.
    Starting,
    /// It is stopped, draining or broken.
    OutOfService,
    /// It belongs to another part of the split.
    OtherPart,
}

impl CandidateState {
    fn why_not(self) -> Option<&'static str> {
        Some(match self {
            Self::Eligible => return None,
            Self::Tried => "gave this client back or does not answer",
            Self::Full => "all its places are taken",
            Self::Ejected => "failed several clients in a row and gets none for a while",
            Self::Starting => "is starting, unhealthy for the moment or coming back",
            Self::OutOfService => "is stopped, draining or broken",
            Self::OtherPart => "belongs to a part of the split that is not this client's",
        })
    }
}

impl From<Standing> for CandidateState {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Eligible => Self::Eligible,
            Standing::Tried => Self::Tried,
            Standing::Full => Self::Full,
            Standing::Ejected => Self::Ejected,
            Standing::NotYet => Self::Starting,
            Standing::Not => Self::OutOfService,
            Standing::OtherPart => Self::OtherPart,
        }
    }
}

/// Decides and tells why. For the answer that real routing would give, pass what real routing would be passed; with counters that
/// do not count on, nobody's turn is taken.
pub fn explain<L: Loads + ?Sized>(
    snapshot: &RoutingSnapshot,
    context: &Context<'_>,
    live: &Live<'_, L>,
    scratch: &mut Scratch,
) -> Explanation {
    let mut notes = Notes { snapshot, rules: Vec::new(), pool: None, members: Vec::new() };
    let decision = Walk { snapshot, context, live, scratch, trace: &mut notes }.decide();
    let (outcome, reason, choice) = match decision {
        Decision::Go(choice) => (Outcome::Go, None, Some(choice)),
        Decision::Wait { reason, .. } => (Outcome::Wait, Some(reason), None),
        Decision::Refuse { reason, .. } => (Outcome::Refuse, Some(reason), None),
    };
    let view = |(index, standing): &(u32, Standing)| {
        let (at, facts) = (*index as usize, snapshot.facts(*index));
        let state = CandidateState::from(*standing);
        CandidateView {
            instance: snapshot.at(at).name.to_string(),
            service: snapshot.service_at(snapshot.owner(*index)).name.to_string(),
            state,
            why_not: state.why_not().map(str::to_owned),
            active: live.loads.reading(at, live.now).active,
            places: facts.places,
            max_places: facts.max_places,
            weight: facts.weight,
            latency_ms: live.loads.latency(at, live.now).map(|nanos| nanos / 1e6),
            chosen: choice.is_some_and(|choice| choice.index == at),
        }
    };
    let service = |index: usize| snapshot.service_at(snapshot.owner(index as u32)).name.to_string();
    Explanation {
        outcome,
        client_ip: context.client_ip,
        reason,
        instance: choice.map(|choice| choice.instance.name.to_string()),
        service: choice.map(|choice| service(choice.index)),
        strategy: choice.map(|choice| choice.strategy),
        pool: notes.pool.map(Pool::kind),
        rule: match notes.pool {
            Some(Pool::Rule(rule)) => Some(snapshot.plan().rules[rule].rule.rule().spec.name.clone()),
            _ => None,
        },
        rules: notes.rules,
        candidates: notes.members.iter().map(view).collect(),
    }
}

struct Notes<'s> {
    snapshot: &'s RoutingSnapshot,
    rules: Vec<RuleView>,
    pool: Option<Pool>,
    members: Vec<(u32, Standing)>,
}

impl Notes<'_> {
    fn note(&mut self, rule: usize, outcome: RuleOutcome, failed: Option<FailedCondition>) {
        let Rule { rule_id, spec, .. } = self.rule(rule).rule();
        let (name, priority) = (spec.name.clone(), spec.priority);
        self.rules.push(RuleView { rule_id: *rule_id, name, priority, outcome, failed });
    }

    fn rule(&self, rule: usize) -> &CompiledRule {
        &self.snapshot.plan().rules[rule].rule
    }
}

/// What a request has in a field, if that is nothing to be hidden.
fn shown(field: &str, actual: &str) -> String {
    let name = field.split_once('.').map_or(field, |(space, name)| {
        let is_space = ["header", "query", "cookie"].iter().any(|known| space.eq_ignore_ascii_case(known));
        if is_space { name } else { field }
    });
    if is_secret(name) { HIDDEN.to_owned() } else { actual.to_owned() }
}

impl Trace for Notes<'_> {
    const ON: bool = true;

    fn rule_skipped(&mut self, rule: usize, skip: Skip, values: &Values) {
        let (outcome, failed) = match skip {
            Skip::Disabled => (RuleOutcome::Disabled, None),
            Skip::NoMember => (RuleOutcome::NoMember, None),
            Skip::Condition { index, slot } => {
                let condition = &self.rule(rule).rule().spec.conditions[index as usize];
                let failed = FailedCondition {
                    index: index as usize,
                    field: condition.field.clone(),
                    operator: condition.operator,
                    value: condition.value.clone(),
                    actual: values.get(slot).map(|actual| shown(&condition.field, actual)),
                };
                (RuleOutcome::ConditionFailed, Some(failed))
            }
        };
        self.note(rule, outcome, failed);
    }

    fn rule_matched(&mut self, rule: usize) {
        self.note(rule, RuleOutcome::Matched, None);
    }

    fn pool(&mut self, pool: Pool) {
        self.pool = Some(pool);
    }

    fn member(&mut self, index: u32, standing: Standing) {
        self.members.push((index, standing));
    }
}
