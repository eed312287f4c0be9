//! From the table to text. The format itself, its escapes and its running sums are those of the library.

use super::Seen;
use super::negotiate::Format;
use super::table::{Kind, Metric, Sample, Value, all};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;

/// All metrics of what was seen.
pub(super) fn text(seen: Seen, format: Format) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(seen));
    let mut out = String::new();
    let written = match format {
        Format::Prometheus => prometheus_text::encode(&mut out, &registry),
        Format::OpenMetrics => text::encode(&mut out, &registry),
    };
    if let Err(error) = written {
        // Nothing here fails, and a string takes everything.
        tracing::error!(%error, "failed to write the metrics");
    }
    out
}

impl Collector for Seen {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        all().try_for_each(|metric| write(self, metric, &mut encoder))
    }
}

fn write(seen: &Seen, metric: &Metric, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let samples = (metric.read)(seen);
    if samples.is_empty() {
        return Ok(());
    }
    let kind = match metric.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
        Kind::Info => MetricType::Info,
    };
    let mut family = encoder.encode_descriptor(base(metric), metric.help, None, kind)?;
    for Sample { labels, value } in samples {
        debug_assert_eq!(labels.len(), metric.labels.len(), "{}", metric.name);
        let labels: Vec<(&str, &str)> = metric.labels.iter().copied().zip(labels).collect();
        if metric.kind == Kind::Info {
            family.encode_info(&labels)?;
        } else {
            one(family.encode_family(&labels)?, metric.kind, &value)?;
        }
    }
    Ok(())
}

/// The name without what the format itself puts behind it.
pub(super) fn base(metric: &Metric) -> &'static str {
    let suffix = match metric.kind {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        Kind::Gauge | Kind::Histogram => "",
    };
    metric.name.strip_suffix(suffix).unwrap_or(metric.name)
}

fn one(mut metric: MetricEncoder, kind: Kind, value: &Value) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Whole(count)) => metric.encode_counter::<NoLabelSet, u64, u64>(count, None),
        (Kind::Counter, Value::Real(count)) => metric.encode_counter::<NoLabelSet, f64, f64>(count, None),
        (_, Value::Whole(value)) => metric.encode_gauge(value),
        (_, Value::Real(value)) => metric.encode_gauge(value),
        (_, Value::Spread(sum, buckets)) => {
            let count = buckets.iter().map(|(_, count)| count).sum();
            metric.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)
        }
    }
}
