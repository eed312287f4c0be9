//! What follows from rules and services alone, whatever state the instances are in: computed when one of them changes and shared
//! by the snapshots in between.

use super::condition::Check;
use super::field::Field;
use super::head::Head;
use super::rule::{CompiledRule, RuleSpec, Share, TagMatch, Weights};
use super::snapshot::RoutedService;
use super::strategy::UNLISTED;
use super::values::{Fields, Use, Values};
use crate::ids::ServiceId;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// All rules over all services.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// In the order in which they are tried.
    pub(super) rules: Vec<PlannedRule>,
    /// The conditions of all rules, one behind the other.
    tests: Vec<Test>,
    pub(super) fields: Fields,
    /// The members of each rule; rules with the same targets share them.
    pub(super) pools: Vec<Vec<Member>>,
    /// Services by tag.
    by_tag: HashMap<Box<str>, Vec<usize>>,
}

/// A rule in its place.
#[derive(Debug)]
pub(super) struct PlannedRule {
    pub(super) rule: Arc<CompiledRule>,
    pub(super) enabled: bool,
    tests: (u32, u32),
    /// Index of its members in [`Plan::pools`].
    pub(super) pool: usize,
    /// The slot of its hash key; none: the client's address.
    pub(super) hash_slot: Option<u32>,
}

/// A condition in its place.
#[derive(Debug)]
pub(super) struct Test {
    pub(super) slot: u32,
    /// Its place among the conditions of the rule as it was written.
    pub(super) index: u32,
    /// How values begin for which it is worth a closer look; here, so that most rules cost no more than this line of memory.
    head: Head,
    check: Check,
}

impl Test {
    #[inline]
    pub(super) fn holds(&self, values: &Values) -> bool {
        if self.head.differs(values.head(self.slot)) {
            self.check.is_negated()
        } else {
            self.check.holds(values, self.slot)
        }
    }
}

/// An instance as the member of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Which, in the snapshot.
    pub(super) index: u32,
    /// Weight in place of its own; 0: its own.
    pub(super) weight: u32,
    /// Its service's place in the rule's list.
    pub(super) rank: u16,
    /// How many of the rule's tags it has.
    pub(super) matches: u16,
    /// The parts of the rule's split that it belongs to, a bit each.
    pub(super) parts: u16,
}

impl Member {
    pub(super) fn plain(index: u32) -> Self {
        Self { index, weight: 0, rank: UNLISTED, matches: 0, parts: 0 }
    }
}

/// Why a rule does not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skip {
    Disabled,
    /// This condition does not hold; the slot has the value.
    Condition {
        index: u32,
        slot: u32,
    },
    /// No member is or can become eligible.
    NoMember,
}

/// The parts of a rule that decide about its members.
type Targets<'a> = (&'a [String], &'a [String], TagMatch, &'a [Share], &'a Option<Weights>);

impl Plan {
    /// Orders the rules by priority, then age, and finds their members. `starts` has the index of the first instance of each service.
    pub(super) fn new(mut rules: Vec<Arc<CompiledRule>>, services: &[RoutedService], starts: &[u32]) -> Self {
        rules.sort_by_key(|rule| {
            let rule = rule.rule();
            (rule.spec.priority, rule.created_at, rule.rule_id)
        });
        let mut plan = Self::default();
        for (index, service) in services.iter().enumerate() {
            for tag in &service.tags {
                plan.by_tag.entry(tag.as_str().into()).or_default().push(index);
            }
        }
        let names = ServiceNames::new(services);
        let mut known: HashMap<Targets<'_>, usize> = HashMap::new();
        let rules: Vec<&Arc<CompiledRule>> = rules.iter().collect();
        for rule in &rules {
            let spec = &rule.rule().spec;
            let targets: Targets<'_> =
                (&spec.target_services, &spec.target_tags, spec.tag_match, &spec.split, &spec.weight);
            let pool = *known.entry(targets).or_insert_with(|| {
                plan.pools.push(members(spec, services, starts, &names, &plan.by_tag));
                plan.pools.len() - 1
            });
            let planned = plan.planned(rule, pool);
            plan.rules.push(planned);
        }
        plan
    }

    fn planned(&mut self, rule: &Arc<CompiledRule>, pool: usize) -> PlannedRule {
        let first = self.tests.len();
        for (condition, index) in rule.conditions.iter().zip(0..) {
            let slot = self.fields.slot(&condition.field, condition.check.uses());
            self.tests.push(Test {
                slot,
                index,
                head: condition.check.head(),
                check: condition.check.clone(),
            });
        }
        self.tests[first..].sort_by_key(|test| test.check.cost());
        let hash_slot =
            (rule.hash_key != Field::ClientIp).then(|| self.fields.slot(&rule.hash_key, Use::Text));
        PlannedRule {
            rule: Arc::clone(rule),
            enabled: rule.rule().spec.enabled,
            tests: (first as u32, self.tests.len() as u32),
            pool,
            hash_slot,
        }
    }

    /// The first rule that applies. `alive` has a flag for each pool: some member is or can become eligible.
    pub(super) fn find(
        &self,
        values: &Values,
        alive: &[bool],
        mut skipped: impl FnMut(usize, Skip),
    ) -> Option<usize> {
        for (place, rule) in self.rules.iter().enumerate() {
            let skip = if rule.enabled {
                match self.tests_of(rule).iter().find(|test| !test.holds(values)) {
                    Some(test) => Skip::Condition { index: test.index, slot: test.slot },
                    None if alive[rule.pool] => return Some(place),
                    None => Skip::NoMember,
                }
            } else {
                Skip::Disabled
            };
            skipped(place, skip);
        }
        None
    }

    /// The conditions of a rule, the quick ones first.
    #[inline]
    pub(super) fn tests_of(&self, rule: &PlannedRule) -> &[Test] {
        &self.tests[rule.tests.0 as usize..rule.tests.1 as usize]
    }

    /// The services that have a tag.
    pub(super) fn with_tag(&self, tag: &str) -> &[usize] {
        self.by_tag.get(tag).map_or(&[], Vec::as_slice)
    }
}

/// Services by name and by id.
struct ServiceNames<'a> {
    by_name: HashMap<&'a str, usize>,
    by_id: HashMap<ServiceId, usize>,
}

impl<'a> ServiceNames<'a> {
    fn new(services: &'a [RoutedService]) -> Self {
        let id = |service: &RoutedService| service.instances.first().map(|instance| instance.key.service_id);
        Self {
            by_name: services.iter().enumerate().map(|(index, service)| (&*service.name, index)).collect(),
            by_id: services
                .iter()
                .enumerate()
                .filter_map(|(index, service)| Some((id(service)?, index)))
                .collect(),
        }
    }

    fn find(&self, text: &str) -> Option<usize> {
        self.by_name.get(text).copied().or_else(|| self.by_id.get(&text.parse().ok()?).copied())
    }
}

fn members(
    spec: &RuleSpec,
    services: &[RoutedService],
    starts: &[u32],
    names: &ServiceNames<'_>,
    by_tag: &HashMap<Box<str>, Vec<usize>>,
) -> Vec<Member> {
    // Services that may be meant, each with its first place in the list.
    let mut meant: BTreeMap<usize, u16> = BTreeMap::new();
    if !spec.target_services.is_empty() {
        for (service, rank) in spec.target_services.iter().zip(0..) {
            if let Some(service) = names.find(service) {
                meant.entry(service).or_insert(rank);
            }
        }
    } else if !spec.target_tags.is_empty() {
        let tagged = spec.target_tags.iter().filter_map(|tag| by_tag.get(tag.as_str()));
        meant.extend(tagged.flatten().map(|service| (*service, UNLISTED)));
    } else {
        meant.extend((0..services.len()).map(|service| (service, UNLISTED)));
    }
    let weight_of: HashMap<usize, u32> = match &spec.weight {
        Some(Weights::Each(weights)) => {
            weights.iter().filter_map(|(name, weight)| Some((names.find(name)?, *weight))).collect()
        }
        _ => HashMap::new(),
    };
    let mut members = Vec::new();
    for (index, rank) in meant {
        let service = &services[index];
        let matches = spec.target_tags.iter().filter(|tag| service.tags.contains(*tag)).count();
        let is_tagged = match spec.tag_match {
            TagMatch::All => matches == spec.target_tags.len(),
            TagMatch::Any => matches > 0 || spec.target_tags.is_empty(),
        };
        let parts = parts(spec, index, service, names);
        if !is_tagged || (parts == 0 && !spec.split.is_empty()) {
            continue;
        }
        let weight = match spec.weight {
            Some(Weights::Same(weight)) => weight,
            _ => weight_of.get(&index).copied().unwrap_or(0),
        };
        let indices = starts[index]..starts[index] + service.instances.len() as u32;
        members.extend(indices.map(|index| Member { index, weight, rank, matches: matches as u16, parts }));
    }
    members
}

/// The parts of the split that a service belongs to; a part of nothing is switched off.
fn parts(spec: &RuleSpec, index: usize, service: &RoutedService, names: &ServiceNames<'_>) -> u16 {
    let belongs = |share: &Share| {
        share.percent > 0
            && (share.tag.as_ref().is_some_and(|tag| service.tags.contains(tag))
                || share.service.as_ref().is_some_and(|name| names.find(name) == Some(index)))
    };
    spec.split
        .iter()
        .enumerate()
        .filter(|(_, share)| belongs(share))
        .fold(0, |bits, (part, _)| bits | 1 << part)
}
