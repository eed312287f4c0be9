//! `status [NAME]`: a service, or the fleet and what is not well in it.

use super::App;
use crate::client::service_path;
use crate::output;
use crate::output::human::{ago, count, plain};
use crate::output::table::{self, words};
use crate::output::{Colour, service};
use anyhow::Result;
use myagent_core::instance::InstanceState;
use myagent_core::service::Desired;
use myagent_core::view::{FleetView, InfoView, PlainRequestsView, ServiceView};
use std::collections::BTreeMap;

pub(super) async fn service(app: &App, name: &str) -> Result<()> {
    let view: ServiceView = app.look().await?.get(&service_path(name, "")).await?;
    if app.out.is_json() {
        return output::json(&view);
    }
    Ok(output::write_line(&service::status(&view, app.now(), &app.out))?)
}

pub(super) async fn fleet(app: &App) -> Result<()> {
    let mut client = app.look().await?;
    let fleet: FleetView = client.get("/api/v1/stats").await?;
    if app.out.is_json() {
        return output::json(&fleet);
    }
    let info: InfoView = client.get("/api/v1/info").await?;
    let views: Vec<ServiceView> = client.get_all("/api/v1/services").await?;
    let listeners: Vec<String> = (info.listeners.iter())
        .flat_map(|(kind, addresses)| addresses.iter().map(move |at| format!("{kind} {at}")))
        .collect();
    let mut lines = vec![
        format!("manager      {} (pid {}), up {}", info.version, info.pid, ago(app.now(), info.started_at)),
        format!("data         {}", info.data_dir),
        format!(
            "listeners    {}",
            if listeners.is_empty() { "none".to_owned() } else { listeners.join(", ") }
        ),
        format!("services     {}", numbers(&fleet.services)),
        format!("instances    {}", numbers(&fleet.instances)),
        format!("health       {}", numbers(&fleet.health)),
        format!(
            "clients      {}, {}{}",
            count(fleet.active_connections as usize, "connection"),
            count(fleet.active_sessions as usize, "session"),
            if info.waiting_clients > 0 {
                format!(", {} waiting for an instance", info.waiting_clients)
            } else {
                String::new()
            }
        ),
    ];
    let PlainRequestsView { served, failed } = info.plain_requests;
    if served + failed > 0 {
        let some = if failed > 0 { format!(", {failed} of them failed") } else { String::new() };
        lines.push(format!("http         {}{some}", count((served + failed) as usize, "plain request")));
    }
    let ill: Vec<&ServiceView> = views.iter().filter(|view| is_ill(view)).collect();
    if !ill.is_empty() {
        let row = |view: &&ServiceView| {
            let cause = view.error_message.as_deref().map(first_line).unwrap_or_default();
            vec![view.name.clone(), view.status.to_string(), cause]
        };
        let table = table::lines(
            &[words("NOT WELL"), words("STATUS"), words("CAUSE")],
            ill.iter().map(row).collect(),
        );
        lines.push(String::new());
        lines.push(app.out.paint(Colour::Bold, &table[0]));
        lines.extend_from_slice(&table[1..]);
        lines.push(String::new());
        lines.push("hint: more about one with: myagent-manager status NAME".to_owned());
    }
    Ok(output::write_line(&lines.join("\n"))?)
}

/// It should run and does not, or it does not stop.
fn is_ill(view: &ServiceView) -> bool {
    match view.status {
        InstanceState::Error | InstanceState::Unhealthy => true,
        InstanceState::Stopped => view.desired == Desired::Running,
        InstanceState::Running => view.error_message.is_some(),
        InstanceState::Starting | InstanceState::Stopping => false,
    }
}

fn first_line(text: &str) -> String {
    plain(text.lines().next().unwrap_or_default())
}

/// `5 total, 3 running, 2 stopped`: the total first, nothing that is 0 after it.
pub(super) fn numbers(by_word: &BTreeMap<String, u32>) -> String {
    let total = by_word.get("total").copied().unwrap_or_else(|| by_word.values().sum());
    let rest = by_word.iter().filter(|(word, number)| *word != "total" && **number > 0);
    let parts = rest.map(|(word, number)| format!("{number} {word}"));
    std::iter::once(format!("{total} total")).chain(parts).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_with_the_total_and_leave_zeros_out() {
        let by_word = |pairs: &[(&str, u32)]| {
            pairs.iter().map(|(word, number)| ((*word).to_owned(), *number)).collect()
        };
        assert_eq!(
            numbers(&by_word(&[("total", 5), ("running", 3), ("stopped", 2), ("error", 0)])),
            "5 total, 3 running, 2 stopped"
        );
        assert_eq!(numbers(&by_word(&[("healthy", 3), ("unknown", 1)])), "4 total, 3 healthy, 1 unknown");
        assert_eq!(numbers(&BTreeMap::new()), "0 total");
    }
}
