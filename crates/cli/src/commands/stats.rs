//! `stats`: the fleet in numbers.

use super::App;
use super::status::numbers;
use crate::output;
use crate::output::human::bytes;
use anyhow::Result;
use myagent_core::view::FleetView;

pub(super) async fn run(app: &App) -> Result<()> {
    let fleet: FleetView = app.look().await?.get("/api/v1/stats").await?;
    if app.out.is_json() {
        return output::json(&fleet);
    }
    let totals = &fleet.totals;
    let lines = [
        format!("services           {}", numbers(&fleet.services)),
        format!("instances          {}", numbers(&fleet.instances)),
        format!("health             {}", numbers(&fleet.health)),
        format!(
            "connections        {} open, {} since registration",
            fleet.active_connections, totals.connections
        ),
        format!("sessions           {} open, {} since registration", fleet.active_sessions, totals.sessions),
        format!("from clients       {} messages, {}", totals.messages_in, bytes(totals.bytes_in)),
        format!("to clients         {} messages, {}", totals.messages_out, bytes(totals.bytes_out)),
        format!("log lines dropped  {}", totals.log_lines_dropped),
    ];
    Ok(output::write_line(&lines.join("\n"))?)
}
