//! `metrics.md`: every metric of `/metrics`, from the table that the endpoint itself reads.

use super::{MADE, code, head, row};
use myagent_api::metrics::{Kind, all};

pub(super) fn page() -> String {
    let mut page = format!(
        "{MADE}\n\n# Metrics\n\n\
         `GET /metrics` of the management API, for Prometheus: its text format, or OpenMetrics for who prefers that. \
         Histograms have the series `_bucket` (with the label `le`), `_sum` and `_count`. Counters begin again at zero when \
         a manager starts, aside from those of instances, services and rules, which last.\n\n\
         The label `instance` is the instance of a service. Prometheus has a label of its own of that name, for what it \
         scrapes: with `honor_labels: true` ours is kept, without it ours is called `exported_instance`.\n\n"
    );
    page += &head(["metric", "type", "labels", "meaning"]);
    for metric in all() {
        let kind = if metric.kind == Kind::Info { "gauge, always 1" } else { metric.kind.as_str() };
        let labels: Vec<String> = metric.labels.iter().copied().map(code).collect();
        let labels = if labels.is_empty() { "none".to_owned() } else { labels.join(", ") };
        page += &row([&code(metric.name), kind, &labels, metric.help]);
    }
    page
}
