//! The cost of a decision over 1,000 instances and 1,000 rules. Budget: 10 µs in a release build.
//! `cargo test --release -p myagent-core -- --ignored --nocapture decisions_are_quick`

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

fn fleet_with(rule: impl Fn(u32) -> Value, last: &Value) -> (RoutingSnapshot, Vec<Arc<SharedLoad>>) {
    let text: Vec<_> = (0..500).map(|service| format!("s{service}:2#t{}", service % 10)).collect();
    let services = Fleet::new(&text.join(" ")).snapshot.services().to_vec();
    let mut rules: Vec<_> = (0..999).map(|number| compiled(number + 1, &rule(number))).collect();
    rules.push(compiled(1000, last));
    let snapshot = RoutingSnapshot::build(services, rules, Strategy::RoundRobin, None);
    let loads = snapshot.instances().map(|_| Arc::new(SharedLoad::default())).collect();
    (snapshot, loads)
}

fn measure(what: &str, rule: impl Fn(u32) -> Value, target: &str) -> Duration {
    let wide = measure_to(&rule_to_all(), what, &rule, target);
    // How much of it the rules are.
    measure_to(
        &json!({"name": "last", "priority": 500, "target_services": ["s1"]}),
        &format!("  {what}: rules only"),
        &rule,
        target,
    );
    wide
}

fn rule_to_all() -> Value {
    json!({"name": "last", "priority": 500})
}

#[expect(clippy::disallowed_methods, reason = "a stopwatch")]
fn measure_to(last: &Value, what: &str, rule: impl Fn(u32) -> Value, target: &str) -> Duration {
    let (snapshot, loads) = fleet_with(rule, last);
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
    for _ in 0..20 {
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
            assert!(matches!(decision, Decision::Go(_)));
        }
        best = best.min(start.elapsed() / 100);
    }
    println!("{what}: {best:?}");
    best
}

#[test]
#[ignore = "needs a release build and a quiet machine"]
fn decisions_are_quick() {
    let rule = |conditions: Value| json!({"name": "r", "conditions": conditions, "target_tags": ["t1"]});
    let mixed = |number: u32| {
        rule(match number % 5 {
            0 => {
                json!([{"field": "header.x-tenant", "operator": "equals", "value": format!("t-{number}-of-many")},
                {"field": "path", "operator": "starts_with", "value": "/chat"}])
            }
            1 => {
                json!([{"field": "client_ip", "operator": "ip_in_range", "value": format!("10.{}.0.0/16", number % 200)}])
            }
            2 => json!([{"field": "path", "operator": "starts_with", "value": format!("/api/v{number}/")}]),
            3 => {
                json!([{"field": "query.lang", "operator": "in_list", "value": ["xx", format!("l{number}")]}])
            }
            _ => json!([{"field": "cookie.plan", "operator": "equals", "value": format!("plan{number}")}]),
        })
    };
    let one = |field: &'static str, operator: &'static str, value: &'static str| {
        move |number: u32| {
            rule(json!([{"field": field, "operator": operator, "value": format!("{value}{number}")}]))
        }
    };
    let target = "/chat/ws?lang=de&user=u-17";
    let measured = [
        measure("mixed operators, round robin over all", mixed, target),
        measure("mixed, least connections", mixed, "/chat/ws?routing_hint=least_connections"),
        measure("mixed, weighted random", mixed, "/chat/ws?routing_hint=weighted_random"),
        measure("mixed, hash", mixed, "/chat/ws?routing_hint=hash_based"),
        measure("mixed, performance", mixed, "/chat/ws?routing_hint=performance_based"),
        measure("mixed, a named service", mixed, "/s/s7/ws"),
        measure("equals on one header", one("header.x-tenant", "equals", "t-17-of-man"), target),
        measure("contains on the user agent", one("user_agent", "contains", "iPhone"), target),
        measure(
            "one header for each rule",
            |number| rule(json!([{"field": format!("header.x-{number}"), "operator": "exists"}])),
            target,
        ),
    ];
    println!(
        "regular expressions (no budget): {:?}",
        measure("regex", one("user_agent", "regex_match", "iP(hone|ad)"), target)
    );
    for (number, duration) in measured.into_iter().enumerate() {
        assert!(duration < BOUND, "case {number}: {duration:?}");
    }
}
