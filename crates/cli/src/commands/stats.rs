//! `stats`: the fleet in numbers.

use super::App;
use super::status::numbers;
use crate::output;
use crate::output::human::bytes;
use crate::output::sessions::{self, Now};
use anyhow::Result;
use myagent_core::view::FleetView;

pub(super) async fn run(app: &App) -> Result<()> {
    let fleet: FleetView = app.look().await?.get("/api/v1/stats").await?;
    if app.out.is_json() {
        return output::json(&fleet);
    }
    let totals = &fleet.totals;
    let mut lines = vec![
        format!("services           {}", numbers(&fleet.services)),
        format!("instances          {}", numbers(&fleet.instances)),
        format!("health             {}", numbers(&fleet.health)),
        format!(
            "connections        {} open, {} since registration",
            fleet.active_connections, totals.connections
        ),
    ];
    let (active, detached) = (fleet.active_sessions, fleet.detached_sessions);
    let facts = sessions::facts(Now { active, detached, created: totals.sessions }, &fleet.session_totals);
    lines.extend(facts.into_iter().map(|(name, value)| format!("{name:<18} {value}")));
    lines.extend([
        format!("from clients       {} messages, {}", totals.messages_in, bytes(totals.bytes_in)),
        format!("to clients         {} messages, {}", totals.messages_out, bytes(totals.bytes_out)),
        format!("clients dropped    {} slow, {} vanished", totals.slow_clients, totals.vanished_clients),
        format!("log lines dropped  {}", totals.log_lines_dropped),
    ]);
    Ok(output::write_line(&lines.join("\n"))?)
}
