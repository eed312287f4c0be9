//! `shutdown`: ends the manager that runs, and waits until its process has gone.

use crate::client::Client;
use crate::datadir::{DataDir, start_time};
use crate::exit::Failure;
use anyhow::{Result, bail};
use hyper::Method;
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long the process may take to end after it has stopped everything.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Stops all services (unless kept) and the manager.
pub(crate) async fn shut_down(data: &DataDir, keep_services: bool) -> Result<()> {
    let Some(manager) = data.manager() else {
        return Err(Failure::NoManager(data.path().display().to_string()).into());
    };
    let mut client = Client::connect(&manager.socket).await?;
    let body = json!({ "keep_services": keep_services });
    client.send_only(Method::POST, "/api/v1/manager/shutdown", Some(&body)).await?;
    let deadline = Instant::now() + EXIT_TIMEOUT;
    while start_time(manager.pid) == Some(manager.start_time) {
        if Instant::now() >= deadline {
            bail!("the manager (process {}) has stopped everything but does not end", manager.pid);
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
