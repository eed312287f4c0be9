//! The other starts of a service that live: their locks are taken.

use crate::journal::Journal;
use crate::owner::Life;
use myagent_core::StartId;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// Another instance of the service, which lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sibling {
    /// Its start.
    pub start_id: StartId,
    /// Name of its instance.
    pub instance: String,
    /// Its take-over socket.
    pub takeover: PathBuf,
}

impl Journal {
    /// The others that live, by the order of their instances. It lists the folder and looks at each start in it; what cannot be
    /// seen is not there.
    pub fn siblings(&self) -> Vec<Sibling> {
        let Some(place) = &self.place else { return Vec::new() };
        let starts = match fs::read_dir(&self.config.folder) {
            Ok(entries) => entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()),
            Err(error) => {
                tracing::warn!(%error, folder = %self.config.folder.display(), "failed to look for other instances");
                return Vec::new();
            }
        };
        let mut found = BTreeMap::new();
        for start_id in starts {
            let Ok(Life::Lives(header)) = place.life(start_id) else { continue };
            // What is being released at this moment is a start of its releaser.
            if header.takeover != self.config.takeover {
                let sibling = Sibling { start_id, instance: header.instance, takeover: header.takeover };
                found.entry((sibling.instance.clone(), sibling.takeover.clone())).or_insert(sibling);
            }
        }
        found.into_values().collect()
    }
}
