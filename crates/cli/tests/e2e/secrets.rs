//! Where secrets are: with the agent they are for, and nowhere else. And which of several values of a variable counts.

use crate::background::background;
use anyhow::{Context, Result};
use myagent_testkit::{EventClient, TestManager, fake_agent};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use uuid::Uuid;

const AGENT: &str = "class Agent:\n    def run(self, message):\n        return message\n\nagent = Agent()\n";

fn manager() -> Result<TestManager> {
    TestManager::new(env!("CARGO_BIN_EXE_myagent-manager"))
}

/// The environment that a process was started with.
fn environment(pid: u32) -> Result<BTreeMap<String, String>> {
    let bytes = fs::read(format!("/proc/{pid}/environ"))?;
    let text = String::from_utf8_lossy(&bytes);
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// The environment of a service's agent, as the kernel knows it.
async fn agent_environment(manager: &TestManager, name: &str) -> Result<BTreeMap<String, String>> {
    let status = manager.json(&["status", name]).await?;
    let pid = status["instances"][0]["pid"].as_u64().with_context(|| format!("no pid: {status:#}"))?;
    environment(u32::try_from(pid)?)
}

/// Runs a command that must succeed, with a variable of its own.
async fn with_variable(manager: &TestManager, name: &str, value: &str, words: &[&str]) -> Result<()> {
    let mut command = manager.command(words);
    command.env(name, value);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Everything that can be read without being the agent: files, processes, what commands say.
struct Search<'a> {
    secrets: &'a [String],
    found: Vec<String>,
    files: usize,
}

impl Search<'_> {
    fn bytes(&mut self, place: &str, bytes: &[u8]) {
        for secret in self.secrets {
            // As a list of numbers it would be in JSON, had somebody taken it for bytes.
            let numbers: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
            for form in [secret.as_bytes(), numbers.join(",").as_bytes()] {
                if bytes.windows(form.len()).any(|window| window == form) {
                    self.found.push(format!("{secret} in {place}"));
                }
            }
        }
    }

    fn folder(&mut self, folder: &Path) -> Result<()> {
        for entry in fs::read_dir(folder)? {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            if kind.is_dir() {
                self.folder(&path)?;
            } else if kind.is_file() {
                self.files += 1;
                let name = path.display().to_string();
                self.bytes(&name, &fs::read(&path)?);
            }
        }
        Ok(())
    }
}

/// Where the secrets are found.
async fn search(manager: &TestManager, secrets: &[String]) -> Result<Vec<String>> {
    let mut search = Search { secrets, found: Vec::new(), files: 0 };
    search.folder(&manager.data_dir())?;
    assert!(search.files > 3, "there is nothing to search");
    for words in [
        &["status", "file"][..],
        &["status", "command"],
        &["status"],
        &["list"],
        &["stats"],
        &["events", "-n", "1000"],
        &["logs", "file"],
        &["logs", "command"],
        &["health", "file", "--history"],
        &["doctor"],
    ] {
        for words in [words.to_vec(), [&["--format", "json"], words].concat()] {
            let output = manager.cli(&words).await?;
            search.bytes(&words.join(" "), format!("{}{}", output.stdout, output.stderr).as_bytes());
        }
    }
    let list = manager.json(&["list"]).await?;
    let instances = list.as_array().context("no list")?.iter().filter_map(|one| one["instances"].as_array());
    let agents: Vec<u64> = instances.flatten().filter_map(|instance| instance["pid"].as_u64()).collect();
    for pid in manager.processes() {
        let mut files = vec!["cmdline", "comm"];
        if !agents.contains(&u64::from(pid)) {
            files.push("environ");
        }
        for file in files {
            let path = format!("/proc/{pid}/{file}");
            // It may have ended since it was listed.
            search.bytes(&path, &fs::read(&path).unwrap_or_default());
        }
    }
    Ok(search.found)
}

#[tokio::test]
async fn secrets_are_with_their_agent_and_nowhere_else() -> Result<()> {
    let manager = manager()?;
    let secrets: Vec<String> = (0..4).map(|n| format!("planted-{n}-{}", Uuid::new_v4().simple())).collect();
    let work = manager.work_dir();
    // Each in a folder of its own: `.env` is for the agents beside it.
    for folder in ["one", "two"] {
        fs::create_dir(work.join(folder))?;
    }
    fs::write(work.join("one/agent.py"), AGENT)?;
    fs::write(work.join("vars.env"), format!("FROM_FILE={}\nPLAIN=plain\n", secrets[1]))?;
    // From the environment of a command that starts the manager.
    let register = ["register", "file", "one/agent.py", "--secret", "FROM_ENV", "--auto-start"];
    with_variable(&manager, "FROM_ENV", &secrets[0], &register).await?;
    assert!(
        !environment(background(&manager)?)?.contains_key("FROM_ENV"),
        "the manager has it for everybody"
    );
    // From a file, and later from an update.
    let program = fake_agent::path().display().to_string();
    let from_file = ["--env-file", "vars.env", "--secret", "FROM_FILE", "--auto-start"];
    manager.ok(&[&["register", "command"], &from_file[..], &["--", &program]].concat()).await?;
    with_variable(&manager, "UPDATED", &secrets[2], &["update", "file", "--secret", "UPDATED"]).await?;
    manager.ok(&["restart", "file"]).await?;

    let file = agent_environment(&manager, "file").await?;
    assert_eq!((&file["FROM_ENV"], &file["UPDATED"]), (&secrets[0], &secrets[2]));
    assert!(!file.contains_key("FROM_FILE") && !file.contains_key("PLAIN"));
    let command = agent_environment(&manager, "command").await?;
    assert_eq!((&command["FROM_FILE"], command["PLAIN"].as_str()), (&secrets[1], "plain"));
    assert!(!command.contains_key("FROM_ENV") && !command.contains_key("UPDATED"));
    let shown = manager.json(&["status", "file"]).await?;
    assert_eq!(shown["secrets"], serde_json::json!(["FROM_ENV", "UPDATED"]));
    assert_eq!(
        manager.json(&["status", "command"]).await?["environment"],
        serde_json::json!({"PLAIN": "plain"})
    );

    // There is a conversation, a change, a crash, and another manager: the files and the journal have been written.
    let server = manager.serve(&["proxy", "--port", "0"], &["proxy"]).await?;
    let mut client = EventClient::connect(&server.ws_url("/s/file")?).await?;
    let session = client.create_session().await?;
    client.turn(&session, "hello").await?;
    client.close().await?;
    assert_eq!(search(&manager, &secrets).await?, Vec::<String>::new());
    drop(server);
    with_variable(&manager, "UPDATED", &secrets[3], &["update", "file", "--secret", "UPDATED"]).await?;
    manager.ok(&["shutdown"]).await?;
    let daemon = manager.serve(&["api", "--port", "0"], &["api"]).await?;
    manager.ok(&["start", "file", "command"]).await?;
    let file = agent_environment(&manager, "file").await?;
    assert_eq!((&file["FROM_ENV"], &file["UPDATED"]), (&secrets[0], &secrets[3]));
    assert_eq!(agent_environment(&manager, "command").await?["FROM_FILE"], secrets[1]);
    assert_eq!(search(&manager, &secrets).await?, Vec::<String>::new());
    let answer =
        myagent_testkit::http::request(daemon.address("api")?, "GET", "/api/v1/services/file", None).await?;
    assert!(answer.body.contains("FROM_ENV") && !secrets.iter().any(|secret| answer.body.contains(secret)));

    manager.ok(&["update", "file", "--unset-secret", "UPDATED"]).await?;
    manager.ok(&["restart", "file"]).await?;
    assert!(!agent_environment(&manager, "file").await?.contains_key("UPDATED"));
    Ok(())
}

#[tokio::test]
async fn the_search_would_find_them() -> Result<()> {
    let manager = manager()?;
    let secret = format!("planted-{}", Uuid::new_v4().simple());
    fs::write(manager.work_dir().join("agent.py"), format!("print('{secret}', flush=True)\n{AGENT}"))?;
    let clear = format!("CLEAR={secret}");
    manager.ok(&["register", "file", "agent.py", "--env", &clear, "--auto-start"]).await?;
    let program = fake_agent::path().display().to_string();
    manager.ok(&["register", "command", "--", &program]).await?;
    let found = search(&manager, std::slice::from_ref(&secret)).await?;
    for place in
        ["myagent.db", "file-0.log", "in status file", "in list", "in --format json list", "in logs file"]
    {
        let is_there = found.iter().any(|found| found.contains(place));
        // A table has no room for variables; JSON has.
        assert!(
            is_there || place == "in list" || place == "in status file",
            "not found in {place}: {found:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_nearest_value_of_a_variable_counts() -> Result<()> {
    let mut manager = manager()?;
    for name in ["A", "B", "C", "D", "E", "F"] {
        manager.set_env(name, "manager");
    }
    let folder = manager.work_dir();
    fs::write(folder.join("agent.py"), AGENT)?;
    fs::write(
        folder.join(".env"),
        "# of the agent\nB='dot env'\nC=dot\nD=dot\nE=dot\nF=dot\nexport G=\"x=1 # y\"\nPORT=1\nHOST=nowhere\n\
         MYAGENT_START_ID=forged\n",
    )?;
    fs::write(folder.join("more.env"), "C=file\nD=file\nE=file\n")?;
    let options =
        ["--env-file", "more.env", "--env", "D=option", "--env", "EMPTY=", "--secret", "E", "--secret", "F"];
    let program = fake_agent::path().display().to_string();
    manager.ok(&[&["register", "file", "agent.py", "--auto-start"], &options[..]].concat()).await?;
    manager.ok(&[&["register", "command", "--auto-start"], &options[..], &["--", &program]].concat()).await?;
    for name in ["file", "command"] {
        let environment = agent_environment(&manager, name).await?;
        let expected = [
            ("A", "manager"),
            ("B", "dot env"),
            ("C", "file"),
            ("D", "option"),
            ("E", "file"),
            // The secret's value is the one of the caller.
            ("F", "manager"),
            ("G", "x=1 # y"),
            ("EMPTY", ""),
            ("HOST", "127.0.0.1"),
        ];
        for (variable, value) in expected {
            assert_eq!(environment[variable], value, "{name}: {variable}");
        }
        let status = manager.json(&["status", name]).await?;
        assert_eq!(environment["PORT"], status["port"].to_string());
        assert_ne!(environment["MYAGENT_START_ID"], "forged");
        assert!(
            !environment.contains_key("MYAGENT_PORT_RANGE"),
            "the manager's own settings are not for agents"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_dot_env_that_cannot_be_read_is_told_without_its_content() -> Result<()> {
    let manager = manager()?;
    fs::write(manager.work_dir().join("agent.py"), AGENT)?;
    fs::write(manager.work_dir().join(".env"), "GOOD=1\nTOKEN='hidden-value-of-mine\n")?;
    manager.ok(&["register", "file", "agent.py"]).await?;
    let failed = manager.cli(&["start", "file"]).await?;
    assert_eq!(failed.status, 1, "{failed}");
    assert!(failed.stderr.contains(".env: line 2") && !failed.stderr.contains("hidden-value"), "{failed}");
    let mut shown = manager.ok(&["status", "file"]).await?.stdout;
    shown.push_str(&manager.ok(&["events"]).await?.stdout);
    shown.push_str(&fs::read_to_string(manager.data_dir().join("manager.log"))?);
    assert!(shown.contains(".env: line 2") && !shown.contains("hidden-value"), "{shown}");
    Ok(())
}

#[tokio::test]
async fn without_its_key_a_service_with_secrets_says_so_and_the_others_run() -> Result<()> {
    let manager = manager()?;
    let agent = fake_agent::path().display().to_string();
    with_variable(&manager, "ONE", "1", &["register", "secretive", "--secret", "ONE", "--", &agent]).await?;
    manager.ok(&["register", "open", "--auto-start", "--", &agent]).await?;
    manager.ok(&["shutdown"]).await?;
    fs::remove_file(manager.data_dir().join("secret.key"))?;

    manager.ok(&["start", "open"]).await?;
    let failed = manager.cli(&["start", "secretive"]).await?;
    assert_eq!(failed.status, 1, "{failed}");
    assert!(failed.stderr.contains("ONE") && failed.stderr.contains("secretive --secret ONE"), "{failed}");
    // The value is not thrown away by a change of something else; and a new one makes it run.
    manager.ok(&["update", "secretive", "--description", "x"]).await?;
    let failed = manager.cli(&["start", "secretive"]).await?;
    assert!(failed.stderr.contains("ONE"), "{failed}");
    with_variable(&manager, "ONE", "2", &["update", "secretive", "--secret", "ONE"]).await?;
    manager.ok(&["start", "secretive"]).await?;
    assert_eq!(agent_environment(&manager, "secretive").await?["ONE"], "2");
    manager.ok(&["shutdown"]).await?;
    Ok(())
}
