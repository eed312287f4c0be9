//! What must hold for any fleet, rules and client.

use super::kit::{Fleet, compiled};
use crate::clock::Tick;
use crate::routing::{CandidateState, Outcome, RoutingSnapshot, Strategy as Choosing};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::Duration;

fn any_fleet() -> impl Strategy<Value = Fleet> {
    let state = select(vec!["", "", "", "x", "s", "f"]);
    let tags = select(vec!["", "#x", "#y", "#x,y", "#z"]);
    let service = (0_usize..4, state, tags, 1_u32..4);
    let load = (0_u32..20, proptest::option::of(0_u64..30), 0_u32..8);
    (proptest::collection::vec(service, 0..8), proptest::collection::vec(load, 32)).prop_map(
        |(services, loads)| {
            let text: Vec<_> = services
                .iter()
                .enumerate()
                .map(|(index, (count, state, tags, weight))| {
                    format!("s{index}:{count}{state}{tags}*{weight}")
                })
                .collect();
            let mut fleet = Fleet::new(&text.join(" "));
            for (load, (active, age, failures)) in fleet.loads.iter_mut().zip(loads) {
                load.active = active;
                load.ready_at = age.map(|age| Duration::from_secs(1000 - age));
                load.measured(Duration::from_millis(u64::from(active) + 1), Tick::from_secs(990));
                (0..failures).for_each(|_| _ = load.failed(Tick::from_secs(995), true));
            }
            fleet
        },
    )
}

fn any_rule() -> impl Strategy<Value = Value> {
    let condition = prop_oneof![
        Just(json!({"field": "client_ip", "operator": "ip_in_range", "value": "192.168.0.0/17"})),
        Just(json!({"field": "x", "operator": "equals", "value": "1"})),
        Just(json!({"field": "x", "operator": "not_in_list", "value": "1,2"})),
        Just(json!({"field": "user_agent", "operator": "contains", "value": "MOBILE"})),
        Just(json!({"field": "path", "operator": "regex_match", "value": "^/[ab]"})),
        Just(json!({"field": "cookie.c", "operator": "not_exists"})),
    ];
    let targets = select(vec![
        json!({}),
        json!({"target_tags": ["x"]}),
        json!({"target_tags": ["x", "y"], "tag_match": "any"}),
        json!({"target_services": ["s1", "s0"]}),
        json!({"split": [{"tag": "x", "percent": 30}, {"service": "s2", "percent": 70}]}),
        json!({"weight": 2, "target_tags": ["y"]}),
    ]);
    let strategies = select(Choosing::ALL.to_vec());
    let key = select(vec![json!(null), json!("x"), json!("cookie.c")]);
    (proptest::collection::vec(condition, 0..3), targets, strategies, key, -2..3_i32, any::<bool>(), 0..10).prop_map(
        |(conditions, targets, strategy, key, priority, hint, dice)| {
            let mut rule = json!({"name": "r", "conditions": conditions, "hash_key": key, "priority": priority,
                "allow_hint": hint, "enabled": dice > 0});
            let is_manual_without_list = strategy == Choosing::Manual && targets.get("target_services").is_none();
            if let (Some(rule), Some(targets)) = (rule.as_object_mut(), targets.as_object()) {
                rule.extend(targets.clone());
                if !is_manual_without_list {
                    rule.insert("target_strategy".into(), json!(strategy));
                }
            }
            rule
        },
    )
}

/// Target, headers, client address.
fn any_request() -> impl Strategy<Value = (String, Vec<(&'static str, &'static str)>, String)> {
    let path = select(vec!["/", "/a", "/b/c", "/s/s0", "/s/s1/x", "/s/none"]);
    let queries = proptest::collection::vec(
        select(vec![
            "x=1",
            "x=2",
            "tag=x",
            "tag=y",
            "service=s2",
            "session_id=one",
            "session_id=two",
            "client_ip=192.168.1.1",
            "routing_hint=hash_based",
            "routing_hint=least_connections",
            "%zz",
            "&&=",
        ]),
        0..3,
    );
    let headers = proptest::collection::vec(
        select(vec![
            ("X", "1"),
            ("x", "2"),
            ("User-Agent", "a mobile"),
            ("Cookie", "c=5; d"),
            ("Client_Ip", "192.168.1.1"),
        ]),
        0..4,
    );
    let client = select(vec!["192.168.1.7:1", "10.0.0.1:2", "[2001:db8::1]:3", "[::ffff:192.168.3.3]:4"]);
    (path, queries, headers, client).prop_map(|(path, queries, headers, client)| {
        (format!("{path}?{}", queries.join("&")), headers, client.to_owned())
    })
}

fn with_request(fleet: &Fleet, headers: &[(&str, &str)], client: &str, random: u64) -> Fleet {
    let mut fleet = Fleet { client: client.to_owned(), random, ..fleet.with_headers(headers) };
    if let Some(first) = fleet.snapshot.instances().next() {
        fleet.sessions.insert("one".to_owned(), first.key);
    }
    if let Some(last) = fleet.snapshot.instances().last() {
        fleet.sessions.insert("two".to_owned(), last.key);
    }
    fleet
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// The one chosen is eligible and in the pool; explaining says what deciding does.
    #[test]
    fn the_choice_is_eligible_and_explained(
        fleet in any_fleet(), rules in proptest::collection::vec(any_rule(), 0..6),
        (target, headers, client) in any_request(), random in any::<u64>(), tried in 0..4_usize,
    ) {
        let keys: Vec<_> = fleet.snapshot.instances().skip(tried).take(tried % 3).map(|instance| instance.key).collect();
        let fleet = with_request(&fleet.rules(&rules), &headers, &client, random).with_tried(&keys);
        let outcome = fleet.outcome(&target);
        let explanation = fleet.explain(&target);
        let chosen: Vec<_> = explanation.candidates.iter().filter(|view| view.chosen).collect();
        let names: HashSet<_> = explanation.candidates.iter().map(|view| &view.instance).collect();
        prop_assert_eq!(names.len(), explanation.candidates.len(), "nobody is a member twice");
        match explanation.outcome {
            Outcome::Go => {
                prop_assert_eq!(Some(&outcome), explanation.instance.as_ref());
                prop_assert_eq!(chosen.len(), 1);
                prop_assert_eq!(chosen[0].state, CandidateState::Eligible);
                let instance = fleet.snapshot.instance(fleet.key(&outcome)).unwrap();
                prop_assert!(instance.eligible && !keys.contains(&instance.key));
            }
            Outcome::Wait => prop_assert_eq!(outcome, format!("wait: {}", explanation.reason.unwrap())),
            Outcome::Refuse => prop_assert_eq!(outcome, format!("refuse: {}", explanation.reason.unwrap())),
        }
        if explanation.outcome != Outcome::Go {
            let is_eligible = |state| state == CandidateState::Eligible;
            prop_assert!(!explanation.candidates.iter().any(|view| is_eligible(view.state)));
        }
    }

    /// A rule that matches nobody changes nothing, wherever it stands.
    #[test]
    fn a_rule_that_matches_nobody_changes_nothing(
        fleet in any_fleet(), rules in proptest::collection::vec(any_rule(), 0..4), mut idle in any_rule(),
        (target, headers, client) in any_request(), random in any::<u64>(),
    ) {
        idle["conditions"] = json!([{"field": "header.never", "operator": "exists"}]);
        let mut more = vec![idle];
        more.extend(rules.iter().cloned());
        // The ids are those of the other fleet, so that splits are the same.
        let of = |bodies: &[Value], first: u32| {
            let compiled = bodies.iter().zip(first..).map(|(body, number)| compiled(number, body)).collect();
            let snapshot = RoutingSnapshot::build(fleet.snapshot.services().to_vec(), compiled, Choosing::default(), None);
            with_request(&Fleet { snapshot, ..fleet.clone() }, &headers, &client, random).outcomes(&target, 3)
        };
        prop_assert_eq!(of(&rules, 2), of(&more, 1));
    }

    /// The order in which rules are handed in does not matter.
    #[test]
    fn equal_priorities_are_stable(
        fleet in any_fleet(), rules in proptest::collection::vec(any_rule(), 0..6),
        (target, headers, client) in any_request(), turn in 0..6_usize,
    ) {
        let mut compiled: Vec<_> = rules.iter().zip(1..).map(|(body, number)| compiled(number, body)).collect();
        let build = |rules| {
            let services = fleet.snapshot.services().to_vec();
            let snapshot = RoutingSnapshot::build(services, rules, Choosing::default(), None);
            with_request(&Fleet { snapshot, ..fleet.clone() }, &headers, &client, 5)
        };
        let one = build(compiled.clone());
        if !compiled.is_empty() {
            let turn = turn % compiled.len();
            compiled.rotate_left(turn);
            compiled.reverse();
        }
        prop_assert_eq!(one.explain(&target), build(compiled).explain(&target));
    }
}
