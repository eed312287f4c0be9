//! `health NAME [--check | --history]`.

use super::App;
use crate::args::looking::HealthArgs;
use crate::client::service_path;
use crate::output;
use crate::output::human::{ago, time};
use crate::output::table::{self, numbers, words};
use crate::progress::spin;
use anyhow::Result;
use hyper::Method;
use myagent_core::health::HealthRecord;
use myagent_core::view::{Page, ServiceView};
use serde_json::Value;

pub(super) async fn run(app: &App, args: &HealthArgs) -> Result<()> {
    let mut client = app.look().await?;
    if args.check || args.history {
        let records: Page<HealthRecord> = if args.check {
            let _spinner = spin(&app.out, format!("checking {}", args.name));
            client.send(Method::POST, &service_path(&args.name, "/health/check"), None).await?
        } else {
            client.get(&service_path(&args.name, "/health/history")).await?
        };
        return records_table(app, &records.items);
    }
    if app.out.is_json() {
        let health: Value = client.get(&service_path(&args.name, "/health")).await?;
        return output::json(&health);
    }
    let view: ServiceView = client.get(&service_path(&args.name, "")).await?;
    let columns = [
        words("INSTANCE"),
        words("STATUS"),
        words("HEALTH"),
        numbers("CHECKED"),
        words("BUSY"),
        words("CAUSE"),
    ];
    let rows = view.instances.iter().map(|instance| {
        vec![
            instance.name.clone(),
            instance.status.to_string(),
            instance.health.to_string(),
            instance.last_health_check.map_or("never".to_owned(), |at| format!("{} ago", ago(app.now(), at))),
            if instance.busy { "yes" } else { "no" }.to_owned(),
            instance.error_message.clone().unwrap_or_default(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    output::write_line(&format!("{}: {}, {}", view.name, view.status, view.health))?;
    if !rows.is_empty() {
        output::write_line(&table::lines(&columns, rows).join("\n"))?;
    }
    Ok(())
}

fn records_table(app: &App, records: &[HealthRecord]) -> Result<()> {
    if app.out.is_json() {
        return output::json(&records);
    }
    if records.is_empty() {
        app.out.note("no checks");
        return Ok(());
    }
    let columns =
        [words("TIME"), words("INSTANCE"), words("RESULT"), numbers("MILLISECONDS"), words("MESSAGE")];
    let rows = records.iter().map(|record| {
        vec![
            time(record.at),
            record.instance.clone(),
            if record.healthy { "healthy" } else { "failed" }.to_owned(),
            format!("{:.1}", record.latency_ms),
            record.message.clone().unwrap_or_default(),
        ]
    });
    Ok(output::write_line(&table::lines(&columns, rows.collect()).join("\n"))?)
}
