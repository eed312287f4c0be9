//! The cost of a decision over 1,000 instances and 1,000 rules. Budget: 10 µs in a release build.
//! `cargo test --release -p myagent-core --lib -- --ignored --nocapture decisions_are_quick`

use super::kit::{Fleet, compiled};
use crate::routing::{
    Context, Decision, FixedTick, Live, RoutingSnapshot, Scratch, SharedLoad, Strategy, decide,
};
use serde_json::{Value, json};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

/// Five times the budget.
const BOUND: Duration = Duration::from_micros(50);

/// What is measured: the conditions of a rule by its number, and the target that clients ask for.
type Case = (&'static str, fn(u32) -> Value, &'static str);

const CASES: &[Case] = &[
    ("mixed operators, round robin", mixed, "/chat/ws?lang=de&user=u-17"),
    ("mixed, least connections", mixed, "/chat/ws?routing_hint=least_connections"),
    ("mixed, weighted random", mixed, "/chat/ws?routing_hint=weighted_random"),
    ("mixed, hash", mixed, "/chat/ws?routing_hint=hash_based"),
    ("mixed, performance", mixed, "/chat/ws?routing_hint=performance_based"),
    ("mixed, a named service", mixed, "/s/s7/ws"),
    ("equals on one header", |n| one("header.x-tenant", "equals", format!("t-17-of-man{n}")), "/"),
    ("contains on the user agent", |n| one("user_agent", "contains", format!("iPhone{n}")), "/"),
    ("a header for each rule", |n| one(&format!("header.x-{n}"), "equals", "x"), "/"),
];
const REGEX: Case =
    ("regular expressions (no budget)", |n| one("user_agent", "regex_match", format!("iP(hone|ad){n}")), "/");

fn one(field: &str, operator: &str, value: impl Into<Value>) -> Value {
    json!([{"field": field, "operator": operator, "value": value.into()}])
}

fn mixed(number: u32) -> Value {
    match number % 5 {
        0 => json!([
            {"field": "header.x-tenant", "operator": "equals", "value": format!("t-{number}-of-many")},
            {"field": "path", "operator": "starts_with", "value": "/chat"},
        ]),
        1 => one("client_ip", "ip_in_range", format!("10.{}.0.0/16", number % 200)),
        2 => one("path", "starts_with", format!("/api/v{number}/")),
        3 => one("query.lang", "in_list", format!("xx, l{number}")),
        _ => one("cookie.plan", "equals", format!("plan{number}")),
    }
}

/// The best of `rounds` means of 100 decisions over 1,000 instances and so many rules, of which the last one applies.
#[expect(clippy::disallowed_methods, reason = "a stopwatch")]
fn measure((_, conditions, target): Case, last: &Value, rules: u32, rounds: u32) -> Duration {
    let text: Vec<_> = (0..500).map(|service| format!("s{service}:2#t{}", service % 10)).collect();
    let services = Fleet::new(&text.join(" ")).snapshot.services().to_vec();
    let rule = |number| json!({"name": "r", "conditions": conditions(number), "target_tags": ["t1"]});
    let mut compiled_rules: Vec<_> = (1..rules).map(|number| compiled(number, &rule(number))).collect();
    compiled_rules.push(compiled(rules, last));
    let snapshot = RoutingSnapshot::build(services, compiled_rules, Strategy::RoundRobin, None);
    let loads: Vec<_> = snapshot.instances().map(|_| Arc::new(SharedLoad::default())).collect();
    let headers = vec![
        ("Host", "chat.example.org:9090"),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        (
            "User-Agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
        ),
        ("Origin", "https://chat.example.org"),
        ("X-Tenant", "t-17-of-many"),
        ("X-Real-Ip", "10.99.3.4"),
        ("Accept-Language", "de-DE,de;q=0.9,en;q=0.8"),
        ("Cookie", "plan=free; theme=dark; sid=0123456789abcdef"),
    ];
    let mut scratch = Scratch::default();
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        let start = std::time::Instant::now();
        for number in 0..100_u64 {
            let context = Context::new("172.16.5.6:5000".parse().unwrap(), black_box(target), &headers);
            let live = Live {
                loads: loads.as_slice(),
                sessions: &(),
                ticks: &FixedTick(number),
                now: Duration::from_secs(100),
                random: number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                tried: &[],
            };
            let decision = black_box(decide(&snapshot, &context, &live, &mut scratch));
            let Decision::Go(choice) = decision else { panic!("{decision:?}") };
            assert!(target.starts_with("/s/") || choice.rule.is_some_and(|rule| rule.spec.name == "last"));
        }
        best = best.min(start.elapsed() / 100);
    }
    best
}

/// To all instances, and to two.
fn lasts() -> [Value; 2] {
    let last = json!({"name": "last", "priority": 500});
    [last.clone(), json!({"name": "last", "priority": 500, "target_services": ["s1"]})]
}

#[test]
fn what_is_measured_is_routed() {
    for case in CASES.iter().chain([&REGEX]) {
        for last in lasts() {
            measure(*case, &last, 20, 1);
        }
    }
}

#[test]
#[ignore = "needs a release build and a quiet machine"]
fn decisions_are_quick() {
    for case in CASES.iter().chain([&REGEX]) {
        let [all, two] = lasts().map(|last| measure(*case, &last, 1000, 20));
        println!("{}: {all:?}, of which the rules {two:?}", case.0);
        assert!(all < BOUND || case.0 == REGEX.0, "{}: {all:?}", case.0);
    }
}
