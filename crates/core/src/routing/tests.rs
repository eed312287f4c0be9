//! Whole decisions: which pool, who of it, and what is said if there is nobody.

pub(super) mod kit;
mod properties;
mod speed;

use super::*;
use crate::clock::Tick;
use kit::{Fleet, compiled};
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;

#[test]
fn a_named_service_is_the_pool_and_otherwise_all_are() {
    let fleet = Fleet::new("a:2 b:1");
    assert_eq!(fleet.outcomes("/", 4), ["a-0", "a-1", "b-0", "a-0"]);
    assert_eq!(fleet.outcomes("/s/b/ws", 2), ["b-0", "b-0"]);
    assert_eq!(fleet.outcome("/?service=b"), "b-0");
    assert_eq!(fleet.outcome("/?service=c"), "refuse: no running service is named \"c\"");
    let long = fleet.outcome(&format!("/?service={}", "x".repeat(5000)));
    assert!(long.len() < 200, "what a client sent is not repeated at length");
    let tried = [fleet.key("a-0")];
    assert_eq!(fleet.with_tried(&tried).outcome("/s/a"), "a-1");
    assert!(fleet.snapshot.instance(tried[0]).is_some());
    assert_eq!(fleet.snapshot.index_of(fleet.key("b-0")), Some(2));
}

#[test]
fn who_cannot_serve_now_is_waited_for_or_not() {
    let fleet = Fleet::new("full:1f starting:1s broken:1x none:0 up:1#blue");
    let check = |target: &str, expected: &str| assert_eq!(fleet.outcome(target), expected, "{target}");
    check("/s/full", "wait: every instance of full is full or starting");
    check("/s/starting", "wait: every instance of starting is full or starting");
    check("/s/broken", "refuse: no instance of broken is healthy");
    check("/s/none", "refuse: no instance of none is running");
    check("/?tag=blue", "up-0");
    check("/?tag=blue&tag=red", "refuse: no instance with the tags \"blue\", \"red\" is running");
    check("/", "up-0");
    assert_eq!(Fleet::new("").outcome("/"), "refuse: no instance is running");
    assert_eq!(Fleet::new("a:1x").outcome("/"), "refuse: no instance is healthy");
    assert_eq!(Fleet::new("a:1x b:1f").outcome("/"), "wait: every instance is full or starting");
    assert_eq!(
        Fleet::new("a:1f#t").outcome("/?tag=t"),
        "wait: every instance with the tags \"t\" is full or starting"
    );
    for (target, expected) in [("/s/broken", true), ("/s/gone", false), ("/?tag=x", false)] {
        fleet.decide(target, |decision| match decision {
            Decision::Refuse { recoverable, .. } => assert_eq!(recoverable, expected, "{target}"),
            other => panic!("{other:?}"),
        });
    }
}

#[test]
fn a_session_leads_to_its_instance_or_its_service() {
    let mut fleet = Fleet::new("a:3 b:2f c:2 d:1x");
    let known = ["a-1", "b-1", "d-0"].map(|name| (name.to_owned(), fleet.key(name)));
    fleet.sessions = HashMap::from(known);
    let all_ticks = |fleet: &Fleet, target: &str, expected: &str| {
        assert!(fleet.outcomes(target, 6).iter().all(|outcome| outcome == expected), "{target}");
    };
    all_ticks(&fleet, "/?session_id=a-1", "a-1");
    all_ticks(&fleet, "/?session_id=a-1&tag=x", "a-1");
    all_ticks(&fleet, "/s/a?session_id=a-1", "a-1");
    // Full, but the session may have its place already: its instance is asked.
    all_ticks(&fleet, "/?session_id=b-1", "b-1");
    // The service that is named goes before the session.
    assert_eq!(fleet.outcomes("/s/c?session_id=a-1", 2), ["c-0", "c-1"]);
    // Not known, or of a service that is gone: as if there were none.
    assert_eq!(fleet.outcomes("/?session_id=other", 2), ["a-0", "a-1"]);
    assert_eq!(fleet.outcomes("/?session_id=d-0", 2), ["a-0", "a-1"]);
    // Its instance gave the client back: others of its service can take the session over.
    let tried = [fleet.key("a-1")];
    let fleet = fleet.with_tried(&tried);
    assert_eq!(fleet.outcomes("/?session_id=a-1", 2), ["a-0", "a-2"]);
    fleet.decide("/?session_id=b-1", |decision| match decision {
        Decision::Go(choice) => {
            assert_eq!((choice.kind, choice.strategy), (PoolKind::Session, Strategy::Manual))
        }
        other => panic!("{other:?}"),
    });
}

#[test]
fn tags_must_all_match() {
    let fleet = Fleet::new("a:1#x,y b:1#y,z c:1#z");
    assert_eq!(fleet.outcomes("/?tag=y", 2), ["a-0", "b-0"]);
    assert_eq!(fleet.outcomes("/?tag=y&tag=z", 2), ["b-0", "b-0"]);
    assert_eq!(fleet.outcomes("/?tag=z&tag=y&tag=z", 1), ["b-0"]);
    assert!(fleet.outcome("/?tag=x&tag=z").starts_with("refuse"));
}

#[test]
fn the_first_rule_that_applies_decides() {
    let fleet = Fleet::new("main:2 mobile:1#mobile down:1x#down").rules(&[
        json!({"name": "down", "priority": 1, "target_tags": ["down"]}),
        json!({"name": "off", "priority": 2, "enabled": false, "target_services": ["main"]}),
        json!({"name": "gone", "priority": 3, "target_services": ["gone"]}),
        json!({"name": "late", "priority": 50, "target_services": ["main"],
            "conditions": [{"field": "user_agent", "operator": "contains", "value": "iphone"}]}),
        json!({"name": "mobile", "priority": 10, "target_tags": ["mobile"], "target_strategy": "least_connections",
            "conditions": [{"field": "user_agent", "operator": "contains", "value": "iphone"},
                {"field": "query.v", "operator": "not_equals", "value": "1"}]}),
    ]);
    let phone = fleet.with_headers(&[("User-Agent", "An iPhone")]);
    assert_eq!(phone.outcome("/"), "mobile-0");
    assert_eq!(phone.outcomes("/?v=1", 2), ["main-0", "main-1"]);
    assert_eq!(phone.outcome("/s/main"), "main-0", "a named service goes before rules");
    assert_eq!(phone.outcome("/?tag=mobile&v=1"), "mobile-0", "tags go before rules");
    phone.decide("/", |decision| match decision {
        Decision::Go(choice) => {
            assert_eq!(choice.rule.map(|rule| rule.spec.name.as_str()), Some("mobile"));
            assert_eq!((choice.strategy, choice.kind), (Strategy::LeastConnections, PoolKind::Rule));
            assert!(matches!(choice.pool, PoolId::Rule(_, 0)));
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(fleet.with_headers(&[]).outcomes("/", 3), ["main-0", "main-1", "mobile-0"]);
    assert_eq!(Fleet::new("a:1#x,y").outcome("/?tag=x"), "a-0");
    let pool = |target: &str| {
        let mut pools = Vec::new();
        Fleet::new("a:1f#x,y").decide(target, |decision| match decision {
            Decision::Wait { pool, .. } => pools.push(pool),
            other => panic!("{other:?}"),
        });
        pools[0]
    };
    assert_eq!(pool("/?tag=x&tag=y"), pool("/?tag=y&tag=x"), "who waits for the same waits in one queue");
    assert_ne!(pool("/s/a"), pool("/"));
    let full = Fleet::new("a:1f b:1").rules(&[json!({"name": "to a", "target_services": ["a"]})]);
    assert_eq!(full.outcome("/"), "wait: every instance of rule \"to a\" is full or starting");
}

#[test]
fn rules_of_one_priority_are_tried_by_age() {
    let names = |fleet: &Fleet| {
        fleet.snapshot.rules().map(|rule| rule.rule().spec.name.clone()).collect::<Vec<_>>().join(" ")
    };
    let rule = |name: &str, priority: i32| json!({"name": name, "priority": priority});
    let fleet =
        Fleet::new("a:1").rules(&[rule("x", 5), rule("b", 5), rule("z", -1), rule("a", 5), rule("y", 4)]);
    assert_eq!(names(&fleet), "z y x b a");
}

#[test]
fn services_and_tags_together_narrow_and_any_widens() {
    let of = |body: serde_json::Value| Fleet::new("a:1#x,y b:1#y c:1#x").rules(&[body]).outcomes("/", 3);
    assert_eq!(of(json!({"name": "r", "target_tags": ["x", "y"]})), ["a-0", "a-0", "a-0"]);
    assert_eq!(
        of(json!({"name": "r", "target_tags": ["x", "y"], "tag_match": "any"})),
        ["a-0", "b-0", "c-0"]
    );
    assert_eq!(
        of(json!({"name": "r", "target_tags": ["x"], "target_services": ["c", "b"]})),
        ["c-0", "c-0", "c-0"]
    );
    let id = Fleet::new("a:1 b:1").key("b-0").service_id.to_string();
    assert_eq!(of(json!({"name": "r", "target_services": [id]})), ["b-0", "b-0", "b-0"]);
}

#[test]
fn hints_choose_where_they_may_and_strategies_fall_back() {
    let strategy = |fleet: &Fleet, target: &str| {
        let mut found = None;
        fleet.decide(target, |decision| {
            if let Decision::Go(choice) = decision {
                found = Some(choice.strategy);
            }
        });
        found.unwrap()
    };
    let fleet = Fleet::new("a:2 b:1");
    assert_eq!(strategy(&fleet, "/?routing_hint=least_connections"), Strategy::LeastConnections);
    assert_eq!(strategy(&fleet, "/?routing_hint=fastest"), Strategy::RoundRobin);
    assert_eq!(strategy(&fleet, "/s/a?routing_hint=hash_based"), Strategy::HashBased);
    assert_eq!(
        strategy(&fleet, "/s/a?routing_hint=manual"),
        Strategy::RoundRobin,
        "no list to take the first of"
    );
    for (allow, expected) in [(true, Strategy::WeightedRandom), (false, Strategy::TagBased)] {
        let fleet = Fleet::new("a:2")
            .rules(&[json!({"name": "r", "target_strategy": "tag_based", "allow_hint": allow})]);
        assert_eq!(strategy(&fleet, "/?routing_hint=weighted_random"), expected);
    }
    let keyed = Fleet::new("a:2").rules(&[json!({"name": "r", "target_strategy": "hash_based",
        "hash_key": "query.user", "fallback_strategy": "least_connections"})]);
    assert_eq!(strategy(&keyed, "/?user=u"), Strategy::HashBased);
    assert_eq!(strategy(&keyed, "/"), Strategy::LeastConnections);
    let manual = Fleet::new("a:1x b:2 c:1")
        .rules(&[json!({"name": "r", "target_strategy": "manual", "target_services": ["a", "c", "b"]})]);
    assert_eq!(manual.outcomes("/", 2), ["c-0", "c-0"]);
}

#[test]
fn a_split_is_kept_per_client_and_gives_way_when_its_part_is_down() {
    let rule = json!({"name": "canary", "hash_key": "query.user",
        "split": [{"tag": "new", "percent": 10}, {"service": "old", "percent": 90}, {"service": "off", "percent": 0}]});
    let fleet = Fleet::new("old:2 new:1#new off:1").rules(std::slice::from_ref(&rule));
    let service = |fleet: &Fleet, user: usize| fleet.outcome(&format!("/?user={user}"))[..3].to_owned();
    let first: Vec<_> = (0..2000).map(|user| service(&fleet, user)).collect();
    let count = first.iter().filter(|name| *name == "new").count();
    assert!((150..250).contains(&count), "{count} of 2000 are not 10 %");
    assert!(!first.contains(&"off".to_owned()));
    assert_eq!(first, (0..2000).map(|user| service(&fleet, user)).collect::<Vec<_>>());
    for down in ["new:1x#new", "new:1f#new"] {
        let fleet = Fleet::new(&format!("old:2 {down} off:1")).rules(std::slice::from_ref(&rule));
        assert!((0..200).all(|user| service(&fleet, user) == "old"));
    }
    let fleet = Fleet::new("old:2x new:1x#new off:1").rules(&[rule]);
    assert_eq!(
        fleet.outcome("/"),
        "old-0".replace("old", "off"),
        "the rule does not apply: the default pool"
    );
}

#[test]
fn weights_of_a_rule_go_before_those_of_services() {
    let counts = |weight: serde_json::Value| {
        let fleet = Fleet::new("a:1*5 b:1").rules(&[json!({"name": "r", "weight": weight})]);
        let outcomes = fleet.outcomes("/", 60);
        outcomes.iter().filter(|name| *name == "a-0").count()
    };
    assert_eq!([counts(json!(null)), counts(json!(2)), counts(json!({"a": 1, "b": 3}))], [50, 30, 15]);
}

#[test]
fn the_ejected_are_passed_over_unless_all_are() {
    let mut fleet = Fleet::new("a:2 b:1f");
    let now = Duration::from_secs(1);
    let eject = |load: &mut Load| (0..5).for_each(|_| _ = load.failed(now, true));
    eject(&mut fleet.loads[0]);
    fleet.now = now;
    assert_eq!(fleet.outcomes("/s/a", 2), ["a-1", "a-1"]);
    let explanation = fleet.explain("/s/a");
    assert_eq!(explanation.candidates[0].state, CandidateState::Ejected);
    eject(&mut fleet.loads[1]);
    assert_eq!(fleet.outcomes("/s/a", 2), ["a-0", "a-1"], "all are: better them than nobody");
    assert_eq!(fleet.outcome("/"), "wait: every instance is full or starting", "b is well, and only full");
    let fleet = Fleet { now: Tick::from_secs(31), ..fleet };
    assert_eq!(fleet.outcomes("/s/a", 2), ["a-0", "a-1"]);
}

#[test]
fn connections_known_here_count_against_the_places_too() {
    let mut fleet = Fleet::new("a:2");
    let mut service = fleet.snapshot.services()[0].clone();
    for instance in &mut service.instances {
        instance.max_places = 3;
    }
    fleet.snapshot = RoutingSnapshot::new(vec![service]);
    fleet.loads[0].active = 3;
    assert_eq!(fleet.outcomes("/", 2), ["a-1", "a-1"]);
    fleet.loads[1].active = 4;
    assert_eq!(fleet.outcome("/"), "wait: every instance is full or starting");
    assert!(fleet.snapshot.has_others(fleet.key("a-0"), |_| false));
    assert!(!fleet.snapshot.has_others(fleet.key("a-0"), |index| index == 1));
    assert!(!fleet.snapshot.has_others(Fleet::new("z:1 b:1").key("b-0"), |_| false));
}

#[test]
fn an_explanation_shows_no_secret_of_the_request() {
    for (field, expected) in [
        ("header.Authorization", "(hidden)"),
        ("Query.access_token", "(hidden)"),
        ("cookie.secret", "(hidden)"),
        ("X-Api-Key", "(hidden)"),
        ("header.X-Tier", "planted"),
    ] {
        let fleet = Fleet::new("main:4").rules(&[json!({"name": "secret", "priority": 1, "conditions": [
            {"field": field, "operator": "equals", "value": "other"}]})]);
        let headers = [
            ("authorization", "planted"),
            ("x-api-key", "planted"),
            ("cookie", "secret=planted"),
            ("x-tier", "planted"),
        ];
        let explanation = fleet.with_headers(&headers).explain("/?access_token=planted");
        let actual = explanation.rules[0].failed.clone().unwrap().actual;
        assert_eq!(actual.as_deref(), Some(expected), "{field}");
    }
}

#[test]
fn an_explanation_tells_of_every_rule_and_candidate() {
    let mut fleet = Fleet::new("main:4 mobile:1x#mobile").rules(&[
        json!({"name": "off", "priority": 1, "enabled": false}),
        json!({"name": "mobile", "priority": 2, "target_tags": ["mobile"]}),
        json!({"name": "vip", "priority": 3, "conditions": [
            {"field": "client_ip", "operator": "exists"},
            {"field": "header.X-Tier", "operator": "equals", "value": "vip"}]}),
        json!({"name": "rest", "priority": 4, "target_services": ["main"]}),
        json!({"name": "never", "priority": 5}),
    ]);
    fleet.loads[1].active = 2;
    fleet.loads[1].measured(Duration::from_millis(3), fleet.now);
    let tried = [fleet.key("main-0")];
    let fleet = fleet.with_tried(&tried).with_headers(&[("x-tier", "Free")]);
    let explanation = fleet.explain("/?routing_hint=hash_based");
    let outcomes: Vec<_> = explanation.rules.iter().map(|rule| (rule.name.as_str(), rule.outcome)).collect();
    assert_eq!(
        outcomes,
        [
            ("off", RuleOutcome::Disabled),
            ("mobile", RuleOutcome::NoMember),
            ("vip", RuleOutcome::ConditionFailed),
            ("rest", RuleOutcome::Matched)
        ]
    );
    let failed = explanation.rules[2].failed.clone().unwrap();
    assert_eq!(
        serde_json::to_value(&failed).unwrap(),
        json!({"index": 1, "field": "header.X-Tier", "operator": "equals", "value": "vip", "actual": "Free"})
    );
    assert_eq!(explanation.candidates.len(), 4);
    assert_eq!(explanation.candidates[0].state, CandidateState::Tried);
    assert!(explanation.candidates[0].why_not.as_ref().unwrap().contains("gave this client back"));
    assert_eq!((explanation.candidates[1].active, explanation.candidates[1].latency_ms), (2, Some(3.0)));
    let chosen: Vec<_> = explanation.candidates.iter().filter(|view| view.chosen).collect();
    assert_eq!(chosen.len(), 1);
    assert_eq!(Some(&chosen[0].instance), explanation.instance.as_ref());
    assert_eq!((explanation.pool, explanation.rule.as_deref()), (Some(PoolKind::Rule), Some("rest")));
    assert_eq!(
        (explanation.strategy, explanation.service.as_deref()),
        (Some(Strategy::HashBased), Some("main"))
    );
    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(serde_json::from_value::<Explanation>(json).unwrap(), explanation);
    let none = fleet.explain("/s/gone");
    assert_eq!((none.outcome, none.pool, none.candidates.len()), (Outcome::Refuse, None, 0));
    let states = Fleet::new("a:1f b:1s c:1x").explain("/");
    let found: Vec<_> = states.candidates.iter().map(|view| view.state).collect();
    assert_eq!(found, [CandidateState::Full, CandidateState::Starting, CandidateState::OutOfService]);
    assert!(states.candidates.iter().all(|view| view.why_not.is_some()));
    let split = Fleet::new("a:1 b:1").rules(&[json!({"name": "s",
        "split": [{"service": "a", "percent": 100}, {"service": "b", "percent": 0}]})]);
    assert_eq!(split.explain("/").candidates.len(), 1, "a part of nothing is no member");
    let split = Fleet::new("a:1 b:1").rules(&[json!({"name": "s",
        "split": [{"service": "a", "percent": 50}, {"service": "b", "percent": 50}]})]);
    let other = split.explain("/").candidates.into_iter().find(|view| !view.chosen).unwrap();
    assert_eq!(other.state, CandidateState::OtherPart);
}

#[test]
fn an_explain_request_is_what_a_client_would_send() {
    let request: ExplainRequest =
        serde_json::from_value(json!({"path": "/?a=b", "client_ip": "10.0.0.1", "headers": {"X-A": "1"}}))
            .unwrap();
    let headers = request.header_list();
    let context = request.context(&headers, &TrustedProxies::default());
    assert_eq!(
        (context.client_ip.to_string().as_str(), context.headers.first("x-a")),
        ("10.0.0.1", Some("1"))
    );
    assert_eq!(ExplainRequest::default().context(&headers, &TrustedProxies::default()).target.path, "/");
    assert!(serde_json::from_value::<ExplainRequest>(json!({"colour": 1})).is_err());
}

#[test]
fn what_does_not_change_is_taken_over_from_the_snapshot_before() {
    let rules = vec![compiled(1, &json!({"name": "r", "target_services": ["b"]}))];
    let services = |text: &str| Fleet::new(text).snapshot.services().to_vec();
    let build = |text: &str, rules: &[_], previous: Option<&RoutingSnapshot>| {
        RoutingSnapshot::build(services(text), rules.to_vec(), Strategy::default(), previous)
    };
    let first = build("a:1 b:2", &rules, None);
    let shares = |one: &RoutingSnapshot, other: &RoutingSnapshot| std::ptr::eq(one.plan(), other.plan());
    let again = build("a:1 b:2x", &rules, Some(&first));
    assert!(shares(&first, &again));
    assert_eq!((first.alive(), again.alive()), (&[true] as &[bool], &[false] as &[bool]));
    for (text, rules) in [
        ("a:1 b:3", &rules[..]),
        ("a:1 c:2", &rules[..]),
        ("a:1 b:2#t", &rules[..]),
        ("a:1 b:2", &[]),
        ("a:1 b:2", &[compiled(1, &json!({"name": "r"}))]),
    ] {
        assert!(!shares(&first, &build(text, rules, Some(&first))), "{text}");
    }
}
