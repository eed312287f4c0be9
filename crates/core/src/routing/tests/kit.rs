//! Fleets for tests, written in a line: `main:2 mobile:1x#tag,other*3` is a service with two instances that are well and one
//! with one instance that is broken (`x`; `s` starting, `f` full), with tags and a weight.

use crate::clock::Tick;
use crate::ids::{InstanceKey, RuleId, ServiceId, StartId};
use crate::routing::{
    CompiledRule, Context, Decision, Explanation, FixedTick, Live, Load, RoutedInstance, RoutedService,
    RoutingSnapshot, Rule, Scratch, Strategy, decide, explain, rule,
};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

#[derive(Clone, Debug)]
pub(in crate::routing) struct Fleet {
    pub(in crate::routing) snapshot: RoutingSnapshot,
    pub(in crate::routing) sessions: HashMap<String, InstanceKey>,
    pub(in crate::routing) loads: Vec<Load>,
    pub(in crate::routing) now: Tick,
    pub(in crate::routing) random: u64,
    pub(in crate::routing) client: String,
    pub(in crate::routing) headers: Vec<(String, String)>,
    pub(in crate::routing) tried: Vec<InstanceKey>,
}

impl Fleet {
    pub(in crate::routing) fn new(text: &str) -> Self {
        Self::of(text.split_whitespace().zip(1..).map(|(text, id)| service(id, text)).collect())
    }

    pub(in crate::routing) fn of(services: Vec<RoutedService>) -> Self {
        let snapshot = RoutingSnapshot::new(services);
        Self {
            loads: vec![Load::default(); snapshot.instances().count()],
            snapshot,
            sessions: HashMap::new(),
            now: Duration::from_secs(1000),
            random: 0x1234_5678_9abc_def0,
            client: "192.168.1.7:5000".to_owned(),
            headers: Vec::new(),
            tried: Vec::new(),
        }
    }

    /// Rules, the first one the oldest.
    pub(in crate::routing) fn rules(self, bodies: &[Value]) -> Self {
        let rules = bodies.iter().zip(1..).map(|(body, number)| compiled(number, body)).collect();
        let services = self.snapshot.services().to_vec();
        Self { snapshot: RoutingSnapshot::build(services, rules, Strategy::default(), None), ..self }
    }

    pub(in crate::routing) fn with_tried(&self, tried: &[InstanceKey]) -> Self {
        Self { tried: tried.to_vec(), ..self.clone() }
    }

    pub(in crate::routing) fn with_headers(&self, headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { headers, ..self.clone() }
    }

    pub(in crate::routing) fn key(&self, name: &str) -> InstanceKey {
        self.snapshot
            .instances()
            .find(|instance| &*instance.name == name)
            .expect("an instance of that name")
            .key
    }

    fn with<T>(&self, target: &str, tick: u64, run: impl FnOnce(&Context<'_>, &Live<'_, [Load]>) -> T) -> T {
        let live = Live {
            loads: self.loads.as_slice(),
            sessions: &self.sessions,
            ticks: &FixedTick(tick),
            now: self.now,
            random: self.random,
            tried: &self.tried,
        };
        run(&Context::new(self.client.parse().expect("an address"), target, &self.headers), &live)
    }

    pub(in crate::routing) fn decide(&self, target: &str, check: impl FnOnce(Decision<'_>)) {
        self.with(target, 0, |context, live| {
            check(decide(&self.snapshot, context, live, &mut Scratch::default()));
        });
    }

    pub(in crate::routing) fn explain(&self, target: &str) -> Explanation {
        self.with(target, 0, |context, live| explain(&self.snapshot, context, live, &mut Scratch::default()))
    }

    pub(in crate::routing) fn outcome(&self, target: &str) -> String {
        self.outcome_at(target, 0)
    }

    /// The outcomes at the first ticks.
    pub(in crate::routing) fn outcomes(&self, target: &str, ticks: u64) -> Vec<String> {
        (0..ticks).map(|tick| self.outcome_at(target, tick)).collect()
    }

    pub(in crate::routing) fn outcome_at(&self, target: &str, tick: u64) -> String {
        self.with(target, tick, |context, live| {
            match decide(&self.snapshot, context, live, &mut Scratch::default()) {
                Decision::Go(choice) => choice.instance.name.to_string(),
                Decision::Wait { reason, .. } => format!("wait: {reason}"),
                Decision::Refuse { reason, .. } => format!("refuse: {reason}"),
            }
        })
    }
}

/// A rule of this JSON, the `number`-th to be made.
pub(in crate::routing) fn compiled(number: u32, body: &Value) -> Arc<CompiledRule> {
    let spec = rule::parse(body.clone()).unwrap_or_else(|errors| panic!("{body}: {errors:?}"));
    let created_at = Timestamp::from_second(number.into()).expect("a time");
    let rule = Rule {
        rule_id: RuleId(Uuid::from_u128(number.into())),
        spec,
        created_at,
        updated_at: created_at,
        version: 1,
    };
    Arc::new(CompiledRule::new(rule).expect("a rule that was parsed compiles"))
}

fn service(id: u128, text: &str) -> RoutedService {
    let (text, weight) = text.split_once('*').unwrap_or((text, "1"));
    let (text, tags) = text.split_once('#').unwrap_or((text, ""));
    let (name, instances) = text.split_once(':').expect("name:count");
    let count = instances.trim_end_matches(char::is_alphabetic);
    let is = |state: &str| instances.ends_with(state);
    let instances = (0..count.parse().expect("a count")).map(|index| RoutedInstance {
        key: InstanceKey { service_id: ServiceId(Uuid::from_u128(id << 64 | 0x7000)), index },
        name: format!("{name}-{index}").into(),
        start_id: StartId(Uuid::nil()),
        takeover: Arc::from(Path::new("/nowhere")),
        upstream: None,
        eligible: !is("x") && !is("s"),
        may_become_eligible: is("s"),
        max_places: if is("f") { 2 } else { 0 },
        places: 2,
        weight: weight.parse().expect("a weight"),
    });
    let tags = tags.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
    RoutedService { name: name.into(), tags, instances: instances.collect() }
}
