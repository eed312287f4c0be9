//! What people see, made from what is registered and observed. Pure.

use crate::fleet::{Entry, Slot};
use myagent_core::health::Health;
use myagent_core::instance::InstanceState;
use myagent_core::overview::{self, MAX_ATTENTION, Overview, SessionCounts};
use myagent_core::service::{Desired, Endpoint, Service, Source};
use myagent_core::view::{FleetView, InstanceView, ServiceStats, ServiceView};

/// The view of a service.
pub(crate) fn service(entry: &Entry) -> ServiceView {
    let service = &entry.service;
    let highest = entry.slots.keys().next_back().map_or(0, |index| index + 1);
    let instances: Vec<InstanceView> = (0..service.replicas.max(highest))
        .filter(|index| *index < service.replicas || entry.slots.contains_key(index))
        .map(|index| {
            let slot = entry.slots.get(&index);
            let mut view =
                slot.map_or_else(|| stopped(service, index), |slot| instance(service, index, slot));
            if let Some(retired) = entry.retired_instances.get(&index) {
                view.totals.add(retired);
            }
            view
        })
        .collect();
    let first = instances.first();
    let error_message = instances.iter().find_map(|instance| {
        let message = instance.error_message.as_ref()?;
        Some(if instances.len() > 1 { format!("{}: {message}", instance.name) } else { message.clone() })
    });
    ServiceView {
        service_id: service.service_id,
        name: service.name.clone(),
        description: service.description.clone(),
        source: service.source.clone(),
        host: service.host.clone(),
        port: service.port.or_else(|| first.and_then(|instance| instance.port)),
        fixed_port: service.port,
        endpoint: first.and_then(|instance| instance.endpoint.clone()),
        tags: service.tags.clone(),
        agent_type: service.source.kind().to_owned(),
        version: service.version,
        status: InstanceState::of_service(instances.iter().map(|instance| instance.status)),
        desired: service.desired,
        restart_required: instances.iter().any(|instance| instance.restart_required),
        replicas: service.replicas,
        created_at: service.created_at,
        started_at: instances.iter().filter_map(|instance| instance.started_at).min(),
        last_health_check: instances.iter().filter_map(|instance| instance.last_health_check).max(),
        error_message,
        restart_count: instances.iter().map(|instance| instance.restart_count).sum(),
        config: service.config.clone(),
        environment: service.environment.clone(),
        secrets: service.secret_names.clone(),
        stats: stats(entry),
        health: worst_health(&instances),
        instances,
    }
}

fn stats(entry: &Entry) -> ServiceStats {
    let is_file = matches!(entry.service.source, Source::File { .. });
    let mut stats = ServiceStats {
        totals: entry.retired.totals,
        rules: entry.retired.rules.clone(),
        peak: entry.peak,
        session_totals: is_file.then(|| Box::new(entry.retired.sessions.clone())),
        ..ServiceStats::default()
    };
    for slot in entry.slots.values() {
        let report = &slot.observed.report;
        stats.active_connections += report.active_connections;
        stats.active_sessions += report.active_sessions;
        stats.detached_sessions += report.detached_sessions;
        stats.totals.add(&report.totals);
        for (rule, traffic) in &report.rules {
            stats.rules.entry(rule.clone()).or_default().add(traffic);
        }
        if let (Some(sum), Some(sessions)) = (&mut stats.session_totals, &report.session_totals) {
            sum.add(sessions);
        }
    }
    stats
}

fn worst_health(instances: &[InstanceView]) -> Health {
    let rank = |health: Health| match health {
        Health::Unknown => 0,
        Health::Healthy => 1,
        Health::Degraded => 2,
        Health::Unhealthy => 3,
    };
    instances.iter().map(|instance| instance.health).max_by_key(|health| rank(*health)).unwrap_or_default()
}

fn instance(service: &Service, index: u32, slot: &Slot) -> InstanceView {
    let observed = &slot.observed;
    let runner = observed.runner.as_ref();
    let status = slot.state();
    let settled = slot.settled();
    let usage = &observed.report.usage;
    InstanceView {
        port: observed.port.or(service.port),
        endpoint: endpoint(service, observed.port.or(service.port)),
        status,
        pid: observed.agent_pid,
        runner_pid: runner.map(|runner| runner.pid),
        started_at: runner.map(|runner| runner.started_at),
        ready_at: runner.and_then(|runner| runner.ready_at),
        restart_count: observed.restarts,
        last_exit: observed.last_exit.clone(),
        error_message: observed.error.clone().filter(|_| settled),
        next_try: observed.next_try.filter(|_| settled),
        last_lines: observed.last_lines.clone(),
        active_connections: observed.report.active_connections,
        active_sessions: observed.report.active_sessions,
        detached_sessions: observed.report.detached_sessions,
        totals: observed.report.totals,
        cpu_percent: (usage.cpu_percent * 10.0).round() / 10.0,
        memory_mb: (usage.memory_bytes as f64 / 104_857.6).round() / 10.0,
        processes: usage.processes,
        health: observed.health,
        last_health_check: observed.last_check,
        busy: observed.report.busy,
        restart_required: runner.is_some_and(|runner| runner.version < service.restart_version),
        outdated: observed.outdated,
        ownership: observed.ownership.clone(),
        ..stopped(service, index)
    }
}

/// An instance that was never started here.
fn stopped(service: &Service, index: u32) -> InstanceView {
    InstanceView {
        name: format!("{}-{index}", service.name),
        index,
        host: service.host.clone(),
        port: service.port,
        endpoint: endpoint(service, service.port),
        status: InstanceState::Stopped,
        pid: None,
        runner_pid: None,
        started_at: None,
        ready_at: None,
        restart_count: 0,
        last_exit: None,
        error_message: None,
        next_try: None,
        last_lines: Vec::new(),
        active_connections: 0,
        active_sessions: 0,
        detached_sessions: 0,
        totals: myagent_core::wire::sums::Totals::default(),
        cpu_percent: 0.0,
        memory_mb: 0.0,
        processes: 0,
        health: Health::Unknown,
        last_health_check: None,
        busy: false,
        restart_required: false,
        outdated: false,
        ownership: None,
    }
}

fn endpoint(service: &Service, port: Option<u16>) -> Option<String> {
    if let Source::External { url } = &service.source {
        return Some(url.clone());
    }
    let endpoint =
        Endpoint { tls: false, host: service.host.clone(), port: port?, path: service.ws_path().to_owned() };
    Some(format!("ws://{}{}", endpoint.authority(), endpoint.path))
}

/// The fleet in numbers.
pub(crate) fn fleet<'a>(services: impl Iterator<Item = &'a ServiceView>) -> FleetView {
    let mut fleet = FleetView::default();
    for state in InstanceState::ALL {
        fleet.services.insert(state.to_string(), 0);
        fleet.instances.insert(state.to_string(), 0);
    }
    fleet.services.insert("total".to_owned(), 0);
    fleet.health.insert("total".to_owned(), 0);
    for health in [Health::Healthy, Health::Degraded, Health::Unhealthy, Health::Unknown] {
        fleet.health.insert(health.to_string(), 0);
    }
    for service in services {
        *fleet.services.entry("total".to_owned()).or_default() += 1;
        *fleet.services.entry(service.status.to_string()).or_default() += 1;
        fleet.active_connections += service.stats.active_connections;
        fleet.active_sessions += service.stats.active_sessions;
        fleet.detached_sessions += service.stats.detached_sessions;
        fleet.totals.add(&service.stats.totals);
        if let Some(sessions) = &service.stats.session_totals {
            fleet.session_totals.add(sessions);
        }
        for instance in &service.instances {
            *fleet.instances.entry(instance.status.to_string()).or_default() += 1;
            if matches!(instance.status, InstanceState::Running | InstanceState::Unhealthy) {
                *fleet.health.entry(instance.health.to_string()).or_default() += 1;
                *fleet.health.entry("total".to_owned()).or_default() += 1;
            }
        }
    }
    fleet
}

/// The fleet at a glance, but for what only the handle knows.
pub(crate) fn overview<'a>(services: impl Iterator<Item = &'a ServiceView> + Clone) -> Overview {
    let FleetView {
        services: by_state,
        instances,
        health,
        session_totals,
        active_sessions,
        detached_sessions,
        ..
    } = fleet(services.clone());
    let mut attention = overview::attention(services.clone());
    let attention_total = attention.len();
    attention.truncate(MAX_ATTENTION);
    let sessions = SessionCounts {
        active: active_sessions,
        detached: detached_sessions,
        completed: session_totals.completed,
        failed: session_totals.failed,
    };
    let mut overview = Overview {
        services: by_state,
        instances,
        health,
        sessions,
        attention,
        attention_total,
        ..Overview::default()
    };
    let instances = services.flat_map(|service| &service.instances);
    overview.restarts = instances.clone().map(|instance| u64::from(instance.restart_count)).sum();
    (overview.cpu_percent, overview.memory_mb) = overview::usage(instances);
    overview
}

/// Whether a start has come to an end, and how; none: it goes on.
pub(crate) fn start_outcome(view: &ServiceView) -> Option<Result<(), String>> {
    if view.desired == Desired::Stopped {
        return Some(Err(format!("{} was stopped meanwhile", view.name)));
    }
    let wanted = view.instances.iter().filter(|instance| instance.index < view.replicas);
    let failed = wanted
        .clone()
        .find(|instance| matches!(instance.status, InstanceState::Error | InstanceState::Unhealthy));
    if let Some(instance) = failed {
        let cause = instance.error_message.as_deref().unwrap_or("no cause is known");
        return Some(Err(format!("{} did not start: {cause}", instance.name)));
    }
    wanted.clone().all(|instance| instance.status == InstanceState::Running).then_some(Ok(()))
}

/// Whether a stop has come to an end, and how; none: it goes on.
pub(crate) fn stop_outcome(view: &ServiceView) -> Option<Result<(), String>> {
    if view.desired == Desired::Running {
        return Some(Err(format!("{} was started meanwhile", view.name)));
    }
    if let Some(instance) = view.instances.iter().find(|instance| instance.status == InstanceState::Error) {
        let cause = instance.error_message.as_deref().unwrap_or("no cause is known");
        return Some(Err(format!("{} is not stopped: {cause}", instance.name)));
    }
    view.instances.iter().all(|instance| instance.status == InstanceState::Stopped).then_some(Ok(()))
}
