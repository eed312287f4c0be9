//! A rule of arbitrary JSON for an arbitrary request: it is refused with a place and a reason, or it is compiled; then it can be
//! written and read back, decides without panic, as it is explained, and each of its conditions holds if a plain reading of
//! it holds.

#![no_main]

use ipnet::IpNet;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use myagent_core::routing::{
    CompiledRule, Condition, Context, Decision, Field, FixedTick, Live, Operator, Outcome, RoutedInstance,
    RoutedService, RoutingSnapshot, Rule, RuleSpec, Scratch, Strategy, decide, explain, rule,
};
use myagent_core::{InstanceKey, RuleId, ServiceId, StartId};
use myagent_relay::handshake::percent_decode;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Headers, names and values.
type Lines = Vec<(String, Vec<u8>)>;

/// What is asked of the rule.
struct Request {
    client: SocketAddr,
    target: String,
    headers: Lines,
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let found = if *first & 1 == 0 { written(rest) } else { built(*first, rest) };
    let Some((body, request)) = found else { return };
    match rule::parse(body) {
        Ok(spec) => check(spec, &request),
        Err(errors) => {
            assert!(!errors.is_empty());
            assert!(errors.iter().all(|error| !error.field.is_empty() && !error.message.is_empty()));
        }
    }
});

/// Lines of a request, an empty one, a rule.
fn written(bytes: &[u8]) -> Option<(Value, Request)> {
    let end = bytes.windows(2).position(|two| two == b"\n\n")?;
    let body = serde_json::from_slice(&bytes[end + 2..]).ok()?;
    let mut lines = bytes[..end].split(|byte| *byte == b'\n');
    let target = String::from_utf8(lines.next()?.to_vec()).ok()?;
    let header = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((String::from_utf8(line[..colon].to_vec()).ok()?, line[colon + 1..].to_vec()))
    };
    let headers = lines.filter_map(header).collect();
    Some((body, Request { client: ([192, 168, 1, 7], 5000).into(), target, headers }))
}

/// One condition, and a request in which about every field has the same text.
fn built(first: u8, bytes: &[u8]) -> Option<(Value, Request)> {
    const FIELDS: [&str; 10] = [
        "client_ip",
        "client_port",
        "path",
        "host",
        "user_agent",
        "header.x",
        "query.x",
        "cookie.x",
        "x",
        "session_id",
    ];
    let (numbers, rest) = bytes.split_at_checked(2)?;
    let cut = rest.iter().position(|byte| *byte == 0)?;
    let (value, text) = (String::from_utf8_lossy(&rest[..cut]), &rest[cut + 1..]);
    let operator = Operator::ALL[usize::from(numbers[0]) % Operator::ALL.len()];
    let value = match first >> 1 & 3 {
        0 => json!(value),
        1 => json!(value.split(',').collect::<Vec<_>>()),
        2 => serde_json::from_str(&value).ok()?,
        _ => Value::Null,
    };
    let field = FIELDS[usize::from(numbers[1]) % FIELDS.len()];
    let body = json!({"name": "built", "conditions": [
        {"field": field, "operator": operator, "value": value, "case_sensitive": first & 0x80 != 0}]});
    let in_target: String = String::from_utf8_lossy(text).chars().filter(|c| !c.is_whitespace()).collect();
    let line = |name: &str, value: &[u8]| (name.to_owned(), value.to_owned());
    let headers = vec![
        line("User-Agent", text),
        line("Host", text),
        line("X", if first & 0x40 != 0 { b"\xff" } else { text }),
        line("x", text),
        line("Cookie", &[b"y=1; x=", text].concat()),
    ];
    let ip = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    let client = SocketAddr::new(ip.unwrap_or(IpAddr::from([10, 0, 0, 7])), 443);
    Some((
        body,
        Request { client, target: format!("/{in_target}?x={in_target}&session_id={in_target}"), headers },
    ))
}

fn compiled(spec: RuleSpec) -> Arc<CompiledRule> {
    let rule = Rule {
        rule_id: RuleId(Uuid::from_u128(1)),
        spec,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        version: 1,
    };
    Arc::new(CompiledRule::new(rule).expect("a rule that was read compiles"))
}

fn service(name: &str, number: u128, tags: &[&str], count: u32) -> RoutedService {
    let instance = |index| RoutedInstance {
        key: InstanceKey { service_id: ServiceId(Uuid::from_u128(number << 64 | 0x7000)), index },
        name: format!("{name}-{index}").into(),
        start_id: StartId(Uuid::nil()),
        takeover: Arc::from(Path::new("/nowhere")),
        eligible: true,
        may_become_eligible: false,
        max_places: 0,
        places: 0,
        weight: index + 1,
    };
    RoutedService {
        name: name.into(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        instances: (0..count).map(instance).collect(),
    }
}

fn check(spec: RuleSpec, request: &Request) {
    let again = serde_json::to_value(&spec).expect("a rule can be written");
    assert_eq!(rule::parse(again).expect("what was written can be read"), spec);

    let context = Context::new(request.client, &request.target, &request.headers);
    let live = Live {
        loads: &(),
        sessions: &(),
        ticks: &FixedTick(request.target.len() as u64),
        now: Duration::from_secs(1000),
        random: 0x1234_5678_9abc_def0,
        tried: &[],
    };
    let mut scratch = Scratch::default();
    let services = vec![service("a", 1, &["x", "y"], 3), service("b", 2, &["y"], 1)];
    let rules = vec![compiled(spec.clone())];
    let snapshot = RoutingSnapshot::build(services, rules, Strategy::default(), None);
    let explained = explain(&snapshot, &context, &live, &mut scratch);
    match decide(&snapshot, &context, &live, &mut scratch) {
        Decision::Go(choice) => {
            assert_eq!(explained.instance.as_deref(), Some(&*choice.instance.name));
            assert_eq!(explained.rule.is_some(), choice.rule.is_some());
        }
        Decision::Wait { .. } => assert_eq!(explained.outcome, Outcome::Wait),
        Decision::Refuse { .. } => assert_eq!(explained.outcome, Outcome::Refuse),
    }

    if context.target.service.is_some() || context.target.has_tags {
        // Then no rule is asked.
        return;
    }
    for condition in spec.conditions.iter().take(8) {
        let field = Field::parse(&condition.field).expect("the field of a condition that compiles");
        let Some(expected) = plainly(condition, &field, &context) else { continue };
        let alone =
            RuleSpec { name: "alone".to_owned(), conditions: vec![condition.clone()], ..RuleSpec::default() };
        let services = vec![service("a", 1, &[], 1)];
        let snapshot = RoutingSnapshot::build(services, vec![compiled(alone)], Strategy::default(), None);
        let Decision::Go(choice) = decide(&snapshot, &context, &live, &mut scratch) else {
            panic!("there is somebody");
        };
        assert_eq!(
            choice.rule.is_some(),
            expected,
            "{condition:?} for {:?} {:?}",
            request.target,
            request.headers
        );
    }
}

/// Whether a condition holds, by a plain reading of `docs/design/routing.md`; none: that would take a second engine.
fn plainly(condition: &Condition, field: &Field, context: &Context<'_>) -> Option<bool> {
    let fold = |text: &str| if condition.case_sensitive { text.to_owned() } else { text.to_lowercase() };
    let entry = |value: &Value| match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let list = || match &condition.value {
        Value::Array(values) => values.iter().map(entry).collect(),
        Value::String(text) => {
            text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
        }
        value => vec![entry(value)],
    };
    let address = |text: String| match (field, text.parse::<IpAddr>()) {
        (Field::ClientIp, Ok(address)) => address.to_canonical().to_string(),
        _ => text,
    };
    let negated = condition.operator.to_string().contains("not_");
    let Some(found) = value_of(field, context) else { return Some(negated) };
    let (found, value) = (fold(&found), fold(&entry(&condition.value)));
    let holds = match condition.operator {
        Operator::RegexMatch => return None,
        Operator::Exists | Operator::NotExists => true,
        Operator::Equals | Operator::NotEquals => found == fold(&address(entry(&condition.value))),
        Operator::Contains | Operator::NotContains => found.contains(&value),
        Operator::StartsWith => found.starts_with(&value),
        Operator::EndsWith => found.ends_with(&value),
        Operator::InList | Operator::NotInList => {
            let list: Vec<String> = list();
            list.into_iter().any(|entry| fold(&address(entry)) == found)
        }
        Operator::IpInRange => {
            let list: Vec<String> = list();
            let Ok(found) = found.trim().parse::<IpAddr>() else { return Some(negated) };
            list.iter().any(|network| is_in(found.to_canonical(), network.trim()))
        }
    };
    Some(holds != negated)
}

fn is_in(address: IpAddr, network: &str) -> bool {
    let network = network.parse::<IpNet>().or_else(|_| network.parse::<IpAddr>().map(IpNet::from));
    let network = network.expect("a network that compiles");
    let (bits, base) = match (address, network.addr()) {
        (IpAddr::V4(address), IpAddr::V4(base)) => {
            (u128::from(address.to_bits()) << 96, u128::from(base.to_bits()) << 96)
        }
        (IpAddr::V6(address), IpAddr::V6(base)) => (address.to_bits(), base.to_bits()),
        // Written in the longer form, and meant in the shorter one.
        (IpAddr::V4(address), IpAddr::V6(base)) if network.prefix_len() >= 96 => {
            (address.to_ipv6_mapped().to_bits(), base.to_bits())
        }
        _ => return false,
    };
    (bits ^ base).checked_shr(128 - u32::from(network.prefix_len())).unwrap_or(0) == 0
}

/// What a request has in a field.
fn value_of(field: &Field, context: &Context<'_>) -> Option<String> {
    // What is no text is not there.
    let headers = || {
        (0..)
            .map_while(|index| context.headers.header(index))
            .filter_map(|(name, value)| Some((name, std::str::from_utf8(value).ok()?)))
    };
    let header = |wanted: &str| {
        headers()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim().to_owned())
    };
    let query = |wanted: &str| {
        let pairs = context.target.query.split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(name, _)| percent_decode(name) == wanted)
            .map(|(_, value)| percent_decode(value))
    };
    match field {
        Field::ClientIp => Some(context.client_ip.to_string()),
        Field::ClientPort => Some(context.client_port.to_string()),
        Field::UserAgent => header("user-agent"),
        Field::Path => Some(context.target.path.to_owned()),
        Field::Host => {
            let host = context.headers.first("host")?;
            let (name, port) = host.rsplit_once(':').unwrap_or((host, "none"));
            let is_port = port.chars().all(|c| c.is_ascii_digit()) && !name.ends_with(':');
            Some(if is_port { name } else { host }.to_owned())
        }
        Field::SessionId => context.target.session_id.as_deref().map(str::to_owned),
        Field::Service => context.target.service.as_deref().map(str::to_owned),
        Field::Tag => context.target.tags().next().as_deref().map(str::to_owned),
        Field::Header(name) => header(name),
        Field::Query(name) => query(name),
        Field::Cookie(wanted) => headers()
            .filter(|(name, _)| name.eq_ignore_ascii_case("cookie"))
            .flat_map(|(_, value)| value.split(';').filter_map(|pair| pair.trim().split_once('=')))
            .find(|(name, _)| *name == &**wanted)
            .map(|(_, value)| value.trim_matches('"').to_owned()),
        Field::Bare(name) => header(name).or_else(|| query(name)),
    }
}
