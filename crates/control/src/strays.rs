//! Runners that nobody knows: a manager was killed between starting one and storing it, or its service was removed. They
//! are asked to stop; what they leave is killed.

use myagent_core::StartId;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The lists of processes whose start is not among the known. To be called before anything is started: what is started
/// later has a list too.
pub(crate) fn find(tree_dir: &Path, known: &BTreeSet<StartId>) -> Vec<(StartId, PathBuf)> {
    let files = match std::fs::read_dir(tree_dir) {
        Ok(files) => files,
        Err(error) => {
            tracing::warn!(%error, folder = %tree_dir.display(), "cannot look for strays");
            return Vec::new();
        }
    };
    let start_id = |path: &Path| path.file_stem()?.to_str()?.parse::<StartId>().ok();
    files
        .flatten()
        .filter_map(|file| Some((start_id(&file.path())?, file.path())))
        .filter(|(start_id, _)| !known.contains(start_id))
        .collect()
}

/// Clears up after them.
pub(crate) async fn clear(exe: PathBuf, config: myagent_supervisor::Config, strays: Vec<(StartId, PathBuf)>) {
    for (start_id, path) in strays {
        tracing::warn!(%start_id, "stopping a runner that nobody knows");
        myagent_supervisor::stop_stray(&exe, &config.runtime_dir, start_id, path).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn only_what_is_there_and_unknown_is_a_stray() {
        let folder = tempfile::tempdir().unwrap();
        let [known, stray] = [1, 2].map(|number| StartId(Uuid::from_u128(number)));
        let path = |start_id: StartId| folder.path().join(format!("{start_id}.json"));
        for path in [path(known), path(stray), folder.path().join("notes.txt")] {
            std::fs::write(path, "").unwrap();
        }
        assert_eq!(find(folder.path(), &[known].into()), [(stray, path(stray))]);
        assert_eq!(find(&folder.path().join("gone"), &BTreeSet::new()), []);
    }
}
