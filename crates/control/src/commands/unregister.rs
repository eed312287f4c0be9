//! Forget a service that is stopped, with its logs and journals.

use super::{check_version, storage};
use crate::engine::Engine;
use myagent_core::error::{Code, Problem};
use myagent_core::instance::InstanceState;
use myagent_core::{InstanceKey, ServiceId};

impl Engine {
    pub(crate) fn unregister(&mut self, name: &str, expected: Option<u64>, who: &str) -> Result<(), Problem> {
        let id = self.fleet.find(name)?;
        let Some(entry) = self.fleet.services.get(&id) else {
            return Err(Problem::new(Code::Internal, "the service is named but not known"));
        };
        check_version(name, entry.service.version, expected)?;
        if entry.slots.values().any(|slot| slot.state() != InstanceState::Stopped) {
            let detail = format!("{name} still runs; stop it first");
            return Err(Problem::new(Code::ServiceStopFailed, detail));
        }
        let indexes: Vec<u32> = entry.slots.keys().copied().collect();
        let service = entry.service.clone();
        self.store.delete_service(id).map_err(|error| storage(&error))?;
        self.record(who, "service.unregistered", Some(id), None, "forgotten with its logs".to_owned());
        for index in indexes {
            self.forget_instance(InstanceKey { service_id: id, index });
        }
        self.fleet.remove(id);
        self.publish();
        self.remove_files(id, &service.name);
        Ok(())
    }

    /// Best effort: a file that cannot be removed is named in the log and is in nobody's way.
    fn remove_files(&self, id: ServiceId, name: &str) {
        let logs = std::fs::read_dir(&self.deps.config.log_dir).into_iter().flatten().flatten();
        let of_service = |file: &std::fs::DirEntry| {
            let file = file.file_name();
            let rest = file.to_str().and_then(|file| file.strip_prefix(name)?.strip_prefix('-'));
            rest.and_then(|rest| rest.split_once('.')).is_some_and(|(index, rest)| {
                index.bytes().all(|byte| byte.is_ascii_digit()) && rest.starts_with("log")
            })
        };
        for file in logs.filter(of_service) {
            if let Err(error) = std::fs::remove_file(file.path()) {
                tracing::warn!(%error, file = %file.path().display(), "log not removed");
            }
        }
        let journal = self.deps.config.journal_dir.join(id.to_string());
        if let Err(error) = std::fs::remove_dir_all(&journal)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, folder = %journal.display(), "journal not removed");
        }
    }
}
