//! What a rule would change, and that it is what the real decision says.

use super::Outcome::{Matched, NotMatched, Undecided};
use super::*;
use crate::routing::tests::kit::{Fleet, compiled};
use crate::routing::{CompiledRule, Strategy as Choosing};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// A connection; `change` is laid over it.
fn connection(number: u128, change: &Value) -> ConnectionView {
    let mut all = json!({
        "connection_id": Uuid::from_u128(number), "session_id": null, "client_ip": "192.168.1.7", "client_port": 5000,
        "user_agent": "a Mobile", "target_service_id": Uuid::nil(), "instance": "main-0",
        "routing_strategy": "round_robin", "rule": "default", "status": "active", "connected_at": "2026-01-02T03:04:05Z",
        "last_activity": "2026-01-02T03:04:05Z", "bytes_sent": 0, "bytes_received": 0, "message_count": 0,
    });
    all.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

fn id(number: u128) -> RuleId {
    RuleId(Uuid::from_u128(number))
}

/// The dry run of the first of these rules, and its only sample, for one connection.
fn one(fleet: &str, rules: &[Value], change: &Value) -> (DryRun, Sample) {
    let fleet = Fleet::new(fleet).rules(rules);
    let answer = dry_run(&fleet.snapshot, id(1), None, &[connection(1, change)]);
    assert_eq!((answer.connections, answer.samples.len()), (1, 1));
    let sample = answer.samples[0].clone();
    (answer, sample)
}

const FLEET: &str = "main:2 mobile:1#m down:1x#d";

fn when(conditions: &Value) -> Value {
    json!({"name": "new", "priority": 10, "target_tags": ["m"], "conditions": conditions})
}

#[test]
fn a_rule_matches_or_does_not_or_is_undecided_and_says_why() {
    let check = |conditions: Value, change: Value, outcome: Outcome, because: &str| {
        let (answer, sample) = one(FLEET, &[when(&conditions)], &change);
        assert_eq!((sample.outcome, sample.because.as_str()), (outcome, because), "{conditions} {change}");
        let counts = (answer.matched, answer.undecided);
        assert_eq!(
            counts,
            (u64::from(outcome == Outcome::Matched), u64::from(outcome == Outcome::Undecided))
        );
    };
    let mobile = json!({"field": "User_Agent", "operator": "contains", "value": "mobile"});
    let path = json!({"field": "path", "operator": "equals", "value": "/"});
    let tier = json!({"field": "header.x-tier", "operator": "not_exists"});
    let none = json!({});
    check(json!([]), none.clone(), Matched, "it takes every client");
    check(json!([mobile]), none.clone(), Matched, "all its conditions hold");
    let why = "conditions[0] does not hold: User_Agent is \"a desktop\", not contains";
    check(json!([mobile]), json!({"user_agent": "a desktop"}), NotMatched, why);
    let why = "conditions[0] does not hold: User_Agent is absent, not contains";
    check(json!([mobile]), json!({"user_agent": null}), NotMatched, why);
    let header = json!({"field": "header.User-Agent", "operator": "starts_with", "value": "a"});
    check(json!([header]), none.clone(), Matched, "all its conditions hold");
    check(json!([path]), none.clone(), Undecided, "path is not kept of a connection");
    let why = "path, header.x-tier are not kept of a connection";
    check(json!([path, mobile, tier, path]), none.clone(), Undecided, why);
    // One that fails decides, whatever is open beside it, before and behind.
    let desktop = json!({"user_agent": "a desktop"});
    let why = "conditions[1] does not hold: User_Agent is \"a desktop\", not contains";
    check(json!([path, mobile, tier]), desktop, NotMatched, why);
    let office = json!({"field": "client_ip", "operator": "ip_in_range", "value": "10.0.0.0/8"});
    let why = "conditions[0] does not hold: client_ip is 192.168.1.7, not ip_in_range";
    check(json!([office]), none.clone(), NotMatched, why);
    check(json!([office]), json!({"client_ip": "10.1.1.1"}), Matched, "all its conditions hold");
    let port = json!({"field": "client_port", "operator": "equals", "value": 5000});
    check(json!([port]), none.clone(), Matched, "all its conditions hold");
    // What may have been cut is not known; nor whether a session was named in the request.
    let long = json!({"user_agent": "x".repeat(200)});
    check(json!([mobile]), long, Undecided, "User_Agent is not kept of a connection");
    let session = json!({"field": "session_id", "operator": "exists"});
    let why = "conditions[0] does not hold: session_id is absent, not exists";
    check(json!([session]), none.clone(), NotMatched, why);
    let why = "session_id is not kept of a connection";
    check(json!([session]), json!({"session_id": "s"}), Undecided, why);
    // Rules are asked only about clients that have named no service.
    let service = json!({"field": "service", "operator": "not_exists"});
    check(json!([service]), none, Matched, "all its conditions hold");
}

#[test]
fn it_depends_on_how_a_connection_came_whether_rules_are_asked() {
    let check = |change: Value, outcome: Outcome, because: &str| {
        let (answer, sample) = one(FLEET, &[when(&json!([]))], &change);
        assert_eq!(sample.outcome, outcome, "{sample:?}");
        assert!(sample.because.contains(because), "{sample:?}");
        assert_eq!(sample.would.is_some(), outcome == Outcome::Matched);
        assert_eq!(answer.would_move, u64::from(outcome == Outcome::Matched));
    };
    check(json!({}), Outcome::Matched, "every client");
    check(json!({"rule": null, "routing_strategy": null}), Outcome::NotMatched, "own port");
    check(json!({"rule": null, "routing_strategy": "manual"}), Outcome::NotMatched, "its session");
    // A runner of the version before does not say more.
    check(json!({"rule": null}), Outcome::Undecided, "it came by no rule");
    let by = |pool: PoolKind| json!({"rule": null, "pool": pool});
    check(by(PoolKind::Default), Outcome::Matched, "every client");
    check(json!({"pool": "rule"}), Outcome::Matched, "every client");
    check(by(PoolKind::Service), Outcome::NotMatched, "named its service itself");
    check(by(PoolKind::Tags), Outcome::NotMatched, "asked for tags itself");
    check(by(PoolKind::Session), Outcome::NotMatched, "its session");
}

#[test]
fn other_rules_count_too() {
    let all =
        |name: &str, priority: i32| json!({"name": name, "priority": priority, "target_services": ["main"]});
    let open = json!({"name": "open", "priority": 1, "conditions": [
        {"field": "cookie.c", "operator": "exists"}, {"field": "client_ip", "operator": "exists"}]});
    let new = when(&json!([]));
    let check = |rules: &[Value], outcome: Outcome, would: Option<&str>, because: &str| {
        let (_, sample) = one(FLEET, rules, &json!({}));
        assert_eq!((sample.outcome, sample.because.as_str()), (outcome, because));
        assert_eq!(sample.would.and_then(|would| would.rule).as_deref(), would);
    };
    let why = "rule \"first\" is tried before it and matches";
    check(&[new.clone(), all("first", 9)], Outcome::NotMatched, Some("first"), why);
    check(&[new.clone(), all("later", 11)], Outcome::Matched, Some("new"), "it takes every client");
    let why = "rule \"open\" is tried before it: cookie.c is not kept of a connection";
    check(&[new.clone(), open.clone()], Outcome::Undecided, None, why);
    // Whatever the open one does, the rule is not asked.
    let why = "rule \"first\" is tried before it and matches";
    check(&[new.clone(), open, all("first", 9)], Outcome::NotMatched, None, why);
    let mut disabled = new.clone();
    disabled["enabled"] = json!(false);
    check(&[disabled, all("later", 11)], Outcome::NotMatched, Some("later"), "it is disabled");
    let mut down = new;
    down["target_tags"] = json!(["d"]);
    let why = "no instance that it leads to is or can become eligible";
    check(&[down], Outcome::NotMatched, None, why);
}

#[test]
fn who_would_get_another_service_moves() {
    let rules = [when(&json!([{"field": "user_agent", "operator": "contains", "value": "Mobile"}]))];
    let fleet = Fleet::new(FLEET).rules(&rules);
    let connections = [
        connection(1, &json!({"instance": "main-0"})),
        connection(2, &json!({"instance": "main-1"})),
        connection(3, &json!({"instance": "mobile-0"})),
        // It came by the rule in whose place this one is, and would go to any service.
        connection(4, &json!({"instance": "gone-0", "rule": "old", "user_agent": "a desktop"})),
        connection(5, &json!({"instance": "gone-0", "user_agent": "a desktop"})),
    ];
    let answer = dry_run(&fleet.snapshot, id(1), Some("old"), &connections);
    assert_eq!((answer.matched, answer.would_move, answer.undecided), (3, 3, 0));
    assert_eq!(answer.by_service, BTreeMap::from([("main".to_owned(), 2), ("mobile".to_owned(), 1)]));
    let moved: Vec<_> = answer.samples.iter().map(|one| (one.connection_id.0.as_u128(), one.moves)).collect();
    assert_eq!(moved, [(1, true), (2, true), (4, true), (3, false), (5, false)]);
    let would = |rule: Option<&str>, services: &[&str]| {
        let services = services.iter().map(|name| (*name).to_owned()).collect();
        Some(Would { rule: rule.map(str::to_owned), services })
    };
    assert_eq!(answer.samples[0].would, would(Some("new"), &["mobile"]));
    assert_eq!(answer.samples[2].would, would(None, &["main", "mobile"]));
}

#[test]
fn samples_are_bounded_and_no_kind_hides_another() {
    let fleet = Fleet::new(FLEET).rules(&[when(&json!([]))]);
    let connections: Vec<_> = (0..200)
        .map(|number| connection(number, &if number < 190 { json!({}) } else { json!({"rule": null}) }))
        .collect();
    let answer = dry_run(&fleet.snapshot, id(1), None, &connections);
    assert_eq!((answer.connections, answer.matched, answer.undecided), (200, 190, 10));
    assert_eq!(answer.samples.len(), MAX_SAMPLES);
    let undecided = answer.samples.iter().filter(|sample| sample.outcome == Outcome::Undecided);
    assert_eq!(undecided.count(), 10);
    assert_eq!(dry_run(&fleet.snapshot, id(1), None, &[]), DryRun::default());
}

fn any_condition(is_kept: bool) -> impl Strategy<Value = Value> {
    let kept = select(vec![
        json!({"field": "client_ip", "operator": "ip_in_range", "value": "192.168.0.0/17"}),
        json!({"field": "client_ip", "operator": "not_equals", "value": "10.0.0.1"}),
        json!({"field": "client_port", "operator": "in_list", "value": "1,2"}),
        json!({"field": "user_agent", "operator": "contains", "value": "MOBILE"}),
        json!({"field": "header.user-agent", "operator": "not_exists"}),
        json!({"field": "user_agent", "operator": "regex_match", "value": "^a"}),
        json!({"field": "session_id", "operator": "not_exists"}),
        json!({"field": "tag", "operator": "exists"}),
    ]);
    let open = select(vec![
        json!({"field": "x", "operator": "equals", "value": "1"}),
        json!({"field": "path", "operator": "regex_match", "value": "^/[ab]"}),
        json!({"field": "cookie.c", "operator": "not_exists"}),
        json!({"field": "query.x", "operator": "exists"}),
        json!({"field": "host", "operator": "ends_with", "value": "t"}),
    ]);
    if is_kept { kept.boxed() } else { prop_oneof![kept, open].boxed() }
}

/// Rules of names of their own.
fn any_rules(is_kept: bool) -> impl Strategy<Value = Vec<Arc<CompiledRule>>> {
    let conditions = proptest::collection::vec(any_condition(is_kept), 0..4);
    let targets = select(vec![json!([]), json!(["main"]), json!(["down"]), json!(["mobile", "down"])]);
    let rule = (conditions, targets, -2..3_i32, 0..8_u8);
    proptest::collection::vec(rule, 1..6).prop_map(|rules| {
        let numbered = rules.into_iter().zip(1..);
        numbered
            .map(|((conditions, targets, priority, dice), number)| {
                compiled(
                    number,
                    &json!({"name": format!("r{number}"), "conditions": conditions, "target_services": targets,
                        "priority": priority, "enabled": dice > 0}),
                )
            })
            .collect()
    })
}

fn fleet(rules: Vec<Arc<CompiledRule>>, client: &str, headers: &[(&str, &str)]) -> Fleet {
    let services = Fleet::new(FLEET).snapshot.services().to_vec();
    let snapshot = RoutingSnapshot::build(services, rules, Choosing::default(), None);
    Fleet { snapshot, client: client.to_owned(), ..Fleet::new(FLEET).with_headers(headers) }
}

proptest! {
    /// With all facts known, the rule that wins is the one that the real decision takes.
    #[test]
    fn with_everything_known_it_agrees_with_the_decision(
        rules in any_rules(true), client in select(vec!["192.168.1.7:1", "10.0.0.1:2", "[2001:db8::1]:3"]),
        agent in select(vec![None, Some("a mobile"), Some("Desktop")]),
    ) {
        let headers: Vec<_> = agent.map(|agent| ("User-Agent", agent)).into_iter().collect();
        let fleet = fleet(rules.clone(), client, &headers);
        let address: SocketAddr = client.parse().unwrap();
        let view = connection(1, &json!({"client_ip": address.ip(), "client_port": address.port(), "user_agent": agent}));
        let expected = fleet.explain("/").rule;
        for rule in rules.iter().map(|rule| rule.rule()) {
            let answer = dry_run(&fleet.snapshot, rule.rule_id, None, std::slice::from_ref(&view));
            let sample = &answer.samples[0];
            let wins = expected.as_deref() == Some(&rule.spec.name);
            prop_assert_eq!(sample.outcome, if wins { Outcome::Matched } else { Outcome::NotMatched });
            prop_assert_eq!(sample.would.as_ref().map(|would| &would.rule), Some(&expected));
        }
    }

    /// What is said for sure is so, whatever the rest of the request was.
    #[test]
    fn what_is_sure_is_so_whatever_is_not_kept(
        rules in any_rules(false), path in select(vec!["/", "/a", "/b?x=1", "/c?x=2&y"]),
        more in proptest::collection::vec(select(vec![("X", "1"), ("Cookie", "c=5"), ("Host", "a.test")]), 0..3),
        is_mobile in any::<bool>(),
    ) {
        let agent = if is_mobile { "a mobile" } else { "Desktop" };
        let headers: Vec<_> = more.into_iter().chain([("user-agent", agent)]).collect();
        let fleet = fleet(rules.clone(), "192.168.1.7:1", &headers);
        let view = connection(1, &json!({"client_port": 1, "user_agent": agent}));
        let expected = fleet.explain(path).rule;
        for rule in rules.iter().map(|rule| rule.rule()) {
            let answer = dry_run(&fleet.snapshot, rule.rule_id, None, std::slice::from_ref(&view));
            let sample = &answer.samples[0];
            let wins = expected.as_deref() == Some(&rule.spec.name);
            match sample.outcome {
                Outcome::Matched => prop_assert!(wins, "{:?}", sample),
                Outcome::NotMatched => prop_assert!(!wins, "{:?}", sample),
                Outcome::Undecided => {}
            }
            if let Some(would) = &sample.would {
                prop_assert_eq!(&would.rule, &expected);
            }
        }
    }
}
