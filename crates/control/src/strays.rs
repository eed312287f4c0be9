//! Runners that are not ours to keep, or not ours at all. Those that nobody knows: a manager was killed between starting one and storing it, or its service was removed. They
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

/// Whether this list is in a folder that is there and not ours. A folder that was moved with everything in it is ours.
pub(crate) fn is_of_another(tree: &Path, tree_dir: &Path) -> bool {
    let real = |folder: &Path| folder.canonicalize().ok();
    let theirs = tree.parent().and_then(real);
    theirs.is_some() && theirs != real(tree_dir)
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
    fn a_copied_database_names_the_folder_of_the_original() {
        let (ours, original) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let link = ours.path().join("link");
        std::os::unix::fs::symlink(ours.path(), &link).unwrap();
        assert!(is_of_another(&original.path().join("a.json"), ours.path()));
        assert!(!is_of_another(&ours.path().join("a.json"), ours.path()));
        assert!(!is_of_another(&link.join("a.json"), ours.path()));
        assert!(!is_of_another(&original.path().join("moved").join("a.json"), ours.path()));
    }

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
