//! A manager with services on it, through its HTTP API.

use crate::cases::Bench;
use anyhow::{Context, Result, ensure};
use myagent_testkit::http;
use myagent_testkit::manager::{Server, TestManager};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Longest wait for a state.
const DEADLINE: Duration = Duration::from_mins(2);

/// A running manager. Everything ends when it is dropped.
pub(crate) struct Fleet {
    server: Option<Server>,
    pub(crate) manager: TestManager,
}

impl Fleet {
    /// An empty one, API and proxy open.
    pub(crate) async fn up(bench: &Bench) -> Result<Self> {
        let manager = TestManager::new(&bench.manager)?;
        let server = manager.up().await?;
        Ok(Self { server: Some(server), manager })
    }

    pub(crate) fn server(&self) -> Result<&Server> {
        self.server.as_ref().context("the manager was killed")
    }

    pub(crate) fn api(&self) -> Result<SocketAddr> {
        self.server()?.address("api")
    }

    pub(crate) fn proxy(&self) -> Result<SocketAddr> {
        self.server()?.address("proxy")
    }

    /// KILL, and wait until it is gone.
    pub(crate) fn kill_manager(&mut self) {
        self.server = None;
    }

    /// The next manager on the same data directory.
    pub(crate) async fn up_again(&mut self) -> Result<()> {
        self.server = Some(self.manager.up().await?);
        Ok(())
    }

    /// A request that must succeed, and its answer.
    pub(crate) async fn request(&self, method: &str, target: &str, body: Option<&Value>) -> Result<Value> {
        let answer = http::request(self.api()?, method, &format!("/api/v1/{target}"), body).await?;
        ensure!((200..300).contains(&answer.status), "{method} {target}: {} {}", answer.status, answer.body);
        if answer.body.is_empty() { Ok(Value::Null) } else { answer.json() }
    }

    /// Registers a service; with `auto_start` in `options` it is started, not waited for.
    pub(crate) async fn register(&self, name: &str, source: Value, options: Value) -> Result<()> {
        let mut body = json!({"name": name, "source": source});
        if let (Some(body), Value::Object(options)) = (body.as_object_mut(), options) {
            body.extend(options);
        }
        self.request("POST", "services", Some(&body)).await.map(drop)
    }

    /// Starts a service and waits until all its instances are ready.
    pub(crate) async fn start(&self, name: &str) -> Result<()> {
        self.request("POST", &format!("services/{name}/start"), None).await.map(drop)
    }

    /// Stops a service and waits for it.
    pub(crate) async fn stop(&self, name: &str) -> Result<()> {
        self.request("POST", &format!("services/{name}/stop"), None).await.map(drop)
    }

    /// Stops a service and removes it.
    pub(crate) async fn remove(&self, name: &str) -> Result<()> {
        self.stop(name).await?;
        self.request("DELETE", &format!("services/{name}"), None).await.map(drop)
    }

    /// The instances of a service.
    pub(crate) async fn instances(&self, name: &str) -> Result<Vec<Instance>> {
        let view = self.request("GET", &format!("services/{name}"), None).await?;
        let instances = view["instances"].as_array().context("a service without instances")?;
        Ok(instances.iter().map(Instance::read).collect())
    }

    /// Registers a service, starts it, and waits until it is ready.
    pub(crate) async fn run(&self, name: &str, source: Value, options: Value) -> Result<Vec<Instance>> {
        self.register(name, source, options).await?;
        self.start(name).await?;
        self.running(name).await
    }

    /// Waits until all instances run, and returns them.
    pub(crate) async fn running(&self, name: &str) -> Result<Vec<Instance>> {
        let end = Instant::now() + DEADLINE;
        loop {
            let instances = self.instances(name).await?;
            if !instances.is_empty() && instances.iter().all(|instance| instance.status == "running") {
                return Ok(instances);
            }
            ensure!(Instant::now() < end, "{name} does not run: {instances:?}");
            sleep(Duration::from_millis(2)).await;
        }
    }
}

/// What a case needs to know of an instance.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) pid: u32,
    pub(crate) runner_pid: u32,
    pub(crate) port: u16,
    pub(crate) restarts: u64,
}

impl Instance {
    fn read(view: &Value) -> Self {
        let number = |name: &str| view[name].as_u64().unwrap_or_default();
        let text = |name: &str| view[name].as_str().unwrap_or_default().to_owned();
        Self {
            name: text("name"),
            status: text("status"),
            pid: number("pid") as u32,
            runner_pid: number("runner_pid") as u32,
            port: number("port") as u16,
            restarts: number("restart_count"),
        }
    }

    /// Where its agent listens.
    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }
}

/// A command agent: this program as the fake agent.
pub(crate) fn command() -> Result<Value> {
    let program = std::env::current_exe()?;
    Ok(json!({"kind": "command", "argv": [program, "agent"], "cwd": "/"}))
}

/// An agent file.
pub(crate) fn file(path: &Path) -> Value {
    json!({"kind": "file", "path": path})
}
