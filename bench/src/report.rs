//! What a run prints: a line per measurement, with median, spread, budget and verdict.

use anyhow::{Result, bail};
use std::io::Write;

/// What was promised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Budget {
    AtMost(f64),
    AtLeast(f64),
    /// Not once, in no round: a median would hide it.
    Never,
    /// Measured for comparison.
    None,
}

impl Budget {
    fn is_kept(self, values: &[f64]) -> bool {
        match self {
            Self::AtMost(limit) => median(values) <= limit,
            Self::AtLeast(limit) => median(values) >= limit,
            Self::Never => !values.is_empty() && values.iter().all(|value| *value == 0.0),
            Self::None => true,
        }
    }
}

/// Collects lines and misses.
pub(crate) struct Report {
    out: Box<dyn Write>,
    missed: Vec<String>,
    failed: u32,
}

impl Report {
    pub(crate) fn new(out: impl Write + 'static) -> Self {
        Self { out: Box::new(out), missed: Vec::new(), failed: 0 }
    }

    /// A line of prose.
    pub(crate) fn note(&mut self, text: &str) {
        // Nobody reads it: there is nobody to tell that to.
        let _ = writeln!(self.out, "{text}");
        let _ = self.out.flush();
    }

    /// The name of a case, above its lines.
    pub(crate) fn heading(&mut self, name: &str) {
        self.note(&format!("\n{name}"));
    }

    /// A measurement: one value for each round.
    pub(crate) fn line(&mut self, what: &str, values: &[f64], unit: &str, budget: Budget) {
        let (text, kept) = line(what, values, unit, budget);
        if !kept {
            self.missed.push(what.to_owned());
        }
        self.note(&text);
    }

    /// `ours` ÷ `theirs`, round by round, against a budget for the ratio.
    pub(crate) fn ratio(&mut self, what: &str, ours: &[f64], theirs: &[f64], budget: Budget) {
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        self.line(what, &ratios, "×", budget);
    }

    /// A case could not be measured.
    pub(crate) fn fail(&mut self) {
        self.failed += 1;
    }

    /// The summary; an error if a case failed. A missed budget is told, and is no failure of the run.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let missed = match &self.missed[..] {
            [] => "every budget that was measured was kept".to_owned(),
            missed => format!("missed: {}", missed.join("; ")),
        };
        self.note(&format!("\n{missed}"));
        if self.failed > 0 {
            bail!("{} cases could not be measured", self.failed);
        }
        Ok(())
    }
}

fn line(what: &str, values: &[f64], unit: &str, budget: Budget) -> (String, bool) {
    let middle = median(values);
    let kept = budget.is_kept(values);
    let spread = spread(values);
    let (promise, verdict) = match budget {
        Budget::AtMost(limit) => (format!("≤ {}", number(limit)), if kept { "ok" } else { "MISS" }),
        Budget::AtLeast(limit) => (format!("≥ {}", number(limit)), if kept { "ok" } else { "MISS" }),
        Budget::Never => ("never".to_owned(), if kept { "ok" } else { "MISS" }),
        Budget::None => (String::new(), ""),
    };
    let value = format!("{} {unit}", number(middle));
    let text = format!("  {what:<58} {value:>16} {spread:<24} {promise:<10} {verdict}");
    (text.trim_end().to_owned(), kept)
}

/// Lowest and highest of several values.
pub(crate) fn spread(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match &sorted[..] {
        [low, .., high] => format!("[{} … {}]", number(*low), number(*high)),
        _ => String::new(),
    }
}

/// The middle value, or the mean of the two in the middle. NaN if there is none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.get(sorted.len() / 2)) {
        (_, None) => f64::NAN,
        (count, Some(upper)) if count % 2 == 1 => *upper,
        (count, Some(upper)) => f64::midpoint(*upper, sorted[count / 2 - 1]),
    }
}

/// Three significant digits, no exponent.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_median_spread_budget_and_verdict() {
        let check = |values: &[f64], budget, expected: &str| {
            let (text, _) = line("list", values, "ms", budget);
            assert_eq!(text.split_whitespace().collect::<Vec<_>>().join(" "), expected);
        };
        check(&[3.0, 1.0, 2.0], Budget::AtMost(2.0), "list 2.00 ms [1.00 … 3.00] ≤ 2.00 ok");
        check(&[3.0, 1.0], Budget::AtMost(1.5), "list 2.00 ms [1.00 … 3.00] ≤ 1.50 MISS");
        check(&[120.4], Budget::AtLeast(99.0), "list 120 ms ≥ 99.0 ok");
        check(&[0.5], Budget::None, "list 0.500 ms");
        check(&[0.0, 0.0, 1.0], Budget::Never, "list 0.000 ms [0.000 … 1.00] never MISS");
        check(&[0.0], Budget::Never, "list 0.000 ms never ok");
        check(&[], Budget::AtMost(1.0), "list NaN ms ≤ 1.00 MISS");
    }

    #[test]
    fn misses_are_named_at_the_end_and_failures_are_failures() {
        let mut report = Report::new(std::io::sink());
        report.ratio("echo", &[1.0, 3.0, 2.0], &[2.0, 2.0, 2.0], Budget::AtLeast(1.5));
        assert_eq!(report.missed, ["echo"]);
        assert!(report.finish().is_ok());
        report.fail();
        assert!(report.finish().is_err());
    }
}
