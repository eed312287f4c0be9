//! Where secrets are: with the agent they are for, and nowhere else. And which of several values of a variable counts.

use crate::background::background;
use crate::fleet::PATIENCE;
use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt};
use myagent_testkit::manager::Server;
use myagent_testkit::{EventClient, TestManager, fake_agent, http, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tokio_websockets::{ClientBuilder, Message};
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
        &["connections"],
        &["route", "list"],
        &["logs", "--all", "-n", "2000"],
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

/// What a client says that nobody else may read: the query and the headers, as one has them that logs in.
struct Secretive {
    query: String,
    headers: Vec<(&'static str, String)>,
}

impl Secretive {
    /// Of these values one is in each place.
    fn new(values: &[String]) -> Self {
        let [token, key, password, bearer, cookie, api_key] = values else { panic!("six values are needed") };
        Self {
            query: format!("token={token}&key={key}&password={password}"),
            headers: vec![
                ("Authorization", format!("Bearer {bearer}")),
                ("Cookie", format!("session={cookie}")),
                ("X-Api-Key", api_key.clone()),
            ],
        }
    }

    /// A plain request of `target`; what is answered is the asker's own business.
    async fn ask(&self, server: &Server, start: &str, target: &str) -> Result<u16> {
        let headers: Vec<String> =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let text = format!(
            "{start} {target}?{} HTTP/1.1\r\nHost: front.example\r\nConnection: close\r\n{}\r\n",
            self.query,
            headers.concat()
        );
        Ok(http::raw(server.address("proxy")?, &text).await?.status)
    }

    /// A WebSocket that sends one text and waits for something to come; open as long as it is held.
    async fn talk(
        &self,
        server: &Server,
        target: &str,
        text: &str,
    ) -> Result<myagent_testkit::client::Socket> {
        let url = server.ws_url(&format!("{target}?{}", self.query))?;
        let mut builder = ClientBuilder::new().uri(&url)?;
        builder = builder.add_header("user-agent".parse()?, "Robot/7".parse()?)?;
        for (name, value) in &self.headers {
            builder = builder.add_header(name.parse()?, value.parse()?)?;
        }
        let (mut socket, _) = tokio::time::timeout(PATIENCE, builder.connect()).await??;
        // One that is refused is told so and closed.
        let _ = socket.send(Message::text(text.to_owned())).await;
        tokio::time::timeout(PATIENCE, socket.next()).await.context("nothing came")?;
        Ok(socket)
    }
}

/// What the API says of everything, and why a client would go where.
async fn answers(server: &Server, secretive: &Secretive) -> Result<Vec<(String, String)>> {
    let api = server.address("api")?;
    let mut answers = Vec::new();
    for target in [
        "services",
        "services/file",
        "services/command",
        "services/file/logs",
        "services/down/health",
        "events?limit=1000",
        "connections",
        "connections/stats",
        "routing/rules",
        "stats",
        "info",
        "logs/search?limit=2000",
    ] {
        let answer = http::request(api, "GET", &format!("/api/v1/{target}"), None).await?;
        answers.push((format!("GET {target}"), answer.head + &answer.body));
    }
    let headers: serde_json::Map<String, Value> =
        secretive.headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let request = json!({"path": format!("/x?{}", secretive.query), "headers": headers});
    let answer = http::request(api, "POST", "/api/v1/routing/explain", Some(&request)).await?;
    assert!(answer.body.contains("(hidden)"), "{}", answer.body);
    answers.push(("explain".to_owned(), answer.body));
    let slip = json!({"name": "x", "source": {"kind": "file", "path": "/x"}, "secrets": secretive.query});
    let answer = http::request(api, "POST", "/api/v1/services", Some(&slip)).await?;
    assert_eq!(answer.status, 400);
    answers.push(("a slip".to_owned(), answer.body));
    Ok(answers)
}

/// Also with everything logged that can be.
#[tokio::test]
async fn what_clients_say_in_queries_and_headers_is_in_no_file_log_event_or_answer() -> Result<()> {
    let mut manager = manager()?;
    manager.set_env("MYAGENT_LOG_LEVEL", "trace");
    manager.set_env("MYAGENT_LOG_FORMAT", "json");
    let planted: Vec<String> = (0..7).map(|n| format!("planted-{n}-{}", Uuid::new_v4().simple())).collect();
    let secretive = Secretive::new(&planted[..6]);
    fs::write(manager.work_dir().join("agent.py"), AGENT)?;
    let server = manager.up().await?;
    with_variable(
        &manager,
        "OWN",
        &planted[6],
        &["register", "file", "agent.py", "--secret", "OWN", "--auto-start"],
    )
    .await?;
    let program = fake_agent::path().display().to_string();
    manager.ok(&["register", "command", "--auto-start", "--", &program, "--http", "--echo"]).await?;
    manager.ok(&["register", "down", "--", &program]).await?;
    // Nobody is there, so its start fails, and says so at length.
    let gone = ["--endpoint", "ws://127.0.0.1:1/ws", "--set", "start_timeout=1", "--auto-start"];
    manager.cli(&[&["register", "gone"], &gone[..]].concat()).await?;
    for when in
        ["header.Authorization equals other", "query.token equals other", "header.x-api-key equals other"]
    {
        let name = when.split(' ').next().unwrap_or_default().replace('.', "-").to_lowercase();
        manager.ok(&["route", "add", &name, "--when", when, "--to", "command"]).await?;
    }
    manager.ok(&["start", "file", "command"]).await?;

    let message = json!({"event": "user.create_session"}).to_string();
    let file = secretive.talk(&server, "/s/file", &message).await?;
    let command = secretive.talk(&server, "/s/command/chat", "hello").await?;
    assert_eq!(secretive.ask(&server, "GET", "/s/command/page").await?, 200);
    // What fails: nobody of that name, nobody running, nobody there, no such path, no request at all.
    for target in ["/s/nobody/x", "/s/down/x", "/s/gone/x", "/s/file/x", "/x"] {
        let status = secretive.ask(&server, "GET", target).await?;
        assert!(status >= 400 || target == "/x", "{target}: {status}");
        secretive.talk(&server, target, "hello").await.ok();
    }
    assert_eq!(secretive.ask(&server, "GET HTTP/9", "/s/command").await?, 400);
    let mut found = Search { secrets: &planted, found: Vec::new(), files: 0 };
    for (place, text) in answers(&server, &secretive).await? {
        found.bytes(&place, text.as_bytes());
    }
    assert_eq!(search(&manager, &planted).await?, Vec::<String>::new());

    drop((file, command));
    let log = manager.data_dir().join("access.log");
    let lines = wait_for(PATIENCE, "two lines in the access log", async || {
        let text = fs::read_to_string(&log).ok()?;
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |service: &str| lines.iter().find(|line| line["service"] == service).cloned();
        Some([of("file")?, of("command")?])
    })
    .await;
    for line in lines {
        assert_eq!(
            (&line["user_agent"], &line["routed_by"]),
            (&json!("Robot/7"), &json!("strategy")),
            "{line}"
        );
        assert!(line["seconds"].as_f64().unwrap() < Duration::from_mins(5).as_secs_f64(), "{line}");
    }
    manager.ok(&["stop", "--all"]).await?;
    secretive.ask(&server, "GET", "/s/command/page").await?;
    for (place, text) in answers(&server, &secretive).await? {
        found.bytes(&place, text.as_bytes());
    }
    let said = server.said();
    assert!(said.contains(r#""message":"request""#), "nothing was logged: {said}");
    found.bytes("the manager's log", said.as_bytes());
    assert_eq!(found.found, Vec::<String>::new());
    assert_eq!(search(&manager, &planted).await?, Vec::<String>::new());
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
