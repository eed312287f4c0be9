//! The last minute in numbers, asked of the statistics over time.

use crate::handle::Handle;
use myagent_core::error::Problem;
use myagent_core::recent::Recent;
use myagent_core::series::TimeseriesQuery;

/// Seconds of a slot, and how many make a minute.
const SLOT: u32 = 10;
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
            *into = newest.iter().sum();
            recent.measured_seconds =
                recent.measured_seconds.max(SLOT * u32::try_from(newest.len()).unwrap_or(0));
        }
        Ok(recent)
    }
}
