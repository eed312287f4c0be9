//! Who starts a manager, who only looks, who attaches, and how each of them ends.

use crate::background::{background, only_unix};
use anyhow::{Context, Result};
use myagent_testkit::client::connect;
use myagent_testkit::manager::{Output, Server};
use myagent_testkit::{EventClient, TestManager, fake_agent, http, processes, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

/// Far more than anything here takes.
const DEADLINE: Duration = Duration::from_mins(1);

fn manager() -> Result<TestManager> {
    TestManager::new(env!("CARGO_BIN_EXE_myagent-manager"))
}

/// The words of `register` for a fake agent.
fn fake(name: &str) -> Vec<String> {
    let program = fake_agent::path().display().to_string();
    ["register", name, "--", &program].map(str::to_owned).to_vec()
}

async fn register(manager: &TestManager, name: &str) -> Result<()> {
    let words = fake(name);
    manager.ok(&words.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    Ok(())
}

/// Registers one and starts it.
async fn start(manager: &TestManager, name: &str) -> Result<()> {
    register(manager, name).await?;
    manager.ok(&["start", name]).await?;
    Ok(())
}

/// The agent and the runner of the only instance.
async fn pids(manager: &TestManager, name: &str) -> Result<(u32, u32)> {
    let status = manager.json(&["status", name]).await?;
    let pid = |key| status["instances"][0][key].as_u64().and_then(|pid| u32::try_from(pid).ok());
    pid("pid").zip(pid("runner_pid")).with_context(|| format!("it does not run: {status:#}"))
}

/// Name, status and what is wanted, of all services.
async fn states(manager: &TestManager) -> Result<Vec<String>> {
    let list = manager.json(&["list"]).await?;
    let state =
        |one: &Value| format!("{} {} {}", one["name"], one["status"], one["desired"]).replace('"', "");
    Ok(list.as_array().context("no list")?.iter().map(state).collect())
}

async fn wait_for_states(manager: &TestManager, expected: &[&str]) {
    wait_for(DEADLINE, &format!("{expected:?}"), async || {
        (states(manager).await.unwrap() == expected).then_some(())
    })
    .await;
}

/// A failure: its exit code, and one line that says all of this.
fn check_failure(output: &Output, code: i32, words: &[&str]) {
    assert_eq!(output.status, code, "{output}");
    assert_eq!((output.stderr.lines().count(), output.stdout.as_str()), (1, ""), "{output}");
    for word in words {
        assert!(output.stderr.contains(word), "{word:?} is missing: {output}");
    }
}

/// What a server command says that ends by itself.
async fn ends(manager: &TestManager, arguments: &[&str]) -> Result<Output> {
    manager.cli(arguments).await
}

fn is_open(address: std::net::SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

async fn wait_until_closed(address: std::net::SocketAddr) {
    wait_for(DEADLINE, "a closed listener", async || (!is_open(address)).then_some(())).await;
}

#[tokio::test]
async fn a_command_that_changes_something_starts_a_manager_in_the_background() -> Result<()> {
    let manager = manager()?;
    for words in
        [&["start", "nobody"][..], &["stop", "nobody"], &["scale", "nobody", "2"], &["unregister", "nobody"]]
    {
        // It fails, and the manager that was started for it stays.
        let output = manager.cli(words).await?;
        assert_eq!(output.status, 1, "{output}");
        let pid = background(&manager)?;
        only_unix(pid)?;
        manager.ok(&["shutdown"]).await?;
        assert_eq!(manager.processes(), Vec::<u32>::new());
    }
    register(&manager, "a").await?;
    let pid = background(&manager)?;
    manager.ok(&["start", "a"]).await?;
    manager.ok(&["stop", "--all"]).await?;
    assert_eq!(background(&manager)?, pid, "another manager was started");
    only_unix(pid)
}

#[tokio::test]
async fn commands_that_race_all_succeed_with_one_manager() -> Result<()> {
    let manager = manager()?;
    let names = ["a", "b", "c", "d", "e"];
    let mut running = Vec::new();
    for name in names {
        let mut command = manager.command(&fake(name).iter().map(String::as_str).collect::<Vec<_>>());
        running.push(command.stdout(std::process::Stdio::null()).spawn()?);
    }
    for child in &mut running {
        let status = wait_for(DEADLINE, "the end of register", async || child.try_wait().unwrap()).await;
        assert!(status.success(), "{status}");
    }
    background(&manager)?;
    assert_eq!(states(&manager).await?, names.map(|name| format!("{name} stopped stopped")));
    // A manager that lost the race has said so to its log, and nothing worse.
    let log = std::fs::read_to_string(manager.data_dir().join("manager.log"))?;
    assert!(log.lines().all(|line| !line.contains("panic") && !line.contains("ERROR")), "{log}");
    Ok(())
}

#[tokio::test]
async fn the_caller_of_a_command_that_starts_a_manager_is_not_held() -> Result<()> {
    let manager = manager()?;
    let program = fake_agent::path();
    let mut inner = manager.command(&["register", "a", "--auto-start", "--"]);
    inner.arg(program);
    // The shell's `$(…)` ends when nobody has its pipe any more; descriptors 3 and 9 are the pipe that we read.
    let script = r#"exec 3>&1 9>&1; said=$("$@" 2>&1) || exit 7; echo "said: $said""#;
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
        .current_dir(manager.work_dir())
        .stdout(std::process::Stdio::piped())
        .stdin(std::process::Stdio::null());
    let child = shell.spawn()?;
    let finished = tokio::task::spawn_blocking(move || child.wait_with_output());
    let output = tokio::time::timeout(DEADLINE, finished).await.context("the caller waits for ever")???;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.starts_with("said: registered a and started it"), "{output:?}");
    // What was started goes on without the caller.
    wait_for_states(&manager, &["a running running"]).await;
    background(&manager).map(drop)
}

#[tokio::test]
async fn looking_starts_nothing() -> Result<()> {
    let manager = manager()?;
    let looks: [&[&str]; 11] = [
        &["list"],
        &["status"],
        &["status", "a"],
        &["stats"],
        &["logs", "a"],
        &["logs", "a", "-f"],
        &["health", "a"],
        &["events"],
        &["events", "-f"],
        &["--format", "json", "list"],
        &["shutdown"],
    ];
    for words in looks {
        let output = manager.cli(words).await?;
        check_failure(&output, 3, &["no manager runs for", "data"]);
        assert_eq!(manager.processes(), Vec::<u32>::new());
        assert_eq!(std::fs::read_dir(manager.data_dir())?.count(), 0, "{words:?} wrote something");
    }
    // The same where a manager was.
    register(&manager, "a").await?;
    processes::send(background(&manager)?, Signal::KILL);
    wait_for(DEADLINE, "the end of the manager", async || manager.processes().is_empty().then_some(())).await;
    for words in looks {
        check_failure(&manager.cli(words).await?, 3, &["no manager runs for"]);
    }
    assert_eq!(manager.processes(), Vec::<u32>::new());
    Ok(())
}

#[tokio::test]
async fn a_daemon_is_alone() -> Result<()> {
    let manager = manager()?;
    let mut daemon = manager.serve(&["daemon"], &[]).await?;
    wait_for(DEADLINE, "a manager", async || {
        (manager.cli(&["list"]).await.unwrap().status == 0).then_some(())
    })
    .await;
    only_unix(daemon.pid())?;
    let second = ends(&manager, &["daemon"]).await?;
    check_failure(&second, 4, &[&format!("(process {})", daemon.pid()), "runs already for"]);
    // A command uses the one that is there.
    start(&manager, "a").await?;
    assert_eq!(daemon.try_wait()?, None);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().await?, 0);
    assert_eq!(manager.processes(), Vec::<u32>::new());
    Ok(())
}

/// Whether a listener serves: the API answers, the proxy hands over.
async fn check_listener(server: &Server, kind: &str) -> Result<()> {
    let address = server.address(kind)?;
    if kind == "api" {
        let answer = http::request(address, "GET", "/api/v1/services", None).await?;
        assert_eq!((answer.status, &answer.json()?["items"][0]["name"]), (200, &"a".into()), "{answer:?}");
    } else {
        let mut client = EventClient::connect(&server.ws_url("/s/a")?).await?;
        client.create_session().await?;
        client.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn guests_open_listeners_and_take_them_with_them() -> Result<()> {
    let manager = manager()?;
    start(&manager, "a").await?;
    let host = background(&manager)?;
    let before = pids(&manager, "a").await?;
    let commands: [(&[&str], &[&str]); 4] = [
        (&["api", "--port", "0"], &["api"]),
        (&["proxy", "--port", "0"], &["proxy"]),
        (&["api", "--port", "0", "--proxy-port", "0"], &["api", "proxy"]),
        (&["up", "--api-port", "0", "--proxy-port", "0"], &["api", "proxy"]),
    ];
    for (words, kinds) in commands {
        for (signal, code) in [(Signal::KILL, 137), (Signal::INT, 0), (Signal::TERM, 0)] {
            let guest = manager.serve(words, kinds).await?;
            let said = wait_for(DEADLINE, "a word about the manager", async || {
                guest.said().lines().find(|line| line.starts_with("attached to")).map(str::to_owned)
            });
            assert!(said.await.contains(&format!("(process {host})")), "{}", guest.said());
            let mut addresses = Vec::new();
            for kind in kinds {
                check_listener(&guest, kind).await?;
                addresses.push(guest.address(kind)?);
            }
            let info = manager.ok(&["status"]).await?.stdout;
            for address in &addresses {
                assert!(info.contains(&address.to_string()), "{address} is not in {info}");
            }
            guest.signal(signal);
            assert_eq!(guest.wait().await?, code);
            for address in addresses {
                wait_until_closed(address).await;
            }
        }
    }
    assert_eq!((background_of(&manager)?, pids(&manager, "a").await?), (host, before));
    Ok(())
}

fn background_of(manager: &TestManager) -> Result<u32> {
    let text = std::fs::read_to_string(manager.data_dir().join("manager.json"))?;
    let file: Value = serde_json::from_str(&text)?;
    file["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).context("no pid")
}

#[tokio::test]
async fn a_listener_that_is_open_has_an_owner() -> Result<()> {
    let manager = manager()?;
    let first = manager.up().await?;
    let [api, proxy] = [first.address("api")?, first.address("proxy")?];
    let (api_port, proxy_port) = (api.port().to_string(), proxy.port().to_string());
    let owner = format!("up (process {})", first.pid());
    let again = ends(&manager, &["proxy", "--port", &proxy_port]).await?;
    check_failure(&again, 1, &[&proxy.to_string(), "is open already", &owner]);
    let again = ends(&manager, &["up", "--api-port", &api_port, "--proxy-port", "0"]).await?;
    check_failure(&again, 1, &[&api.to_string(), "is open already", &owner]);
    // A guest is an owner too.
    let guest = manager.serve(&["api", "--port", "0"], &["api"]).await?;
    let port = guest.address("api")?.port().to_string();
    let again = ends(&manager, &["api", "--port", &port]).await?;
    check_failure(&again, 1, &["is open already", &format!("api (process {})", guest.pid())]);
    // And so is a stranger, for a guest and for a manager.
    let stranger = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = stranger.local_addr()?.port().to_string();
    let words = [&port, "is in use by process", &std::process::id().to_string()];
    check_failure(&ends(&manager, &["api", "--port", &port]).await?, 1, &words);
    let info = manager.ok(&["status"]).await?.stdout;
    assert!(info.contains(&api.to_string()) && info.contains(&proxy.to_string()), "{info}");
    drop(guest);
    start(&manager, "a").await?;
    check_listener(&first, "api").await?;
    check_listener(&first, "proxy").await?;
    manager.ok(&["shutdown"]).await?;
    // It fails before it has started anything.
    check_failure(&ends(&manager, &["up", "--api-port", &port, "--proxy-port", "0"]).await?, 1, &words);
    assert_eq!(manager.processes(), Vec::<u32>::new());
    Ok(())
}

#[tokio::test]
async fn a_guest_ends_with_its_manager() -> Result<()> {
    let manager = manager()?;
    register(&manager, "a").await?;
    let guest = manager.serve(&["up", "--api-port", "0", "--proxy-port", "0"], &["api", "proxy"]).await?;
    let addresses = [guest.address("api")?, guest.address("proxy")?];
    processes::send(background_of(&manager)?, Signal::KILL);
    assert_eq!(guest.wait().await?, 1);
    assert!(!addresses.into_iter().any(is_open));

    // The same when the manager is shut down.
    register(&manager, "b").await?;
    let guest = manager.serve(&["api", "--port", "0"], &["api"]).await?;
    manager.ok(&["shutdown"]).await?;
    assert_eq!(guest.wait().await?, 1);
    assert_eq!(manager.processes(), Vec::<u32>::new());
    Ok(())
}

#[tokio::test]
async fn shutdown_stops_what_runs_and_the_next_manager_starts_it_again() -> Result<()> {
    let manager = manager()?;
    start(&manager, "runs").await?;
    start(&manager, "stopped").await?;
    manager.ok(&["stop", "stopped"]).await?;
    register(&manager, "never").await?;
    let expected = ["never stopped stopped", "runs running running", "stopped stopped stopped"];
    assert_eq!(states(&manager).await?, expected);
    let mut before = pids(&manager, "runs").await?;

    // However a manager is told to end, what users want stays.
    let up: &[&str] = &["up", "--api-port", "0", "--proxy-port", "0"];
    let rounds: [(Option<Signal>, &[&str]); 4] = [
        (None, &["daemon"]),
        (Some(Signal::INT), up),
        (Some(Signal::TERM), &["daemon"]),
        (Some(Signal::INT), &["api", "--port", "0"]),
    ];
    manager.ok(&["shutdown"]).await?;
    for (signal, words) in rounds {
        assert_eq!(manager.processes(), Vec::<u32>::new());
        assert_eq!(manager.cli(&["list"]).await?.status, 3);
        let server = manager.serve(words, &[]).await?;
        wait_for(DEADLINE, "a manager", async || {
            (manager.cli(&["list"]).await.unwrap().status == 0).then_some(())
        })
        .await;
        wait_for_states(&manager, &expected).await;
        let after = pids(&manager, "runs").await?;
        assert!(after.0 != before.0 && after.1 != before.1, "{before:?} {after:?}");
        before = after;
        match signal {
            Some(signal) => server.signal(signal),
            None => assert_eq!(manager.ok(&["shutdown"]).await?.stdout, "the manager has ended\n"),
        }
        assert_eq!(server.wait().await?, 0);
    }
    assert_eq!(manager.processes(), Vec::<u32>::new());
    Ok(())
}

#[tokio::test]
async fn services_that_are_kept_are_found_again() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    start(&manager, "a").await?;
    let before = pids(&manager, "a").await?;
    let mut client = EventClient::connect(&server.ws_url("/s/a")?).await?;
    let session = client.create_session().await?;
    manager.ok(&["shutdown", "--keep-services"]).await?;
    assert_eq!(server.wait().await?, 0);
    client.turn(&session, "is anybody there?").await?;
    assert!(processes::is_alive(before.0) && processes::is_alive(before.1));

    // Also by a manager that is started for a command.
    manager.ok(&["start", "a"]).await?;
    assert_eq!(pids(&manager, "a").await?, before);
    let status = manager.json(&["status", "a"]).await?;
    assert_eq!((&status["restart_count"], &status["stats"]["active_connections"]), (&0.into(), &1.into()));
    client.turn(&session, "and now?").await?;
    client.check_seq(&session, 1)?;
    manager.ok(&["stop", "a"]).await?;
    assert!(!processes::is_alive(before.0) && !processes::is_alive(before.1));
    Ok(())
}

#[tokio::test]
async fn after_a_killed_manager_the_next_change_starts_one() -> Result<()> {
    let manager = manager()?;
    start(&manager, "a").await?;
    let before = pids(&manager, "a").await?;
    let mut dead = background(&manager)?;
    for round in 0..3 {
        processes::send(dead, Signal::KILL);
        wait_for(DEADLINE, "its end", async || (!processes::is_alive(dead)).then_some(())).await;
        assert_eq!(manager.cli(&["list"]).await?.status, 3);
        register(&manager, &format!("b{round}")).await?;
        let next = background_of(&manager)?;
        assert_ne!(next, dead);
        wait_for_states(
            &manager,
            &[
                &["a running running"],
                &["b0 stopped stopped", "b1 stopped stopped", "b2 stopped stopped"][..=round],
            ]
            .concat(),
        )
        .await;
        assert_eq!(pids(&manager, "a").await?, before);
        dead = next;
    }
    Ok(())
}

#[tokio::test]
async fn a_command_that_meets_a_manager_that_ends_is_not_left_waiting() -> Result<()> {
    let manager = manager()?;
    start(&manager, "a").await?;
    for round in 0..5 {
        let mut shutdown = manager.command(&["shutdown"]).stdout(std::process::Stdio::null()).spawn()?;
        // From before its end until another has its place.
        let name = format!("b{round}");
        let words = fake(&name);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        wait_for(DEADLINE, "a manager for it", async || {
            let began = tokio::time::Instant::now();
            let output = manager.cli(&words).await.unwrap();
            // Far less than a command waits for a manager that does not come.
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}: {output}", began.elapsed());
            let is_told = ["shutting down", "ended", "closed the connection", "no manager runs"];
            assert!(
                output.status == 0 || is_told.iter().any(|word| output.stderr.contains(word)),
                "{output}"
            );
            (output.status == 0).then_some(())
        })
        .await;
        assert!(wait_for(DEADLINE, "its end", async || shutdown.try_wait().unwrap()).await.success());
        // Registered with the old or with the new one: it is there.
        manager.ok(&["start", "a"]).await?;
        assert!(states(&manager).await?.contains(&format!("{name} stopped stopped")));
    }
    background(&manager).map(drop)
}

/// The program with another data directory than the test's own.
async fn elsewhere(manager: &TestManager, data: &[&str], words: &[&str]) -> Result<Output> {
    let model = manager.command(words);
    let mut command = std::process::Command::new(model.get_program());
    // Without the test's `--data-dir DIR`.
    command.args(data).args(model.get_args().skip(2)).current_dir(manager.work_dir());
    for (name, value) in model.get_envs() {
        match value {
            Some(value) if name != "XDG_RUNTIME_DIR" => command.env(name, value),
            _ => command.env_remove(name),
        };
    }
    command.stdin(std::process::Stdio::null());
    let finished = tokio::task::spawn_blocking(move || command.output());
    let output = tokio::time::timeout(DEADLINE, finished).await.context("it does not end")???;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let status = output.status.code().context("it was killed")?;
    Ok(Output { status, stdout: text(&output.stdout), stderr: text(&output.stderr) })
}

#[tokio::test]
async fn a_data_directory_may_have_a_long_path() -> Result<()> {
    let manager = manager()?;
    let mut long: PathBuf = manager.work_dir();
    while long.as_os_str().len() < 200 {
        long.push("a_rather_long_name_of_a_folder");
    }
    let data = ["--data-dir", long.to_str().unwrap()];
    let program = fake_agent::path().display().to_string();
    let register = ["register", "a", "--auto-start", "--", &program];
    let registered = elsewhere(&manager, &data, &register).await?.success()?;
    assert!(registered.stdout.contains("running at ws://"), "{registered}");
    let file: Value = serde_json::from_slice(&std::fs::read(long.join("manager.json"))?)?;
    let socket = PathBuf::from(file["socket"].as_str().unwrap());
    let status = elsewhere(&manager, &data, &["--format", "json", "status", "a"]).await?.success()?.json()?;
    let client = connect(status["endpoint"].as_str().unwrap()).await?;
    drop(client);
    elsewhere(&manager, &data, &["shutdown"]).await?.success()?;
    // It stood in a folder of its own outside of the data directory, which goes with the manager.
    assert!(!socket.starts_with(&long) && !socket.parent().unwrap().exists(), "{}", socket.display());
    assert_eq!(manager.processes(), Vec::<u32>::new());
    Ok(())
}

#[tokio::test]
async fn a_database_has_one_manager_whatever_way_it_is_named() -> Result<()> {
    let manager = manager()?;
    let database = manager.data_dir().join("myagent.db");
    let by_path = ["--db-path", database.to_str().unwrap()];
    register(&manager, "a").await?;
    let refused = elsewhere(&manager, &by_path, &["daemon"]).await?;
    assert!(matches!(refused.status, 1 | 4) && refused.stderr.lines().count() == 1, "{refused}");
    assert!(refused.stderr.contains("myagent.db"), "{refused}");
    // A database of its own is a manager of its own.
    let fleet = manager.work_dir().join("fleet.db");
    let by_path = ["--db-path", fleet.to_str().unwrap()];
    let program = fake_agent::path().display().to_string();
    elsewhere(&manager, &by_path, &["register", "b", "--", &program]).await?.success()?;
    let listed = elsewhere(&manager, &by_path, &["--format", "json", "list"]).await?.success()?.json()?;
    assert_eq!((listed.as_array().map(Vec::len), &listed[0]["name"]), (Some(1), &"b".into()));
    assert_eq!(states(&manager).await?, ["a stopped stopped"]);
    elsewhere(&manager, &by_path, &["shutdown"]).await?.success()?;
    Ok(())
}
