//! What is put into each table comes out again, and what is bounded stays bounded.

use crate::{at, draft, id, memory, service, values};
use myagent_core::instance::{Exit, ExitCause};
use myagent_core::routing::{Condition, Operator, Rule, RuleSpec, Share};
use myagent_core::service::{Desired, Service, Source};
use myagent_core::wire::sessions::{SessionEnd, SessionTotals, TurnEnd};
use myagent_core::wire::sums::{Sums, Totals, Traffic};
use myagent_core::{InstanceKey, RuleId, StartId};
use myagent_store::{EventFilter, HealthCheck, Keep, Retention, StoreError, StoredInstance};
use std::time::Duration;
use uuid::Uuid;

#[test]
fn services_are_found_by_name_and_by_id() {
    let store = memory();
    let weather = service(1, "weather");
    let file =
        Source::File { path: "/a/agent.py".into(), python: Some("/usr/bin/python3".into()), worker: None };
    // A name may look like another service's id; the id wins.
    let odd = Service { source: file, port: None, ..service(2, &id(1).to_string()) };
    store.insert_service(&weather, &values(&[]), None).unwrap();
    store.insert_service(&odd, &values(&[]), None).unwrap();
    assert_eq!(store.services().unwrap(), [odd.clone(), weather.clone()]);
    assert_eq!(store.service("weather").unwrap(), Some(weather.clone()));
    assert_eq!(store.service(&id(1).to_string()).unwrap(), Some(weather));
    assert_eq!(store.service(&id(2).to_string()).unwrap(), Some(odd));
    assert_eq!(store.service("none").unwrap(), None);
}

#[test]
fn a_name_is_given_once() {
    let store = memory();
    store.insert_service(&service(1, "weather"), &values(&[]), None).unwrap();
    store.insert_service(&service(2, "support"), &values(&[]), None).unwrap();
    let again = store.insert_service(&service(3, "weather"), &values(&[("TOKEN", "x")]), None).unwrap_err();
    assert!(matches!(&again, StoreError::Duplicate { name } if name == "weather"), "{again:?}");
    let renamed = store.update_service(&service(2, "weather"), None).unwrap_err();
    assert!(matches!(renamed, StoreError::Duplicate { .. }), "{renamed:?}");
    assert_eq!(store.services().unwrap().len(), 2);
    assert_eq!(store.secrets(id(3)).unwrap(), values(&[]));
}

#[test]
fn a_service_can_be_changed_and_removed() {
    let store = memory();
    store.insert_service(&service(1, "weather"), &values(&[]), None).unwrap();
    let changed =
        Service { name: "climate".into(), port: None, version: 2, updated_at: at(9), ..service(1, "") };
    assert!(store.update_service(&changed, None).unwrap());
    assert_eq!(store.service("climate").unwrap(), Some(changed.clone()));

    assert!(store.set_desired(id(1), Desired::Running, at(10)).unwrap());
    let running = Service { desired: Desired::Running, updated_at: at(10), ..changed };
    assert_eq!(store.service("climate").unwrap(), Some(running.clone()));

    assert!(store.delete_service(id(1)).unwrap());
    assert!(!store.delete_service(id(1)).unwrap());
    assert!(!store.set_desired(id(1), Desired::Stopped, at(11)).unwrap());
    assert!(!store.update_service(&running, Some(&values(&[("TOKEN", "x")]))).unwrap());
    assert_eq!(store.services().unwrap(), []);
}

#[test]
fn secrets_follow_their_service() {
    let store = memory();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    store.insert_service(&service(1, "weather"), &values(&[("A", "1"), ("B", "ü\n2")]), None).unwrap();
    store.insert_service(&service(2, "support"), &values(&[("A", "other")]), None).unwrap();
    assert_eq!(store.secrets(id(1)).unwrap(), values(&[("A", "1"), ("B", "ü\n2")]));
    let stored = store.service("weather").unwrap().unwrap();
    assert_eq!(stored.secret_names, names(&["A", "B"]));
    assert_eq!(store.services().unwrap()[1].secret_names, names(&["A", "B"]));

    // Not given: the values stay, less those whose names are gone.
    let fewer = Service { secret_names: names(&["B"]), ..stored };
    assert!(store.update_service(&fewer, None).unwrap());
    assert_eq!(store.secrets(id(1)).unwrap(), values(&[("B", "ü\n2")]));

    // Given: they are all there is.
    assert!(store.update_service(&fewer, Some(&values(&[("C", "3")]))).unwrap());
    assert_eq!(store.secrets(id(1)).unwrap(), values(&[("C", "3")]));
    assert_eq!(store.service("weather").unwrap().unwrap().secret_names, names(&["C"]));

    store.delete_service(id(1)).unwrap();
    assert_eq!(store.secrets(id(1)).unwrap(), values(&[]));
    assert_eq!(store.secrets(id(2)).unwrap(), values(&[("A", "other")]));
}

#[test]
fn instances_are_replaced_as_a_whole_and_outlive_their_service() {
    let store = memory();
    let instance = |index| StoredInstance {
        service_id: id(1),
        index,
        start_id: StartId(Uuid::from_u128(5)),
        runner_pid: Some(4_194_303),
        runner_start_time: 123_456_789,
        control: "/run/a.sock".into(),
        takeover: "/run/b.sock".into(),
        tree: "/data/tree".into(),
        port: 8081,
        started_at: at(3),
        ready_at: Some(at(4)),
        restart_count: 2,
        last_exit: Some(Exit { cause: ExitCause::Signal { signal: 9 }, at: at(2) }),
        last_lines: vec!["Traceback".into(), "boom".into()],
        error: None,
        version: 4,
    };
    store.insert_service(&service(1, "weather"), &values(&[]), None).unwrap();
    store.put_instance(&instance(1)).unwrap();
    store.put_instance(&instance(0)).unwrap();
    let failed = StoredInstance {
        runner_pid: None,
        ready_at: None,
        last_exit: None,
        last_lines: vec![],
        error: Some("exit code 1".into()),
        ..instance(1)
    };
    store.put_instance(&failed).unwrap();
    store.delete_service(id(1)).unwrap();
    assert_eq!(store.instances().unwrap(), [instance(0), failed.clone()]);
    assert_eq!(failed.key(), InstanceKey { service_id: id(1), index: 1 });
    assert!(store.delete_instance(failed.key()).unwrap());
    assert!(!store.delete_instance(failed.key()).unwrap());
    assert_eq!(store.instances().unwrap(), [instance(0)]);
}

#[test]
fn events_are_read_from_either_end() {
    let store = memory();
    for second in 0..6 {
        let event = draft(second, (second % 2 == 0).then_some(1));
        assert_eq!(store.add_event(&event).unwrap(), second + 1);
    }
    let check = |service: Option<u128>, after_id: Option<i64>, limit: u32, expected: &[i64]| {
        let filter = EventFilter { service: service.map(id), kinds: Vec::new(), after_id, limit };
        let found: Vec<i64> = store.events(&filter).unwrap().iter().map(|event| event.id).collect();
        assert_eq!(found, expected, "{filter:?}");
    };
    check(None, None, 2, &[5, 6]);
    check(None, Some(0), 2, &[1, 2]);
    check(None, Some(4), 100, &[5, 6]);
    check(Some(1), None, 2, &[3, 5]);
    check(Some(1), Some(1), 100, &[3, 5]);
    check(Some(2), None, 100, &[]);
    check(None, None, 0, &[]);
    let first = &store.events(&EventFilter { after_id: Some(0), ..Default::default() }).unwrap()[0];
    assert_eq!(*first, draft(0, Some(1)).with_id(1));
}

fn check_at(second: i64, index: u32) -> HealthCheck {
    HealthCheck {
        at: at(second),
        service_id: id(1),
        index,
        healthy: second % 2 == 0,
        latency_ms: (second % 2 == 0).then_some(0.25),
        message: (second % 2 == 1).then(|| "no pong within 5 s".to_owned()),
    }
}

#[test]
fn health_checks_and_totals_belong_to_a_service_that_exists() {
    let store = memory();
    let totals = Totals {
        connections: 1,
        sessions: 2,
        messages_in: 3,
        messages_out: 4,
        bytes_in: 5,
        bytes_out: 6,
        log_lines_dropped: 7,
        slow_clients: 8,
        vanished_clients: 9,
    };
    let mut sessions = SessionTotals { resumed: 8, ..SessionTotals::default() };
    sessions.ended(SessionEnd::Expired, true, Duration::from_secs(90));
    sessions.turns.ended(TurnEnd::Completed, Duration::from_millis(1234));
    let rules = [("eu".to_owned(), Traffic { connections: 1, ..Traffic::default() })].into();
    let delta = Sums { totals, sessions, rules };
    let key = InstanceKey { service_id: id(1), index: 1 };
    store.add_health_check(&check_at(0, 0)).unwrap();
    store.add_totals(key, &delta).unwrap();
    assert_eq!(store.health_checks(id(1), 10).unwrap(), []);
    assert!(store.totals().unwrap().is_empty());

    store.insert_service(&service(1, "weather"), &values(&[]), None).unwrap();
    store.add_health_checks(&[check_at(0, 0), check_at(1, 1)]).unwrap();
    store.add_health_checks(&[]).unwrap();
    assert_eq!(store.health_checks(id(1), 10).unwrap(), [check_at(1, 1), check_at(0, 0)]);
    assert_eq!(store.health_checks(id(1), 1).unwrap(), [check_at(1, 1)]);
    store.add_totals(key, &delta).unwrap();
    store.add_totals(InstanceKey { index: 0, ..key }, &delta).unwrap();
    let totals = Totals {
        connections: 2,
        sessions: 4,
        messages_in: 6,
        messages_out: 8,
        bytes_in: 10,
        bytes_out: 12,
        log_lines_dropped: 14,
        slow_clients: 16,
        vanished_clients: 18,
    };
    let stored = store.totals().unwrap()[&id(1)].clone();
    assert_eq!((stored.totals, stored.rules["eu"].connections), (totals, 2));
    assert_eq!(store.instance_totals().unwrap()[&key], delta.totals);
    assert_eq!(store.instance_totals().unwrap().len(), 2);
    assert_eq!((stored.sessions.failed, stored.sessions.expired, stored.sessions.resumed), (2, 2, 16));
    assert_eq!(stored.sessions.duration.sum, Duration::from_mins(3));
    assert_eq!(stored.sessions.turns.duration.sum, Duration::from_millis(2468));
    let much = Totals { bytes_in: u64::MAX, ..Totals::default() };
    store.add_totals(key, &Sums { totals: much, ..Sums::default() }).unwrap();
    assert_eq!(store.totals().unwrap()[&id(1)].totals.bytes_in, i64::MAX as u64);

    store.delete_service(id(1)).unwrap();
    assert_eq!(store.health_checks(id(1), 10).unwrap(), []);
    assert!(store.totals().unwrap().is_empty() && store.instance_totals().unwrap().is_empty());
}

#[test]
fn the_sums_of_a_runner_that_lives_are_kept_until_they_are_added() {
    let store = memory();
    store.insert_service(&service(1, "weather"), &values(&[]), None).unwrap();
    let key = InstanceKey { service_id: id(1), index: 0 };
    let sums = |connections| Sums { totals: Totals { connections, ..Totals::default() }, ..Sums::default() };
    let (old, new) = (StartId(Uuid::from_u128(8)), StartId(Uuid::from_u128(9)));
    let nowhere = InstanceKey { service_id: id(2), index: 0 };
    store.put_live_sums(&[(key, old, sums(1)), (nowhere, old, sums(1))]).unwrap();
    store.put_live_sums(&[(key, new, sums(2))]).unwrap();
    assert_eq!(store.live_sums().unwrap(), [(key, new, sums(2))]);
    store.add_totals(key, &sums(3)).unwrap();
    assert_eq!(store.live_sums().unwrap(), []);
    assert_eq!(store.totals().unwrap()[&id(1)], sums(3));
}

#[test]
fn history_is_bounded_by_count_and_by_age() {
    let store = memory();
    store.insert_service(&service(1, "weather"), &values(&[]), None).unwrap();
    store.insert_service(&service(2, "support"), &values(&[]), None).unwrap();
    for second in 0..10 {
        store.add_event(&draft(second, None)).unwrap();
        store.add_health_check(&check_at(second, 0)).unwrap();
    }
    store.add_health_check(&HealthCheck { service_id: id(2), ..check_at(0, 0) }).unwrap();
    assert_eq!(store.prune(at(10), &Retention::default()).unwrap(), 0);

    // By count, of each service.
    let forever = Duration::MAX;
    let retention = Retention {
        events: Keep { count: 4, age: forever },
        connections: Keep { count: 4, age: forever },
        health: Keep { count: 3, age: forever },
    };
    assert_eq!(store.prune(at(10), &retention).unwrap(), 6 + 7);
    let ids =
        || store.events(&EventFilter::default()).unwrap().iter().map(|event| event.id).collect::<Vec<_>>();
    assert_eq!(ids(), [7, 8, 9, 10]);
    assert_eq!(store.health_checks(id(1), 10).unwrap(), [9, 8, 7].map(|second| check_at(second, 0)));
    assert_eq!(store.health_checks(id(2), 10).unwrap().len(), 1);

    // By age: events of the seconds 8 and 9, checks of second 9.
    let keep = |seconds| Keep { count: 100, age: Duration::from_secs(seconds) };
    assert_eq!(
        store.prune(at(10), &Retention { events: keep(2), connections: keep(2), health: keep(1) }).unwrap(),
        2 + 3
    );
    assert_eq!(ids(), [9, 10]);
    assert_eq!(store.health_checks(id(2), 10).unwrap(), []);

    // Ids are not given again, even when all are gone.
    let none = Keep { count: 0, age: forever };
    store.prune(at(10), &Retention { events: none, connections: none, health: none }).unwrap();
    assert_eq!(ids(), [0; 0]);
    assert_eq!(store.add_event(&draft(10, None)).unwrap(), 11);
}

#[test]
fn rules_are_stored_changed_and_removed() {
    let store = memory();
    let rule = |number: u128, name: &str| Rule {
        rule_id: RuleId(Uuid::from_u128(number)),
        spec: RuleSpec {
            name: name.to_owned(),
            conditions: vec![Condition {
                field: "client_ip".to_owned(),
                operator: Operator::InList,
                value: serde_json::json!(["10.0.0.1", 5]),
                case_sensitive: true,
            }],
            split: vec![Share { tag: Some("a".to_owned()), service: None, percent: 100 }],
            ..RuleSpec::default()
        },
        created_at: at(1),
        updated_at: at(2),
        version: 1,
    };
    store.insert_rule(&rule(2, "b"), None).unwrap();
    store.insert_rule(&rule(1, "a"), None).unwrap();
    let taken = store.insert_rule(&rule(3, "a"), None).unwrap_err();
    assert!(matches!(&taken, StoreError::DuplicateRule { name } if name == "a"), "{taken:?}");
    assert_eq!(store.rules().unwrap(), [rule(1, "a"), rule(2, "b")]);
    let renamed = Rule { version: 2, updated_at: at(3), ..rule(1, "c") };
    assert!(store.update_rule(&renamed).unwrap());
    assert!(matches!(store.update_rule(&rule(2, "c")), Err(StoreError::DuplicateRule { .. })));
    assert!(!store.update_rule(&rule(9, "d")).unwrap());
    assert!(store.delete_rule(rule(2, "").rule_id).unwrap());
    assert!(!store.delete_rule(rule(2, "").rule_id).unwrap());
    assert_eq!(store.rules().unwrap(), [renamed]);
}
