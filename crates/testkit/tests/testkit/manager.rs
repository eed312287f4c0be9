//! The manager's guard, with a shell script in the manager's place.

use myagent_testkit::{TestManager, processes, wait_for};
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

/// A program that speaks like a manager as far as the guard looks at it.
const SCRIPT: &str = r#"#!/bin/sh
data="$2"; shift 2
case "$1" in
  up) echo "proxy listening on ws://127.0.0.1:1234" >&2; echo "api listening on http://127.0.0.1:1235" >&2
      echo $$ > "$data/pid"; exec sleep 60 ;;
  shutdown) kill "$(cat "$data/pid")" 2>/dev/null; exit 0 ;;
  --format) shift 2; echo "{\"arguments\": \"$*\", \"run\": \"$XDG_RUNTIME_DIR\", \"extra\": \"$EXTRA\"}" ;;
  *) echo out; echo err >&2; exit 3 ;;
esac
"#;

fn program(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("manager.sh");
    std::fs::write(&path, SCRIPT).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn commands_are_run_and_their_answers_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut manager = TestManager::new(program(&folder)).unwrap();
    manager.set_env("EXTRA", "yes");
    let output = manager.cli(&["anything"]).await.unwrap();
    assert_eq!((output.status, output.stdout.as_str(), output.stderr.as_str()), (3, "out\n", "err\n"));
    assert!(manager.ok(&["anything"]).await.is_err());
    let answer = manager.json(&["status", "weather"]).await.unwrap();
    assert_eq!((&answer["arguments"], &answer["extra"]), (&"status weather".into(), &"yes".into()));
    assert!(manager.data_dir().is_dir() && manager.work_dir().is_dir());
}

#[tokio::test]
async fn a_server_is_found_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let manager = TestManager::new(program(&folder)).unwrap();
    let server = manager.up().await.unwrap();
    assert_eq!(server.address("api").unwrap().port(), 1235);
    assert_eq!(server.ws_url("/s/a").unwrap(), "ws://127.0.0.1:1234/s/a");
    let first = server.pid();
    assert!(manager.processes().contains(&first));
    server.signal(Signal::TERM);
    assert_eq!(server.wait().await.unwrap(), 128 + 15);

    let server = manager.up().await.unwrap();
    // A process of this test that nobody knows of, and one of somebody else.
    let mut stray = manager.command(&["up"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let pid = server.pid();
    drop(manager);
    assert!(
        wait_for(Duration::from_secs(20), "its end", async || stray.try_wait().unwrap())
            .await
            .code()
            .is_none()
    );
    assert!(server.wait().await.unwrap() > 128);
    assert!(!processes::is_alive(pid));
    assert!(other.try_wait().unwrap().is_none(), "a process of somebody else was ended");
    other.kill().unwrap();
    other.wait().unwrap();
}
