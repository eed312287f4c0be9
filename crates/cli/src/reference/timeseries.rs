//! `timeseries.md`: what is kept over time, and how it can be asked for.

use super::{MADE, code, head, row};
use myagent_core::series::{Aggregate, METRICS};

pub(super) fn page() -> String {
    let mut page = format!(
        "{MADE}\n\n# Statistics over time\n\n\
         Asked for with `GET /api/v1/stats/timeseries?metric=…`. Samples of ten seconds are kept for a day, of a minute for two weeks, \
         of an hour for a year, in `metrics.db` of the data directory, which is at most 200 MB.\n\n"
    );
    page += &head(["metric", "kind", "unit", "kept for each", "aggregates", "meaning"]);
    for metric in METRICS {
        let aggregates: Vec<&str> =
            Aggregate::ALL.into_iter().filter(|agg| agg.suits(metric.kind)).map(Aggregate::as_str).collect();
        let kept = if metric.per_instance { "instance" } else { "service" };
        let kind = format!("{:?}", metric.kind).to_lowercase();
        page += &row([&code(metric.name), &kind, metric.unit, kept, &aggregates.join(", "), metric.meaning]);
    }
    page
}
