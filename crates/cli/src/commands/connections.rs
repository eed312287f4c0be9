//! `connections`: one line per open connection; as JSON an array of them.

use super::App;
use crate::args::looking::ConnectionsArgs;
use crate::client::query;
use crate::output;
use crate::output::human::{ago, bytes};
use crate::output::table::{self, numbers, words};
use crate::output::{Colour, Output};
use anyhow::Result;
use jiff::Timestamp;
use myagent_core::view::{ConnectionView, Page};

pub(super) async fn run(app: &App, args: ConnectionsArgs) -> Result<()> {
    let ConnectionsArgs { service, instance, rule, ip, limit } = args;
    let limit = limit.map(|limit| limit.to_string());
    let pairs =
        [("service", service), ("instance", instance), ("rule", rule), ("client_ip", ip), ("limit", limit)];
    let filtered = pairs[..4].iter().any(|(_, value)| value.is_some());
    let path = format!("/api/v1/connections{}", query(&pairs));
    let page: Page<ConnectionView> = app.look().await?.get(&path).await?;
    if page.has_more {
        let shown = page.items.len();
        app.out.note(&format!("the newest {shown} of {}; --limit shows more (at most 1000)", page.total));
    }
    if app.out.is_json() {
        return output::json(&page.items);
    }
    if page.items.is_empty() {
        app.out.note(if filtered { "no connection matches" } else { "no connections are open" });
        return Ok(());
    }
    Ok(output::write_line(&show(&page.items, app.now(), &app.out))?)
}

fn show(views: &[ConnectionView], now: Timestamp, out: &Output) -> String {
    let columns = [
        words("ID"),
        words("INSTANCE"),
        words("CLIENT"),
        words("STATUS"),
        numbers("OPEN"),
        numbers("LAST MESSAGE"),
        numbers("MESSAGES"),
        numbers("RECEIVED"),
        numbers("SENT"),
        words("RULE"),
        words("SESSION"),
    ];
    let rows = views.iter().map(|view| {
        vec![
            view.connection_id.to_string(),
            view.instance.clone(),
            std::net::SocketAddr::new(view.client_ip, view.client_port).to_string(),
            view.status.to_string(),
            ago(now, view.connected_at),
            format!("{} ago", ago(now, view.last_activity)),
            view.message_count.to_string(),
            bytes(view.bytes_received),
            bytes(view.bytes_sent),
            view.rule.clone().unwrap_or_else(|| "-".to_owned()),
            view.session_id.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    });
    let mut lines = table::lines(&columns, rows.collect());
    lines[0] = out.paint(Colour::Bold, &lines[0]);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_everything_that_tells_connections_apart() {
        let view: ConnectionView = serde_json::from_value(serde_json::json!({
            "connection_id": "0199d3a0-0000-7000-8000-000000000000", "session_id": null, "client_ip": "::1",
            "client_port": 5, "user_agent": null, "target_service_id": "0199d3a0-0000-7000-8000-000000000001",
            "instance": "weather-0", "routing_strategy": "round_robin", "rule": "vip", "status": "idle",
            "connected_at": "1970-01-01T00:00:00Z", "last_activity": "1970-01-01T00:02:00Z", "bytes_sent": 2048,
            "bytes_received": 5, "message_count": 3,
        }))
        .unwrap();
        let shown = show(&[view], Timestamp::from_second(600).unwrap(), &Output::plain());
        let words: Vec<_> = shown.lines().nth(1).unwrap().split_whitespace().collect();
        let expected = "0199d3a0-0000-7000-8000-000000000000 weather-0 [::1]:5 idle 10 min 8 min ago 3 5 B 2.0 KiB vip -";
        assert_eq!(words.join(" "), expected);
    }
}
