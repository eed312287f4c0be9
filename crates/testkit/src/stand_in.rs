//! A model that thinks nothing: the stand-in of the example agents, as a process of the test.
//!
//! What it answers, the messages say (`agents/stand_in/openai_server.py`); what happens to it, it tells.

use crate::wait_for;
use anyhow::{Context, Result};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Longest time for anything that it is to tell.
const DEADLINE: Duration = Duration::from_mins(1);

/// A running stand-in; dropping it ends it.
#[derive(Debug)]
pub struct StandIn {
    child: Child,
    told: Arc<Mutex<Vec<Value>>>,
    /// What agents need as the base of their URLs: `http://127.0.0.1:PORT/v1`.
    pub url: String,
}

impl StandIn {
    /// Starts the script with these options, on a port of the kernel's choice, and waits until it listens.
    pub async fn start(script: &Path, options: &[&str]) -> Result<Self> {
        let mut command = Command::new("python3");
        command.arg(script).args(options).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", script.display()))?;
        let told = Arc::new(Mutex::new(Vec::new()));
        let stdout = child.stdout.take();
        let mut stand_in = Self { child, told: Arc::clone(&told), url: String::new() };
        let lines = BufReader::new(stdout.context("it has no stdout")?).lines();
        // Read to the end, or it would wait for us one day.
        thread::spawn(move || {
            for line in lines.map_while(std::io::Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                told.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            }
        });
        let listening = stand_in.wait_for("listening", 1).await;
        listening["url"].as_str().context("it does not say where it listens")?.clone_into(&mut stand_in.url);
        Ok(stand_in)
    }

    /// The events of this name so far: `request`, `answered`, `failed`, `cut`, `left`.
    pub fn told(&self, name: &str) -> Vec<Value> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.iter().filter(|event| event["event"] == name).cloned().collect()
    }

    /// Waits until there have been so many events of this name, at least one, and returns the last of them. Panics after
    /// a minute.
    pub async fn wait_for(&self, name: &str, count: usize) -> Value {
        let what = format!("{name} of the stand-in, {count} times");
        wait_for(DEADLINE, &what, async || self.told(name).get(count.max(1) - 1).cloned()).await
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
