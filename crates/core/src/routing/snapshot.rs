//! All that a routing decision needs, immutable; the control plane publishes a new one at each change.

use crate::ids::{InstanceKey, StartId};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

/// The fleet as the front door sees it.
#[derive(Clone, Debug, Default)]
pub struct RoutingSnapshot {
    /// Services that are wanted running, by name.
    services: Vec<RoutedService>,
    by_name: HashMap<Arc<str>, usize>,
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
    /// A snapshot of these services.
    pub fn new(services: Vec<RoutedService>) -> Self {
        let by_name =
            services.iter().enumerate().map(|(index, service)| (Arc::clone(&service.name), index)).collect();
        Self { services, by_name }
    }

    /// The services.
    pub fn services(&self) -> &[RoutedService] {
        &self.services
    }

    /// The service of that name.
    pub fn service(&self, name: &str) -> Option<&RoutedService> {
        self.by_name.get(name).map(|index| &self.services[*index])
    }

    /// The instance of that key and start, if it is still there.
    pub fn instance(&self, key: InstanceKey) -> Option<&RoutedInstance> {
        self.services.iter().flat_map(|service| &service.instances).find(|instance| instance.key == key)
    }
}
