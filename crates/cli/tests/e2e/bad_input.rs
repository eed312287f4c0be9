//! What people get wrong: one clear line that says what and what would be right, and nothing has changed.

use anyhow::{Context, Result};
use myagent_testkit::manager::Output;
use myagent_testkit::{TestManager, fake_agent};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// An agent file that does nothing wrong.
const GOOD: &str = "class Agent:\n    def run(self, message):\n        return message\n\nagent = Agent()\n";

/// A command line after the program's name, its exit code, and words of the one line that is said.
type Case = (&'static str, i32, &'static [&'static str]);

/// `+` in a command line is a space in a word, `''` an empty word.
const CASES: &[Case] = &[
    // What shall be run.
    ("register x missing.py", 1, &["missing.py", "No such file"]),
    ("register x folder.py", 1, &["folder.py is a directory", "give the file"]),
    ("register x empty.py", 1, &["empty.py is empty", "create_agent()"]),
    ("register x notes.txt", 1, &["notes.txt is not a Python file", "-- "]),
    ("register x", 2, &["FILE", "--endpoint", "register --help"]),
    ("register x good.py --endpoint ws://h:1", 2, &["cannot be used with"]),
    ("register x -- no-such-program", 1, &["no program no-such-program on the PATH"]),
    ("register x -- ./missing", 1, &["failed to find the program", "missing"]),
    ("register x -- ./notes.txt", 1, &["notes.txt is not executable", "chmod +x"]),
    ("register x -- ./folder.py", 1, &["is a directory, not a program"]),
    ("register x -- ''", 1, &["the program after -- is empty"]),
    ("register x --path ws -- sh", 1, &["path", "must start with /"]),
    ("register x good.py --python no-such-python", 1, &["--python", "no-such-python"]),
    ("register x good.py --python ./notes.txt", 1, &["--python", "not executable"]),
    ("register x good.py --worker no-such-worker", 1, &["--worker", "no-such-worker"]),
    ("register x good.py --worker ./missing", 1, &["--worker", "missing", "failed to find"]),
    ("register x good.py --worker ./notes.txt", 1, &["--worker", "not executable"]),
    ("register x good.py --worker sh --python python3", 2, &["--worker", "cannot be used with", "--python"]),
    ("register x --worker sh -- sh", 2, &["--worker", "cannot be used with"]),
    ("register x good.py --path /ws", 2, &["--path"]),
    ("register x --endpoint http://h:1", 1, &["--endpoint", "does not start with ws://"]),
    ("register x --endpoint wss://:1", 1, &["--endpoint", "no host"]),
    ("register x --endpoint ws://", 1, &["--endpoint", "no host"]),
    ("register x --endpoint ws://h:0", 1, &["--endpoint", "is not a port (1 to 65535)"]),
    ("register x --endpoint ws://me@h:1", 1, &["--endpoint", "user names"]),
    ("register x --endpoint ws://a+b:1", 1, &["--endpoint", "has spaces"]),
    // Names.
    ("register Weather good.py", 1, &["name", "\"Weather\"", "lower-case"]),
    ("register a/b good.py", 1, &["name", "\"a/b\""]),
    ("register ../up good.py", 1, &["name", "\"../up\""]),
    ("register a+b good.py", 1, &["name", "\"a b\""]),
    ("register '' good.py", 1, &["name is empty"]),
    (
        "register aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg good.py",
        1,
        &["name is longer than 63"],
    ),
    ("register weather good.py", 1, &["\"weather\" exists already", "another name"]),
    // Ports, numbers, times.
    ("register x good.py --port 70000", 2, &["--port", "70000", "65535"]),
    ("register x good.py --port high", 2, &["--port", "high"]),
    ("register x good.py --port -1", 2, &["--port", "-1"]),
    ("register x good.py --port 7000 --replicas 2", 1, &["port", "fixed port and more than 1 replica"]),
    ("register x good.py --replicas 0", 1, &["replicas", "must be from 1 to 500"]),
    ("register x good.py --replicas 501", 1, &["replicas", "must be from 1 to 500"]),
    ("register x good.py --replicas -1", 2, &["--replicas", "-1"]),
    ("register x good.py --max-sessions -1", 2, &["--max-sessions", "-1"]),
    ("register x good.py --max-sessions 1000001", 2, &["--max-sessions", "1000000"]),
    ("register x good.py --session-timeout -5", 2, &["--session-timeout", "-5", "seconds from"]),
    ("register x good.py --health-check-interval 0", 2, &["--health-check-interval", "seconds from 0.1"]),
    ("register x good.py --host nowhere", 1, &["host", "\"nowhere\" is not an IP address"]),
    // Settings.
    ("register x good.py --set colour=1", 2, &["--set colour", "unknown setting"]),
    ("register x good.py --set stop_grace", 2, &["--set", "stop_grace"]),
    ("register x good.py --set stop_grace=soon", 2, &["--set stop_grace", "soon", "seconds from 0"]),
    ("register x good.py --set memory_limit_mb=1", 2, &["--set memory_limit_mb", "from 8"]),
    ("register x good.py --set weight=-1", 2, &["--set weight", "from 1"]),
    ("register x good.py --set auto_restart=maybe", 2, &["--set auto_restart", "true or false"]),
    ("register x good.py --set ready=magic", 2, &["--set ready", "magic"]),
    ("register x good.py --set ready=log:(", 2, &["--set ready", "log:"]),
    ("register x good.py --auto-restart --no-auto-restart", 2, &["--no-auto-restart", "cannot be used with"]),
    // Variables and secrets.
    ("register x good.py --env NOVALUE", 2, &["--env", "NOVALUE", "KEY=VALUE"]),
    ("register x good.py --env 1A=x", 1, &["1A", "not a variable name"]),
    ("register x good.py --env PORT=1", 1, &["PORT is set by the manager itself"]),
    ("register x good.py --env MYAGENT_X=1", 1, &["MYAGENT_X is set by the manager itself"]),
    ("register x good.py --env-file missing.env", 1, &["--env-file", "missing.env"]),
    ("register x good.py --env-file folder.py", 1, &["--env-file", "folder.py"]),
    ("register x good.py --env-file bad.env", 1, &["--env-file", "bad.env", "line 2"]),
    ("register x good.py --secret KEY=value", 2, &["--secret takes only the name"]),
    ("register x good.py --secret NOWHERE_SET", 1, &["NOWHERE_SET has no value", "--env-file"]),
    ("register x good.py --tags good,a+b", 1, &["tags", "\"a b\"", "without spaces"]),
    // Services that are not there, and what was meant.
    ("start wether", 1, &["wether", "did you mean", "weather"]),
    ("stop wether", 1, &["wether", "did you mean", "weather"]),
    ("restart wether", 1, &["wether", "did you mean", "weather"]),
    ("unregister wether", 1, &["wether", "did you mean", "weather"]),
    ("update wether --tags a", 1, &["wether", "did you mean", "weather"]),
    ("scale wether 2", 1, &["wether", "did you mean", "weather"]),
    ("status wether", 1, &["wether", "did you mean", "weather"]),
    ("logs wether", 1, &["wether", "did you mean", "weather"]),
    ("health wether", 1, &["wether", "did you mean", "weather"]),
    ("status ../../etc", 1, &["../../etc"]),
    ("health command --check", 1, &["no instance of command is running", "start it first"]),
    // Changes that would break it.
    ("update weather", 2, &["nothing to change", "update --help"]),
    ("update weather --path /ws", 2, &["--path for commands", "file"]),
    ("update command --python sh", 2, &["--python and --worker are for agent files", "command"]),
    ("update command --worker sh", 2, &["--worker are for agent files", "command"]),
    ("update weather --worker ./missing", 1, &["--worker", "missing"]),
    ("update weather missing.py", 1, &["missing.py"]),
    ("update fixed --replicas 2", 1, &["port", "more than 1 replica"]),
    ("update weather --set session_timeout=0", 2, &["--set session_timeout", "seconds from 1"]),
    ("scale fixed 2", 1, &["port", "more than 1 replica"]),
    ("scale weather 0", 1, &["replicas", "to run none, stop it"]),
    ("scale weather -1", 2, &["-1"]),
    ("scale weather two", 2, &["two"]),
    // The command line itself.
    ("strat weather", 2, &["strat", "start"]),
    ("start", 2, &["NAME", "start --help"]),
    ("start weather --all", 2, &["--all", "cannot be used with"]),
    ("list --formatt json", 2, &["--formatt", "--format"]),
    ("list --format yaml", 2, &["yaml", "json"]),
    ("list --status flying", 1, &["status", "flying"]),
    ("logs weather --since yesterday", 2, &["--since", "yesterday", "10m"]),
    ("logs weather --grep (", 1, &["grep"]),
    ("logs weather -n many", 2, &["many"]),
    ("events -n many", 2, &["many"]),
    ("list --db-path x.db", 2, &["--db-path", "--data-dir"]),
    // Managers.
    ("daemon", 4, &["runs already", "process"]),
    ("daemon --interval 0", 2, &["--interval", "0.1 to 3600"]),
    ("api --host 0.0.0.0 --port 0", 2, &["--host", "0.0.0.0", "--insecure"]),
    ("up --host nowhere", 2, &["--host", "nowhere"]),
    ("proxy --port 70000", 2, &["--port", "70000"]),
    ("up --allow-sources all", 2, &["--allow-sources", "all"]),
];

fn manager() -> Result<TestManager> {
    let manager = TestManager::new(env!("CARGO_BIN_EXE_myagent-manager"))?;
    let folder = manager.work_dir();
    fs::create_dir(folder.join("folder.py"))?;
    for (name, text) in
        [("good.py", GOOD), ("empty.py", ""), ("notes.txt", "notes\n"), ("bad.env", "A=1\nnonsense\n")]
    {
        fs::write(folder.join(name), text)?;
    }
    Ok(manager)
}

/// One line on stderr with these words, nothing on stdout.
fn check(what: &str, output: &Output, code: i32, words: &[&str]) -> Option<String> {
    let is_one_line = output.stderr.lines().count() == 1 && output.stderr.starts_with("error: ");
    let says = words.iter().all(|word| output.stderr.contains(word));
    let is_right = output.status == code && is_one_line && says && output.stdout.is_empty();
    (!is_right).then(|| format!("=== {what}: expected {code} {words:?}\n{output}"))
}

#[tokio::test]
async fn every_slip_is_told_in_one_line_and_changes_nothing() -> Result<()> {
    let manager = manager()?;
    let program = fake_agent::path().display().to_string();
    manager.ok(&["register", "weather", "good.py", "--tags", "a,b"]).await?;
    manager.ok(&["register", "command", "--", &program]).await?;
    manager.ok(&["register", "fixed", "good.py", "--port", "31999"]).await?;
    let before = manager.json(&["list"]).await?;
    let processes = manager.processes();
    let mut wrong = Vec::new();
    for (line, code, words) in CASES {
        let word = |word: &str| if word == "''" { String::new() } else { word.replace('+', " ") };
        let arguments: Vec<String> = line.split(' ').map(word).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        wrong.extend(check(line, &manager.cli(&arguments).await?, *code, words));
        if manager.json(&["list"]).await? != before {
            wrong.push(format!("=== {line}: it changed something"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
    assert_eq!(manager.processes(), processes);
    Ok(())
}

/// Makes a data directory bad, and says which line a manager gives up with.
type Spoil = (&'static str, fn(&Path) -> std::io::Result<()>, &'static [&'static str]);

const SPOILT: &[Spoil] = &[
    ("no database", |data| fs::write(data.join("myagent.db"), "x".repeat(5000)), &["myagent.db", "damaged"]),
    (
        "a folder for a database",
        |data| fs::create_dir(data.join("myagent.db")),
        &["myagent.db is a directory"],
    ),
    (
        "an unknown setting",
        |data| fs::write(data.join("config.toml"), "colour = 1\n"),
        &["config.toml", "colour"],
    ),
    (
        "a setting of another kind",
        |data| fs::write(data.join("config.toml"), "queue_size = \"x\"\n"),
        &["config.toml", "queue_size"],
    ),
    (
        "a negative setting",
        |data| fs::write(data.join("config.toml"), "queue_timeout = -1\n"),
        &["config.toml", "queue_timeout", "seconds from 0"],
    ),
    ("no settings", |data| fs::write(data.join("config.toml"), "= = =\n"), &["config.toml"]),
    ("a folder of settings", |data| fs::create_dir(data.join("config.toml")), &["config.toml", "directory"]),
    (
        "a short key",
        |data| private(&data.join("secret.key"), "short"),
        &["secret.key", "not the 32 of a key"],
    ),
    ("a folder for a log", |data| fs::create_dir(data.join("manager.log")), &["manager.log", "directory"]),
    ("a file for a folder", |data| fs::write(data.join("logs"), ""), &["logs"]),
];

fn private(path: &Path, text: &str) -> std::io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

/// Every file of a folder with what is in it.
fn content(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        files.push((path.display().to_string(), if path.is_file() { fs::read(&path)? } else { Vec::new() }));
    }
    files.sort();
    Ok(files)
}

#[tokio::test]
async fn a_spoilt_data_directory_is_left_as_it_is() -> Result<()> {
    let mut wrong = Vec::new();
    for (what, spoil, words) in SPOILT {
        let manager = manager()?;
        let data = manager.data_dir();
        spoil(&data)?;
        let spoilt = content(&data)?;
        for line in [&["daemon"][..], &["register", "x", "good.py"], &["start", "x"]] {
            // A daemon in the foreground has no use for the log.
            if line == ["daemon"] && *what == "a folder for a log" {
                continue;
            }
            wrong.extend(check(what, &manager.cli(line).await?, 1, words));
            let after = content(&data)?;
            if !spoilt.iter().all(|file| after.contains(file)) {
                wrong.push(format!("=== {what}: {line:?} changed what was there"));
            }
        }
        if !manager.processes().is_empty() {
            wrong.push(format!("=== {what}: something runs"));
        }
    }
    // A file where the directory shall be.
    let manager = manager()?;
    fs::remove_dir(manager.data_dir())?;
    fs::write(manager.data_dir(), "")?;
    for line in [&["daemon"][..], &["register", "x", "good.py"]] {
        wrong.extend(check(
            "a file for a data directory",
            &manager.cli(line).await?,
            1,
            &["failed to make the directory"],
        ));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test]
async fn a_bad_variable_of_the_manager_is_told() -> Result<()> {
    for (name, value) in [("MYAGENT_QUEUE_TIMEOUT", "soon"), ("MYAGENT_PORT_RANGE", "[9, 1]")] {
        let mut manager = manager()?;
        manager.set_env(name, value);
        let setting = name.trim_start_matches("MYAGENT_").to_lowercase();
        for line in [&["daemon"][..], &["register", "x", "good.py"]] {
            assert_eq!(check(name, &manager.cli(line).await?, 1, &[&setting]), None);
        }
        assert_eq!(manager.processes(), Vec::<u32>::new());
    }
    Ok(())
}

#[tokio::test]
async fn an_agent_file_that_does_not_load_says_why() -> Result<()> {
    let manager = manager()?;
    let files: [(&str, &str, &[&str]); 7] = [
        ("syntax", "def run(:\n    pass\n", &["SyntaxError", "syntax.py"]),
        ("missing", "import no_such_module_at_all\n", &["No module named 'no_such_module_at_all'"]),
        ("nothing", "x = 1\n", &["create_agent", "agent", "agent_factory"]),
        ("methods", "agent = object()\n", &["astream", "run"]),
        ("raises", "raise RuntimeError('out of order today')\n", &["out of order today"]),
        ("factory", "def create_agent():\n    raise ValueError('no key, no agent')\n", &["no key, no agent"]),
        ("exits", "import sys\nsys.exit('that is all')\n", &["that is all"]),
    ];
    for (name, text, words) in files {
        let file = format!("{name}.py");
        fs::write(manager.work_dir().join(&file), text)?;
        manager.ok(&["register", name, &file]).await?;
        let failed = manager.cli(&["start", name]).await?;
        assert_eq!(check(name, &failed, 1, words), None);
        let status = manager.json(&["status", name]).await?;
        let cause = status["error_message"].as_str().with_context(|| format!("no cause: {status:#}"))?;
        assert!(words.iter().all(|word| cause.contains(word)), "{name}: {cause}");
        assert_eq!(
            (&status["status"], &status["desired"]),
            (&"error".into(), &"running".into()),
            "{status:#}"
        );
        let shown = manager.ok(&["status", name]).await?.stdout;
        assert!(words.iter().all(|word| shown.contains(word)), "{shown}");
        // What was wrong is put right: the same command works.
        fs::write(manager.work_dir().join(&file), GOOD)?;
        manager.ok(&["start", name]).await?;
        let status = manager.json(&["status", name]).await?;
        assert_eq!(
            (&status["status"], &status["error_message"]),
            (&"running".into(), &serde_json::Value::Null)
        );
        manager.ok(&["stop", name]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_interpreter_is_told_at_the_start() -> Result<()> {
    let manager = manager()?;
    let python = |name: &str, text: &str| -> Result<String> {
        let path = manager.work_dir().join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path.display().to_string())
    };
    // Not Python at all; one that is no program; one that is too old, or says so.
    let no_python = python("no-python", "#!/bin/sh\necho I am no Python >&2\nexit 3\n")?;
    let no_program = python("no-program", "#!/no/such/interpreter\n")?;
    let old = "#!/bin/sh\nexec python3 -u -c \"import sys\nsys.version_info=(3,8)\nsys.version='3.8.7 (old)'\n$3\"\n";
    let old = python("old-python", old)?;
    for (name, interpreter, word) in [
        ("none", no_python, "exit code 3"),
        ("broken", no_program, "no-program"),
        ("old", old, "needs Python 3.9 or newer, and this is 3.8.7"),
    ] {
        manager.ok(&["register", name, "good.py", "--python", &interpreter, "--no-auto-restart"]).await?;
        let failed = manager.cli(&["start", name]).await?;
        assert_eq!(check(name, &failed, 1, &[word]), None);
        let status = manager.json(&["status", name]).await?;
        assert!(status["error_message"].as_str().unwrap().contains(word), "{status:#}");
    }
    let logs = manager.ok(&["logs", "none"]).await?.stdout;
    assert!(logs.contains("I am no Python"), "{logs}");
    Ok(())
}
