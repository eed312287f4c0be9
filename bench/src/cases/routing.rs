//! One routing decision among 1,000 instances.

use super::Bench;
use crate::report::{Budget, Report};
use anyhow::{Result, ensure};
use myagent_core::routing::{
    Context, Decision, FixedTick, Live, RoutedInstance, RoutedService, RoutingSnapshot, Scratch, decide,
};
use myagent_core::{InstanceKey, ServiceId, StartId, Tick};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use tokio::time::Instant;
use uuid::Uuid;

const DECISIONS: u64 = 20_000;

pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let one = RoutingSnapshot::new(vec![service(0, 1000)]);
    let many = RoutingSnapshot::new((0..500).map(|number| service(number, 2)).collect());
    let client = "127.0.0.1:5000".parse()?;
    let headers: [(&str, &[u8]); 1] = [("user-agent", b"bench")];
    let mut scratch = Scratch::default();
    for (what, snapshot, target) in [
        ("named service of 2 instances, among 500 services", &many, "/s/service-250/"),
        ("named service of 1,000 instances", &one, "/s/service-0/"),
        ("no name: 1,000 instances of 500 services", &many, "/"),
    ] {
        let mut took = Vec::new();
        for _ in 0..bench.rounds {
            let started = Instant::now();
            for tick in 0..DECISIONS {
                let context = Context::new(client, black_box(target), &headers);
                let live = Live {
                    loads: &(),
                    sessions: &(),
                    ticks: &FixedTick(tick),
                    now: Tick::default(),
                    random: tick,
                    tried: &[],
                };
                let decision = decide(snapshot, &context, &live, &mut scratch);
                ensure!(matches!(black_box(decision), Decision::Go(_)), "nobody was chosen");
            }
            took.push(started.elapsed().as_secs_f64() * 1e6 / DECISIONS as f64);
        }
        report.line(&format!("decision, {what}"), &took, "µs", Budget::AtMost(10.0));
    }
    Ok(())
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
