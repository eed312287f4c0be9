//! Change a service. What runs goes on as it is; the next start, and what can change while running, follow the change.

use super::{check_version, storage};
use crate::check;
use crate::engine::Engine;
use myagent_core::error::{Code, FieldError, Problem};
use myagent_core::update::{Update, needs_restart};
use myagent_core::view::ServiceView;
use std::sync::Arc;

impl Engine {
    pub(crate) fn update_service(
        &mut self,
        name: &str,
        update: &Update,
        expected: Option<u64>,
        who: &str,
    ) -> Result<Arc<ServiceView>, Problem> {
        let id = self.fleet.find(name)?;
        let Some(entry) = self.fleet.services.get_mut(&id) else {
            return Err(Problem::new(Code::Internal, "the service is named but not known"));
        };
        check_version(name, entry.service.version, expected)?;
        let mut service = entry.service.as_ref().clone();
        let mut secrets = entry.secrets.as_ref().clone();
        update.apply(&mut service, &mut secrets).map_err(Problem::fields)?;
        check::service(&service, &self.allow_sources).map_err(Problem::fields)?;
        if service == *entry.service && secrets == *entry.secrets {
            return self.handle.service(name);
        }
        let unknown = service.secret_names.iter().find(|name| !secrets.contains_key(*name));
        if let Some(name) = unknown.filter(|_| secrets != *entry.secrets) {
            let message =
                "cannot be read with the present secret.key: set it too, or remove it with --unset-secret";
            return Err(Problem::fields(vec![FieldError::new(format!("secrets.{name}"), message)]));
        }
        service.version += 1;
        if needs_restart(&entry.service, &service) || secrets != *entry.secrets {
            service.restart_version = service.version;
        }
        service.updated_at = self.clock.now();
        let changed = Some(&secrets).filter(|secrets| **secrets != *entry.secrets);
        self.store.update_service(&service, changed).map_err(|error| storage(&error))?;
        let version = service.version;
        (entry.service, entry.secrets) = (Arc::new(service), Arc::new(secrets));
        entry.configure();
        self.fleet.dirty.insert(id);
        self.record(who, "service.updated", Some(id), None, format!("version {version}"));
        self.reconcile();
        self.publish();
        self.handle.service(name)
    }
}
