//! The OpenAPI document against the program: what it allows and forbids is asked, and a client that was generated from it works.

use crate::clients::target;
use crate::fleet::{fake, manager, rounds};
use anyhow::{Context, Result, ensure};
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Runs a program of the Python packages that tests use; its output if it succeeds.
async fn run(mut command: Command) -> Result<String> {
    let name = format!("{command:?}");
    let done = tokio::task::spawn_blocking(move || command.output()).await?;
    let done = done.with_context(|| format!("{name}: run make setup"))?;
    let said = [done.stdout, done.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(done.status.success(), "{name}: {said}");
    Ok(said)
}

#[tokio::test]
async fn what_the_document_allows_and_forbids_is_answered_as_it_says() -> Result<()> {
    let python = target()?.join("python/bin");
    let mut command = Command::new(python.join("python"));
    command.arg(format!("{ROOT}/scripts/api/cases.py"));
    command.arg("--program").arg(env!("CARGO_BIN_EXE_myagent-manager")).arg("--agent").arg(fake());
    command.arg("--same").arg("--schemathesis").arg(python.join("schemathesis"));
    command.args(["--examples", &rounds(3, 40).to_string(), "--least", &rounds(2_000, 5_000).to_string()]);
    println!("{}", run(command).await?);
    Ok(())
}

#[tokio::test]
async fn a_generated_client_drives_the_whole_life_of_a_service() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let (python, folder) = (target()?.join("python/bin"), manager.work_dir());
    let mut generate = Command::new(python.join("openapi-python-client"));
    generate.args(["generate", "--meta", "none", "--fail-on-warning", "--output-path"]);
    generate.arg(folder.join("my_agent_manager_client"));
    generate.args(["--path", &format!("{ROOT}/docs/reference/openapi.json"), "--config"]);
    // What it writes need not look nice.
    let config = folder.join("client.json");
    std::fs::write(&config, r#"{"post_hooks": []}"#)?;
    generate.arg(config);
    run(generate).await?;
    let mut life = Command::new(python.join("python"));
    life.arg(format!("{ROOT}/scripts/api/full_life.py")).env("PYTHONPATH", folder);
    life.args([server.address("api")?.to_string(), server.address("proxy")?.to_string(), fake()]);
    println!("{}", run(life).await?);
    Ok(())
}
