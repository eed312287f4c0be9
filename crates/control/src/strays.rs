//! Runners that nobody knows: a manager was killed between starting one and storing it, or its service was removed. They
//! are asked to stop; what they leave is killed.

use myagent_core::StartId;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Clears up after every list of processes whose start is not among the known.
pub(crate) async fn clear(exe: PathBuf, config: myagent_supervisor::Config, known: BTreeSet<StartId>) {
    let files = match std::fs::read_dir(&config.tree_dir) {
        Ok(files) => files,
        Err(error) => {
            tracing::warn!(%error, folder = %config.tree_dir.display(), "cannot look for strays");
            return;
        }
    };
    for path in files.flatten().map(|file| file.path()) {
        let start_id = path.file_stem().and_then(|name| name.to_str()?.parse::<StartId>().ok());
        let Some(start_id) = start_id.filter(|start_id| !known.contains(start_id)) else { continue };
        tracing::warn!(%start_id, "stopping a runner that nobody knows");
        myagent_supervisor::stop_stray(&exe, &config.runtime_dir, start_id, path).await;
    }
}
