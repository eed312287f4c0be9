//! One routing decision among 1,000 instances, without rules and with 1,000 of them.

use super::Bench;
use crate::procs;
use crate::report::{Budget, Report};
use anyhow::{Result, anyhow, bail, ensure};
use myagent_core::routing::{
    CompiledRule, Context, Decision, FixedTick, Live, RoutedInstance, RoutedService, RoutingSnapshot, Rule,
    Scratch, Strategy, decide,
};
use myagent_core::{InstanceKey, ServiceId, StartId, Tick};
use serde_json::{Value, json};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

const DECISIONS: u64 = 20_000;
const RULES: u128 = 1000;
/// Name of the rule that is tried last and is for everybody.
const LAST: &str = "last";
/// What a browser says.
const HEADERS: [(&str, &[u8]); 9] = [
    ("Host", b"chat.example.org:9090"),
    ("Connection", b"Upgrade"),
    ("Upgrade", b"websocket"),
    ("Sec-WebSocket-Version", b"13"),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    ("User-Agent", b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"),
    ("Origin", b"https://chat.example.org"),
    ("X-Tenant", b"t-17-of-many"),
    ("Cookie", b"plan=free; theme=dark; sid=0123456789abcdef"),
];

pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let one = RoutingSnapshot::new(vec![service(0, 1000)]);
    let services: Vec<_> = (0..500).map(|number| service(number, 2)).collect();
    let rules = (0..RULES).map(rule).collect::<Result<_>>()?;
    let ruled = RoutingSnapshot::build(services.clone(), rules, Strategy::RoundRobin, None);
    let many = RoutingSnapshot::new(services);
    let client = "127.0.0.1:5000".parse()?;
    let mut scratch = Scratch::default();
    for (what, snapshot, target) in [
        ("named service of 2 instances, among 500 services", &many, "/s/service-250/"),
        ("named service of 1,000 instances", &one, "/s/service-0/"),
        ("no name: 1,000 instances of 500 services", &many, "/"),
        ("1,000 instances, and the last of 1,000 rules applies", &ruled, "/chat/ws?lang=de&user=u-17"),
    ] {
        let has_rules = snapshot.rules().next().is_some();
        let mut took = Vec::new();
        for _ in 0..bench.rounds {
            // Of the processor: a decision waits for nothing, and others may have work.
            let started = procs::own_cpu();
            for tick in 0..DECISIONS {
                let context = Context::new(client, black_box(target), &HEADERS);
                let live = Live {
                    loads: &(),
                    sessions: &(),
                    ticks: &FixedTick(tick),
                    now: Tick::default(),
                    random: tick,
                    tried: &[],
                };
                let decision = decide(snapshot, &context, &live, &mut scratch);
                let Decision::Go(choice) = black_box(decision) else { bail!("nobody was chosen") };
                let by = choice.rule.map(|rule| rule.spec.name.as_str());
                ensure!(by == has_rules.then_some(LAST), "chosen by {by:?}");
            }
            took.push(procs::own_cpu().saturating_sub(started).as_secs_f64() * 1e6 / DECISIONS as f64);
        }
        report.line(&format!("decision, {what}"), &took, "µs", Budget::AtMost(10.0));
    }
    Ok(())
}

/// Rules of all sorts that do not apply, and at the end one that does.
fn rule(number: u128) -> Result<Arc<CompiledRule>> {
    let is = |field: &str, operator: &str, value: String| json!({"field": field, "operator": operator, "value": value});
    let conditions = match number % 5 {
        _ if number + 1 == RULES => vec![],
        0 => vec![
            is("header.x-tenant", "equals", format!("t-{number}-of-many")),
            is("path", "starts_with", "/chat".to_owned()),
        ],
        1 => vec![is("client_ip", "ip_in_range", format!("10.{}.0.0/16", number % 200))],
        2 => vec![is("path", "starts_with", format!("/api/v{number}/"))],
        3 => vec![is("query.lang", "in_list", format!("xx, l{number}"))],
        _ => vec![is("cookie.plan", "equals", format!("plan{number}"))],
    };
    let name = if conditions.is_empty() { LAST.to_owned() } else { format!("rule-{number}") };
    let now = "2026-01-01T00:00:00Z";
    let rule: Value = json!({
        "rule_id": Uuid::from_u128(number), "name": name, "priority": number as u64, "conditions": conditions,
        "created_at": now, "updated_at": now, "version": 1,
    });
    let rule: Rule = serde_json::from_value(rule)?;
    Ok(Arc::new(CompiledRule::new(rule).map_err(|errors| anyhow!("{errors:?}"))?))
}

fn service(number: u128, instances: u32) -> RoutedService {
    let name = format!("service-{number}");
    let instance = |index| RoutedInstance {
        key: InstanceKey { service_id: ServiceId(Uuid::from_u128(number)), index },
        name: format!("{name}-{index}").into(),
        start_id: StartId(Uuid::nil()),
        takeover: Arc::from(Path::new("/nowhere")),
        upstream: None,
        eligible: true,
        may_become_eligible: false,
        max_places: 0,
        places: 0,
        weight: 1,
    };
    RoutedService {
        name: name.as_str().into(),
        tags: Default::default(),
        instances: (0..instances).map(instance).collect(),
    }
}
