//! How services look to people: one line each in a list, and everything one needs when one is broken.

use super::human::{ago, count, plain, time, until};
use super::sessions::{self, Now};
use super::table::{self, numbers, words};
use super::{Colour, Output};
use jiff::Timestamp;
use myagent_core::health::Health;
use myagent_core::instance::InstanceState;
use myagent_core::service::{Desired, Source};
use myagent_core::view::{InstanceView, ServiceView};

/// Most lines of output in a status; `logs` has the rest.
const LAST_LINES: usize = 10;

/// The colour of a state; its word is always there too.
pub(crate) fn colour(state: InstanceState) -> Colour {
    match state {
        InstanceState::Running => Colour::Green,
        InstanceState::Starting | InstanceState::Stopping => Colour::Yellow,
        InstanceState::Unhealthy | InstanceState::Error => Colour::Red,
        InstanceState::Stopped => Colour::Dim,
    }
}

/// The table of `list`.
pub(crate) fn list(views: &[ServiceView], now: Timestamp, out: &Output) -> String {
    let columns = [
        words("NAME"),
        words("STATUS"),
        words("TYPE"),
        numbers("READY"),
        numbers("PORT"),
        numbers("CONNECTIONS"),
        numbers("RESTARTS"),
        numbers("UP"),
        words("TAGS"),
    ];
    let rows = views.iter().map(|view| {
        vec![
            view.name.clone(),
            view.status.to_string(),
            view.agent_type.clone(),
            ready(view),
            view.port.map(|port| port.to_string()).unwrap_or_default(),
            view.stats.active_connections.to_string(),
            view.restart_count.to_string(),
            view.started_at.map(|at| ago(now, at)).unwrap_or_default(),
            view.tags.iter().cloned().collect::<Vec<_>>().join(","),
        ]
    });
    let lines = table::lines(&columns, rows.collect());
    let mut coloured = vec![out.paint(Colour::Bold, &lines[0])];
    for (line, view) in lines[1..].iter().zip(views) {
        coloured.push(paint_state(line, view.name.len(), view.status, out));
    }
    coloured.join("\n")
}

/// Colours the first word of the state after the name.
fn paint_state(line: &str, after: usize, state: InstanceState, out: &Output) -> String {
    let word = state.as_str();
    match line.get(after..).and_then(|rest| rest.find(word)) {
        Some(at) => {
            let (before, rest) = line.split_at(after + at);
            format!("{before}{}{}", out.paint(colour(state), word), &rest[word.len()..])
        }
        None => line.to_owned(),
    }
}

/// `2/3`: instances that run, and that there should be.
fn ready(view: &ServiceView) -> String {
    let running = view.instances.iter().filter(|instance| instance.status == InstanceState::Running).count();
    format!("{running}/{}", view.replicas)
}

/// The text of `status NAME`.
pub(crate) fn status(view: &ServiceView, now: Timestamp, out: &Output) -> String {
    let mut lines = vec![format!("{}: {}", view.name, out.paint(colour(view.status), view.status.as_str()))];
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("  {name:<12} {value}"));
        }
    };
    fact("cause", plain(view.error_message.as_deref().unwrap_or_default()));
    fact("about", plain(&view.description));
    fact("runs", source(&view.source));
    fact("endpoint", view.endpoint.clone().unwrap_or_default());
    fact("wanted", format!("{}, {}", view.desired, count(view.replicas as usize, "instance")));
    fact("health", health(view.health, view.last_health_check, now));
    let up = |at| format!("{} ({})", time(at), ago(now, at));
    fact("started", view.started_at.map(up).unwrap_or_default());
    fact("restarts", view.restart_count.to_string());
    fact("clients", clients(view));
    for (name, value) in sessions(view) {
        fact(name, value);
    }
    fact("tags", view.tags.iter().cloned().collect::<Vec<_>>().join(", "));
    fact("secrets", view.secrets.iter().cloned().collect::<Vec<_>>().join(", "));
    fact("id", view.service_id.to_string());
    if !view.instances.is_empty() {
        lines.push(String::new());
        lines.extend(instances(&view.instances, now, out));
    }
    for instance in &view.instances {
        lines.extend(trouble(instance, now, out));
    }
    let hints = hints(view);
    if !hints.is_empty() {
        lines.push(String::new());
    }
    lines.extend(hints.into_iter().map(|hint| format!("hint: {hint}")));
    lines.join("\n")
}

fn source(source: &Source) -> String {
    match source {
        Source::File { path, python, worker } => {
            let with = match (python, worker) {
                (_, Some(worker)) => format!(" with the worker {}", worker.display()),
                (Some(python), None) => format!(" with {}", python.display()),
                (None, None) => String::new(),
            };
            format!("agent file {}{with}", path.display())
        }
        Source::Command { argv, cwd, path } => {
            let folder = cwd.as_ref().map(|cwd| format!(" in {}", cwd.display())).unwrap_or_default();
            let path = path.as_ref().map(|path| format!(", WebSocket at {path}")).unwrap_or_default();
            format!("command {}{folder}{path}", plain(&argv.join(" ")))
        }
        Source::External { url } => format!("endpoint {url}"),
    }
}

fn health(health: Health, checked: Option<Timestamp>, now: Timestamp) -> String {
    match (checked, health) {
        (Some(at), _) => format!("{health}, checked {} ago", ago(now, at)),
        (None, Health::Unknown) => format!("{health}, not checked yet"),
        // Readiness was the first check, so to speak.
        (None, _) => format!("{health}, not checked since it became ready"),
    }
}

fn clients(view: &ServiceView) -> String {
    let stats = &view.stats;
    let dropped = [(stats.totals.slow_clients, "slow"), (stats.totals.vanished_clients, "vanished")];
    // Rare, and worth a look.
    let dropped: Vec<_> = dropped
        .into_iter()
        .filter(|(clients, _)| *clients > 0)
        .map(|(clients, what)| format!(", {clients} {what}"))
        .collect();
    format!(
        "{}; since registration {}, {} messages in, {} out{}",
        count(stats.active_connections as usize, "connection"),
        count(stats.totals.connections as usize, "connection"),
        stats.totals.messages_in,
        stats.totals.messages_out,
        dropped.concat(),
    )
}

/// Of an agent file; we do not know those of others.
fn sessions(view: &ServiceView) -> Vec<(&'static str, String)> {
    let stats = &view.stats;
    let Some(totals) = &stats.session_totals else { return Vec::new() };
    let (active, detached) = (stats.active_sessions, stats.detached_sessions);
    sessions::facts(Now { active, detached, created: stats.totals.sessions }, totals)
}

fn instances(instances: &[InstanceView], now: Timestamp, out: &Output) -> Vec<String> {
    let columns = [
        words("INSTANCE"),
        words("STATUS"),
        words("HEALTH"),
        numbers("PORT"),
        numbers("PID"),
        numbers("RUNNER"),
        numbers("CPU"),
        numbers("MEMORY"),
        numbers("PROCESSES"),
        numbers("CONNECTIONS"),
        numbers("RESTARTS"),
        numbers("UP"),
    ];
    let number = |value: Option<u32>| value.map(|value| value.to_string()).unwrap_or_default();
    let rows = instances.iter().map(|instance| {
        let alive = instance.runner_pid.is_some();
        // An endpoint has no processes of ours, and those of an agent that has just started are not measured yet.
        let measured = alive && instance.processes > 0;
        vec![
            instance.name.clone(),
            instance.status.to_string(),
            instance.health.to_string(),
            number(instance.port.map(u32::from)),
            number(instance.pid),
            number(instance.runner_pid),
            if measured { format!("{:.1} %", instance.cpu_percent) } else { String::new() },
            if measured { format!("{:.1} MiB", instance.memory_mb) } else { String::new() },
            if measured { instance.processes.to_string() } else { String::new() },
            instance.active_connections.to_string(),
            instance.restart_count.to_string(),
            instance.started_at.filter(|_| alive).map(|at| ago(now, at)).unwrap_or_default(),
        ]
    });
    let lines = table::lines(&columns, rows.collect());
    let mut coloured = vec![out.paint(Colour::Bold, &lines[0])];
    for (line, instance) in lines[1..].iter().zip(instances) {
        coloured.push(paint_state(line, instance.name.len(), instance.status, out));
    }
    coloured
}

/// Why an instance is not well; nothing if it is.
fn trouble(instance: &InstanceView, now: Timestamp, out: &Output) -> Vec<String> {
    let well = matches!(instance.status, InstanceState::Running | InstanceState::Stopped);
    if well && instance.error_message.is_none() && instance.next_try.is_none() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), out.paint(Colour::Bold, &instance.name)];
    let mut fact = |name: &str, value: String| lines.push(format!("  {name:<12} {value}"));
    if let Some(message) = &instance.error_message {
        fact("cause", plain(message));
    }
    if let Some(exit) = &instance.last_exit {
        fact(
            "last end",
            format!("{} at {} ({} ago)", plain(&exit.cause.to_string()), time(exit.at), ago(now, exit.at)),
        );
    }
    if let Some(at) = instance.next_try {
        fact("next try", format!("{} ({})", until(now, at), time(at)));
    }
    if !instance.last_lines.is_empty() {
        lines.push("  last output".to_owned());
        let skip = instance.last_lines.len().saturating_sub(LAST_LINES);
        lines.extend(instance.last_lines[skip..].iter().map(|line| format!("    {}", plain(line))));
    }
    lines
}

fn hints(view: &ServiceView) -> Vec<String> {
    let name = &view.name;
    let mut hints = Vec::new();
    match (view.desired, view.status) {
        (Desired::Running, InstanceState::Error) => hints.push(format!(
            "see all output with: myagent-manager logs {name}; when it is fixed: myagent-manager start {name}"
        )),
        (Desired::Running, InstanceState::Unhealthy) => {
            hints.push(format!("see what the checks found with: myagent-manager health {name} --history"));
        }
        (Desired::Stopped, InstanceState::Stopped) => {
            hints.push(format!("start it with: myagent-manager start {name}"));
        }
        (Desired::Stopped, InstanceState::Error) => {
            hints.push(format!(
                "something of it could not be stopped; see: myagent-manager events --service {name}"
            ));
        }
        _ => {}
    }
    if view.instances.iter().any(|instance| instance.outdated) {
        hints.push(format!(
            "an instance is of another version and gets no new clients; bring it up to date with: \
             myagent-manager restart {name}"
        ));
    }
    let has_processes = !matches!(view.source, Source::External { .. });
    if has_processes
        && view.instances.iter().any(|instance| instance.ownership.as_deref() == Some("subreaper"))
    {
        hints.push(
            "no control group could be made, so a fully detached process may survive a killed runner; \
             see: myagent-manager doctor"
                .to_owned(),
        );
    }
    hints
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_000_000;

    fn view(status: &str, instances: &serde_json::Value) -> ServiceView {
        serde_json::from_value(json!({
            "service_id": uuid::Uuid::nil(), "name": "weather", "description": "Knows\nthe sky",
            "source": {"kind": "file", "path": "/a/weather.py"}, "host": "127.0.0.1", "port": 8081,
            "endpoint": "ws://127.0.0.1:8081/", "tags": ["chat", "eu"], "agent_type": "file", "version": 1,
            "status": status, "desired": "running", "replicas": 2, "created_at": "1970-01-01T00:00:00Z",
            "started_at": null, "last_health_check": null, "error_message": null, "restart_count": 4,
            "config": {}, "environment": {}, "secrets": ["KEY"], "health": "unknown", "instances": instances,
            "stats": {
                "active_connections": 1, "active_sessions": 2, "connections": 30, "sessions": 9, "messages_in": 5,
                "messages_out": 6, "bytes_in": 0, "bytes_out": 0, "log_lines_dropped": 0,
                "session_totals": {"completed": 7}
            },
        }))
        .unwrap()
    }

    fn instance(status: &str, more: &serde_json::Value) -> serde_json::Value {
        let mut instance = json!({
            "name": "weather-0", "index": 0, "host": "127.0.0.1", "port": 8081, "endpoint": null, "status": status,
            "pid": null, "runner_pid": null, "started_at": null, "ready_at": null, "restart_count": 4,
            "last_exit": null, "error_message": null, "next_try": null, "active_connections": 1,
            "active_sessions": 2, "cpu_percent": 1.25, "memory_mb": 10.0, "processes": 2, "health": "unknown",
            "last_health_check": null, "busy": false, "outdated": false, "ownership": null,
        });
        for (key, value) in more.as_object().unwrap() {
            instance[key] = value.clone();
        }
        instance
    }

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }

    #[test]
    fn a_list_has_one_line_per_service() {
        let running = view("running", &json!([instance("running", &json!({"runner_pid": 7}))]));
        let expected = "\
NAME     STATUS   TYPE  READY  PORT  CONNECTIONS  RESTARTS  UP  TAGS
weather  running  file    1/2  8081            1         4      chat,eu";
        assert_eq!(list(&[running], now(), &Output::plain()), expected);
    }

    #[test]
    fn colour_marks_the_state_and_not_the_name() {
        let mut out = Output::plain();
        out.colour = true;
        let painted =
            paint_state("running-man  running  x", "running-man".len(), InstanceState::Running, &out);
        assert_eq!(painted, "running-man  \x1b[32mrunning\x1b[0m  x");
        assert_eq!(paint_state("a  stopped", 1, InstanceState::Running, &out), "a  stopped");
    }

    #[test]
    fn a_broken_service_tells_all_that_one_needs() {
        let broken = instance(
            "error",
            &json!({
                "error_message": "exited 4 times in a row",
                "last_exit": {"cause": {"kind": "code", "code": 3}, "at": "1970-01-12T13:46:00Z"},
                "next_try": "1970-01-12T13:51:00Z",
                "last_lines": ["Traceback (most recent call last):", "ValueError: \u{1b}[31mno key"],
                "ownership": "subreaper",
            }),
        );
        let mut view = view("error", &json!([broken]));
        view.error_message = Some("exit code 3".to_owned());
        let text = status(&view, now(), &Output::plain());
        for expected in [
            "weather: error\n  cause        exit code 3\n  about        Knows the sky\n",
            "  runs         agent file /a/weather.py\n",
            "  wanted       running, 2 instances\n",
            "  health       unknown, not checked yet\n",
            "  clients      1 connection; since registration 30 connections, 5 messages in, 6 out\n",
            "  sessions     2 active, 9 since registration: 7 completed\n",
            "  secrets      KEY\n",
            "\nINSTANCE   STATUS",
            "\nweather-0  error",
            "\nweather-0\n  cause        exited 4 times in a row\n",
            "  last end     exit code 3 at 1970-01-12T13:46:00.000Z (40 s ago)\n",
            "  next try     in 4 min (1970-01-12T13:51:00.000Z)\n",
            "  last output\n    Traceback (most recent call last):\n    ValueError:  [31mno key\n",
            "hint: see all output with: myagent-manager logs weather; when it is fixed: myagent-manager start weather",
            "hint: no control group could be made",
        ] {
            assert!(text.contains(expected), "{text}\nlacks {expected:?}");
        }
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn sessions_that_nobody_counts_are_not_told_of() {
        let mut view = view("running", &json!([]));
        view.stats.session_totals = None;
        let text = status(&view, now(), &Output::plain());
        assert!(text.contains("  clients      1 connection;") && !text.contains("session"), "{text}");
    }

    #[test]
    fn a_service_that_is_well_has_no_hints() {
        let text =
            status(&view("running", &json!([instance("running", &json!({}))])), now(), &Output::plain());
        assert!(!text.contains("hint:") && !text.contains("cause"), "{text}");
    }
}
