//! Services and instances in memory.

use crate::handle::unknown_service;
use myagent_core::error::Problem;
use myagent_core::instance::InstanceState;
use myagent_core::routing::RoutedService;
use myagent_core::service::{Desired, Service};
use myagent_core::view::ServiceView;
use myagent_core::wire::control::Report;
use myagent_core::wire::sums::{Peaks, Sums, Totals};
use myagent_core::{InstanceKey, ServiceId, reconcile};
use myagent_store::StoredInstance;
use myagent_supervisor::{Command, InstanceHandle, Observed, Wanted};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// All of them.
#[derive(Default)]
pub(crate) struct Fleet {
    pub(crate) services: BTreeMap<ServiceId, Entry>,
    pub(crate) by_name: BTreeMap<String, ServiceId>,
    /// Services whose views must be made anew.
    pub(crate) dirty: BTreeSet<ServiceId>,
    /// The most that all of them had at once.
    pub(crate) peak: Peaks,
}

/// A service and its instances.
pub(crate) struct Entry {
    pub(crate) service: Arc<Service>,
    pub(crate) secrets: Arc<BTreeMap<String, String>>,
    pub(crate) slots: BTreeMap<u32, Slot>,
    /// Sums of runners that have ended.
    pub(crate) retired: Sums,
    /// The same by instance.
    pub(crate) retired_instances: BTreeMap<u32, Totals>,
    /// The most that it had at once.
    pub(crate) peak: Peaks,
    pub(crate) view: Option<Arc<ServiceView>>,
    pub(crate) routed: Option<RoutedService>,
}

/// An instance.
pub(crate) struct Slot {
    pub(crate) handle: InstanceHandle,
    pub(crate) observed: Observed,
    pub(crate) stored: Option<StoredInstance>,
    /// What its runner had counted when that was last stored.
    pub(crate) stored_sums: Sums,
    told: Told,
}

/// The starts, stops and restarts that an instance was sent, of which it may not have taken notice yet.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    sent: u64,
    /// Which of them was the last that was not a stop.
    last_start: u64,
    /// The last one was a stop.
    to_stop: bool,
    /// … that waits for clients to leave.
    leaves: bool,
}

impl Told {
    fn tell(&mut self, stop: bool) {
        self.sent += 1;
        self.leaves = false;
        self.to_stop = stop;
        if !stop {
            self.last_start = self.sent;
        }
    }

    /// The state to show of an instance that has taken notice of `seen` of them and is in `state`.
    fn state(self, seen: u64, state: InstanceState) -> InstanceState {
        match (seen >= self.sent, self.to_stop, state) {
            (true, _, state) => state,
            // A start that is still on its way launches something, whatever follows it.
            (false, true, InstanceState::Stopped) if seen >= self.last_start => InstanceState::Stopped,
            (false, true, _) => InstanceState::Stopping,
            (false, false, InstanceState::Running) => InstanceState::Running,
            (false, false, _) => InstanceState::Starting,
        }
    }
}

impl Slot {
    pub(crate) fn new(handle: InstanceHandle, observed: Observed) -> Self {
        Self { handle, observed, stored: None, stored_sums: Sums::default(), told: Told::default() }
    }

    /// Start, stop or restart; what is shown until the instance has taken notice is what it will be.
    pub(crate) fn command(&mut self, command: Command) {
        let leaves = matches!(command, Command::Leave { again: false });
        let stop = leaves || matches!(command, Command::Stop { .. });
        if self.handle.send(command) {
            self.told.tell(stop);
            self.told.leaves = leaves;
        } else {
            self.told.to_stop = stop;
            tracing::error!("an instance does not take commands; it will be told again");
        }
    }

    /// The last command was a stop.
    pub(crate) fn told_to_stop(&self) -> bool {
        self.told.to_stop
    }

    /// It stops when its clients have left.
    pub(crate) fn is_leaving(&self) -> bool {
        self.told.leaves && self.observed.state != InstanceState::Stopped
    }

    /// Whether `observed` reflects every command.
    pub(crate) fn settled(&self) -> bool {
        self.observed.commands_seen >= self.told.sent
    }

    /// The state to show.
    pub(crate) fn state(&self) -> InstanceState {
        self.told.state(self.observed.commands_seen, self.observed.state)
    }

    fn activity(&self) -> reconcile::Observed {
        match (self.settled(), self.told.to_stop) {
            (true, _) => self.observed.activity,
            (false, true) => reconcile::Observed::Stopping,
            (false, false) => reconcile::Observed::Active,
        }
    }
}

/// An instance of which nothing is known yet.
pub(crate) fn unobserved() -> Observed {
    Observed {
        state: InstanceState::Stopped,
        activity: reconcile::Observed::Stopped,
        eligible: false,
        may_become_eligible: false,
        runner: None,
        port: None,
        agent_pid: None,
        restarts: 0,
        last_exit: None,
        last_lines: Vec::new(),
        error: None,
        next_try: None,
        health: myagent_core::health::Health::Unknown,
        last_check: None,
        report: Report::default(),
        outdated: false,
        ownership: None,
        commands_seen: 0,
    }
}

impl Entry {
    pub(crate) fn new(service: Service, secrets: BTreeMap<String, String>, retired: Sums) -> Self {
        let (service, secrets) = (Arc::new(service), Arc::new(secrets));
        Self {
            service,
            secrets,
            slots: BTreeMap::new(),
            retired,
            peak: Peaks::default(),
            retired_instances: BTreeMap::new(),
            view: None,
            routed: None,
        }
    }

    pub(crate) fn wanted(&self, index: u32) -> Wanted {
        Wanted { service: Arc::clone(&self.service), secrets: Arc::clone(&self.secrets), index }
    }

    /// Tells every instance that the service was changed.
    pub(crate) fn configure(&self) {
        for (index, slot) in &self.slots {
            if !slot.handle.send(Command::Configure(self.wanted(*index))) {
                tracing::error!(
                    service = self.service.name,
                    index,
                    "an instance does not take its new settings"
                );
            }
        }
    }
}

impl Fleet {
    pub(crate) fn insert(&mut self, entry: Entry) {
        let id = entry.service.service_id;
        self.by_name.insert(entry.service.name.clone(), id);
        self.services.insert(id, entry);
        self.dirty.insert(id);
    }

    pub(crate) fn remove(&mut self, id: ServiceId) -> Option<Entry> {
        let entry = self.services.remove(&id)?;
        self.by_name.remove(&entry.service.name);
        self.dirty.insert(id);
        Some(entry)
    }

    /// Finds a service by name or id.
    pub(crate) fn find(&self, name_or_id: &str) -> Result<ServiceId, Problem> {
        let by_id = || name_or_id.parse().ok().filter(|id| self.services.contains_key(id));
        let found = self.by_name.get(name_or_id).copied().or_else(by_id);
        found.ok_or_else(|| unknown_service(name_or_id, self.by_name.keys().map(String::as_str)))
    }

    pub(crate) fn slot(&mut self, key: InstanceKey) -> Option<&mut Slot> {
        self.services.get_mut(&key.service_id)?.slots.get_mut(&key.index)
    }

    /// What must be done now.
    pub(crate) fn plan(&self) -> Vec<reconcile::Action> {
        let observed =
            self.services
                .iter()
                .flat_map(|(service_id, entry)| {
                    let service_id = *service_id;
                    entry.slots.iter().map(move |(index, slot)| {
                        (InstanceKey { service_id, index: *index }, slot.activity())
                    })
                })
                .collect();
        reconcile::plan(self.services.values().map(|entry| entry.service.as_ref()), &observed)
    }

    /// How many instances are wanted stopped and are not.
    pub(crate) fn active(&self) -> usize {
        let slots = self.services.values().flat_map(|entry| entry.slots.values());
        slots.filter(|slot| !matches!(slot.state(), InstanceState::Stopped | InstanceState::Error)).count()
    }
}

impl Entry {
    /// Whether instances are to run.
    pub(crate) fn to_run(&self) -> bool {
        self.service.desired == Desired::Running
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use InstanceState::{Running, Starting, Stopped, Stopping};

    #[test]
    fn a_start_on_its_way_is_not_overlooked_because_a_stop_follows_it() {
        let mut told = Told::default();
        told.tell(false);
        assert_eq!(told.state(0, Stopped), Starting);
        told.tell(true);
        // It was stopped before the start, which it has not seen yet: a runner is about to be launched.
        assert_eq!(told.state(0, Stopped), Stopping);
        assert_eq!(told.state(1, Starting), Stopping);
        assert_eq!(told.state(2, Stopped), Stopped);
    }

    #[test]
    fn what_it_was_told_is_shown_until_it_has_taken_notice() {
        let mut told = Told::default();
        told.tell(true);
        assert_eq!(told.state(0, Stopped), Stopped);
        assert_eq!(told.state(0, Running), Stopping);
        assert_eq!(told.state(1, Running), Running);
        told.tell(false);
        assert_eq!(told.state(1, Running), Running);
        assert_eq!(told.state(1, Stopping), Starting);
    }
}
