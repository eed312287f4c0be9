//! Register a service.

use super::storage;
use crate::check;
use crate::engine::Engine;
use crate::fleet::Entry;
use crate::once::{Made, Once, gone};
use myagent_core::ServiceId;
use myagent_core::config::ServiceConfig;
use myagent_core::error::{Code, Problem};
use myagent_core::request::NewService;
use myagent_core::service::{Desired, Service};
use myagent_core::view::ServiceView;
use myagent_core::wire::sums::Sums;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Engine {
    pub(crate) fn register(
        &mut self,
        new: NewService,
        once: Option<&Once>,
        who: &str,
    ) -> Result<(Arc<ServiceView>, Made), Problem> {
        if let Some(id) = self.made_before(once)? {
            let view = self.handle.service(&id.to_string()).map_err(|_| gone())?;
            return Ok((view, Made::Before));
        }
        let service = self.new_service(&new)?;
        if self.fleet.by_name.contains_key(&service.name) {
            let detail = format!(
                "a service named {:?} exists already; choose another name or update it",
                service.name
            );
            return Err(Problem::new(Code::ServiceAlreadyExists, detail));
        }
        let secrets: BTreeMap<String, String> =
            new.options.secrets.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let creation = self.creation(once, service.service_id.0);
        self.store.insert_service(&service, &secrets, creation.as_ref()).map_err(|error| storage(&error))?;
        let (id, name, kind) = (service.service_id, service.name.clone(), service.source.kind());
        self.fleet.insert(Entry::new(service, secrets, Sums::default()));
        self.record(who, "service.registered", Some(id), None, format!("{kind} service"));
        self.reconcile();
        self.publish();
        Ok((self.handle.service(&name)?, Made::Now))
    }

    fn new_service(&self, new: &NewService) -> Result<Service, Problem> {
        let now = self.clock.now();
        let mut service = Service {
            service_id: ServiceId((self.deps.config.new_id)()),
            name: new.name.clone(),
            description: String::new(),
            source: new.source.clone(),
            host: Service::DEFAULT_HOST.to_owned(),
            port: None,
            tags: Default::default(),
            replicas: 1,
            config: ServiceConfig::default(),
            environment: BTreeMap::new(),
            secret_names: Default::default(),
            desired: if new.auto_start { Desired::Running } else { Desired::Stopped },
            version: 1,
            restart_version: 0,
            created_at: now,
            updated_at: now,
        };
        let mut errors = new.options.apply(&mut service).err().unwrap_or_default();
        errors.extend(check::service(&service, &self.allow_sources).err().unwrap_or_default());
        if errors.is_empty() { Ok(service) } else { Err(Problem::fields(errors)) }
    }
}
