//! Open connections: seen, counted, told something, and really closed, whatever kind of agent is behind them.

use crate::fleet::{PATIENCE, manager, start_fake};
use anyhow::{Context, Result, ensure};
use futures_util::{SinkExt, StreamExt};
use myagent_testkit::manager::Server;
use myagent_testkit::{EventClient, Resuming, TestManager, fake_agent, http, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_websockets::{ClientBuilder, Message};

/// Echoes, or talks for ever.
const AGENT: &str = r#"
class Agent:
    async def astream(self, message):
        while message == "flood":
            yield "x" * 60000
        yield "echo: " + message

def create_agent():
    return Agent()
"#;

/// A manager with a service of each kind: `file`, `command` and `external`.
struct Scene {
    manager: TestManager,
    server: Server,
    /// The external agent.
    _agent: JoinSet<()>,
}

const KINDS: [&str; 3] = ["file", "command", "external"];

impl Scene {
    async fn start() -> Result<Self> {
        let manager = manager()?;
        let server = manager.up().await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("ws://{}/", listener.local_addr()?);
        let mut agent = JoinSet::new();
        agent.spawn(async move {
            drop(fake_agent::serve(listener, fake_agent::Options::default()).await);
        });
        std::fs::write(manager.work_dir().join("agent.py"), AGENT)?;
        manager.ok(&["register", "file", "agent.py", "--auto-start"]).await?;
        start_fake(&manager, "command", &[], &[]).await?;
        manager.ok(&["register", "external", "--endpoint", &url]).await?;
        manager.ok(&["start", "external", "file"]).await?;
        Ok(Self { manager, server, _agent: agent })
    }

    fn url(&self, kind: &str) -> Result<String> {
        self.server.ws_url(&format!("/s/{kind}"))
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let answer = http::request(self.server.address("api")?, "GET", path, None).await?;
        ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.body);
        answer.json()
    }

    async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        let answer = http::request(self.server.address("api")?, method, path, body).await?;
        Ok((answer.status, answer.json()?))
    }

    /// Waits until the list at `path` has so many connections; returns them.
    async fn listed(&self, path: &str, count: usize) -> Result<Vec<Value>> {
        let mut last = Value::Null;
        let what = format!("{count} connections at {path}");
        wait_for(PATIENCE, &what, async || {
            last = self.get(path).await.ok()?;
            (last["total"] == count).then_some(())
        })
        .await;
        Ok(last["items"].as_array().context("no items")?.clone())
    }
}

fn id_of(client: &EventClient) -> Result<String> {
    Ok(client.headers.get("x-myagent-connection-id").context("no id")?.clone())
}

#[tokio::test]
async fn connections_are_listed_filtered_and_found() -> Result<()> {
    let scene = Scene::start().await?;
    let mut clients = Vec::new();
    for kind in KINDS.into_iter().cycle().take(9) {
        let mut client = EventClient::connect(&scene.url(kind)?).await?;
        let session = client.create_session().await?;
        client.turn(&session, "hello").await?;
        clients.push((kind, session, client));
    }
    let all = scene.listed("/api/v1/connections", 9).await?;
    // Counters follow within about a second.
    let counted = async || {
        let all = scene.get("/api/v1/connections").await.ok()?;
        let all = all["items"].as_array()?.clone();
        all.iter()
            .all(|one| one["message_count"].as_u64() >= Some(5) && one["session_id"].is_string())
            .then_some(all)
    };
    let counted = wait_for(PATIENCE, "counters", counted).await;
    let (kind, session, client) = &clients[0];
    let id = id_of(client)?;
    let one = scene.get(&format!("/api/v1/connections/{id}")).await?;
    assert!(counted.iter().any(|other| other["connection_id"] == one["connection_id"]));
    let fields: Vec<&str> = one.as_object().context("an object")?.keys().map(String::as_str).collect();
    let expected = [
        "bytes_received",
        "bytes_sent",
        "client_ip",
        "client_port",
        "connected_at",
        "connection_id",
        "instance",
        "last_activity",
        "message_count",
        "pool",
        "routing_strategy",
        "rule",
        "session_id",
        "status",
        "target_service_id",
        "user_agent",
    ];
    assert_eq!(fields.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from(expected));
    assert_eq!((&one["session_id"], &one["client_ip"]), (&json!(session), &json!("127.0.0.1")));
    assert_eq!((&one["instance"], &one["status"]), (&json!(format!("{kind}-0")), &json!("active")));
    let route = json!([one["routing_strategy"], one["rule"], one["pool"]]);
    assert_eq!(route, json!(["round_robin", null, "service"]));
    assert!(one["bytes_sent"].as_u64() > one["bytes_received"].as_u64(), "{one}");

    // Filters and pages.
    let count = async |query: &str| {
        anyhow::Ok(scene.get(&format!("/api/v1/connections?{query}")).await?["total"].clone())
    };
    for (query, expected) in [
        ("service=command".to_owned(), 3),
        ("instance=external-0".to_owned(), 3),
        ("status=active,idle".to_owned(), 9),
        ("status=closing".to_owned(), 0),
        ("rule=none".to_owned(), 0),
        ("client_ip=127.0.0.1".to_owned(), 9),
        ("client_ip=127.0.0.2".to_owned(), 0),
        (format!("session_id={session}"), 1),
        (format!("search={}", &id[20..]), 1),
    ] {
        assert_eq!(count(&query).await?, expected, "{query}");
    }
    let mut paged = Vec::new();
    for offset in [0, 4, 8] {
        let page =
            scene.get(&format!("/api/v1/connections?sort=connected_at&limit=4&offset={offset}")).await?;
        assert_eq!((&page["total"], &page["has_more"]), (&json!(9), &json!(offset < 8)));
        paged.extend(
            page["items"].as_array().context("items")?.iter().map(|one| one["connection_id"].clone()),
        );
    }
    let opened: Vec<Value> =
        clients.iter().map(|(_, _, client)| Ok(json!(id_of(client)?))).collect::<Result<_>>()?;
    assert_eq!(paged, opened);
    assert_eq!(all[0]["connection_id"], opened[8], "the newest is first");
    assert_eq!(scene.listed("/api/v1/services/file/connections", 3).await?.len(), 3);
    let stats = scene.get("/api/v1/connections/stats").await?;
    assert_eq!(stats["total_connections"], 9);
    assert_eq!(stats["by_service"], json!({"file": 3, "command": 3, "external": 3}));
    assert_eq!(stats["by_status"], json!({"active": 9, "idle": 0, "closing": 0}));

    // The command line shows the same.
    let listed = scene.manager.json(&["connections", "--service", "file", "--ip", "127.0.0.1"]).await?;
    assert_eq!(listed.as_array().map(Vec::len), Some(3));
    let table = scene.manager.ok(&["connections", "--limit", "2"]).await?;
    assert_eq!(table.stdout.lines().count(), 3, "{table}");
    assert!(table.stderr.contains("the newest 2 of 9"), "{table}");

    // What is not there, or cannot be meant.
    let nobody = "/api/v1/connections/0199d3a0-0000-7000-8000-000000000000";
    for (method, path) in
        [("GET", nobody.to_owned()), ("DELETE", nobody.to_owned()), ("POST", format!("{nobody}/disconnect"))]
    {
        let (status, problem) = scene.send(method, &path, None).await?;
        assert_eq!((status, &problem["code"]), (404, &json!("CONNECTION_NOT_FOUND")), "{method}");
    }
    let (status, problem) = scene.send("GET", &format!("/api/v1/connections/{}", &id[..4]), None).await?;
    assert_eq!((status, problem["code"].as_str()), (400, Some("INVALID_REQUEST")), "{problem}");
    assert_eq!(scene.manager.cli(&["disconnect", "0000"]).await?.status, 1);
    let body = json!({"code": 1006});
    let (status, problem) =
        scene.send("POST", &format!("/api/v1/connections/{id}/disconnect"), Some(&body)).await?;
    assert_eq!((status, problem["errors"][0]["field"].as_str()), (400, Some("code")));
    Ok(())
}

#[tokio::test]
async fn a_disconnect_really_closes_every_kind_of_connection() -> Result<()> {
    let scene = Scene::start().await?;
    for kind in KINDS {
        // By the API, at once: the table may not know it yet.
        let mut client = EventClient::connect(&scene.url(kind)?).await?;
        let path = format!("/api/v1/connections/{}/disconnect", id_of(&client)?);
        let body = json!({"reason": "maintenance", "code": 4001});
        let asked = scene.send("POST", &path, Some(&body));
        let ((status, answer), closed) = {
            let (answer, closed) = tokio::join!(asked, client.until_closed());
            (answer?, closed?)
        };
        assert_eq!(
            (status, &answer["closed"], &answer["code"]),
            (200, &json!(true), &json!(4001)),
            "{kind}: {answer}"
        );
        assert_eq!(closed, (4001, "maintenance".to_owned()), "{kind}");

        let mut client = EventClient::connect(&scene.url(kind)?).await?;
        let path = format!("/api/v1/connections/{}", id_of(&client)?);
        let (answer, closed) = tokio::join!(scene.send("DELETE", &path, None), client.until_closed());
        assert_eq!(answer?.1["closed"], true, "{kind}");
        assert_eq!(closed?, (1000, "disconnected by the operator".to_owned()), "{kind}");

        // Without a word.
        let mut client = EventClient::connect(&scene.url(kind)?).await?;
        let path = format!("/api/v1/connections/{}/disconnect", id_of(&client)?);
        let body = json!({"notify_client": false});
        let asked = scene.send("POST", &path, Some(&body));
        let (answer, closed) = tokio::join!(asked, client.until_closed());
        assert_eq!(answer?.1["closed"], true, "{kind}");
        assert_eq!(closed?, (1006, String::new()), "{kind}");

        // By the command line, by the beginning of an id.
        let mut client = EventClient::connect(&scene.url(kind)?).await?;
        let id = id_of(&client)?;
        scene.listed(&format!("/api/v1/connections?search={id}"), 1).await?;
        let words = ["disconnect", &id[..30], "--reason", "enough", "--code", "4002"];
        let (said, closed) = tokio::join!(scene.manager.ok(&words), client.until_closed());
        assert_eq!(said?.stdout.trim(), format!("disconnected {id}"));
        assert_eq!(closed?, (4002, "enough".to_owned()), "{kind}");
        // It is gone at once, and a second time there is nothing to close.
        assert_eq!(scene.manager.cli(&words).await?.status, 1);
    }
    scene.listed("/api/v1/connections", 0).await?;
    let events = scene.manager.json(&["events"]).await?;
    let told =
        events.as_array().context("a list")?.iter().filter(|event| event["kind"] == "connection.disconnect");
    assert!(told.count() >= 3, "{events:#}");
    Ok(())
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_too() -> Result<()> {
    let scene = Scene::start().await?;
    // A relay in front of an agent that floods, with the agent of the file service as its external one.
    let port = scene.manager.json(&["status", "file"]).await?["instances"][0]["port"].clone();
    let url = format!("ws://127.0.0.1:{port}/");
    scene.manager.ok(&["register", "flood", "--endpoint", &url, "--auto-start"]).await?;
    scene.manager.ok(&["start", "flood"]).await?;
    for kind in ["file", "flood"] {
        let mut client = EventClient::connect(&scene.url(kind)?).await?;
        let session = client.create_session().await?;
        client.message(&session, "flood").await?;
        client.next_named("agent.partial_answer").await?;
        let id = id_of(&client)?;
        // Nothing goes any more once all buffers are full.
        let path = format!("/api/v1/connections/{id}");
        let mut last = (0, Instant::now());
        wait_for(PATIENCE, "a full connection", async || {
            let bytes = scene.get(&path).await.ok()?["bytes_sent"].as_u64()?;
            if bytes != last.0 {
                last = (bytes, Instant::now());
            }
            // Counters come each second.
            (bytes > 500_000 && last.1.elapsed() > Duration::from_secs(3)).then_some(())
        })
        .await;
        let said = scene.manager.json(&["disconnect", &id]).await?;
        assert_eq!(said[0]["closed"], true, "{kind}: {said}");
        scene.listed(&format!("/api/v1/services/{kind}/connections"), 0).await?;
        client.until_closed().await?;
    }
    Ok(())
}

#[tokio::test]
async fn notifications_reach_those_who_asked_and_nobody_else() -> Result<()> {
    let scene = Scene::start().await?;
    let post =
        async |body: Value| anyhow::Ok(scene.send("POST", "/api/v1/notifications", Some(&body)).await?);
    let mut asked = Vec::new();
    let mut silent = Vec::new();
    for kind in KINDS {
        asked.push(EventClient::connect(&format!("{}?events=1", scene.url(kind)?)).await?);
        silent.push(EventClient::connect(&scene.url(kind)?).await?);
    }
    let uri = scene.url("command")?;
    let builder = ClientBuilder::new().uri(&uri)?;
    let builder = builder.add_header("x-myagent-events".parse()?, "1".parse()?)?;
    let (mut by_header, _) = builder.connect().await?;

    let (status, answer) = post(json!({"message": "going down at noon", "level": "warning"})).await?;
    assert_eq!((status, &answer), (200, &json!({"connections": 4})));
    for client in &mut asked {
        let id = id_of(client)?;
        let event = client.next_named("management_notification").await?;
        assert_eq!((&event["content"], &event["connection_id"]), (&json!("going down at noon"), &json!(id)));
        assert_eq!(event["metadata"], json!({"level": "warning"}));
        assert!(event["timestamp"].is_string());
    }
    loop {
        let message: Message = by_header.next().await.context("the end")??;
        if message.as_text().is_some_and(|text| text.contains("going down at noon")) {
            break;
        }
    }
    by_header.close().await?;
    scene.listed("/api/v1/connections", 6).await?;

    // To one service, to one connection; also in the middle of answers, which stay whole.
    let (_, answer) = post(json!({"message": "only you", "service": "command"})).await?;
    assert_eq!(answer["connections"], 1);
    asked[1].next_named("management_notification").await?;
    for client in &mut asked {
        let session = client.create_session().await?;
        client.message(&session, "hello there").await?;
        let id = id_of(client)?;
        let (_, answer) = post(json!({"message": "psst", "connection_id": id})).await?;
        assert_eq!(answer["connections"], 1);
        let events = client.until_final(&session).await?;
        client.check_seq(&session, 1)?;
        assert_eq!(events.last().context("events")?["content"], "echo: hello there");
        let told = |event: &Value| event["event"] == "management_notification" && event["content"] == "psst";
        while !client.received.iter().any(told) {
            client.next_event().await?;
        }
    }
    let quiet = id_of(&silent[0])?;
    assert_eq!(post(json!({"message": "x", "connection_id": quiet})).await?.1["connections"], 0);
    for client in &mut silent {
        let session = client.create_session().await?;
        client.turn(&session, "hi").await?;
        assert!(client.received.iter().all(|event| event["event"] != "management_notification"));
    }
    for (body, status, code) in [
        (json!({"message": " "}), 400, "INVALID_REQUEST"),
        (json!({"message": "x".repeat(5000)}), 400, "INVALID_REQUEST"),
        (json!({"message": "x", "service": "nobody"}), 404, "SERVICE_NOT_FOUND"),
        (
            json!({"message": "x", "connection_id": "0199d3a0-0000-7000-8000-000000000000"}),
            404,
            "CONNECTION_NOT_FOUND",
        ),
        (json!({"message": "x", "service": "file", "connection_id": quiet}), 400, "INVALID_REQUEST"),
    ] {
        let (found, problem) = post(body).await?;
        assert_eq!((found, problem["code"].as_str()), (status, Some(code)), "{problem}");
    }
    Ok(())
}

#[tokio::test]
async fn a_connection_that_moves_is_one_and_counts_once() -> Result<()> {
    let scene = Scene::start().await?;
    scene.manager.ok(&["scale", "file", "2"]).await?;
    let url = format!("{}?events=1", scene.url("file")?);
    // Round robin: each instance has a client with a session.
    let mut clients = [Resuming::start(&url).await?, Resuming::start(&url).await?];
    scene.listed("/api/v1/services/file/connections", 2).await?;
    // The first comes back through the door of the other one, so that its new connection has to move.
    let views = scene.listed("/api/v1/services/file/connections?sort=connected_at", 2).await?;
    let instances = scene.manager.json(&["status", "file"]).await?["instances"].clone();
    let other = instances
        .as_array()
        .context("instances")?
        .iter()
        .find(|instance| instance["name"] != views[0]["instance"])
        .context("the other instance")?;
    let door = format!("ws://127.0.0.1:{}/?events=1", other["port"]);
    clients[0].come_back(&door).await?.map_err(|event| anyhow::anyhow!("not restored: {event}"))?;
    clients[0].message("moved").await?;
    clients[0].until("agent.final_answer").await?;
    let right = async || {
        let now = scene.get("/api/v1/services/file/connections").await.ok()?;
        let stats = scene.manager.json(&["status", "file"]).await.ok()?["stats"].clone();
        let moved = now["items"].as_array()?.iter().find(|one| one["routing_strategy"].is_null())?.clone();
        let home = moved["instance"] == views[0]["instance"];
        // Two that came through the front door, and one that came back: each once.
        let once = stats["active_connections"] == 2 && stats["connections"] == 3;
        (now["total"] == 2 && home && once).then_some(moved)
    };
    let moved = wait_for(PATIENCE, "two connections, one of them moved", right).await;
    assert!(moved["message_count"].as_u64() >= Some(2), "{moved}");
    assert_eq!(moved["pool"], Value::Null);
    let id = moved["connection_id"].as_str().context("an id")?;
    let (_, answer) = scene
        .send("POST", "/api/v1/notifications", Some(&json!({"message": "hello", "connection_id": id})))
        .await?;
    assert_eq!(answer["connections"], 1, "it had asked before it moved");
    let said = scene.manager.json(&["disconnect", id]).await?;
    assert_eq!(said[0]["closed"], true);
    scene.listed("/api/v1/services/file/connections", 1).await?;
    // Whatever was still to be reported changes nothing.
    let stats = async || Some(scene.manager.json(&["status", "file"]).await.ok()?["stats"].clone());
    let ended = async || stats().await.filter(|stats| stats["active_connections"] == 1);
    assert_eq!(wait_for(PATIENCE, "its end in the counters", ended).await["connections"], 3);
    Ok(())
}

#[tokio::test]
async fn counters_survive_whatever_ends() -> Result<()> {
    let mut scene = Scene::start().await?;
    let talk = async |scene: &Scene, kind: &str| {
        let mut client = EventClient::connect(&scene.url(kind)?).await?;
        let session = client.create_session().await?;
        client.turn(&session, "hello").await?;
        anyhow::Ok(client)
    };
    let totals = async |scene: &Scene, kind: &str| {
        let status = scene.manager.json(&["status", kind]).await.ok()?;
        Some((status["stats"].clone(), status["instances"][0]["totals"].clone()))
    };
    let mut open = Vec::new();
    for kind in KINDS {
        open.push(talk(&scene, kind).await?);
        let right = async || {
            let (service, instance) = totals(&scene, kind).await?;
            (service["connections"] == 1 && instance["messages_out"].as_u64() >= Some(4)).then_some(instance)
        };
        let before = wait_for(PATIENCE, "the first counters", right).await;
        // The runner ends: what it counted stays with the service and the instance.
        scene.manager.ok(&["restart", kind]).await?;
        let right = async || {
            let (service, instance) = totals(&scene, kind).await?;
            let same = service["connections"] == 1 && instance["connections"] == 1;
            (same && instance["messages_out"].as_u64() >= before["messages_out"].as_u64()).then_some(())
        };
        wait_for(PATIENCE, "the same counters after a restart", right).await;
        drop(talk(&scene, kind).await?);
        let right = async || (totals(&scene, kind).await?.1["connections"] == 2).then_some(());
        wait_for(PATIENCE, "a second connection", right).await;
    }
    // A live connection, and its manager is killed.
    let client = talk(&scene, "command").await?;
    scene.listed("/api/v1/connections", 1).await?;
    scene.server.signal(Signal::KILL);
    scene.server.wait().await?;
    scene.server = scene.manager.up().await?;
    let listed = scene.listed("/api/v1/connections", 1).await?;
    assert_eq!(listed[0]["connection_id"], id_of(&client)?);
    for (kind, connections) in KINDS.into_iter().zip([2, 3, 2]) {
        let right = async || {
            let (service, instance) = totals(&scene, kind).await?;
            (service["connections"] == connections && instance["connections"] == connections).then_some(())
        };
        wait_for(PATIENCE, "the counters with a new manager", right).await;
    }
    // The manager leaves, the runner dies while nobody looks: what was noted counts.
    scene.manager.ok(&["shutdown", "--keep-services"]).await?;
    scene.server.wait().await?;
    for pid in myagent_testkit::processes::carrying(&scene.manager.data_dir()) {
        myagent_testkit::processes::send(pid, Signal::KILL);
    }
    scene.server = scene.manager.up().await?;
    let right = async || {
        let (service, instance) = totals(&scene, "command").await?;
        (service["connections"] == 3 && instance["connections"] == 3).then_some(())
    };
    wait_for(PATIENCE, "the counters of a runner that died alone", right).await;
    Ok(())
}
