//! A page with everything on it, read by a strict reader of its own.
#![expect(clippy::float_cmp, reason = "what is read is what was written")]

use super::*;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::routing::get;
use myagent_core::config::ServiceConfig;
use myagent_core::front_door::Turned;
use myagent_core::spread::SharedSpread;
use myagent_core::wire::sessions::{SessionEnd, SessionTotals, TurnEnd};
use myagent_core::wire::sums::{OTHER_RULES, Traffic};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// A service of an agent file with so many instances, and some history.
fn service(name: &str, instances: u32) -> Arc<ServiceView> {
    let mut sessions = SessionTotals::default();
    sessions.ended(SessionEnd::Expired, false, Duration::from_secs(90));
    sessions.ended(SessionEnd::Closed, true, Duration::from_secs(3));
    sessions.turns.accepted = 3;
    sessions.turns.ended(TurnEnd::Completed, Duration::from_millis(700));
    sessions.turns.ended(TurnEnd::Completed, Duration::from_hours(3));
    sessions.turns.ended(TurnEnd::WorkerLost, Duration::from_secs(1));
    let instance = |index: u32| {
        json!({
            "name": format!("{name}-{index}"), "index": index, "host": "127.0.0.1", "status": "running",
            "restart_count": 2, "active_connections": 4, "active_sessions": 5, "detached_sessions": 1,
            "totals": {"connections": 10, "messages_in": 20, "messages_out": 30, "bytes_in": 40, "bytes_out": 50},
            "cpu_percent": 150.0, "memory_mb": 1.5, "processes": 2, "health": "healthy", "busy": false,
            "outdated": false, "last_health_check": "2026-01-01T00:00:00Z", "started_at": "2026-01-01T00:00:00.5Z",
        })
    };
    let view = json!({
        "service_id": uuid::Uuid::nil(), "name": name, "description": "", "host": "127.0.0.1", "tags": [],
        "source": {"kind": "file", "path": "/a.py"}, "agent_type": "file", "version": 1, "status": "running",
        "desired": "running", "replicas": instances, "created_at": "2026-01-01T00:00:00Z", "restart_count": 0,
        "config": ServiceConfig::default(), "environment": {}, "secrets": [], "health": "healthy",
        "stats": {"active_connections": 4, "active_sessions": 5, "session_totals": sessions},
        "instances": (0..instances).map(instance).collect::<Vec<_>>(),
    });
    // The totals are flattened into the statistics, and all of them are optional.
    Arc::new(serde_json::from_value(view).unwrap())
}

fn seen(services: Vec<Arc<ServiceView>>) -> Seen {
    let spread = SharedSpread::new(&[100, 1_000]);
    for micros in [50, 500, 5_000, 5_000] {
        spread.record(Duration::from_micros(micros));
    }
    let mut turned_away = [0; Turned::ALL.len()];
    turned_away[Turned::QueueFull as usize] = 7;
    let requests = Requests::default();
    requests.add(Some("/api/v1/services/{name}"), &axum::http::Method::GET, 200, Duration::from_millis(2));
    let traffic = Traffic { connections: 1, bytes_out: 9, ..Traffic::default() };
    Seen {
        fleet: FleetView { services: [("running".to_owned(), 1), ("total".to_owned(), 1)].into(), ..Default::default() },
        connections: ConnectionStats {
            by_status: [("active".to_owned(), 4)].into(),
            by_strategy: [("direct".to_owned(), 4)].into(),
            rules: [("a \"quoted\" \\ rule\n".to_owned(), traffic)].into(),
            ..Default::default()
        },
        rules: 1,
        info: serde_json::from_value(json!({
            "name": "myagent-manager", "version": "1.2.3", "pid": 1, "started_at": "2026-01-01T00:00:00Z",
            "data_dir": "/", "listeners": {}, "waiting_clients": 3, "plain_requests": {"served": 1, "failed": 2},
        }))
        .unwrap(),
        storage_ok: true,
        uptime: Duration::from_millis(1_500),
        process: Some(ProcessStats { cpu_seconds: 0.25, max_files: Some(1024), ..Default::default() }),
        door: FrontDoorStats { accepted: 5, turned_away, hand_over: spread.read(), queue_wait: spread.read(), ..Default::default() },
        requests: requests.read(),
        services,
    }
}

fn page(seen: Seen) -> String {
    encode::text(seen, Format::Prometheus)
}

/// A series: its name, and its labels by name.
type Series = (String, BTreeMap<String, String>);

/// Everything on a page in the format of Prometheus.
#[derive(Debug, Default)]
struct Read {
    /// The type of each family, by name, in the order of the page.
    kinds: Vec<(String, String)>,
    values: BTreeMap<Series, f64>,
}

impl Read {
    /// Panics at the first thing that is not as the format has it.
    fn page(text: &str) -> Self {
        let (mut read, mut helped, mut seen) = (Self::default(), String::new(), BTreeSet::new());
        assert!(text.ends_with('\n'), "the last line has an end");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help has a text");
                assert!(!help.trim().is_empty() && seen.insert(name.to_owned()), "{line}");
                name.clone_into(&mut helped);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type has a name");
                assert_eq!(name, helped, "the type follows the help");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                read.kinds.push((name.to_owned(), kind.to_owned()));
            } else {
                let (series, value) = sample(line);
                let (family, kind) = read.kinds.last().expect("a type comes before samples");
                let suffix = series.0.strip_prefix(family.as_str()).expect("samples follow their type");
                match kind.as_str() {
                    "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
                    _ => assert_eq!(suffix, "", "{line}"),
                }
                assert_eq!(series.1.contains_key("le"), suffix == "_bucket", "{line}");
                assert!(read.values.insert(series, value).is_none(), "twice: {line}");
            }
        }
        read
    }

    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let series = (name.to_owned(), labels);
        *self.values.get(&series).unwrap_or_else(|| panic!("{series:?} is missing"))
    }

    fn of_instance(&self, instance: &str) -> usize {
        self.values
            .keys()
            .filter(|(_, labels)| labels.get("instance").is_some_and(|is| is == instance))
            .count()
    }
}

/// One line: name, labels with their escapes undone, value.
fn sample(line: &str) -> (Series, f64) {
    let end = line.find(['{', ' ']).expect("a sample has a value");
    let (name, mut rest) = line.split_at(end);
    let first = name.chars().next().expect("a sample has a name");
    assert!(first.is_ascii_lowercase() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").expect("a label has a value");
            let (value, after) = quoted(after);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
        assert!(!labels.is_empty(), "{line}");
    }
    let value = rest.strip_prefix(' ').expect("a space before the value");
    ((name.to_owned(), labels), value.parse().expect("a value is a number"))
}

/// A value up to its quote, and what is behind it.
fn quoted(text: &str) -> (String, &str) {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    loop {
        match chars.next().expect("a label's value ends") {
            (at, '"') => return (value, &text[at + 1..]),
            (_, '\\') => value.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, escaped @ ('"' | '\\'))) => escaped,
                other => panic!("an escape that there is not: {other:?}"),
            }),
            (_, plain) => value.push(plain),
        }
    }
}

#[test]
fn a_page_says_what_was_seen() {
    let read = Read::page(&page(seen(vec![service("weather", 3)])));
    let instance = [("service", "weather"), ("instance", "weather-1")];
    assert_eq!(read.value("myagent_instance_up", &instance), 1.0);
    assert_eq!(read.value("myagent_instance_cpu_usage_ratio", &instance), 1.5);
    assert_eq!(read.value("myagent_instance_memory_bytes", &instance), 1_572_864.0);
    assert_eq!(read.value("myagent_instance_sent_bytes_total", &instance), 50.0);
    assert_eq!(read.value("myagent_instance_start_time_seconds", &instance), 1_767_225_600.5);
    let health = |state| [("service", "weather"), ("instance", "weather-0"), ("state", state)];
    assert_eq!(read.value("myagent_instance_health", &health("healthy")), 1.0);
    assert_eq!(read.value("myagent_instance_health", &health("unhealthy")), 0.0);
    assert_eq!(read.value("myagent_services", &[("state", "running")]), 1.0);
    assert_eq!(read.value("myagent_services", &[("state", "error")]), 0.0);
    assert_eq!(read.value("myagent_service_wanted_instances", &[("service", "weather")]), 3.0);
    let failed = [("service", "weather"), ("outcome", "failed"), ("cause", "worker_lost")];
    assert_eq!(read.value("myagent_turns_ended_total", &failed), 1.0);
    assert_eq!(read.value("myagent_front_door_turned_away_total", &[("reason", "queue_full")]), 7.0);
    assert_eq!(read.value("myagent_front_door_waiting_clients", &[]), 3.0);
    assert_eq!(read.value("myagent_front_door_plain_requests_total", &[("outcome", "failed")]), 2.0);
    let request = [("route", "/api/v1/services/{name}"), ("method", "GET"), ("code", "2xx")];
    assert_eq!(read.value("myagent_api_requests_total", &request), 1.0);
    assert_eq!(read.value("myagent_rule_sent_bytes_total", &[("rule", "a \"quoted\" \\ rule\n")]), 9.0);
    assert_eq!(read.value("myagent_build_info", &[("version", "1.2.3")]), 1.0);
    assert_eq!(read.value("process_cpu_seconds_total", &[]), 0.25);
    assert_eq!(read.value("myagent_uptime_seconds", &[]), 1.5);
}

#[test]
fn histograms_are_running_sums_and_their_last_bucket_is_their_count() {
    let read = Read::page(&page(seen(vec![service("weather", 1)])));
    let mut histograms = BTreeMap::<Series, Vec<(f64, f64)>>::new();
    for ((name, labels), value) in &read.values {
        if let Some(family) = name.strip_suffix("_bucket") {
            let mut labels = labels.clone();
            let bound: f64 = labels.remove("le").unwrap().parse().unwrap();
            histograms.entry((family.to_owned(), labels)).or_default().push((bound, *value));
        }
    }
    assert_eq!(histograms.len(), 6, "three of the service, two of the front door, one of the API");
    for ((family, labels), mut buckets) in histograms {
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        assert!(buckets.is_sorted_by_key(|(_, count)| *count), "{family}: {buckets:?}");
        let (last, count) = *buckets.last().unwrap();
        assert_eq!(last, f64::INFINITY, "{family}");
        assert_eq!(read.values[&(format!("{family}_count"), labels.clone())], count, "{family}");
        assert!(read.values.contains_key(&(format!("{family}_sum"), labels)), "{family}");
    }
    let turn =
        |bound| read.value("myagent_turn_duration_seconds_bucket", &[("service", "weather"), ("le", bound)]);
    assert_eq!([turn("0.5"), turn("1"), turn("7200"), turn("+Inf")], [0.0, 1.0, 1.0, 2.0]);
    let door = |bound| read.value("myagent_front_door_hand_over_seconds_bucket", &[("le", bound)]);
    assert_eq!([door("0.0001"), door("0.001"), door("+Inf")], [1.0, 2.0, 4.0]);
}

#[test]
fn an_instance_has_less_than_a_hundred_series_and_the_page_has_few_beside_them() {
    let read = |instances| Read::page(&page(seen(vec![service("weather", instances)])));
    let (one, three) = (read(1), read(3));
    let each = three.of_instance("weather-2");
    assert!(each > 10 && each < 100, "{each}");
    assert_eq!(three.values.len(), one.values.len() + 2 * each);
    assert!(three.values.len() < 3 * 100, "{}", three.values.len());
}

#[test]
fn rules_beyond_the_bound_are_one() {
    let mut seen = seen(Vec::new());
    let traffic = |connections| Traffic { connections, ..Traffic::default() };
    seen.connections.rules = (0..1_000).map(|number| (format!("rule-{number:04}"), traffic(1))).collect();
    seen.connections.rules.insert(OTHER_RULES.to_owned(), traffic(5));
    let read = Read::page(&page(seen));
    let name = "myagent_rule_connections_total";
    assert_eq!(read.values.keys().filter(|(is, _)| is == name).count(), connections::MAX_RULES + 1);
    assert_eq!(read.value(name, &[("rule", "rule-0199")]), 1.0);
    assert_eq!(read.value(name, &[("rule", OTHER_RULES)]), 805.0);
}

#[test]
fn the_table_keeps_to_the_customs_of_prometheus() {
    let mut families = BTreeSet::new();
    for metric in all() {
        let Metric { name, kind, labels, help, .. } = metric;
        assert!(families.insert(encode::base(metric)), "{name}: OpenMetrics has one family of a name");
        assert!(name.starts_with("myagent_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        assert_eq!(name.ends_with("_info"), *kind == Kind::Info, "{name}");
        let is_unit =
            ["milli", "micro", "percent", "_mb", "_kb", "minutes"].iter().any(|unit| name.contains(unit));
        assert!(!is_unit, "{name}: seconds, bytes and ratios");
        assert!(*kind != Kind::Histogram || name.ends_with("_seconds"), "{name}");
        assert!(help.ends_with('.') && !help.contains(['\n', '\\']), "{name}: {help}");
        for label in *labels {
            let known = [
                "service", "instance", "state", "rule", "strategy", "reason", "outcome", "cause", "route",
                "method", "code", "version",
            ];
            assert!(known.contains(label), "{name}: {label} may be of a client");
        }
    }
    // Each is read by something: with everything there, no family is missing on the page.
    let shown: Vec<_> = Read::page(&page(seen(vec![service("weather", 1)]))).kinds;
    assert_eq!(
        shown,
        all().map(|metric| (metric.name.to_owned(), metric.kind.as_str().to_owned())).collect::<Vec<_>>()
    );
}

#[test]
fn what_is_not_there_has_no_series() {
    let mut seen = seen(Vec::new());
    seen.process = None;
    let read = Read::page(&page(seen));
    assert!(!read.kinds.iter().any(|(name, _)| name.starts_with("process_") || name.contains("_instance_")));
}

async fn ask(accept: Option<&str>) -> (String, String) {
    let answer = |headers: HeaderMap| async move { respond(seen(vec![service("weather", 1)]), &headers) };
    let router = Router::new().route("/metrics", get(answer));
    let mut request = Request::builder().uri("/metrics");
    if let Some(accept) = accept {
        request = request.header(header::ACCEPT, accept);
    }
    let service = hyper_util::service::TowerToHyperService::new(router);
    let response =
        hyper::service::Service::call(&service, request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
    let body = to_bytes(response.into_body(), 1_000_000).await.unwrap();
    (kind, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_client_gets_the_format_that_it_asks_for() {
    let (kind, text) = ask(None).await;
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert!(!Read::page(&text).values.is_empty() && !text.contains("# EOF"));
    let (kind, text) = ask(Some("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")).await;
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(text.ends_with("\n# EOF\n"));
    assert!(
        text.contains("# TYPE myagent_build info\n")
            && text.contains("myagent_build_info{version=\"1.2.3\"} 1\n")
    );
    assert!(text.contains("# TYPE myagent_turns_accepted counter\nmyagent_turns_accepted_total{"), "{text}");
}

/// What the counting sees of a request, through a router like that of the API.
#[tokio::test]
async fn every_answer_is_counted_also_that_nothing_is_there() {
    let requests = Arc::new(Requests::default());
    let inner = Router::new().route("/things/{name}", get(|| async { "thing" }));
    let router = Router::new()
        .nest("/api/v1", inner)
        .fallback(|| async { axum::http::StatusCode::NOT_FOUND })
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&requests), count));
    let service = hyper_util::service::TowerToHyperService::new(router);
    for (method, path) in [
        ("GET", "/api/v1/things/a"),
        ("GET", "/api/v1/things/b"),
        ("POST", "/api/v1/things/b"),
        ("GET", "/x"),
    ] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        hyper::service::Service::call(&service, request).await.unwrap();
    }
    let mut seen = seen(Vec::new());
    seen.requests = requests.read();
    let read = Read::page(&page(seen));
    let count = |route, method, code| {
        read.value("myagent_api_requests_total", &[("route", route), ("method", method), ("code", code)])
    };
    assert_eq!(count("/api/v1/things/{name}", "GET", "2xx"), 2.0);
    assert_eq!(count("/api/v1/things/{name}", "POST", "4xx"), 1.0);
    assert_eq!(count("(unmatched)", "GET", "4xx"), 1.0);
    let took =
        read.value("myagent_api_request_duration_seconds_count", &[("route", "/api/v1/things/{name}")]);
    assert_eq!(took, 3.0);
}
