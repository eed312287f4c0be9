//! Looking at what was: events and health checks. It reads the database beside the engine, which never waits for it.

use crate::commands::storage;
use crate::handle::{EventFilter, Handle};
use myagent_core::ServiceId;
use myagent_core::error::{Code, Problem};
use myagent_core::event::Event;
use myagent_core::health::HealthRecord;
use myagent_store::{Store, StoreError};
use std::sync::Arc;

/// Most items of one answer.
const MOST: usize = 10_000;

impl EventFilter {
    /// Whether an event is one of those.
    pub fn matches(&self, event: &Event) -> bool {
        // An id may be written in several ways.
        let of_service = |service: &String| match service.parse::<ServiceId>() {
            Ok(id) => event.service_id == Some(id),
            Err(_) => event.service.as_ref() == Some(service),
        };
        self.service.as_ref().is_none_or(of_service)
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| is_of_kind(&event.kind, kind)))
    }
}

fn is_of_kind(kind: &str, wanted: &str) -> bool {
    kind == wanted || (wanted.ends_with('.') && kind.starts_with(wanted))
}

impl Handle {
    /// Why nothing can be stored, if that is so.
    pub fn storage_problem(&self) -> Option<String> {
        self.storage_problem.borrow().clone()
    }

    /// Past events, the oldest first; also those that could not be stored yet.
    pub async fn events(&self, filter: EventFilter) -> Result<Vec<Event>, Problem> {
        let stored = self.stored_filter(&filter)?;
        let limit = stored.limit as usize;
        // First those that wait to be stored: one that is stored meanwhile is then in both, and taken once.
        let pending = self.pending.after(filter.after_id.unwrap_or(0));
        let mut events = self.read(move |store| store.events(&stored)).await?;
        let last = events.last().map_or(filter.after_id.unwrap_or(0), |event| event.id);
        // A full page has more behind it, which comes before what is not stored.
        if filter.after_id.is_none() || events.len() < limit {
            events.extend(pending.into_iter().filter(|event| event.id > last && filter.matches(event)));
            let surplus = events.len().saturating_sub(limit);
            if filter.after_id.is_some() {
                events.truncate(limit);
            } else {
                events.drain(..surplus);
            }
        }
        Ok(events)
    }

    /// How many past events there are of that service and those kinds.
    pub async fn count_events(&self, filter: &EventFilter) -> Result<usize, Problem> {
        let stored = self.stored_filter(filter)?;
        let pending = self.pending.after(0).iter().filter(|event| filter.matches(event)).count();
        let count = self.read(move |store| store.count_events(&stored)).await?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX).saturating_add(pending))
    }

    /// With the id of the service. One that is gone is asked for by its id.
    fn stored_filter(&self, filter: &EventFilter) -> Result<myagent_store::EventFilter, Problem> {
        let id = |name: &str| match name.parse::<ServiceId>() {
            Ok(id) => Ok(id),
            Err(_) => self.service(name).map(|service| service.service_id),
        };
        Ok(myagent_store::EventFilter {
            service: filter.service.as_deref().map(id).transpose()?,
            kinds: filter.kinds.clone(),
            after_id: filter.after_id,
            limit: filter.limit.unwrap_or(100).min(MOST) as u32,
        })
    }

    /// Past health checks of a service, the newest first.
    pub async fn health_history(&self, name: &str, limit: usize) -> Result<Vec<HealthRecord>, Problem> {
        let service = self.service(name)?;
        let (id, limit) = (service.service_id, limit.min(MOST) as u32);
        let checks = self.read(move |store| store.health_checks(id, limit)).await?;
        let record = |check: myagent_store::HealthCheck| HealthRecord {
            at: check.at,
            instance: format!("{}-{}", service.name, check.index),
            healthy: check.healthy,
            latency_ms: check.latency_ms.unwrap_or_default(),
            message: check.message,
        };
        Ok(checks.into_iter().map(record).collect())
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let store = Arc::clone(&self.store);
        let result = tokio::task::spawn_blocking(move || read(&store)).await;
        result
            .map_err(|error| {
                Problem::new(Code::Internal, format!("a look at the database was cut short: {error}"))
            })?
            .map_err(|error| storage(&error))
    }
}
