//! What to do about the difference between what users want and what is there: a plan, each action with its reason.
//!
//! Planning looks at the whole state and remembers nothing, so that it can be repeated at any time; planning on the planned
//! result plans nothing (the shape is that of a Kubernetes-style reconciler).

use crate::ids::{InstanceKey, ServiceId};
use crate::service::{Desired, Service};
use std::collections::BTreeMap;

/// What is there of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Nothing runs, and nothing is being done about it.
    Stopped,
    /// It runs, starts, waits for its next start, or is in error: the lifecycle looks after it.
    Active,
    /// It is being stopped for good.
    Stopping,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// To which instance.
    pub key: InstanceKey,
    /// What.
    pub kind: ActionKind,
    /// Why, as one sentence.
    pub reason: &'static str,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionKind {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Stop it when its clients have left: there are others that serve them.
    Leave,
    /// Forget it: it is stopped and nobody wants it.
    Forget,
}

/// Plans. Actions come in the order of the services and of the indexes, starts after stops.
pub fn plan<'a>(
    services: impl IntoIterator<Item = &'a Service>,
    observed: &BTreeMap<InstanceKey, Observed>,
) -> Vec<Action> {
    let wanted: BTreeMap<ServiceId, &Service> =
        services.into_iter().map(|service| (service.service_id, service)).collect();
    let mut actions = Vec::new();
    for (key, state) in observed {
        let service = wanted.get(&key.service_id);
        let reason = match service {
            None => "the service is gone",
            Some(service) if key.index >= service.replicas => "there are fewer replicas now",
            Some(service) if service.desired == Desired::Stopped => "the service is to be stopped",
            Some(_) => continue,
        };
        let surplus = service.is_none_or(|service| key.index >= service.replicas);
        let serves =
            service.is_some_and(|service| service.desired == Desired::Running && service.replicas > 0);
        let kind = match state {
            Observed::Active if surplus && serves => ActionKind::Leave,
            Observed::Active => ActionKind::Stop,
            Observed::Stopped if surplus => ActionKind::Forget,
            _ => continue,
        };
        actions.push(Action { key: *key, kind, reason });
    }
    for (service_id, service) in wanted {
        if service.desired == Desired::Running {
            for index in 0..service.replicas {
                let key = InstanceKey { service_id, index };
                if matches!(observed.get(&key), None | Some(Observed::Stopped)) {
                    actions.push(Action { key, kind: ActionKind::Start, reason: "the service is to run" });
                }
            }
        }
    }
    actions
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn service(id: u128, replicas: u32, desired: Desired) -> Service {
        let mut service = crate::service::tests::example();
        (service.service_id, service.replicas, service.desired) =
            (ServiceId(Uuid::from_u128(id)), replicas, desired);
        service
    }

    fn key(id: u128, index: u32) -> InstanceKey {
        InstanceKey { service_id: ServiceId(Uuid::from_u128(id)), index }
    }

    fn check(
        services: &[Service],
        observed: &[(InstanceKey, Observed)],
        expected: &[(InstanceKey, ActionKind)],
    ) {
        let plan = plan(services, &observed.iter().copied().collect());
        assert!(plan.iter().all(|action| !action.reason.is_empty()));
        assert_eq!(plan.into_iter().map(|action| (action.key, action.kind)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn differences_become_actions() {
        use ActionKind::{Forget, Leave, Start, Stop};
        use Observed::{Active, Stopped, Stopping};
        let runs = [service(1, 2, Desired::Running)];
        let stops = [service(1, 2, Desired::Stopped)];
        check(&runs, &[], &[(key(1, 0), Start), (key(1, 1), Start)]);
        check(&runs, &[(key(1, 0), Active), (key(1, 1), Stopped)], &[(key(1, 1), Start)]);
        check(&runs, &[(key(1, 0), Active), (key(1, 1), Active), (key(1, 2), Active)], &[(key(1, 2), Leave)]);
        check(
            &[service(1, 1, Desired::Stopped)],
            &[(key(1, 0), Active), (key(1, 1), Active)],
            &[(key(1, 0), Stop), (key(1, 1), Stop)],
        );
        check(&runs, &[(key(1, 0), Active), (key(1, 1), Stopping)], &[]);
        check(&stops, &[(key(1, 0), Active), (key(1, 1), Stopped)], &[(key(1, 0), Stop)]);
        check(
            &[],
            &[(key(1, 0), Active), (key(1, 1), Stopped), (key(1, 2), Stopping)],
            &[(key(1, 0), Stop), (key(1, 1), Forget)],
        );
    }

    fn any_services() -> impl Strategy<Value = Vec<Service>> {
        let one = (1u32..4, any::<bool>());
        proptest::collection::vec(one, 0..4).prop_map(|services| {
            let desired = |runs| if runs { Desired::Running } else { Desired::Stopped };
            services
                .into_iter()
                .zip(1..)
                .map(|((replicas, runs), id)| service(id, replicas, desired(runs)))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn planning_on_the_planned_result_plans_nothing(
            services in any_services(),
            observed in proptest::collection::btree_map((1u128..6, 0u32..5), 0u8..3, 0..15),
        ) {
            let mut observed: BTreeMap<_, _> = observed
                .into_iter()
                .map(|((id, index), state)| {
                    (key(id, index), [Observed::Stopped, Observed::Active, Observed::Stopping][state as usize])
                })
                .collect();
            // A stop takes time: what is being stopped has stopped when the second plan is made, and may then be forgotten
            // or started, so two rounds settle everything.
            for _ in 0..3 {
                for action in plan(&services, &observed) {
                    match action.kind {
                        ActionKind::Start => observed.insert(action.key, Observed::Active),
                        ActionKind::Stop | ActionKind::Leave => observed.insert(action.key, Observed::Stopped),
                        ActionKind::Forget => observed.remove(&action.key),
                    };
                }
                for state in observed.values_mut() {
                    if *state == Observed::Stopping {
                        *state = Observed::Stopped;
                    }
                }
            }
            prop_assert_eq!(plan(&services, &observed), vec![]);
            for service in &services {
                for index in 0..service.replicas {
                    let active = observed.get(&key(service.service_id.0.as_u128(), index)) == Some(&Observed::Active);
                    prop_assert_eq!(active, service.desired == Desired::Running);
                }
            }
        }
    }
}
