//! A service named `talk` with an agent of a story's own, whose worker may die often; its manager, and where its clients come in.

use crate::fleet::manager;
use anyhow::{Context, Result};
use myagent_testkit::TestManager;
use myagent_testkit::manager::Server;
use serde_json::Value;

pub(crate) struct Talk {
    pub(crate) manager: TestManager,
    pub(crate) server: Server,
    pub(crate) front: String,
}

impl Talk {
    /// Clients come in at `target`.
    pub(crate) async fn with(agent: &str, target: &str, options: &[&str]) -> Result<Self> {
        let manager = manager()?;
        std::fs::write(manager.work_dir().join("talker.py"), agent)?;
        let server = manager.up().await?;
        let settings = ["--set", "restart_delay=0.1", "--set", "max_restart_count=1000"];
        manager.ok(&[&["register", "talk", "talker.py"], &settings[..], options].concat()).await?;
        manager.ok(&["start", "talk"]).await?;
        let front = server.ws_url(target)?;
        Ok(Self { manager, server, front })
    }

    pub(crate) async fn instances(&self) -> Result<Vec<Value>> {
        let status = self.manager.json(&["status", "talk"]).await?;
        Ok(status["instances"].as_array().context("no instances")?.clone())
    }
}
