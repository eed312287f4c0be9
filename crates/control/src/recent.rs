//! The last minute in numbers, asked of the statistics over time.

use crate::handle::Handle;
use myagent_core::error::Problem;
use myagent_core::recent::Recent;
use myagent_core::series::{SLOT, TimeseriesQuery};

/// Slots of a minute.
const SLOTS: usize = 6;

impl Handle {
    /// The last whole minute of a service, or of all.
    pub async fn recent(&self, service: Option<&str>) -> Result<Recent, Problem> {
        let mut recent = Recent::default();
        for (metric, into) in [
            ("connections_opened", &mut recent.connections),
            ("messages_in", &mut recent.messages_in),
            ("messages_out", &mut recent.messages_out),
            ("bytes_in", &mut recent.bytes_in),
            ("bytes_out", &mut recent.bytes_out),
            ("turns_completed", &mut recent.turns_completed),
            ("turns_failed", &mut recent.turns_failed),
        ] {
            let query = TimeseriesQuery {
                metric: metric.to_owned(),
                service: service.map(str::to_owned),
                // The one that goes on now, and one more, since both ends are cut.
                from: Some("80s".to_owned()),
                interval: Some(format!("{SLOT}s")),
                agg: Some("sum".to_owned()),
                ..TimeseriesQuery::default()
            };
            let answer = self.timeseries(query).await?;
            let points = answer.series.first().map(|series| series.points.as_slice()).unwrap_or_default();
            let newest: Vec<f64> = points.iter().rev().filter_map(|(_, value)| *value).take(SLOTS).collect();
            // Not `sum`, which makes -0 of nothing.
            *into = newest.iter().fold(0.0, |sum, value| sum + value);
            let measured = newest.len() as u32 * SLOT as u32;
            recent.measured_seconds = recent.measured_seconds.max(measured);
        }
        Ok(recent)
    }
}
