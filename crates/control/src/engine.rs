//! The engine: owns the fleet, takes commands and updates one at a time, does what the plan says.

mod command;
mod load;

pub(crate) use command::{Answer, Command};

use crate::fleet::{Fleet, Slot, unobserved};
use crate::handle::{Handle, Views};
use crate::publish;
use crate::rules::Rules;
use crate::sums::SUMS_EVERY;
use crate::unsaved::{MAX_EVENTS, Unsaved};
use crate::wall::WallWatch;
use myagent_core::error::{Code, Problem};
use myagent_core::event::Event;
use myagent_core::reconcile::{Action, ActionKind};
use myagent_core::routing::{RoutingSnapshot, Strategy};
use myagent_core::wire::sums::Peaks;
use myagent_core::{Clock, InstanceKey, ServiceId};
use myagent_store::{HealthCheck, Store, StoreError};
use myagent_supervisor::{
    Clients, Command as InstanceCommand, Deps, OpenConnections, Past, Ports, Sampled, Sessions, Update, What,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Commands that may wait for the engine.
const COMMANDS: usize = 256;
/// Updates that may wait for the engine; instances wait when there are more.
const UPDATES: usize = 1024;
/// Events a slow follower may be behind.
const EVENTS: usize = 1024;
/// Between two clients that are told that their service stops.
pub(crate) const STOP_PACE: Duration = Duration::from_millis(5);
/// How often old events and health checks are removed.
const PRUNE_EVERY: Duration = Duration::from_mins(10);
/// The last event of a manager that has ended as it should.
const ENDED: &str = "manager.ended";
/// How often everything is planned anew, whatever was missed.
#[derive(Clone, Copy, Debug)]
pub struct SweepInterval(pub Duration);

impl Default for SweepInterval {
    fn default() -> Self {
        Self(Duration::from_secs(5))
    }
}

/// After which id events go on. A manager that was killed may have told followers of events that it could not store: their ids are
/// not given again.
fn first_free_id(store: &Store) -> Result<i64, StoreError> {
    let last = store.last_event_id()?;
    let newest = store.events(&myagent_store::EventFilter { limit: 1, ..Default::default() })?;
    let has_ended = newest.first().is_none_or(|event| event.id == last && event.kind == ENDED);
    Ok(if has_ended { last } else { last.saturating_add(i64::try_from(MAX_EVENTS).unwrap_or(0)) })
}

/// Waits until what failed is to be tried again, if something failed.
async fn retry(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What the engine needs.
pub struct Config {
    /// Where things are stored.
    pub store: Store,
    /// For instances.
    pub supervisor: myagent_supervisor::Config,
    /// First and last port that services get.
    pub port_range: (u16, u16),
    /// Kinds of sources that may be registered.
    pub allow_sources: Vec<String>,
    /// How a client that no rule routes gets its instance.
    pub default_strategy: Strategy,
    /// Whether the front door limits connections per client address, for which they are counted.
    pub count_clients: bool,
    /// Days that events and health checks are kept.
    pub retention_days: u32,
    /// How often everything is planned anew.
    pub sweep: SweepInterval,
    /// Where statistics over time are stored; a file of its own.
    pub metrics: std::path::PathBuf,
}

/// The owner of the fleet.
pub struct Engine {
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) fleet: Fleet,
    pub(crate) rules: Rules,
    pub(crate) deps: Deps,
    pub(crate) allow_sources: Vec<String>,
    pub(crate) default_strategy: Strategy,
    pub(crate) views: watch::Sender<Arc<Views>>,
    pub(crate) routing: watch::Sender<Arc<RoutingSnapshot>>,
    pub(crate) events: broadcast::Sender<Arc<Event>>,
    pub(crate) handle: Handle,
    /// Work that answers a command later.
    pub(crate) work: JoinSet<()>,
    /// Set while the manager ends.
    pub(crate) ending: Option<Answer<()>>,
    retention_days: u32,
    sweep: Duration,
    tasks: JoinSet<InstanceKey>,
    commands: mpsc::Receiver<Command>,
    updates: mpsc::Receiver<Update>,
    pub(crate) unsaved: Unsaved,
    /// Why nothing can be stored, for those who look.
    pub(crate) storage_problem: watch::Sender<Option<String>>,
    /// The most that the fleet had at once, for those who look.
    pub(crate) peak: watch::Sender<Peaks>,
    wall: WallWatch,
    done: bool,
}

impl Engine {
    /// Loads the fleet and begins to attach to the runners that are still there.
    pub fn new(config: Config) -> Result<(Self, Handle), StoreError> {
        let (commands, command_receiver) = mpsc::channel(COMMANDS);
        let (updates, update_receiver) = mpsc::channel(UPDATES);
        let (views, view_receiver) = watch::channel(Arc::default());
        let (routing, routing_receiver) = watch::channel(Arc::default());
        let events = broadcast::Sender::new(EVENTS);
        let (connections, sessions) = (OpenConnections::default(), Sessions::default());
        let clients = if config.count_clients { Clients::counting() } else { Clients::default() };
        let store = Arc::new(config.store);
        let unsaved = Unsaved::after(first_free_id(&store)?);
        let (storage_problem, storage_receiver) = watch::channel(None);
        let (peak, peak_receiver) = watch::channel(Peaks::default());
        let handle = Handle {
            store: Arc::clone(&store),
            pending: unsaved.events.clone(),
            storage_problem: storage_receiver,
            peak: peak_receiver,
            commands,
            views: view_receiver,
            routing: routing_receiver,
            events: events.clone(),
            log_dir: config.supervisor.log_dir.clone(),
            searches: Default::default(),
            dry_runs: Default::default(),
            connections: connections.clone(),
            sessions: sessions.clone(),
            clients: clients.clone(),
            clock: config.supervisor.clock.clone(),
            statistics: crate::series::Statistics::new(config.metrics),
        };
        let mut engine = Self {
            store,
            clock: config.supervisor.clock.clone(),
            fleet: Fleet::default(),
            rules: Rules::default(),
            deps: Deps {
                config: config.supervisor,
                ports: Ports::new(config.port_range),
                updates,
                connections,
                clients,
                sessions,
                sampled: Sampled::default(),
            },
            allow_sources: config.allow_sources,
            default_strategy: config.default_strategy,
            views,
            routing,
            events,
            handle: handle.clone(),
            work: JoinSet::new(),
            ending: None,
            retention_days: config.retention_days,
            sweep: config.sweep.0,
            tasks: JoinSet::new(),
            commands: command_receiver,
            updates: update_receiver,
            unsaved,
            storage_problem,
            peak,
            wall: WallWatch::default(),
            done: false,
        };
        engine.load()?;
        engine.publish();
        Ok((engine, handle))
    }

    /// Runs until the manager is shut down. What runs then goes on or was stopped, as asked.
    pub async fn run(mut self) {
        let mut sweep = interval(self.sweep);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut pruned, mut summed) = (Instant::now(), Instant::now());
        let statistics = crate::series::Collecting::start(&self.handle);
        while !self.done {
            tokio::select! {
                Some(command) = self.commands.recv() => self.command(command),
                Some(update) = self.updates.recv() => {
                    self.update(update);
                    // What has come meanwhile is taken in one go, so that a busy fleet is published once and not each time.
                    for _ in 0..UPDATES {
                        match self.updates.try_recv() {
                            Ok(update) => self.update(update),
                            Err(_) => break,
                        }
                    }
                }
                Some(ended) = self.tasks.join_next() => if let Err(error) = ended {
                    tracing::error!(%error, "the task of an instance failed");
                },
                Some(ended) = self.work.join_next() => if let Err(error) = ended {
                    tracing::error!(%error, "background work failed");
                },
                () = retry(self.unsaved.retry_at()) => {}
                _ = sweep.tick() => {
                    self.save(true);
                    self.look_at_the_clock();
                    self.deps.sessions.expire();
                    self.deps.clients.expire();
                    if summed.elapsed() >= SUMS_EVERY {
                        summed = Instant::now();
                        self.store_sums();
                    }
                    if pruned.elapsed() >= PRUNE_EVERY {
                        pruned = Instant::now();
                        self.prune();
                    }
                }
            }
            self.reconcile();
            self.publish();
            self.save(false);
            self.end_if_done();
        }
        self.record("manager", ENDED, None, None, "all that happened is stored".to_owned());
        self.save(true);
        self.store_sums();
        statistics.end().await;
        self.work.shutdown().await;
        self.tasks.shutdown().await;
    }

    /// Does what the plan says.
    pub(crate) fn reconcile(&mut self) {
        if self.ending.is_some() || self.done {
            return;
        }
        let plan = self.fleet.plan();
        let spread = self.spread_of(plan.iter().filter(|action| action.kind == ActionKind::Stop));
        for Action { key, kind, reason } in plan {
            tracing::debug!(service = %key.service_id, index = key.index, ?kind, reason, "planned");
            self.fleet.dirty.insert(key.service_id);
            match kind {
                ActionKind::Start => self.start_instance(key),
                ActionKind::Stop => {
                    if let Some(slot) = self.fleet.slot(key).filter(|slot| !slot.told_to_stop()) {
                        slot.command(InstanceCommand::Stop { spread });
                    }
                }
                ActionKind::Leave => {
                    if let Some(slot) = self.fleet.slot(key).filter(|slot| !slot.told_to_stop()) {
                        slot.command(InstanceCommand::Leave { again: false });
                    }
                }
                ActionKind::Forget => self.forget_instance(key),
            }
        }
    }

    /// Over how long the clients of what is to be stopped are told, with those of what is being stopped already: however many
    /// services they are of, they come back to one front door.
    fn spread_of<'a>(&self, stops: impl Iterator<Item = &'a Action>) -> Duration {
        let stops: BTreeSet<_> = stops.map(|action| action.key).collect();
        let mut clients = 0;
        for entry in self.fleet.services.values() {
            for (index, slot) in &entry.slots {
                let key = InstanceKey { service_id: entry.service.service_id, index: *index };
                if slot.told_to_stop() || stops.contains(&key) {
                    clients += slot.observed.report.active_connections;
                }
            }
        }
        if stops.is_empty() { Duration::ZERO } else { STOP_PACE.saturating_mul(clients) }
    }

    fn start_instance(&mut self, key: InstanceKey) {
        let Some(entry) = self.fleet.services.get_mut(&key.service_id) else { return };
        let wanted = entry.wanted(key.index);
        let (tasks, deps) = (&mut self.tasks, &self.deps);
        let slot = entry.slots.entry(key.index).or_insert_with(|| {
            Slot::new(myagent_supervisor::spawn(tasks, deps.clone(), wanted, Past::default()), unobserved())
        });
        slot.command(InstanceCommand::Start);
    }

    pub(crate) fn forget_instance(&mut self, key: InstanceKey) {
        let removed =
            self.fleet.services.get_mut(&key.service_id).and_then(|entry| entry.slots.remove(&key.index));
        if let Some(slot) = removed {
            slot.handle.send(InstanceCommand::LetGo);
            if slot.stored.is_some() {
                self.unsaved.instances.insert(key);
            }
        }
    }

    fn update(&mut self, Update { key, what }: Update) {
        match what {
            What::Changed(observed) => {
                let stored = publish::stored(key, &observed);
                let Some(slot) = self.fleet.slot(key) else { return };
                slot.observed = *observed;
                let changed = slot.stored != stored;
                if changed {
                    slot.stored.clone_from(&stored);
                }
                self.fleet.dirty.insert(key.service_id);
                if changed {
                    self.unsaved.instances.insert(key);
                }
            }
            What::Record { kind, why } => {
                self.record("manager", &kind, Some(key.service_id), Some(key.index), why)
            }
            What::Checked(check) => self.unsaved.check(HealthCheck {
                at: check.at,
                service_id: key.service_id,
                index: key.index,
                healthy: check.failure.is_none(),
                latency_ms: Some(check.latency.as_secs_f64() * 1000.0),
                message: check.failure,
            }),
            What::RunnerEnded(sums) => self.retire(key, &sums),
        }
    }

    /// A clock that jumps is told of: it explains times that make no sense, and stops the removal of what only seems old.
    fn look_at_the_clock(&mut self) {
        if let Some(jump) = self.wall.look(self.clock.now(), Instant::now()) {
            self.record("manager", "clock.jumped", None, None, jump);
        }
    }

    fn prune(&mut self) {
        if !self.wall.is_steady(Instant::now()) {
            return;
        }
        let age = Duration::from_secs(u64::from(self.retention_days) * 24 * 3600);
        let mut retention = myagent_store::Retention::default();
        (retention.events.age, retention.connections.age, retention.health.age) = (age, age, age);
        let now = self.clock.now();
        self.try_store("remove old records", |store| store.prune(now, &retention).map(|_| ()));
    }

    /// Stores something that nobody waits for, and says whether that worked. A failure is logged, the fleet goes on. While nothing
    /// can be stored, it is not tried.
    pub(crate) fn try_store(&self, what: &str, write: impl FnOnce(&Store) -> Result<(), StoreError>) -> bool {
        if self.unsaved.retry_at().is_some() {
            return false;
        }
        let result = write(&self.store);
        if let Err(error) = &result {
            tracing::error!(%error, what, "not stored");
        }
        result.is_ok()
    }

    /// Notes an event, in the store and for those who follow.
    pub(crate) fn record(
        &mut self,
        who: &str,
        kind: &str,
        id: Option<ServiceId>,
        index: Option<u32>,
        why: String,
    ) {
        let service = id.and_then(|id| self.fleet.services.get(&id)).map(|entry| entry.service.name.clone());
        let instance = service.as_ref().zip(index).map(|(name, index)| format!("{name}-{index}"));
        tracing::info!(who, kind, service, instance, why, "event");
        let event = Event {
            id: self.unsaved.next_id(),
            at: self.clock.now(),
            who: who.to_owned(),
            kind: kind.to_owned(),
            service_id: id,
            service,
            instance,
            why,
        };
        self.unsaved.push(event.clone());
        // Nobody may be following.
        drop(self.events.send(Arc::new(event)));
    }

    fn end_if_done(&mut self) {
        if self.ending.is_some() && self.fleet.active() == 0 {
            self.end(self.all_stopped());
        }
    }

    /// Nothing more is planned; `result` is for whoever asked for the end.
    pub(crate) fn end(&mut self, result: Result<(), Problem>) {
        self.done = true;
        if let Some(answer) = self.ending.take() {
            // The asker may have left.
            let _ = answer.send(result);
        }
    }

    fn all_stopped(&self) -> Result<(), Problem> {
        let stopped = myagent_core::instance::InstanceState::Stopped;
        let slots = self
            .fleet
            .services
            .values()
            .flat_map(|entry| entry.slots.iter().map(move |(index, slot)| (entry, index, slot)));
        let failed: Vec<String> = slots
            .filter(|(_, _, slot)| slot.told_to_stop() && slot.observed.state != stopped)
            .map(|(entry, index, slot)| {
                let cause = slot.observed.error.as_deref().unwrap_or("no cause is known");
                format!("{}-{index}: {cause}", entry.service.name)
            })
            .collect();
        if failed.is_empty() { Ok(()) } else { Err(Problem::new(Code::ServiceStopFailed, failed.join("; "))) }
    }
}
