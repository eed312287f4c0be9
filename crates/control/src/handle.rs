//! The use cases, as methods. Cheap to clone.

use crate::dry_run::DryRuns;
use crate::engine::Command;
use crate::logs::{self, Searched, Searches};
use crate::once::{Made, Once};
use crate::unsaved::Pending;
use jiff::Timestamp;
use myagent_core::error::{Code, FieldError, Problem};
use myagent_core::event::Event;
use myagent_core::health::HealthRecord;
use myagent_core::instance::InstanceState;
use myagent_core::logs::{FoundLines, LogLine, LogQuery, LogSearch};
use myagent_core::overview::{ConnectionCounts, Overview};
use myagent_core::request::{Changes, NewService};
use myagent_core::routing::RoutingSnapshot;
use myagent_core::service::Desired;
use myagent_core::update::Update;
use myagent_core::view::{FleetView, ServiceView};
use myagent_core::wire::sums::Peaks;
use myagent_core::{Clock, ServiceId};
use myagent_store::Store;
use myagent_supervisor::{Clients, OpenConnections, Sessions};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// All services by name, as last published.
pub(crate) type Views = BTreeMap<String, Arc<ServiceView>>;

/// How a restart is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartMode {
    /// One instance after the other, each ready before the next.
    Rolling,
    /// All at once.
    AllAtOnce,
}

/// What becomes of the instances when the manager ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopAll {
    /// They are stopped.
    Stop,
    /// They go on without a manager.
    Keep,
}

/// Which events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventFilter {
    /// Only of this service.
    pub service: Option<String>,
    /// Only of these kinds; one that ends with a dot stands for all that begin so; none: of all.
    pub kinds: Vec<String>,
    /// Only after this id.
    pub after_id: Option<i64>,
    /// At most this many of the newest.
    pub limit: Option<usize>,
}

/// The way to the engine.
#[derive(Clone)]
pub struct Handle {
    pub(crate) store: Arc<Store>,
    pub(crate) pending: Pending,
    pub(crate) storage_problem: watch::Receiver<Option<String>>,
    pub(crate) peak: watch::Receiver<Peaks>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) views: watch::Receiver<Arc<Views>>,
    pub(crate) routing: watch::Receiver<Arc<RoutingSnapshot>>,
    pub(crate) events: broadcast::Sender<Arc<Event>>,
    pub(crate) log_dir: PathBuf,
    pub(crate) searches: Searches,
    pub(crate) dry_runs: DryRuns,
    pub(crate) connections: OpenConnections,
    pub(crate) sessions: Sessions,
    pub(crate) clients: Clients,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) statistics: Arc<crate::series::Statistics>,
}

impl Handle {
    /// The routing snapshot, for the front door.
    pub fn routing(&self) -> watch::Receiver<Arc<RoutingSnapshot>> {
        self.routing.clone()
    }

    /// Which instance has which session, for the front door.
    pub fn sessions(&self) -> Sessions {
        self.sessions.clone()
    }

    /// Open connections by client address, for the front door.
    pub fn clients(&self) -> Clients {
        self.clients.clone()
    }

    /// All services, by name.
    pub fn services(&self) -> Vec<Arc<ServiceView>> {
        self.views.borrow().values().cloned().collect()
    }

    /// One service by name or id; the error suggests the nearest name.
    pub fn service(&self, name_or_id: &str) -> Result<Arc<ServiceView>, Problem> {
        let views = self.views.borrow();
        // A name may look like an id if an earlier version registered it; an id is the surer word.
        let by_id = name_or_id.parse::<ServiceId>().ok();
        let by_id = by_id.and_then(|id| views.values().find(|view| view.service_id == id));
        if let Some(view) = by_id.or_else(|| views.get(name_or_id)) {
            return Ok(Arc::clone(view));
        }
        Err(unknown_service(name_or_id, views.keys().map(String::as_str)))
    }

    /// The fleet in numbers.
    pub fn fleet(&self) -> FleetView {
        let peak = *self.peak.borrow();
        FleetView { peak, ..crate::views::fleet(self.views.borrow().values().map(AsRef::as_ref)) }
    }

    /// The fleet at a glance; the manager has been running since `started_at`.
    pub fn overview(&self, started_at: Timestamp) -> Overview {
        let services = self.services();
        let stats = self.connection_stats();
        let uptime = self.clock.now().duration_since(started_at);
        Overview {
            connections: ConnectionCounts {
                total_connections: stats.total_connections,
                by_status: stats.by_status,
                by_service: stats.by_service,
            },
            uptime_seconds: u64::try_from(uptime.as_secs()).unwrap_or(0),
            problems: self.storage_problem().into_iter().collect(),
            ..crate::views::overview(services.iter().map(AsRef::as_ref))
        }
    }

    /// Registers a service, once for each key; with `auto_start` its start has begun when this returns.
    pub async fn register(
        &self,
        new: NewService,
        once: Option<Once>,
        who: &str,
    ) -> Result<(Arc<ServiceView>, Made), Problem> {
        let (new, who) = (Box::new(new), who.to_owned());
        self.ask(|answer| Command::Register { new, once, who, answer }).await
    }

    /// Changes a service, if it is at the version `expected`; what runs goes on as it is until it is restarted.
    pub async fn update(
        &self,
        name: &str,
        update: Update,
        expected: Option<u64>,
        who: &str,
    ) -> Result<Arc<ServiceView>, Problem> {
        let (name, update, who) = (name.to_owned(), Box::new(update), who.to_owned());
        self.ask(|answer| Command::Update { name, update, expected, who, answer }).await
    }

    /// Stops and forgets a service, if it is at the version `expected`.
    pub async fn unregister(&self, name: &str, expected: Option<u64>, who: &str) -> Result<(), Problem> {
        let view = self.service(name)?;
        crate::commands::check_version(name, view.version, expected)?;
        if view.status != InstanceState::Stopped {
            self.stop(name, who).await?;
        }
        let (name, who) = (name.to_owned(), who.to_owned());
        self.ask(|answer| Command::Unregister { name, expected, who, answer }).await
    }

    /// Starts a service. With `wait` it answers when all instances are ready, or with the cause why one is not.
    pub async fn start(&self, name: &str, wait: bool, who: &str) -> Result<Arc<ServiceView>, Problem> {
        self.set_desired(name, Desired::Running, who).await?;
        if wait { self.wait_started(name).await } else { self.service(name) }
    }

    /// Stops a service; answers when nothing of it is left, or names what could not be killed.
    pub async fn stop(&self, name: &str, who: &str) -> Result<Arc<ServiceView>, Problem> {
        self.set_desired(name, Desired::Stopped, who).await?;
        self.wait_stopped(name).await
    }

    /// Restarts a service (a stopped one is started) and waits until it is ready.
    pub async fn restart(
        &self,
        name: &str,
        mode: RestartMode,
        who: &str,
    ) -> Result<Arc<ServiceView>, Problem> {
        let service = self.service(name)?;
        if service.desired == Desired::Stopped {
            return self.start(name, true, who).await;
        }
        let name = service.name.clone();
        self.ask(|answer| Command::Restart { name: name.clone(), mode, who: who.to_owned(), answer }).await?;
        self.service(&name)
    }

    /// Changes the number of instances.
    pub async fn scale(
        &self,
        name: &str,
        replicas: u32,
        wait: bool,
        who: &str,
    ) -> Result<Arc<ServiceView>, Problem> {
        let mut changes = Changes::default();
        changes.options.replicas = Some(replicas);
        let view = self.update(name, Update::Some(Box::new(changes)), None, who).await?;
        if wait && view.desired == Desired::Running { self.wait_started(name).await } else { Ok(view) }
    }

    /// Lines of output of all instances, oldest first.
    pub async fn logs(&self, name: &str, query: LogQuery) -> Result<Vec<LogLine>, Problem> {
        let instances = self.log_instances(name, query.instance.as_deref())?;
        logs::read(self.log_dir.clone(), instances, query).await
    }

    /// The lines that `query` asks for and then new ones as they come, until the receiver is dropped.
    pub async fn follow_logs(&self, name: &str, query: LogQuery) -> Result<mpsc::Receiver<LogLine>, Problem> {
        self.log_instances(name, query.instance.as_deref())?;
        let (handle, name, only) = (self.clone(), name.to_owned(), query.instance.clone());
        let instances = move || handle.log_instances(&name, only.as_deref()).ok();
        logs::follow(self.log_dir.clone(), instances, query).await
    }

    /// Searches the output of several services, the newest line first. How much it reads is bounded; the answer says how far it
    /// came. At most two run at once, others wait.
    pub async fn search_logs(&self, query: &LogSearch) -> Result<FoundLines, Problem> {
        let services = if query.services.is_empty() {
            self.views.borrow().values().map(Arc::clone).collect()
        } else {
            query.services.iter().map(|name| self.service(name)).collect::<Result<Vec<_>, _>>()?
        };
        let searched = services.iter().flat_map(|view| {
            let of = |instance: &str| Searched { instance: instance.to_owned(), service: view.name.clone() };
            view.instances.iter().map(move |instance| of(&instance.name))
        });
        // A service that is named twice is searched once.
        let mut searched: Vec<Searched> = searched.collect();
        searched.sort_by(|a, b| a.instance.cmp(&b.instance));
        searched.dedup_by(|a, b| a.instance == b.instance);
        self.searches.run(self.log_dir.clone(), searched, query).await
    }

    /// Checks health now, and returns what was found for each instance.
    pub async fn check_health(&self, name: &str) -> Result<Vec<HealthRecord>, Problem> {
        let name = name.to_owned();
        self.ask(|answer| Command::CheckHealth { name, answer }).await
    }

    /// Events as they happen. A receiver that is too slow misses some and is told how many.
    pub fn follow_events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }

    /// Refuses further commands and stops (or lets go of) every instance; answers when that is done.
    pub async fn shut_down(&self, instances: StopAll, who: &str) -> Result<(), Problem> {
        self.ask(|answer| Command::ShutDown { instances, who: who.to_owned(), answer }).await
    }

    async fn set_desired(&self, name: &str, desired: Desired, who: &str) -> Result<(), Problem> {
        let name = name.to_owned();
        self.ask(|answer| Command::SetDesired { name, desired, who: who.to_owned(), answer }).await
    }

    async fn wait_started(&self, name: &str) -> Result<Arc<ServiceView>, Problem> {
        self.wait(name, |view| match crate::views::start_outcome(view) {
            None => None,
            Some(Ok(())) => Some(Ok(Arc::clone(view))),
            Some(Err(cause)) => Some(Err(Problem::new(Code::ServiceStartFailed, cause))),
        })
        .await
    }

    async fn wait_stopped(&self, name: &str) -> Result<Arc<ServiceView>, Problem> {
        self.wait(name, |view| match crate::views::stop_outcome(view) {
            None => None,
            Some(Ok(())) => Some(Ok(Arc::clone(view))),
            Some(Err(cause)) => Some(Err(Problem::new(Code::ServiceStopFailed, cause))),
        })
        .await
    }

    /// Waits until `outcome` says something of the service's view.
    async fn wait<T>(
        &self,
        name: &str,
        outcome: impl Fn(&Arc<ServiceView>) -> Option<Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let mut views = self.views.clone();
        loop {
            views.mark_unchanged();
            if let Some(result) = outcome(&self.service(name)?) {
                return result;
            }
            views.changed().await.map_err(|_| shutting_down())?;
        }
    }

    fn log_instances(&self, name: &str, only: Option<&str>) -> Result<Vec<String>, Problem> {
        let view = self.service(name)?;
        let all = view.instances.iter().map(|instance| instance.name.clone());
        let wanted: Vec<String> = all.filter(|name| only.is_none_or(|only| name == only)).collect();
        match only.filter(|_| wanted.is_empty()) {
            Some(only) => {
                let message = format!("{only:?} is not one of the instances of {}", view.name);
                Err(Problem::fields(vec![FieldError::new("instance", message)]))
            }
            None => Ok(wanted),
        }
    }

    /// Waits until what is known of every instance is fresh: its runner has been found again, or is known to be gone. One that
    /// is being started anew counts as fresh only when it is ready, so give it a limit.
    pub async fn attached(&self) {
        let mut views = self.views.clone();
        let is_fresh = |view: &Arc<ServiceView>| {
            view.instances.iter().all(|instance| instance.status != InstanceState::Starting)
        };
        // The sender lives as long as the engine; without one there is nothing to wait for.
        let _ = views.wait_for(|views| views.values().all(is_fresh)).await;
    }

    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Problem>>) -> Command,
    ) -> Result<T, Problem> {
        let (answer, result) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| shutting_down())?;
        result.await.map_err(|_| shutting_down())?
    }
}

fn shutting_down() -> Problem {
    Problem::new(Code::ShuttingDown, "the manager is shutting down")
}

/// "No such service", with the nearest name if one is near.
pub(crate) fn unknown_service<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    let nearest = myagent_core::suggest::nearest(name, known);
    let hint = nearest.map_or_else(|| "see `list`".to_owned(), |near| format!("did you mean {near:?}?"));
    Problem::new(Code::ServiceNotFound, format!("no service is named {name:?}; {hint}"))
}
