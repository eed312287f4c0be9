//! All that a routing decision needs, immutable; the control plane publishes a new one at each change.

use super::hash::mix;
use super::plan::Plan;
use super::rule::CompiledRule;
use super::strategy::Strategy;
use crate::http::Upstream;
use crate::ids::{InstanceKey, StartId};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

/// The fleet as the front door sees it, with its rules.
#[derive(Clone, Debug, Default)]
pub struct RoutingSnapshot {
    /// Services that are wanted running.
    services: Vec<RoutedService>,
    by_name: HashMap<Arc<str>, usize>,
    by_key: HashMap<InstanceKey, u32>,
    /// Index of the first instance of each service, counted over all.
    starts: Vec<u32>,
    /// What is asked of each instance in each decision, side by side.
    facts: Vec<Facts>,
    /// The service of each instance.
    owners: Vec<u32>,
    /// What each instance adds to a key for its lot ([`Strategy::HashBased`]).
    seeds: Vec<u64>,
    default_strategy: Strategy,
    plan: Arc<Plan>,
    /// For each pool of the plan: some member is or can become eligible.
    alive: Vec<bool>,
}

/// The part of an instance that each decision reads. Small, so that a thousand of them stay in the processor's cache.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) places: u32,
    pub(super) max_places: u32,
    pub(super) weight: u32,
    pub(super) eligible: bool,
    pub(super) may_become_eligible: bool,
}

/// A service in the snapshot.
#[derive(Clone, Debug)]
pub struct RoutedService {
    /// Its name.
    pub name: Arc<str>,
    /// Its tags.
    pub tags: BTreeSet<String>,
    /// Its instances by index.
    pub instances: Vec<RoutedInstance>,
}

/// An instance in the snapshot.
#[derive(Clone, Debug)]
pub struct RoutedInstance {
    /// Which.
    pub key: InstanceKey,
    /// `weather-0`.
    pub name: Arc<str>,
    /// Which start of it; a new one has a new take-over socket.
    pub start_id: StartId,
    /// Where its runner takes clients over.
    pub takeover: Arc<Path>,
    /// Where the agent itself is, for plain requests; none: not known.
    pub upstream: Option<Arc<Upstream>>,
    /// Ready, not draining, healthy.
    pub eligible: bool,
    /// Not eligible now, but starting or coming back: worth waiting for.
    pub may_become_eligible: bool,
    /// `max_sessions`; 0: no limit.
    pub max_places: u32,
    /// Places in use as last reported: a hint, the runner decides.
    pub places: u32,
    /// Share of new connections.
    pub weight: u32,
}

impl RoutingSnapshot {
    /// A snapshot of these services, without rules and with the default strategy of a fresh installation.
    pub fn new(services: Vec<RoutedService>) -> Self {
        Self::build(services, Vec::new(), Strategy::default(), None)
    }

    /// A snapshot of these services with these rules, in any order, and this strategy where no rule says otherwise. What
    /// `previous` knows of the same rules over the same services is taken over, so that a mere change of states costs little.
    pub fn build(
        services: Vec<RoutedService>,
        rules: Vec<Arc<CompiledRule>>,
        default_strategy: Strategy,
        previous: Option<&Self>,
    ) -> Self {
        let (mut by_key, mut starts) = (HashMap::new(), Vec::new());
        let (mut facts, mut owners, mut seeds) = (Vec::new(), Vec::new(), Vec::new());
        for (service, owner) in services.iter().zip(0..) {
            starts.push(facts.len() as u32);
            for instance in &service.instances {
                by_key.insert(instance.key, facts.len() as u32);
                facts.push(Facts::of(instance));
                owners.push(owner);
                seeds.push(seed(instance.key));
            }
        }
        let plan = match previous {
            Some(previous) if previous.has_rules(&rules) && previous.has_services(&services) => {
                Arc::clone(&previous.plan)
            }
            _ => Arc::new(Plan::new(rules, &services, &starts)),
        };
        let can_serve = |index: u32| {
            let facts: &Facts = &facts[index as usize];
            facts.eligible || facts.may_become_eligible
        };
        let alive = plan.pools.iter().map(|pool| pool.iter().any(|member| can_serve(member.index))).collect();
        let by_name =
            services.iter().enumerate().map(|(index, service)| (Arc::clone(&service.name), index)).collect();
        Self { services, by_name, by_key, starts, facts, owners, seeds, default_strategy, plan, alive }
    }

    fn has_rules(&self, rules: &[Arc<CompiledRule>]) -> bool {
        self.plan.rules.len() == rules.len() && {
            let known: BTreeSet<_> =
                self.plan.rules.iter().map(|planned| Arc::as_ptr(&planned.rule)).collect();
            rules.iter().all(|rule| known.contains(&Arc::as_ptr(rule)))
        }
    }

    fn has_services(&self, services: &[RoutedService]) -> bool {
        let key = |service: &RoutedService| service.instances.first().map(|instance| instance.key.service_id);
        self.services.len() == services.len()
            && self.services.iter().zip(services).all(|(one, other)| {
                one.instances.len() == other.instances.len()
                    && one.name == other.name
                    && one.tags == other.tags
                    && key(one) == key(other)
            })
    }

    /// The services.
    pub fn services(&self) -> &[RoutedService] {
        &self.services
    }

    /// The service of that name.
    pub fn service(&self, name: &str) -> Option<&RoutedService> {
        self.service_index(name).map(|index| &self.services[index])
    }

    /// The instance of that key, if it is still there.
    pub fn instance(&self, key: InstanceKey) -> Option<&RoutedInstance> {
        self.index_of(key).map(|index| self.at(index as usize))
    }

    /// The name of an instance's service.
    pub fn service_name(&self, key: InstanceKey) -> Option<&Arc<str>> {
        self.index_of(key).map(|index| &self.services[self.owner(index)].name)
    }

    /// The index of an instance, by which [`super::Loads`] are asked: instances are counted over all services in their order.
    pub fn index_of(&self, key: InstanceKey) -> Option<u32> {
        self.by_key.get(&key).copied()
    }

    /// All instances in the order of their indices.
    pub fn instances(&self) -> impl Iterator<Item = &RoutedInstance> {
        self.services.iter().flat_map(|service| &service.instances)
    }

    /// The rules in the order in which they are tried.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<CompiledRule>> {
        self.plan.rules.iter().map(|planned| &planned.rule)
    }

    /// The strategy where no rule says otherwise.
    pub fn default_strategy(&self) -> Strategy {
        self.default_strategy
    }

    /// Whether another instance of its service is ready: the last one is not ejected ([`super::Load::failed`]).
    pub fn has_others(&self, key: InstanceKey, is_ejected: impl Fn(u32) -> bool) -> bool {
        let Some(index) = self.index_of(key) else { return false };
        self.members_of(self.owner(index))
            .any(|other| other != index && self.facts[other as usize].eligible && !is_ejected(other))
    }

    pub(super) fn service_index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(super) fn service_at(&self, index: usize) -> &RoutedService {
        &self.services[index]
    }

    #[inline]
    pub(super) fn facts(&self, index: u32) -> &Facts {
        &self.facts[index as usize]
    }

    /// The index of an instance's service.
    pub(super) fn owner(&self, index: u32) -> usize {
        self.owners[index as usize] as usize
    }

    pub(super) fn seeds(&self) -> &[u64] {
        &self.seeds
    }

    pub(super) fn instance_count(&self) -> u32 {
        self.facts.len() as u32
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(super) fn alive(&self) -> &[bool] {
        &self.alive
    }

    /// The instance of that index.
    pub(super) fn at(&self, index: usize) -> &RoutedInstance {
        let service = self.owner(index as u32);
        &self.services[service].instances[index - self.starts[service] as usize]
    }

    /// The indices of a service's instances.
    pub(super) fn members_of(&self, service: usize) -> std::ops::Range<u32> {
        let start = self.starts[service];
        start..start + self.services[service].instances.len() as u32
    }
}

impl Facts {
    fn of(instance: &RoutedInstance) -> Self {
        Self {
            places: instance.places,
            max_places: instance.max_places,
            weight: instance.weight.max(1),
            eligible: instance.eligible,
            may_become_eligible: instance.may_become_eligible,
        }
    }
}

/// Of the key alone, so that clients stay with an instance over its restarts and ours.
fn seed(key: InstanceKey) -> u64 {
    let (high, low) = key.service_id.0.as_u64_pair();
    mix(mix(high).wrapping_add(mix(low ^ u64::from(key.index).rotate_left(32))))
}
