//! The examples of the HTTP API (`examples/api`) do what they say, against a manager of their own.

use anyhow::{Result, ensure};
use myagent_testkit::TestManager;
use std::process::{Command, Stdio};

#[tokio::test]
async fn every_example_of_the_api_does_what_it_says() -> Result<()> {
    // Nothing is started with it: its folder and its ports are for the manager of the script.
    let manager = TestManager::new(env!("CARGO_BIN_EXE_myagent-manager"))?;
    let (first, last) = manager.ports();
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/api/run-all.sh"));
    command
        .env("MYAGENT_MANAGER", env!("CARGO_BIN_EXE_myagent-manager"))
        .env("MYAGENT_PORT_RANGE", format!("[{first}, {last}]"))
        .env("TMPDIR", manager.work_dir())
        .env("XDG_RUNTIME_DIR", manager.work_dir())
        .env("NO_PROXY", "*")
        .env("no_proxy", "*")
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    Ok(())
}
