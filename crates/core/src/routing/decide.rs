//! The decision: the pool that a request asks for, those of it that are eligible, and one of those.

use super::request::Request;
use super::snapshot::{RoutedInstance, RoutedService, RoutingSnapshot};
use super::strategy::Strategy;
use crate::ids::InstanceKey;

/// What to do with a client.
#[derive(Debug)]
pub enum Decision<'a> {
    /// Hand it to this instance.
    Go(Choice<'a>),
    /// Nobody is eligible, but somebody may become so: wait.
    Wait {
        /// Why nobody is, for the client if it is turned away in the end.
        reason: String,
    },
    /// Nobody will be.
    Refuse {
        /// Why, for the client.
        reason: String,
    },
}

/// The instance chosen.
#[derive(Debug)]
pub struct Choice<'a> {
    /// Which.
    pub instance: &'a RoutedInstance,
    /// By which strategy.
    pub strategy: Strategy,
}

/// Decides. `tick` counts the decisions made for the same pool (that service, or all); `tried` gave this client back.
pub fn decide<'a>(
    snapshot: &'a RoutingSnapshot,
    request: Request<'_>,
    strategy: Strategy,
    tick: u64,
    tried: &[InstanceKey],
) -> Decision<'a> {
    let services = match request.service {
        None => snapshot.services(),
        Some(name) => match snapshot.service(name) {
            Some(service) => std::slice::from_ref(service),
            None => return Decision::Refuse { reason: format!("no running service is named {name:?}") },
        },
    };
    let members = || services.iter().flat_map(|service: &RoutedService| &service.instances);
    let pool: Vec<&RoutedInstance> =
        members().filter(|instance| is_eligible(instance) && !tried.contains(&instance.key)).collect();
    if let Some(instance) = strategy.select(&pool, tick) {
        return Decision::Go(Choice { instance, strategy });
    }
    let whose = request.service.map_or_else(String::new, |name| format!(" of {name}"));
    if members().next().is_none() {
        Decision::Refuse { reason: format!("no instance{whose} is running") }
    } else if members().any(|instance| instance.eligible || instance.may_become_eligible) {
        Decision::Wait { reason: format!("every instance{whose} is full or starting") }
    } else {
        Decision::Refuse { reason: format!("no instance{whose} is healthy") }
    }
}

fn is_eligible(instance: &RoutedInstance) -> bool {
    instance.eligible && (instance.max_places == 0 || instance.places < instance.max_places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ServiceId, StartId};
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Arc;
    use uuid::Uuid;

    fn service(id: u128, name: &str, instances: &[(bool, bool, u32, u32, u32)]) -> RoutedService {
        let instances = instances
            .iter()
            .zip(0..)
            .map(|((eligible, may, max_places, places, weight), index)| RoutedInstance {
                key: InstanceKey { service_id: ServiceId(Uuid::from_u128(id)), index },
                name: format!("{name}-{index}").into(),
                start_id: StartId(Uuid::nil()),
                takeover: Arc::from(Path::new("/nowhere")),
                eligible: *eligible,
                may_become_eligible: *may,
                max_places: *max_places,
                places: *places,
                weight: *weight,
            })
            .collect();
        RoutedService { name: name.into(), tags: Default::default(), instances }
    }

    fn outcome(
        snapshot: &RoutingSnapshot,
        service: Option<&str>,
        tick: u64,
        tried: &[InstanceKey],
    ) -> String {
        match decide(snapshot, Request { service }, Strategy::default(), tick, tried) {
            Decision::Go(choice) => choice.instance.name.to_string(),
            Decision::Wait { reason } => format!("wait: {reason}"),
            Decision::Refuse { reason } => format!("refuse: {reason}"),
        }
    }

    #[test]
    fn a_named_service_is_the_pool_and_otherwise_all_are() {
        let snapshot = RoutingSnapshot::new(vec![
            service(1, "a", &[(true, false, 0, 0, 1), (true, false, 0, 0, 1)]),
            service(2, "b", &[(true, false, 0, 0, 1)]),
        ]);
        let all: Vec<_> = (0..4).map(|tick| outcome(&snapshot, None, tick, &[])).collect();
        assert_eq!(all, ["a-0", "a-1", "b-0", "a-0"]);
        assert_eq!(outcome(&snapshot, Some("b"), 7, &[]), "b-0");
        assert_eq!(outcome(&snapshot, Some("c"), 0, &[]), "refuse: no running service is named \"c\"");
        let first = snapshot.services()[0].instances[0].key;
        assert_eq!(outcome(&snapshot, Some("a"), 0, &[first]), "a-1");
        assert!(snapshot.instance(first).is_some());
    }

    #[test]
    fn who_cannot_serve_now_is_waited_for_or_not() {
        let snapshot = RoutingSnapshot::new(vec![
            service(1, "full", &[(true, false, 2, 2, 1)]),
            service(2, "starting", &[(false, true, 0, 0, 1)]),
            service(3, "broken", &[(false, false, 0, 0, 1)]),
            service(4, "none", &[]),
        ]);
        let check = |name, expected: &str| assert_eq!(outcome(&snapshot, Some(name), 0, &[]), expected);
        check("full", "wait: every instance of full is full or starting");
        check("starting", "wait: every instance of starting is full or starting");
        check("broken", "refuse: no instance of broken is healthy");
        check("none", "refuse: no instance of none is running");
        assert_eq!(outcome(&RoutingSnapshot::default(), None, 0, &[]), "refuse: no instance is running");
    }

    #[test]
    fn weights_hold() {
        let snapshot =
            RoutingSnapshot::new(vec![service(1, "a", &[(true, false, 0, 0, 1), (true, false, 0, 0, 3)])]);
        let mut counts = BTreeMap::new();
        for tick in 0..400 {
            *counts.entry(outcome(&snapshot, None, tick, &[])).or_insert(0) += 1;
        }
        assert_eq!(counts.into_values().collect::<Vec<_>>(), [100, 300]);
        assert_eq!(Strategy::default().to_string(), "round_robin");
    }
}
