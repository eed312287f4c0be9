//! State → what others read: views for people, a routing snapshot for the front door.

use crate::engine::Engine;
use crate::fleet::Entry;
use crate::views;
use myagent_core::http::Upstream;
use myagent_core::routing::{RoutedInstance, RoutedService, RoutingSnapshot};
use myagent_core::service::{Endpoint, Service, Source};
use myagent_core::view::ServiceStats;
use myagent_core::{InstanceKey, ServiceId};
use myagent_store::StoredInstance;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What the peak of the whole fleet is stored as.
pub(crate) const FLEET: ServiceId = ServiceId(uuid::Uuid::nil());

impl Engine {
    /// Makes the views and the snapshot anew where something changed.
    pub(crate) fn publish(&mut self) {
        let dirty = std::mem::take(&mut self.fleet.dirty);
        let rules_changed = std::mem::take(&mut self.rules.dirty);
        if dirty.is_empty() && !rules_changed {
            return;
        }
        if !dirty.is_empty() {
            self.publish_views(dirty);
        }
        let services = self.fleet.services.values().filter_map(|entry| entry.routed.clone()).collect();
        let previous = Arc::clone(&self.routing.borrow());
        let snapshot =
            RoutingSnapshot::build(services, self.rules.all(), self.default_strategy, Some(&previous));
        self.routing.send_replace(Arc::new(snapshot));
    }

    fn publish_views(&mut self, dirty: BTreeSet<ServiceId>) {
        let mut all = self.views.borrow().as_ref().clone();
        all.retain(|_, view| self.fleet.services.contains_key(&view.service_id));
        for id in dirty {
            if let Some(entry) = self.fleet.services.get_mut(&id) {
                let mut view = views::service(entry);
                if entry.peak.raise(view.stats.active_connections, view.stats.active_sessions) {
                    view.stats.peak = entry.peak;
                    self.unsaved.peaks.insert(id);
                }
                let view = Arc::new(view);
                all.insert(entry.service.name.clone(), Arc::clone(&view));
                entry.view = Some(view);
                entry.routed = routed(entry);
            }
        }
        let sum = |of: fn(&ServiceStats) -> u32| all.values().map(|view| of(&view.stats)).sum::<u32>();
        let (connections, sessions) =
            (sum(|stats| stats.active_connections), sum(|stats| stats.active_sessions));
        if self.fleet.peak.raise(connections, sessions) {
            self.unsaved.peaks.insert(FLEET);
            self.peak.send_replace(self.fleet.peak);
        }
        self.views.send_replace(Arc::new(all));
    }
}

fn routed(entry: &Entry) -> Option<RoutedService> {
    if !entry.to_run() {
        return None;
    }
    let service = &entry.service;
    let instances =
        entry.slots.iter().filter(|(index, _)| **index < service.replicas).map(|(index, slot)| {
            let observed = &slot.observed;
            let key = InstanceKey { service_id: service.service_id, index: *index };
            let runner = observed.runner.as_ref();
            RoutedInstance {
                key,
                name: key.name(&service.name).into(),
                start_id: runner
                    .map_or_else(|| myagent_core::StartId(uuid::Uuid::nil()), |runner| runner.start_id),
                takeover: runner.map_or_else(Default::default, |runner| runner.takeover.clone()).into(),
                upstream: runner.and_then(|runner| upstream(service, runner.port)).map(Arc::new),
                eligible: observed.eligible && runner.is_some() && slot.settled(),
                may_become_eligible: observed.may_become_eligible || !slot.settled(),
                // What was changed since it was started holds after its restart, as its runner sees it too.
                max_places: observed.report.max_places.unwrap_or(service.config.max_sessions),
                places: observed.report.places,
                weight: service.config.weight,
            }
        });
    Some(RoutedService {
        name: service.name.as_str().into(),
        tags: service.tags.clone(),
        instances: instances.collect(),
    })
}

/// Where the agent of an instance is; none: its port is not known.
fn upstream(service: &Service, port: Option<u16>) -> Option<Upstream> {
    match &service.source {
        Source::External { url } => Endpoint::parse(url).ok().map(|endpoint| Upstream::External { endpoint }),
        // Both were validated when the service was registered.
        _ => Upstream::local(&service.host, port?, service.ws_path()).ok(),
    }
}

/// What is stored of an instance that has a runner.
pub(crate) fn stored(key: InstanceKey, observed: &myagent_supervisor::Observed) -> Option<StoredInstance> {
    let runner = observed.runner.as_ref()?;
    Some(StoredInstance {
        service_id: key.service_id,
        index: key.index,
        start_id: runner.start_id,
        runner_pid: Some(runner.pid),
        runner_start_time: runner.start_time,
        control: runner.control.clone(),
        takeover: runner.takeover.clone(),
        tree: runner.tree.clone(),
        port: runner.port.unwrap_or(0),
        started_at: runner.started_at,
        ready_at: runner.ready_at,
        restart_count: observed.restarts,
        last_exit: observed.last_exit.clone(),
        last_lines: observed.last_lines.clone(),
        error: observed.error.clone(),
        version: runner.version,
    })
}
