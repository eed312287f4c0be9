//! The example agents in front of models and libraries, against a stand-in for the model: streaming, tool calls, cancel,
//! errors, secrets, and a new process.

use crate::fleet::{PATIENCE, Process, instance, manager, number, wait_for_instance};
use anyhow::{Context, Result, ensure};
use myagent_testkit::manager::Server;
use myagent_testkit::{EventClient, StandIn, TestManager, wait_for};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The only key that the stand-in takes.
const KEY: &str = "sk-planted-8c1f0a7d";
/// Ten times what a user may wait for the end of a turn that was cancelled.
const CANCEL: Duration = Duration::from_secs(10);

fn agents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../agents")
}

/// A manager with one service named `talk` that runs this example.
async fn talking(file: &str, options: &[&str]) -> Result<(TestManager, Server)> {
    let mut manager = manager()?;
    // `--secret` takes it from the environment of the command.
    manager.set_env("OPENAI_API_KEY", KEY);
    let server = manager.up().await?;
    let path = agents().join(file);
    let file = path.to_str().context("the path is no text")?;
    manager.ok(&[&["register", "talk", file, "--auto-start"], options].concat()).await?;
    Ok((manager, server))
}

/// The chat agent in front of a stand-in that takes one key only.
async fn chatting() -> Result<(StandIn, TestManager, Server)> {
    let script = agents().join("stand_in/openai_server.py");
    let model = StandIn::start(&script, &["--key", KEY]).await?;
    let base = format!("OPENAI_BASE_URL={}", model.url);
    let options = ["--secret", "OPENAI_API_KEY", "--env", &base, "--env", "OPENAI_MODEL=stand-in"];
    let (manager, server) = talking("openai_chat_agent.py", &options).await?;
    Ok((model, manager, server))
}

/// A client with a session of its own.
async fn client(server: &Server) -> Result<(EventClient, String)> {
    let mut client = EventClient::connect(&server.ws_url("/s/talk")?).await?;
    let session = client.create_session().await?;
    Ok((client, session))
}

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

fn text(event: &Value) -> &str {
    event["content"].as_str().unwrap_or_default()
}

/// The final answer of a turn, of which the pieces are all there is.
fn answer(events: &[Value]) -> Result<String> {
    let pieces: String = named(events, "agent.partial_answer").into_iter().map(text).collect();
    let finals = named(events, "agent.final_answer");
    ensure!(finals.len() == 1 && text(finals[0]) == pieces, "{pieces:?} and {finals:?}");
    Ok(pieces)
}

/// Fails unless the tool calls of the turn are these, each followed by its result, as the protocol has them.
fn check_calls(events: &[Value], expected: &[(&str, Value, &str, Option<&str>)]) -> Result<()> {
    let calls = named(events, "agent.tool_call");
    let results = named(events, "agent.tool_result");
    ensure!((calls.len(), results.len()) == (expected.len(), expected.len()), "{events:#?}");
    for (n, (tool, arguments, result, error)) in expected.iter().enumerate() {
        let step = format!("step_{n}_{tool}");
        let status = if error.is_some() { "error" } else { "success" };
        let running = json!({"tool": tool, "args": arguments, "status": "running"});
        assert_eq!((&calls[n]["step_id"], &calls[n]["metadata"]), (&json!(step), &running));
        assert!(!text(calls[n]).is_empty(), "{}", calls[n]);
        let done = json!({"tool": tool, "status": status, "error": error});
        assert_eq!((&results[n]["step_id"], &results[n]["metadata"]), (&json!(step), &done));
        assert_eq!(text(results[n]), *result);
        assert!(calls[n]["seq"].as_u64() < results[n]["seq"].as_u64(), "the result comes after the call");
    }
    Ok(())
}

/// Kills the worker of `talk` and waits for the next one.
async fn kill_worker(manager: &TestManager) -> Result<()> {
    let pid = number(&instance(manager, "talk").await?["pid"])?;
    Process::of(pid)?.kill();
    wait_for_instance(manager, "talk", "a new worker", |instance| {
        instance["status"] == "running" && instance["pid"].as_u64().is_some_and(|new| new != u64::from(pid))
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn a_chat_is_streamed_with_its_history() -> Result<()> {
    let (model, manager, server) = chatting().await?;
    let (mut client, session) = client(&server).await?;
    let first = client.turn(&session, "tell me äöü a rather long story").await?;
    assert_eq!(answer(&first)?, "You said: tell me äöü a rather long story");
    let pieces: Vec<&str> = named(&first, "agent.partial_answer").into_iter().map(text).collect();
    assert!(pieces.len() >= 3, "it is not streamed: {pieces:?}");
    // The model gets the conversation so far, also from the next process.
    kill_worker(&manager).await?;
    let second = answer(&client.turn(&session, "/messages").await?)?;
    let expected = "user: tell me äöü a rather long story | assistant: You said: tell me äöü a rather long story | \
                    user: /messages";
    assert!(second.starts_with("system: ") && second.ends_with(expected), "{second}");
    client.check_seq(&session, 1)?;
    let request = model.wait_for("request", 2).await;
    let expected =
        json!({"event": "request", "path": "/v1/chat/completions", "model": "stand-in", "messages": 4});
    assert_eq!(request, expected);
    client.close().await
}

#[tokio::test]
async fn the_model_calls_functions() -> Result<()> {
    let (_model, _manager, server) = chatting().await?;
    let (mut client, session) = client(&server).await?;
    let wanted = "/call get_weather {\"city\": \"Paris\"}\n/call add {\"a\": 1, \"b\": 2.5}\n\
                  /call get_weather {\"city\": \"Atlantis\"}\n/call no_such {}\n/call add [broken";
    let turn = client.turn(&session, wanted).await?;
    let unknown = "ValueError: there is no function no_such";
    let broken = "ValueError: the arguments are not JSON: [broken";
    let expected = [
        ("get_weather", json!({"city": "Paris"}), "Paris: sunny, 25 °C", None),
        ("add", json!({"a": 1, "b": 2.5}), "3.5", None),
        ("get_weather", json!({"city": "Atlantis"}), "KeyError: 'atlantis'", Some("KeyError: 'atlantis'")),
        ("no_such", json!({}), unknown, Some(unknown)),
        ("add", json!({}), broken, Some(broken)),
    ];
    check_calls(&turn, &expected)?;
    let all: Vec<&str> = expected.iter().map(|(_, _, result, _)| *result).collect();
    assert_eq!(answer(&turn)?, format!("The tools said: {}", all.join("; ")), "the model has every result");
    client.check_seq(&session, 1)?;
    client.close().await
}

#[tokio::test]
async fn a_cancel_reaches_the_model() -> Result<()> {
    let (model, _manager, server) = chatting().await?;
    let (mut client, session) = client(&server).await?;
    for (round, message) in ["/slow", "/wait"].into_iter().enumerate() {
        client.message(&session, message).await?;
        if message == "/slow" {
            client.next_named("agent.partial_answer").await?;
        }
        model.wait_for("request", 2 * round + 1).await;
        assert_eq!(model.told("left").len(), round, "it was left before the cancel");
        let asked = Instant::now();
        timeout(CANCEL, client.cancel(&session)).await.context("not cancelled in time")??;
        model.wait_for("left", round + 1).await;
        assert!(asked.elapsed() < CANCEL, "{message}: left after {:?}", asked.elapsed());
        // The session goes on, and what was cancelled is not part of it.
        let after = client.turn(&session, "/messages").await?;
        assert!(!answer(&after)?.contains(message), "{after:?}");
    }
    client.check_seq(&session, 1)?;
    client.close().await
}

#[tokio::test]
async fn what_goes_wrong_at_the_model_is_an_error_of_one_turn() -> Result<()> {
    let (model, manager, server) = chatting().await?;
    let (mut client, session) = client(&server).await?;
    let url = model.url.clone();
    let refused = "the model answered 401: Incorrect API key provided: ***.";
    let cases = [
        ("/error 401", 0, refused),
        ("/error 429", 0, "the model answered 429: Rate limit reached, please try again in 20s."),
        ("/error 500", 0, "the model answered 500: The server had an error while processing your request."),
        ("/broken", 1, "the model stopped: The model stumbled."),
        ("/cut", 1, "the connection to the model broke"),
    ];
    for (message, pieces, expected) in cases {
        let from = client.received.len();
        client.message(&session, message).await?;
        let error = client.next_named("agent.error").await?;
        assert_eq!(text(&error), format!("ModelError: {expected}"));
        assert_eq!(error["metadata"]["code"], "AGENT_FAILED");
        let turn = &client.received[from..];
        assert!(named(turn, "agent.partial_answer").len() >= pieces, "{turn:?}");
        assert!(named(turn, "agent.final_answer").is_empty(), "{turn:?}");
        let next = client.turn(&session, "and now?").await?;
        assert_eq!(answer(&next)?, "You said: and now?", "after {message}");
    }
    drop(model);
    client.message(&session, "is anybody there?").await?;
    let error = client.next_named("agent.error").await?;
    assert!(
        text(&error).starts_with("ModelError: no answer from the model at 127.0.0.1: "),
        "{error}: {url}"
    );
    client.check_seq(&session, 1)?;

    // The key went to the model and nowhere else, although the model repeated it.
    assert!(!format!("{:?}", client.received).contains(KEY));
    let logs = wait_for(PATIENCE, "the traceback in the logs", async || {
        let logs = manager.ok(&["logs", "talk", "-n", "1000"]).await.ok()?.stdout;
        logs.contains(refused).then_some(logs)
    });
    assert!(!logs.await.contains(KEY));
    let files = files_with(&manager.data_dir(), KEY)?;
    assert!(files.is_empty(), "the key is in {files:?}");
    client.close().await
}

/// Files in a folder, at any depth, that contain this.
fn files_with(folder: &Path, mark: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        if kind.is_dir() {
            found.extend(files_with(&path, mark)?);
        } else if kind.is_file() {
            let bytes = std::fs::read(&path)?;
            if bytes.windows(mark.len()).any(|window| window == mark.as_bytes()) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_kept_secret() -> Result<()> {
    let script = agents().join("stand_in/openai_server.py");
    let model = StandIn::start(&script, &["--key", "another"]).await?;
    let base = format!("OPENAI_BASE_URL={}", model.url);
    let (_manager, server) =
        talking("openai_chat_agent.py", &["--secret", "OPENAI_API_KEY", "--env", &base]).await?;
    let (mut client, session) = client(&server).await?;
    client.message(&session, "hello").await?;
    let error = client.next_named("agent.error").await?;
    assert_eq!(text(&error), "ModelError: the model answered 401: Incorrect API key provided: ***.");
    client.close().await
}

#[tokio::test]
async fn a_graph_streams_and_survives_its_process() -> Result<()> {
    // target/debug/myagent-manager; target/python is made by scripts/setup.sh.
    let target = Path::new(env!("CARGO_BIN_EXE_myagent-manager")).ancestors().nth(2);
    let python = target.context("no target folder")?.join("python/bin/python");
    if !python.exists() && std::env::var_os("CI").is_none() {
        // There is nothing to test on a machine without the libraries; the one that decides has them.
        return Ok(());
    }
    let python = python.to_str().context("the path is no text")?;
    let (manager, server) = talking("langgraph_agent.py", &["--python", python]).await?;
    let (mut client, session) = client(&server).await?;
    let turn = client.turn(&session, "Which is warmer, Cairo or Tokyo?").await?;
    let cairo = ("get_weather", json!({"city": "Cairo"}), "Cairo: sunny, 31 °C", None);
    let tokyo = ("get_weather", json!({"city": "Tokyo"}), "Tokyo: light rain, 18 °C", None);
    check_calls(&turn, &[cairo, tokyo])?;
    assert_eq!(answer(&turn)?, "I looked it up. Cairo: sunny, 31 °C. Tokyo: light rain, 18 °C.");
    assert!(named(&turn, "agent.partial_answer").len() >= 3, "it is not streamed: {turn:?}");
    let last_call = named(&turn, "agent.tool_result").last().and_then(|event| event["seq"].as_u64());
    let first_word = named(&turn, "agent.partial_answer").first().and_then(|event| event["seq"].as_u64());
    assert!(last_call < first_word, "the model speaks when it has the results");

    // A tool that fails is the model's affair.
    let turn = client.turn(&session, "And Atlantis?").await?;
    let results = named(&turn, "agent.tool_result");
    assert_eq!(results[0]["metadata"]["status"], "error", "{results:?}");
    // A cancelled turn leaves no trace in the conversation, wherever it was.
    client.message(&session, "Paris, Cairo, Tokyo and everything about them").await?;
    client.next_named("agent.partial_answer").await?;
    timeout(CANCEL, client.cancel(&session)).await.context("not cancelled in time")??;

    // Texts, tool calls and results are there in a new process: two questions before this one, three results.
    kill_worker(&manager).await?;
    let after = answer(&client.turn(&session, "What do you know?").await?)?;
    assert!(after.starts_with("So far you asked me 3 things and I looked up 3: Cairo: sunny"), "{after}");
    let notices = named(&client.received, "system.notice");
    assert!(notices.is_empty(), "nothing was lost, so there is nothing to tell: {notices:?}");
    client.check_seq(&session, 1)?;
    client.close().await
}

#[tokio::test]
async fn tools_are_shown_asked_for_and_stopped() -> Result<()> {
    let (manager, server) = talking("tools_agent.py", &[]).await?;
    let (mut client, session) = client(&server).await?;
    let all = "draft-1.txt, draft-2.txt, report.pdf";
    let list = ("list_files", json!({}), all, None);
    let back_up = ("back_up", json!({}), "saved 3 files", None);

    let from = client.received.len();
    client.message(&session, "please clean up").await?;
    let question = client.next_named("agent.user_confirm").await?;
    assert_eq!(question["metadata"]["options"], json!(["yes", "no"]), "{question}");
    check_calls(&client.received[from..], &[list.clone(), back_up.clone()])?;
    assert_eq!(named(&client.received, "agent.thinking").len(), 1);
    let no = json!({"event": "user.response", "session_id": session, "step_id": question["step_id"], "content": "no"});
    client.send(no).await?;
    let answered = client.until_final(&session).await?;
    assert!(named(&answered, "agent.tool_call").is_empty(), "it was not allowed: {answered:?}");
    assert_eq!(answer(&client.turn(&session, "list").await?)?, format!("list_files: {all}. Done."));

    // Cancelled while it asks: nothing is deleted either.
    client.message(&session, "clean up").await?;
    client.next_named("agent.user_confirm").await?;
    timeout(CANCEL, client.cancel(&session)).await.context("not cancelled in time")??;
    // Cancelled in the middle of a step: the step is the last one of the turn.
    client.message(&session, "back up").await?;
    while client.next_named("agent.tool_call").await?["metadata"]["tool"] != "back_up" {}
    timeout(CANCEL, client.cancel(&session)).await.context("not cancelled in time")??;
    let listed = client.turn(&session, "list").await?;
    check_calls(&listed, std::slice::from_ref(&list))?;

    let from = client.received.len();
    client.message(&session, "clean up").await?;
    let question = client.next_named("agent.user_confirm").await?;
    let yes = json!({"event": "user.response", "session_id": session, "step_id": question["step_id"], "content": "yes"});
    client.send(yes).await?;
    client.until_final(&session).await?;
    let deleted = ("delete_old_files", json!({}), "deleted draft-1.txt, draft-2.txt", None);
    let left = ("list_files", json!({}), "report.pdf", None);
    check_calls(&client.received[from..], &[list, back_up, deleted, left])?;

    // What was done is done, in a new process too.
    kill_worker(&manager).await?;
    assert_eq!(answer(&client.turn(&session, "list").await?)?, "list_files: report.pdf. Done.");
    client.check_seq(&session, 1)?;
    client.close().await
}

#[tokio::test]
async fn a_function_that_yields_is_an_agent() -> Result<()> {
    let (manager, server) = talking("generator_agent.py", &[]).await?;
    let (mut client, session) = client(&server).await?;
    let turn = client.turn(&session, "2 * (3 + 4) - 10 / 4").await?;
    let steps = "3 + 4 = 7\n2 * 7 = 14\n10 / 4 = 2.5\n14 - 2.5 = 11.5\nThe result is 11.5.";
    assert_eq!(answer(&turn)?, steps);
    kill_worker(&manager).await?;
    let turn = client.turn(&session, "ans * 2").await?;
    assert_eq!(answer(&turn)?, "11.5 * 2 = 23\nThe result is 23.", "it has the history");
    for (formula, expected) in [("1 / 0", "There it ends: "), ("import os", "I can only calculate")] {
        let turn = client.turn(&session, formula).await?;
        assert!(answer(&turn)?.starts_with(expected), "{turn:?}");
    }
    client.close().await
}
