//! What became of sessions and turns: counted by the runner, shown by `status`, `stats` and the API, and kept when the manager
//! is killed and the service restarted.

use crate::fleet::{PATIENCE, manager, start_fake};
use anyhow::{Context, Result};
use myagent_testkit::manager::Server;
use myagent_testkit::{EventClient, TestManager, http, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Answers, fails, or goes on until it is cancelled.
const AGENT: &str = r#"
import asyncio

class Agent:
    async def astream(self, message):
        if message == "fail":
            raise ValueError("asked to fail")
        yield "so "
        if message == "go on":
            await asyncio.sleep(1000)
        yield "it is"

agent = Agent()
"#;

/// Waits until the `stats` of `status NAME` are right; returns them.
async fn stats(manager: &TestManager, name: &str, what: &str, right: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    wait_for(PATIENCE, what, async || {
        last = manager.json(&["status", name]).await.ok()?["stats"].clone();
        right(&last).then(|| last.clone())
    })
    .await
}

/// Four turns: two good, one failing, one cancelled. In this order, so that the session's last turn was good.
async fn converse(server: &Server) -> Result<EventClient> {
    let mut client = EventClient::connect(&server.ws_url("/s/talk")?).await?;
    let session = client.create_session().await?;
    client.turn(&session, "hello").await?;
    client.message(&session, "fail").await?;
    client.next_named("agent.error").await?;
    begin_for_ever(&mut client, &session).await?;
    client.cancel(&session).await?;
    client.turn(&session, "hello again").await?;
    Ok(client)
}

async fn begin_for_ever(client: &mut EventClient, session: &str) -> Result<()> {
    client.message(session, "go on").await?;
    client.next_named("agent.partial_answer").await?;
    Ok(())
}

/// The counters of turns that matter here.
fn turns(stats: &Value) -> Value {
    let turns = &stats["session_totals"]["turns"];
    let names = ["accepted", "completed", "failed", "agent_error", "interrupted", "cancelled"];
    names.iter().map(|name| turns[name].clone()).collect()
}

#[tokio::test]
async fn numbers_of_sessions_and_turns_are_shown_and_survive() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    std::fs::write(manager.work_dir().join("talk.py"), AGENT)?;
    let timeout = ["--set", "session_timeout=1", "--replicas", "2", "--auto-start"];
    manager.ok(&[&["register", "talk", "talk.py"], &timeout[..]].concat()).await?;
    start_fake(&manager, "relayed", &[], &[]).await?;

    // Two clients, one for each instance.
    let clients = [converse(&server).await?, converse(&server).await?];
    let counted = json!([8, 4, 2, 2, 0, 2]);
    let now = stats(&manager, "talk", "eight turns", |stats| turns(stats) == counted).await;
    assert_eq!((&now["sessions"], &now["active_sessions"]), (&json!(2), &json!(2)), "{now:#}");
    assert_eq!(now["detached_sessions"], 0);
    let times = &now["session_totals"]["turns"];
    assert_eq!((&times["duration"]["count"], &times["first_response"]["count"]), (&json!(4), &json!(6)));
    let buckets = times["duration"]["buckets"].as_object().context("there are buckets")?;
    assert_eq!(buckets.values().filter_map(Value::as_u64).sum::<u64>(), 4, "{now:#}");
    let status = manager.json(&["status", "talk"]).await?;
    let active: Vec<&Value> =
        status["instances"].as_array().unwrap().iter().map(|one| &one["active_sessions"]).collect();
    assert_eq!(active, [&json!(1), &json!(1)], "{status:#}");

    // The manager is killed: its successor learns all of it from the runners.
    server.signal(Signal::KILL);
    server.wait().await?;
    let server = manager.up().await?;
    let same = stats(&manager, "talk", "the same numbers", |stats| turns(stats) == counted).await;
    assert_eq!(same["session_totals"], now["session_totals"]);
    assert_eq!((&same["sessions"], &same["active_sessions"]), (&json!(2), &json!(2)));

    // A relay knows connections and says no more.
    let relayed = manager.json(&["status", "relayed"]).await?["stats"].clone();
    assert!(relayed.get("session_totals").is_none(), "{relayed:#}");
    assert!(!manager.ok(&["status", "relayed"]).await?.stdout.contains("session"));

    // One client leaves for good: its session expires.
    let [leaves, mut stays] = clients;
    leaves.close().await?;
    let ended = |stats: &Value| stats["session_totals"]["completed"] == 1;
    let one = stats(&manager, "talk", "an expired session", ended).await;
    assert_eq!((&one["active_sessions"], &one["session_totals"]["expired"]), (&json!(1), &json!(1)));
    assert_eq!(one["session_totals"]["duration"]["count"], 1);

    // Restarted in the middle of an answer: its end is counted, too, and nothing is forgotten.
    let session = stays.received.iter().find_map(|event| event["session_id"].as_str()).unwrap().to_owned();
    begin_for_ever(&mut stays, &session).await?;
    manager.ok(&["restart", "talk", "--all-at-once"]).await?;
    let counted = json!([9, 4, 3, 2, 1, 2]);
    let last = stats(&manager, "talk", "the interrupted turn", |stats| turns(stats) == counted).await;
    assert_eq!((&last["sessions"], &last["active_sessions"]), (&json!(2), &json!(0)), "{last:#}");
    assert_eq!(last["session_totals"]["turns"]["duration"], now["session_totals"]["turns"]["duration"]);

    // Everywhere the same.
    let api = server.address("api")?;
    let answer = http::request(api, "GET", "/api/v1/services/talk/stats", None).await?;
    let mut numbers = answer.json()?;
    // It has more, which follows from these and from what was measured.
    numbers.as_object_mut().unwrap().retain(|name, _| last.get(name).is_some());
    assert_eq!((answer.status, numbers), (200, last.clone()));
    let fleet = manager.json(&["stats"]).await?;
    assert_eq!(
        (&fleet["session_totals"], &fleet["totals"]["sessions"]),
        (&last["session_totals"], &json!(2))
    );
    let text = manager.ok(&["stats"]).await?.stdout;
    for expected in [
        "\nsessions           0 active, 2 since registration: 1 completed; ",
        "\nturns              4 answered, 3 failed (2 by the agent, 1 by a stop or restart), 2 cancelled\n",
        "\nresponded in       ",
        "\nanswered in        ",
    ] {
        assert!(text.contains(expected), "{text}\nlacks {expected:?}");
    }
    Ok(())
}
