//! The first minutes of a user: from nothing running to nothing left, with the commands of the README.

use anyhow::Result;
use myagent_testkit::TestManager;
use std::path::Path;

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What a command said, all of it with these words in it and nothing on stderr that begins with `error`.
async fn said(manager: &TestManager, arguments: &[&str], words: &[&str]) -> Result<String> {
    let output = manager.ok(arguments).await?;
    for word in words {
        assert!(output.stdout.contains(word), "{arguments:?} does not say {word:?}: {output}");
    }
    assert!(!output.stderr.contains("error"), "{output}");
    Ok(output.stdout)
}

#[tokio::test]
async fn from_nothing_running_to_nothing_left() -> Result<()> {
    let manager = TestManager::new(env!("CARGO_BIN_EXE_myagent-manager"))?;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../agents/weather_agent.py");
    let agents = manager.work_dir().join("agents");
    std::fs::create_dir(&agents)?;
    std::fs::copy(example, agents.join("weather_agent.py"))?;

    let register = ["register", "weather", "agents/weather_agent.py", "--auto-start"];
    said(&manager, &register, &["registered weather and started it: running at ws://127.0.0.1:"]).await?;
    said(&manager, &["start", "weather"], &["started weather: running at ws://127.0.0.1:"]).await?;
    let file = agents.join("weather_agent.py");
    let words =
        ["weather: running", &format!("runs         agent file {}", file.display()), "weather-0", "healthy"];
    said(&manager, &["status", "weather"], &words).await?;

    let status = manager.json(&["status", "weather"]).await?;
    let instance = &status["instances"][0];
    let expected = [
        (&status["name"], "weather".into()),
        (&status["status"], "running".into()),
        (&status["desired"], "running".into()),
        (&status["agent_type"], "file".into()),
        (&status["source"]["path"], file.to_str().into()),
        (&status["replicas"], 1.into()),
        (&status["restart_count"], 0.into()),
        (&status["error_message"], serde_json::Value::Null),
        (&instance["name"], "weather-0".into()),
        (&instance["status"], "running".into()),
        (&instance["restart_count"], 0.into()),
    ];
    for (found, expected) in expected {
        assert_eq!(*found, expected, "{status:#}");
    }
    let port = u16::try_from(status["port"].as_u64().unwrap())?;
    assert_eq!(status["endpoint"], format!("ws://127.0.0.1:{port}/"));
    for pid in ["pid", "runner_pid"] {
        let pid = u32::try_from(instance[pid].as_u64().unwrap())?;
        assert!(manager.processes().contains(&pid), "{pid} is not ours: {instance:#}");
    }

    said(&manager, &["stop", "weather"], &["stopped weather"]).await?;
    // Stopped: nothing but the manager is left, and the port can be had.
    assert_eq!(manager.processes().len(), 1, "{:?}", manager.processes());
    drop(std::net::TcpListener::bind(("127.0.0.1", port))?);
    let table = said(&manager, &["list"], &["NAME", "STATUS", "weather", "stopped", "0/1"]).await?;
    assert_eq!(table.lines().count(), 2, "{table}");
    let list = manager.json(&["list"]).await?;
    let summary: Vec<_> = list.as_array().unwrap().iter().map(|one| (&one["name"], &one["status"])).collect();
    assert_eq!(summary, [(&"weather".into(), &"stopped".into())]);
    assert_eq!(manager.json(&["status", "weather"]).await?["instances"][0]["pid"], serde_json::Value::Null);

    said(&manager, &["unregister", "weather"], &["unregistered weather"]).await?;
    assert_eq!(manager.json(&["list"]).await?, serde_json::json!([]));
    let unknown = manager.cli(&["status", "weather"]).await?;
    assert_eq!(unknown.status, 1, "{unknown}");
    let data = manager.data_dir();
    let logs = files(&data.join("logs"));
    assert!(!logs.iter().any(|name| name.starts_with("weather")), "{logs:?}");
    assert_eq!((files(&data.join("trees")), files(&data.join("journal"))), (vec![], vec![]));

    said(&manager, &["shutdown"], &["the manager has ended"]).await?;
    assert_eq!(manager.processes(), Vec::<u32>::new());
    assert!(!data.join("manager.json").exists());
    Ok(())
}
