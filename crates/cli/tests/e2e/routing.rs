//! Rules: each client goes where users said, they can ask why, and change it while thousands are connected.

use crate::caller::{Agent, Caller};
use crate::fleet::{PATIENCE, manager, start_fake};
use anyhow::{Context, Result, ensure};
use myagent_testkit::manager::Server;
use myagent_testkit::{EventClient, http, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

fn service_of(instance: &str) -> &str {
    instance.rsplit_once('-').map_or(instance, |(service, _)| service)
}

const PHONE: (&str, &str) = ("User-Agent", "Mozilla/5.0 (iPhone) Mobile/15E148 Safari/604.1");

#[tokio::test]
async fn the_usual_rules() -> Result<()> {
    let mut manager = manager()?;
    // Clients of other networks come through a proxy on 127.0.0.9, which is trusted.
    manager.set_env("MYAGENT_TRUSTED_PROXIES", r#"["127.0.0.9"]"#);
    let server = manager.up().await?;
    let agent = Agent::start().await?;
    agent.service(&manager, "phones", &["--tags", "mobile"]).await?;
    agent.service(&manager, "tablets", &["--tags", "mobile"]).await?;
    for name in ["weather", "news", "lab", "rest"] {
        agent.service(&manager, name, &[]).await?;
    }
    agent.service(&manager, "second", &["--tags", "v2"]).await?;
    agent.service(&manager, "high-performance", &[]).await?;
    for rule in [
        &[
            "mobile",
            "--priority",
            "10",
            "--when",
            "user_agent contains Mobile",
            "--to-tag",
            "mobile",
            "--strategy",
            "least_connections",
        ][..],
        &["vip", "--priority", "20", "--when", "header.x-user-tier equals vip", "--to", "high-performance"],
        &["v2", "--priority", "30", "--when", "X-API-Version equals v2", "--to-tag", "v2"],
        &["lab", "--priority", "40", "--when", "client_ip ip_in_range 192.168.1.0/24", "--to", "lab"],
        &[
            "office",
            "--priority",
            "50",
            "--when",
            "client_ip starts_with 192.168.",
            "--to",
            "weather,news",
            "--strategy",
            "hash_based",
        ],
        &["default", "--priority", "999", "--to", "rest"],
    ] {
        manager.ok(&[&["route", "add"][..], rule].concat()).await?;
    }
    let proxy = server.address("proxy")?;
    let check = async |caller: Caller, expected: &str| {
        let instance = caller.goes_to(proxy).await?;
        ensure!(service_of(&instance) == expected, "{caller:?} went to {instance} and not to {expected}");
        anyhow::Ok(())
    };
    // Phones, each to the one that has fewer connections.
    let mut open = Vec::new();
    for _ in 0..6 {
        open.push(Caller::new("/", &[PHONE]).connect(proxy).await?);
    }
    let phones = open.iter().filter(|(_, instance)| instance == "phones-0").count();
    assert_eq!(phones, 3, "{open:?}");
    check(Caller::new("/", &[("X-User-Tier", "VIP")]), "high-performance").await?;
    check(Caller::new("/", &[("x-api-version", "v2")]), "second").await?;
    check(Caller::new("/", &[]), "rest").await?;
    check(Caller::new("/?X-API-Version=v2", &[]), "second").await?;

    // An address counts as the socket's, or as the trusted proxy says; never as somebody else says.
    let office = |address: &str| Caller::new("/", &[("X-Forwarded-For", address)]);
    check(office("192.168.1.20").from("127.0.0.9"), "lab").await?;
    check(office("192.168.1.20"), "rest").await?;
    check(office("192.168.1.20").from("127.0.0.8"), "rest").await?;
    check(office("192.168.1.20, 10.0.0.1").from("127.0.0.9"), "rest").await?;
    check(
        Caller::new(
            "/?client_ip=192.168.1.20",
            &[("client_ip", "192.168.1.20"), ("X-Real-IP", "192.168.1.20")],
        ),
        "rest",
    )
    .await?;
    check(Caller::new("/?user_agent=Mobile&header.x-user-tier=vip", &[]), "rest").await?;

    // Hashing keeps each client where it is, and uses both services.
    let mut seen = BTreeMap::<u8, String>::new();
    for host in (0..8).cycle().take(16).chain((8..16).cycle().take(16)) {
        if host % 8 == 0 {
            // With many connections somebody would have to give way.
            let caller = office("192.168.7.0").from("127.0.0.9");
            let idle = async || {
                let said = caller.explained(server.address("api").ok()?).await.ok()?;
                said["candidates"].as_array()?.iter().all(|one| one["active"] == 0).then_some(())
            };
            wait_for(PATIENCE, "no connections", idle).await;
        }
        let caller = office(&format!("192.168.7.{host}")).from("127.0.0.9");
        let instance = caller.goes_to(proxy).await?;
        assert_eq!(*seen.entry(host).or_insert_with(|| instance.clone()), instance, "{caller:?}");
    }
    assert_eq!(
        seen.values().map(|name| service_of(name)).collect::<BTreeSet<_>>(),
        BTreeSet::from(["news", "weather"])
    );

    // Who says where it wants to go, goes there, whatever rules say.
    check(Caller::new("/s/lab/", &[PHONE]), "lab").await?;
    check(Caller::new("/?service=lab", &[PHONE]), "lab").await?;
    check(Caller::new("/?tag=v2", &[PHONE]), "second").await?;
    // What a rule leads to is down: the next one counts.
    manager.ok(&["stop", "high-performance"]).await?;
    check(Caller::new("/", &[("X-User-Tier", "vip")]), "rest").await?;
    // The connections of a rule are counted, and its name is shown with each.
    let counted = async || {
        let rule = manager.json(&["route", "show", "mobile"]).await.ok()?;
        (rule["stats"]["connections"] == 6).then_some(())
    };
    wait_for(PATIENCE, "the connections of the rule", counted).await;
    let listed = manager.json(&["connections", "--rule", "mobile"]).await?;
    assert_eq!(listed.as_array().map(Vec::len), Some(6));
    Ok(())
}

/// A deterministic sequence of numbers (`SplitMix64`), so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % count as u64) as usize
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn caller(&mut self) -> Caller {
        let mut query = Vec::new();
        for (name, values) in [
            ("service", &["a", "b", "gone", ""][..]),
            ("tag", &["red", "blue", "none"]),
            ("lang", &["de", "en", "fr"]),
            ("routing_hint", &["hash_based", "round_robin", "nonsense"]),
            ("client_ip", &["10.1.1.1"]),
        ] {
            // Most clients say little.
            let rare = if matches!(name, "service" | "tag") { 8 } else { 3 };
            if self.below(rare) == 0 {
                query.push(format!("{name}={}", self.one(values)));
            }
        }
        let path = self.one(&["/", "/chat", "/chat/room", "/s/c/ws", "/api/v2/x", "/a%20b"]);
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) };
        let mut headers = Vec::new();
        for (name, values) in [
            ("User-Agent", &["Mobile Safari", "curl/8.0", "Mozilla/5.0 (X11; Linux)"][..]),
            ("X-Tier", &["vip", "free", "VIP", ""]),
            ("X-Forwarded-For", &["10.0.0.7", "192.168.1.9, 10.0.0.7", "junk", "2001:db8::1"]),
            ("Cookie", &["plan=gold; x=1", "plan=basic", "x=1"]),
            ("Host", &["one.example:9090", "two.example"]),
            ("Accept-Language", &["de", "fr"]),
        ] {
            if self.below(2) == 0 {
                headers.push((name, self.one(values)));
            }
        }
        Caller::new(&target, &headers).from(self.one(&["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.1.1"]))
    }
}

#[tokio::test]
async fn an_explanation_is_what_really_happens() -> Result<()> {
    let mut manager = manager()?;
    manager.set_env("MYAGENT_TRUSTED_PROXIES", r#"["127.0.0.2"]"#);
    let server = manager.up().await?;
    let agent = Agent::start().await?;
    for (name, options) in [
        ("a", &["--replicas", "3"][..]),
        ("b", &["--replicas", "2", "--tags", "red", "--set", "weight=3"]),
        ("c", &["--tags", "red,blue"]),
        ("d", &["--tags", "blue"]),
        ("e", &[]),
    ] {
        agent.service(&manager, name, options).await?;
    }
    // Ready, but not for clients: a stopped one is no candidate.
    manager.ok(&["stop", "e"]).await?;
    for rule in [
        &["gone", "--priority", "1", "--to", "e"][..],
        &[
            "gold",
            "--priority",
            "5",
            "--when",
            "cookie.plan equals gold",
            "--to",
            "c,d",
            "--strategy",
            "manual",
        ],
        &[
            "phones",
            "--priority",
            "10",
            "--when",
            "user_agent contains mobile",
            "--to",
            "a",
            "--strategy",
            "least_connections",
        ],
        &[
            "tier",
            "--priority",
            "20",
            "--when",
            "header.x-tier regex_match ^v.p$",
            "--when",
            "path not_contains room",
            "--to-tag",
            "red,blue",
            "--any-tag",
            "--strategy",
            "tag_based",
        ],
        &[
            "networks",
            "--priority",
            "30",
            "--when",
            "client_ip ip_in_range 10.0.0.0/8, 127.0.1.0/24",
            "--to",
            "a,b",
            "--strategy",
            "hash_based",
        ],
        &[
            "canary",
            "--priority",
            "40",
            "--when",
            "lang in_list de,en",
            "--to",
            "a,b,d",
            "--split",
            "a=60,tag:red=30,d=10",
            "--hash-key",
            "query.lang",
        ],
        &["v2", "--priority", "50", "--when", "path starts_with /api/v2", "--to", "d", "--no-hint"],
        &[
            "two",
            "--priority",
            "60",
            "--when",
            "host equals two.example",
            "--to",
            "b",
            "--weight",
            "b=2",
            "--fallback",
            "least_connections",
        ],
        &[
            "french",
            "--priority",
            "70",
            "--when",
            "accept-language exists",
            "--when",
            "accept-language not_equals de",
            "--to-tag",
            "blue",
        ],
        &["off", "--priority", "80", "--disabled"],
    ] {
        manager.ok(&[&["route", "add"][..], rule].concat()).await?;
    }
    let (proxy, api) = (server.address("proxy")?, server.address("api")?);
    let (mut numbers, mut again, mut open) = (Numbers(4), 0, Vec::new());
    let (mut rules, mut instances) = (BTreeSet::new(), BTreeSet::new());
    for number in 0..1000 {
        let caller = numbers.caller();
        loop {
            let said = caller.explained(api).await?;
            let expected = said["instance"].as_str().unwrap_or("nobody").to_owned();
            let (stream, instance) = caller.connect(proxy).await?;
            // Open ones make loads; so many are enough.
            open.push(stream);
            if open.len() > 200 {
                open.drain(..100);
            }
            if instance == expected {
                rules.extend(said["rule"].as_str().map(str::to_owned));
                instances.insert(instance);
                break;
            }
            // A runner's report of its connections, one each second, came in between: then the loads were others.
            again += 1;
            ensure!(again <= 20, "number {number}: {caller:?} went to {instance}; {said:#}");
        }
    }
    let expected = ["canary", "french", "gold", "networks", "phones", "tier", "two", "v2"];
    assert_eq!(rules, BTreeSet::from(expected.map(str::to_owned)));
    assert_eq!(instances.len(), 8, "{instances:?}");
    Ok(())
}

#[tokio::test]
async fn rules_change_while_clients_are_connected() -> Result<()> {
    let manager = manager()?;
    let mut server = manager.up().await?;
    start_fake(&manager, "one", &[], &["--delay", "0.05"]).await?;
    start_fake(&manager, "two", &["--tags", "new"], &["--delay", "0.05"]).await?;
    let url = server.ws_url("/")?;
    manager.ok(&["route", "add", "all", "--to", "one"]).await?;
    let mut clients = Vec::new();
    for _ in 0..60 {
        let mut client = EventClient::connect(&url).await?;
        let session = client.create_session().await?;
        assert_eq!(client.headers["x-myagent-instance"], "one-0");
        client.message(&session, "a long answer, please").await?;
        clients.push((client, session));
    }
    // Each change holds for the next client at once.
    let goes_to = async |expected: &str| {
        let client = EventClient::connect(&url).await?;
        ensure!(client.headers["x-myagent-instance"] == expected, "{:?} and not {expected}", client.headers);
        client.close().await
    };
    let route = async |words: &[&str]| manager.ok(&[&["route"][..], words].concat()).await;
    for round in 0..5 {
        route(&["add", "new", "--priority", "1", "--to-tag", "new"]).await?;
        goes_to("two-0").await?;
        route(&["disable", "new"]).await?;
        goes_to("one-0").await?;
        route(&["enable", "new"]).await?;
        goes_to("two-0").await?;
        route(&["update", "new", "--when", "query.x equals 1"]).await?;
        goes_to("one-0").await?;
        route(&["update", "new", "--name", "newer", "--unset", "conditions"]).await?;
        goes_to("two-0").await?;
        if round < 4 {
            route(&["delete", "newer"]).await?;
            goes_to("one-0").await?;
        }
    }
    for (client, session) in &mut clients {
        client.until_final(session).await?;
        client.check_seq(session, 1)?;
    }
    // What goes by a rule is counted by its name; rules and counts outlive the manager, however it ends.
    let counted = |rule: &'static str, count: u64| {
        let manager = &manager;
        async move || {
            let rule = manager.json(&["route", "show", rule]).await.ok()?;
            (rule["stats"]["connections"] == count).then_some(())
        }
    };
    wait_for(PATIENCE, "connections of all", counted("all", 60 + 14)).await;
    wait_for(PATIENCE, "connections of newer", counted("newer", 5)).await;
    let rules = async || {
        let mut rules = manager.json(&["route", "list"]).await?;
        for rule in rules.as_array_mut().context("a list")? {
            // The bytes of those who are connected go on.
            rule["stats"] = rule["stats"]["connections"].take();
        }
        anyhow::Ok(rules)
    };
    let before = rules().await?;
    server.signal(Signal::KILL);
    server.wait().await?;
    server = manager.up().await?;
    let after = async || (rules().await.ok()? == before).then_some(());
    wait_for(PATIENCE, &format!("the rules as before: {before:#}"), after).await;
    for (client, session) in &mut clients {
        client.message(session, "still there?").await?;
    }
    for (mut client, session) in clients {
        client.until_final(&session).await?;
        client.close().await?;
    }
    let client = EventClient::connect(&server.ws_url("/")?).await?;
    assert_eq!(client.headers["x-myagent-instance"], "two-0");
    client.close().await
}

#[tokio::test]
async fn the_first_rule_of_a_fleet_is_tried_out_on_those_who_named_nothing_themselves() -> Result<()> {
    let manager = manager()?;
    let mut server = manager.up().await?;
    let agent = Agent::start().await?;
    agent.service(&manager, "phones", &["--tags", "mobile"]).await?;
    agent.service(&manager, "rest", &[]).await?;
    let proxy = server.address("proxy")?;
    let (mut open, mut at_rest) = (Vec::new(), 0);
    for (path, pool) in [
        ("/", "default"),
        ("/", "default"),
        ("/?routing_hint=random", "default"),
        ("/s/rest/", "service"),
        ("/?tag=mobile", "tags"),
    ] {
        let (stream, instance) = Caller::new(path, &[]).connect(proxy).await?;
        at_rest += u64::from(pool == "default" && instance == "rest-0");
        open.push((stream, pool));
    }
    let rule = json!({"rule": {"name": "mobile", "target_tags": ["mobile"], "conditions": [
        {"field": "client_ip", "operator": "ip_in_range", "value": "127.0.0.0/8"}]}});
    for is_killed in [false, true] {
        if is_killed {
            // The next manager knows it from the runners.
            server.signal(Signal::KILL);
            server.wait().await?;
            server = manager.up().await?;
        }
        let reported = async || {
            let all = manager.json(&["connections"]).await.ok()?.as_array()?.clone();
            (all.len() == open.len()).then_some(all)
        };
        let reported = wait_for(PATIENCE, "the connections", reported).await;
        let mut pools: Vec<_> = reported.iter().filter_map(|one| one["pool"].as_str()).collect();
        pools.sort_unstable();
        assert_eq!(pools, ["default", "default", "default", "service", "tags"]);
        let api = server.address("api")?;
        let answer =
            http::request(api, "POST", "/api/v1/routing/rules/dry-run", Some(&rule)).await?.json()?;
        let found = json!([answer["matched"], answer["would_move"], answer["undecided"]]);
        assert_eq!(found, json!([3, at_rest, 0]), "{answer}");
        let because = |outcome: &str| -> BTreeSet<&str> {
            let samples = answer["samples"].as_array().into_iter().flatten();
            samples
                .filter(|one| one["outcome"] == outcome)
                .filter_map(|one| one["because"].as_str())
                .collect()
        };
        assert_eq!(because("matched"), BTreeSet::from(["all its conditions hold"]));
        let named = [
            "it asked for tags itself, and no rule is asked about it",
            "it named its service itself, and no rule is asked about it",
        ];
        assert_eq!(because("not_matched"), BTreeSet::from(named));
    }
    Ok(())
}

#[tokio::test]
async fn a_rule_is_tried_out_on_those_who_are_connected() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let (api, proxy) = (server.address("api")?, server.address("proxy")?);
    let agent = Agent::start().await?;
    agent.service(&manager, "phones", &["--tags", "mobile"]).await?;
    agent.service(&manager, "rest", &[]).await?;
    manager.ok(&["route", "add", "default", "--priority", "999", "--to", "rest"]).await?;
    let mut open = Vec::new();
    for caller in [
        Caller::new("/", &[PHONE]),
        Caller::new("/", &[PHONE]),
        Caller::new("/", &[("User-Agent", "Desktop")]),
        // It names its service itself, and no rule is asked.
        Caller::new("/s/rest/", &[PHONE]),
    ] {
        let (stream, instance) = caller.connect(proxy).await?;
        assert_eq!(instance, "rest-0", "{caller:?}");
        open.push(stream);
    }
    let reported = async || {
        let stats = http::request(api, "GET", "/api/v1/connections/stats", None).await.ok()?.json().ok()?;
        (stats["total_connections"] == 4).then_some(())
    };
    wait_for(PATIENCE, "the connections", reported).await;
    let ask = async |body: Value| {
        let answer = http::request(api, "POST", "/api/v1/routing/rules/dry-run", Some(&body)).await?;
        anyhow::Ok((answer.status, answer.json()?))
    };
    let check = async |body: Value, [matched, moved, undecided]: [u64; 3]| {
        let (status, answer) = ask(body.clone()).await?;
        let found = json!([status, answer["matched"], answer["would_move"], answer["undecided"]]);
        ensure!(found == json!([200, matched, moved, undecided]), "{body}: {answer}");
        ensure!(
            answer["connections"] == 4 && answer["samples"].as_array().map(Vec::len) == Some(4),
            "{answer}"
        );
        anyhow::Ok(answer)
    };
    let rule = |conditions: Value| json!({"name": "mobile", "priority": 10, "target_tags": ["mobile"], "conditions": conditions});
    let phones = json!([{"field": "user_agent", "operator": "contains", "value": "Mobile"}]);
    let answer = check(json!({"rule": rule(phones.clone())}), [2, 2, 0]).await?;
    assert_eq!(answer["by_service"], json!({"rest": 2}));
    let first = &answer["samples"][0];
    assert_eq!((&first["moves"], &first["rule"]), (&json!(true), &json!("default")));
    assert_eq!(first["would"], json!({"rule": "mobile", "services": ["phones"]}));
    let tier = json!([{"field": "header.x-tier", "operator": "equals", "value": "vip"}]);
    let answer = check(json!({"rule": rule(tier)}), [0, 0, 3]).await?;
    let because = answer["samples"][0]["because"].as_str().unwrap_or_default();
    assert!(because.starts_with("header.x-tier is not kept of a connection"), "{answer}");
    // In place of the one that there is, and switched off, it wins nobody, and anybody may serve the others.
    let mut off = rule(phones);
    off["enabled"] = json!(false);
    check(json!({"rule": off, "replaces": "default"}), [0, 0, 0]).await?;

    // It is refused as it would be if it was made.
    let bad =
        json!({"priority": "x", "conditions": [{"field": "", "operator": "regex_match", "value": "("}]});
    let (status, said) = ask(json!({"rule": bad, "colour": 1})).await?;
    let made = http::request(api, "POST", "/api/v1/routing/rules", Some(&bad)).await?.json()?;
    let mut expected = vec!["colour".to_owned()];
    let fields = |problem: &Value| -> Vec<String> {
        let errors = problem["errors"].as_array().into_iter().flatten();
        errors.filter_map(|error| error["field"].as_str().map(str::to_owned)).collect()
    };
    expected.extend(fields(&made));
    assert_eq!((status, fields(&said)), (400, expected));
    let named = |name: &str| json!({"rule": {"name": name}});
    assert_eq!(ask(named("default")).await?.1["code"], "RULE_ALREADY_EXISTS");
    assert_eq!(ask(named("dry-run")).await?.0, 400);
    let (_, unknown) = ask(json!({"rule": {"name": "x"}, "replaces": "defualt"})).await?;
    assert!(
        unknown["code"] == "RULE_NOT_FOUND" && unknown["detail"].to_string().contains("default"),
        "{unknown}"
    );
    let rules = http::request(api, "GET", "/api/v1/routing/rules", None).await?.json()?;
    assert_eq!(rules["total"], 1);
    drop(open);
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_a_rule_is_told_and_changes_nothing() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let api = server.address("api")?;
    let refused = async |words: &[&str], parts: &[&str]| {
        let said = manager.cli(&[&["route"][..], words].concat()).await?;
        ensure!(said.status != 0 && parts.iter().all(|part| said.stderr.contains(part)), "{words:?}: {said}");
        anyhow::Ok(said.status)
    };
    refused(
        &["add", "a", "--when", "user_agent is x"],
        &["conditions[0].operator", "expected one of `equals`"],
    )
    .await?;
    refused(&["add", "a", "--when", "user_agent regex_match ("], &["conditions[0].value", "unclosed group"])
        .await?;
    refused(
        &["add", "a", "--when", "client_ip ip_in_range 10.0.0.0/40"],
        &["conditions[0].value", "10.0.0.0/40"],
    )
    .await?;
    refused(
        &["add", "a", "--strategy", "fastest", "--priority", "9999999"],
        &["target_strategy", "priority"],
    )
    .await?;
    refused(&["add", "a", "--split", "x=50,y=40"], &["split", "90, not to 100"]).await?;
    assert_eq!(refused(&["add", "a", "--when", "user_agent"], &["--when", "e.g."]).await?, 2);
    refused(&["show", "a"], &["no rule is named \"a\""]).await?;
    refused(&["delete", "a"], &["no rule is named \"a\""]).await?;
    let said = manager.ok(&["route", "add", "a", "--to", "nobody"]).await?;
    assert!(said.stderr.contains("target_services[0]: no service is named \"nobody\""), "{said}");
    refused(&["add", "a"], &["a rule named \"a\" exists already"]).await?;
    manager.ok(&["route", "add", "b"]).await?;
    refused(&["update", "b", "--name", "a"], &["exists already"]).await?;
    refused(&["show", "aa"], &["did you mean \"a\"?"]).await?;
    assert_eq!(refused(&["update", "b"], &["nothing is to be changed"]).await?, 2);

    // The same over HTTP, with the place of each fault.
    let send = async |method: &str, path: &str, body: Value| {
        let answer = http::request(api, method, &format!("/api/v1/routing{path}"), Some(&body)).await?;
        anyhow::Ok((answer.status, if answer.body.is_empty() { Value::Null } else { answer.json()? }))
    };
    let (status, problem) =
        send("POST", "/rules", json!({"name": "", "colour": 1, "conditions": [{"field": "a"}]})).await?;
    let fields: BTreeSet<_> =
        problem["errors"].as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap()).collect();
    assert_eq!((status, fields.contains("name"), fields.contains("colour")), (400, true, true), "{problem}");
    let (status, made) = send("POST", "/rules", json!({"name": "c", "priority": 7})).await?;
    assert_eq!((status, &made["version"], &made["enabled"]), (201, &json!(1), &json!(true)));
    let id = made["rule_id"].as_str().unwrap().to_owned();
    assert_eq!(send("POST", "/rules", json!({"name": "c"})).await?.1["code"], "RULE_ALREADY_EXISTS");
    let (_, put) = send("PUT", &format!("/rules/{id}"), json!({"name": "c", "description": "new"})).await?;
    assert_eq!(
        (&put["priority"], &put["version"]),
        (&json!(100), &json!(2)),
        "what is not given gets its default"
    );
    let (_, patched) = send("PATCH", "/rules/c", json!({"enabled": false})).await?;
    assert_eq!((&patched["description"], &patched["enabled"]), (&json!("new"), &json!(false)));
    assert_eq!(send("DELETE", &format!("/rules/{id}"), Value::Null).await?.0, 204);
    assert_eq!(send("GET", &format!("/rules/{id}"), Value::Null).await?.1["code"], "RULE_NOT_FOUND");
    let (status, problem) = send("POST", "/explain", json!({"path": "x y", "headers": {"a b": "c"}})).await?;
    assert_eq!((status, problem["errors"].as_array().map(Vec::len)), (400, Some(2)), "{problem}");
    Ok(())
}

/// Goes on with a session by its id, and says where it came.
async fn resumed_at(server: &Server, target: &str) -> Result<String> {
    Caller::new(target, &[]).goes_to(server.address("proxy")?).await
}

#[tokio::test]
async fn a_session_is_found_again() -> Result<()> {
    let manager = manager()?;
    let mut server = manager.up().await?;
    // An agent that keeps its sessions in its memory, so that no other instance can go on with them.
    start_fake(&manager, "talk", &["--replicas", "4"], &[]).await?;
    let mut homes = BTreeMap::new();
    for number in 0..8 {
        // Half of the clients name their session from the start, half get its name from the agent.
        let (named, target) = (format!("s-{number}"), format!("/s/talk/?session_id=s-{number}"));
        let target = if number % 2 == 0 { target } else { "/s/talk/".to_owned() };
        let mut client = EventClient::connect(&server.ws_url(&target)?).await?;
        let session = client.create_session().await?;
        let id = if number % 2 == 0 { named } else { session };
        homes.insert(id, client.headers["x-myagent-instance"].clone());
        if number % 4 < 2 {
            client.close().await?;
        } else {
            // Some stay connected.
            drop(client);
        }
    }
    assert_eq!(homes.values().collect::<BTreeSet<_>>().len(), 4);
    let known = async || {
        let targets = homes.keys().map(|session| Caller::new(&format!("/?session_id={session}"), &[]));
        for target in targets {
            let said = target.explained(server.address("api").ok()?).await.ok()?;
            (said["pool"] == "session").then_some(())?;
        }
        Some(())
    };
    wait_for(PATIENCE, "the sessions are known", known).await;
    let check = async |server: &Server| {
        for (session, home) in &homes {
            for target in [format!("/s/talk/?session_id={session}"), format!("/?session_id={session}")] {
                let found = async || (resumed_at(server, &target).await.ok()? == *home).then_some(());
                // Reports of runners come once a second.
                wait_for(Duration::from_secs(10), &format!("{target} at {home}"), found).await;
                for _ in 0..3 {
                    ensure!(resumed_at(server, &target).await? == *home, "{target} left {home}");
                }
            }
        }
        anyhow::Ok(())
    };
    check(&server).await?;
    // A new manager learns it from the runners.
    server.signal(Signal::KILL);
    server.wait().await?;
    server = manager.up().await?;
    check(&server).await?;
    // One whose instance is gone is served by another.
    let instance = manager.json(&["status", "talk"]).await?["instances"][0].clone();
    assert_eq!(instance["name"], "talk-0");
    manager.ok(&["update", "talk", "--replicas", "4", "--set", "auto_restart=false"]).await?;
    let session = homes.iter().find(|(_, home)| *home == "talk-0").map(|(session, _)| session).unwrap();
    let pid = u32::try_from(instance["pid"].as_u64().context("a pid")?)?;
    myagent_testkit::processes::send(pid, Signal::KILL);
    let elsewhere = async || {
        let found = resumed_at(&server, &format!("/s/talk/?session_id={session}")).await.ok()?;
        (found != "talk-0" && found != "nobody").then_some(())
    };
    wait_for(PATIENCE, "another instance", elsewhere).await;
    Ok(())
}

#[tokio::test]
async fn a_session_has_the_place_that_it_takes() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    std::fs::write(manager.work_dir().join("agent.py"), SLOW)?;
    manager.ok(&["register", "one", "agent.py", "--max-sessions", "1", "--auto-start"]).await?;
    let url = server.ws_url("/s/one/")?;
    let mut client = EventClient::connect(&url).await?;
    let session = client.create_session().await?;
    let gate = manager.work_dir().join("go");
    client.message(&session, gate.to_str().unwrap()).await?;
    client.next_named("agent.partial_answer").await?;
    // Its answer goes on without it, and holds the only place.
    drop(client);
    let known = async || {
        let explained =
            Caller::new(&format!("/?session_id={session}"), &[]).explained(server.address("api").ok()?).await;
        (explained.ok()?["pool"] == "session").then_some(())
    };
    wait_for(PATIENCE, "the session is known", known).await;
    let asked = Instant::now();
    let mut again = EventClient::connect(&server.ws_url(&format!("/s/one/?session_id={session}"))?).await?;
    again.send(json!({"event": "user.reconnect", "session_id": session, "last_seq": 1})).await?;
    again.next_named("agent.state_restored").await?;
    assert!(asked.elapsed() < Duration::from_secs(5), "it waited in the queue: {:?}", asked.elapsed());
    std::fs::write(gate, "")?;
    again.until_final(&session).await?;
    again.close().await
}

/// An agent that answers when a file is there.
const SLOW: &str = r#"
import asyncio, os

class Agent:
    async def astream(self, message):
        yield "waiting "
        while not os.path.exists(message):
            await asyncio.sleep(0.01)
        yield "done"

def create_agent():
    return Agent()
"#;
