//! What a rule would change, told by the clients that are connected: as if each of them came again now. Pure.
//!
//! Of a connection only a part of its request is kept. A condition on the rest neither holds nor fails, it is *open*; so a rule
//! matches, does not, or is undecided, and that is counted rather than guessed. One condition that fails decides, whatever is open beside
//! it. What a client named itself is not kept, but that it did is ([`PoolKind`]), and then no rule is asked. Only a runner of the version
//! before does not say that: if no rule chose the service then, it may be that none was asked.

#[cfg(test)]
mod tests;

use super::context::Context;
use super::field::Field;
use super::plan::{PlannedRule, Test};
use super::pool::{Pool, PoolKind};
use super::rule::Rule;
use super::snapshot::RoutingSnapshot;
use super::strategy::Strategy;
use super::values::Values;
use crate::ids::{ConnectionId, RuleId};
use crate::view::ConnectionView;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use utoipa::ToSchema;

/// Most connections that are looked at; the newest.
pub const MAX_CONNECTIONS: usize = 100_000;
/// Most connections that are shown.
pub const MAX_SAMPLES: usize = 50;
/// A `User-Agent` of so many bytes may have been cut: 200 are kept, and a character has up to four.
const MAY_BE_CUT: usize = 197;

/// What a rule would change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DryRun {
    /// Open connections that were looked at.
    pub connections: u64,
    /// Older ones that were not, since there are too many.
    pub omitted: u64,
    /// Would surely be won by the rule.
    pub matched: u64,
    /// Would surely get another service than they have, because of the rule.
    pub would_move: u64,
    /// It depends on what is not kept of a connection whether the rule would win them.
    pub undecided: u64,
    /// Those that match, by the service that they have now.
    pub by_service: BTreeMap<String, u64>,
    /// Some of them: of each kind, the newest.
    #[schema(max_items = 50)]
    pub samples: Vec<Sample>,
}

/// A connection, and what would become of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = DryRunSample)]
pub struct Sample {
    /// Which.
    #[schema(value_type = uuid::Uuid)]
    pub connection_id: ConnectionId,
    /// Address of the client.
    #[schema(value_type = String)]
    pub client_ip: IpAddr,
    /// The service that it has.
    pub service: String,
    /// The rule that it came by, if it did.
    pub rule: Option<String>,
    /// Whether the rule would win it.
    pub outcome: Outcome,
    /// It would surely get another service, because of the rule.
    pub moves: bool,
    /// Where it would go; none: that is not sure, or rules are not asked about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would: Option<Would>,
    /// Why, in words.
    pub because: String,
}

/// Whether a rule would win a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DryRunOutcome)]
pub enum Outcome {
    /// It would.
    Matched,
    /// That depends on what is not kept.
    Undecided,
    /// It would not.
    NotMatched,
}

/// Where a client would go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DryRunTarget)]
pub struct Would {
    /// By this rule; none: by no rule.
    pub rule: Option<String>,
    /// To one of these services, whose instances are or can become eligible.
    pub services: Vec<String>,
}

/// Tells what `rule`, which the snapshot has, would change for these connections. `replaced` is the name of the rule in whose place it is.
pub fn dry_run(
    snapshot: &RoutingSnapshot,
    rule: RuleId,
    replaced: Option<&str>,
    connections: &[ConnectionView],
) -> DryRun {
    let plan = snapshot.plan();
    let runner = Runner {
        snapshot,
        place: plan.rules.iter().position(|planned| planned.rule.rule().rule_id == rule),
        kept: plan.fields.all().iter().map(Kept::of).collect(),
    };
    let mut answer = DryRun { connections: connections.len() as u64, ..DryRun::default() };
    let mut services = BTreeMap::new();
    let mut values = Values::default();
    // Those that move, and the others by their outcome.
    let mut kinds: [Vec<Sample>; 4] = Default::default();
    for connection in connections {
        let judged = runner.judge(connection, &mut values);
        let service = service_of(connection);
        let targets = judged.winner.map(|winner| {
            Arc::clone(services.entry(winner).or_insert_with(|| Arc::new(targets(snapshot, winner))))
        });
        let is_about_it = judged.outcome == Outcome::Matched
            || (connection.rule.is_some() && connection.rule.as_deref() == replaced);
        let moves = is_about_it && targets.as_ref().is_some_and(|targets| !targets.contains(service));
        answer.would_move += u64::from(moves);
        match judged.outcome {
            Outcome::Matched => {
                answer.matched += 1;
                // Looked up first, so that a name is copied once and not for each connection.
                match answer.by_service.get_mut(service) {
                    Some(count) => *count += 1,
                    None => drop(answer.by_service.insert(service.to_owned(), 1)),
                }
            }
            Outcome::Undecided => answer.undecided += 1,
            Outcome::NotMatched => {}
        }
        let samples = &mut kinds[if moves { 0 } else { judged.outcome as usize + 1 }];
        if samples.len() < MAX_SAMPLES {
            let would = judged.winner.zip(targets).map(|(winner, targets)| Would {
                rule: match winner {
                    Pool::Rule(rule) => Some(runner.rule(rule).spec.name.clone()),
                    _ => None,
                },
                services: targets.iter().cloned().collect(),
            });
            samples.push(Sample {
                connection_id: connection.connection_id,
                client_ip: connection.client_ip,
                service: service.to_owned(),
                rule: connection.rule.clone(),
                outcome: judged.outcome,
                moves,
                would,
                because: runner.because(connection, &judged),
            });
        }
    }
    answer.samples = some_of_each(kinds);
    answer
}

/// The services of a pool that can serve a client.
fn targets(snapshot: &RoutingSnapshot, winner: Pool) -> BTreeSet<String> {
    let mut owners = BTreeSet::new();
    // No pool of a rule, nor that of all, depends on what is in a request.
    let context = Context::new(SocketAddr::from(([0, 0, 0, 0], 0)), "/", &NO_HEADERS);
    winner.for_each(snapshot, &context, |member| {
        let facts = snapshot.facts(member.index);
        if facts.eligible || facts.may_become_eligible {
            owners.insert(snapshot.owner(member.index));
        }
    });
    owners.into_iter().map(|service| snapshot.service_at(service).name.to_string()).collect()
}

const NO_HEADERS: [(&str, &str); 0] = [];

/// Takes from each kind in turn, so that none hides another.
fn some_of_each(kinds: [Vec<Sample>; 4]) -> Vec<Sample> {
    let mut rest = kinds.map(Vec::into_iter);
    let mut samples = Vec::new();
    while samples.len() < MAX_SAMPLES {
        let before = samples.len();
        samples.extend(rest.iter_mut().filter_map(Iterator::next));
        if samples.len() == before {
            break;
        }
    }
    samples.truncate(MAX_SAMPLES);
    samples.sort_by_key(|sample| (!sample.moves, sample.outcome));
    samples
}

fn service_of(connection: &ConnectionView) -> &str {
    let instance = connection.instance.as_str();
    instance.rsplit_once('-').map_or(instance, |(service, _)| service)
}

/// What is kept of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// All of it. That includes what a client that rules are asked about does not have: it has named no service and no tag.
    Always,
    /// The beginning of the header.
    UserAgent,
    /// That there was none: a session that there is may also have begun on the connection.
    Session,
    Never,
}

impl Kept {
    fn of(field: &Field) -> Self {
        match field {
            Field::ClientIp | Field::ClientPort | Field::Service | Field::Tag => Self::Always,
            Field::UserAgent => Self::UserAgent,
            Field::Header(name) if &**name == "user-agent" => Self::UserAgent,
            Field::SessionId => Self::Session,
            Field::Path
            | Field::Host
            | Field::Header(_)
            | Field::Query(_)
            | Field::Cookie(_)
            | Field::Bare(_) => Self::Never,
        }
    }

    fn is_kept(self, connection: &ConnectionView) -> bool {
        match self {
            Self::Always => true,
            Self::UserAgent => connection.user_agent.as_ref().is_none_or(|text| text.len() < MAY_BE_CUT),
            Self::Session => connection.session_id.is_none(),
            Self::Never => false,
        }
    }
}

/// Whether rules are asked about a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Yes,
    /// No rule chose its service, and nobody says whether none matched, or it named what it wants itself.
    Perhaps,
    No(&'static str),
}

impl Asked {
    fn about(connection: &ConnectionView) -> Self {
        let goes_on = Self::No("it goes on with its session, and no rule is asked about it");
        match connection.pool {
            Some(PoolKind::Service) => {
                return Self::No("it named its service itself, and no rule is asked about it");
            }
            Some(PoolKind::Tags) => {
                return Self::No("it asked for tags itself, and no rule is asked about it");
            }
            Some(PoolKind::Session) => return goes_on,
            Some(PoolKind::Rule | PoolKind::Default) => return Self::Yes,
            None => {}
        }
        match (&connection.rule, connection.routing_strategy.as_deref()) {
            (Some(_), _) => Self::Yes,
            (None, None) => Self::No("it came to the instance's own port, past all rules"),
            // Without a rule there is no list to take the first of; only the owner of a session is chosen so.
            (None, Some(strategy)) if strategy.parse() == Ok(Strategy::Manual) => goes_on,
            (None, Some(_)) => Self::Perhaps,
        }
    }
}

/// What a rule says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    Holds,
    /// This condition fails.
    Fails(u32),
    /// It depends on what is not kept.
    Open,
    Disabled,
    NoMember,
}

/// What would become of a connection.
#[derive(Clone, Copy, Debug)]
struct Judged {
    outcome: Outcome,
    /// The pool of the rule that wins, or of all instances; none: that is not sure.
    winner: Option<Pool>,
    asked: Asked,
    /// What the rule itself says; none: a rule before it matches, so that it is not asked.
    own: Option<Truth>,
    /// The first rule before it that is open.
    open_before: Option<usize>,
    /// The rule that surely matches, unless an open one does.
    last: Option<usize>,
}

struct Runner<'s> {
    snapshot: &'s RoutingSnapshot,
    /// The place of the rule that it is about.
    place: Option<usize>,
    /// By slot.
    kept: Vec<Kept>,
}

impl Runner<'_> {
    fn rule(&self, place: usize) -> &Rule {
        self.snapshot.plan().rules[place].rule.rule()
    }

    fn judge(&self, connection: &ConnectionView, values: &mut Values) -> Judged {
        let plan = self.snapshot.plan();
        let agent = connection.user_agent.as_deref().map(|agent| ("user-agent", agent));
        let headers: Vec<(&str, &str)> = agent.into_iter().collect();
        let client = SocketAddr::new(connection.client_ip, connection.client_port);
        plan.fields.read(&Context::new(client, "/", &headers), values);

        let (mut own, mut open_before, mut last, mut is_sure) = (None, None, None, true);
        for (place, rule) in plan.rules.iter().enumerate() {
            let truth = self.truth(rule, connection, values);
            let is_it = Some(place) == self.place;
            if is_it {
                own = Some(truth);
            }
            match truth {
                Truth::Holds => {
                    last = Some(place);
                    break;
                }
                Truth::Open => {
                    is_sure = false;
                    if own.is_none() && open_before.is_none() {
                        open_before = Some(place);
                    }
                }
                Truth::Fails(_) | Truth::Disabled | Truth::NoMember => {}
            }
        }
        let asked = Asked::about(connection);
        let outcome = match (asked, own) {
            (Asked::No(_), _) | (_, None | Some(Truth::Fails(_) | Truth::Disabled | Truth::NoMember)) => {
                Outcome::NotMatched
            }
            (Asked::Yes, Some(Truth::Holds)) if open_before.is_none() => Outcome::Matched,
            (_, Some(Truth::Holds | Truth::Open)) => Outcome::Undecided,
        };
        let winner = (is_sure && asked == Asked::Yes).then(|| last.map_or(Pool::All, Pool::Rule));
        Judged { outcome, winner, asked, own, open_before, last }
    }

    fn truth(&self, rule: &PlannedRule, connection: &ConnectionView, values: &Values) -> Truth {
        if !rule.enabled {
            return Truth::Disabled;
        }
        if !self.snapshot.alive()[rule.pool] {
            return Truth::NoMember;
        }
        let mut is_open = false;
        for test in self.snapshot.plan().tests_of(rule) {
            if !self.is_kept(test, connection) {
                is_open = true;
            } else if !test.holds(values) {
                return Truth::Fails(test.index);
            }
        }
        if is_open { Truth::Open } else { Truth::Holds }
    }

    fn is_kept(&self, test: &Test, connection: &ConnectionView) -> bool {
        self.kept[test.slot as usize].is_kept(connection)
    }

    fn because(&self, connection: &ConnectionView, judged: &Judged) -> String {
        if let Asked::No(why) = judged.asked {
            return why.to_owned();
        }
        let (Some(own), Some(place)) = (judged.own, self.place) else {
            let name = judged.last.map_or("", |rule| &self.rule(rule).spec.name);
            return format!("rule {name:?} is tried before it and matches");
        };
        let mut reasons = Vec::new();
        match own {
            Truth::Disabled => return "it is disabled".to_owned(),
            Truth::NoMember => {
                return "no instance that it leads to is or can become eligible".to_owned();
            }
            Truth::Fails(index) => return self.failed(place, index as usize, connection),
            Truth::Open => reasons.push(self.open(place, connection)),
            Truth::Holds if judged.outcome == Outcome::Matched => {
                let has_none = self.rule(place).spec.conditions.is_empty();
                return if has_none { "it takes every client" } else { "all its conditions hold" }.to_owned();
            }
            Truth::Holds => {}
        }
        if let Some(before) = judged.open_before {
            let name = &self.rule(before).spec.name;
            reasons.push(format!("rule {name:?} is tried before it: {}", self.open(before, connection)));
        }
        if judged.asked == Asked::Perhaps {
            reasons.push(
                "it came by no rule: if it named its service or tags itself, which its runner does not say, no rule is asked"
                    .to_owned(),
            );
        }
        reasons.join("; ")
    }

    /// Which fields of a rule are not kept.
    fn open(&self, place: usize, connection: &ConnectionView) -> String {
        let (plan, conditions) = (self.snapshot.plan(), &self.rule(place).spec.conditions);
        let open = plan.tests_of(&plan.rules[place]).iter().filter(|test| !self.is_kept(test, connection));
        let indices: BTreeSet<u32> = open.map(|test| test.index).collect();
        let mut fields: Vec<&str> = Vec::new();
        for condition in indices.iter().filter_map(|index| conditions.get(*index as usize)) {
            if !fields.contains(&condition.field.as_str()) {
                fields.push(&condition.field);
            }
        }
        let verb = if fields.len() == 1 { "is" } else { "are" };
        format!("{} {verb} not kept of a connection", fields.join(", "))
    }

    /// A condition that fails. What is kept is no secret, so it is shown.
    fn failed(&self, place: usize, index: usize, connection: &ConnectionView) -> String {
        let Some(condition) = self.rule(place).spec.conditions.get(index) else { return String::new() };
        let actual = match Field::parse(&condition.field) {
            Ok(Field::ClientIp) => Some(connection.client_ip.to_string()),
            Ok(Field::ClientPort) => Some(connection.client_port.to_string()),
            Ok(Field::UserAgent | Field::Header(_)) => {
                connection.user_agent.as_ref().map(|text| format!("{text:?}"))
            }
            _ => None,
        };
        let actual = actual.unwrap_or_else(|| "absent".to_owned());
        format!(
            "conditions[{index}] does not hold: {} is {actual}, not {}",
            condition.field, condition.operator
        )
    }
}
