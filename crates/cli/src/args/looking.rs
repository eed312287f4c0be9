//! Arguments of the commands that look: connections, logs, health, events.

use crate::exit::Failure;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use myagent_core::logs::LogLevel;

/// Arguments of `connections`.
#[derive(Debug, Args)]
pub(crate) struct ConnectionsArgs {
    /// Only of this service, by name or id.
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,
    /// Only of this instance, like weather-0.
    #[arg(long, value_name = "NAME")]
    pub(crate) instance: Option<String>,
    /// Only those that this rule routed.
    #[arg(long, value_name = "NAME")]
    pub(crate) rule: Option<String>,
    /// Only from this address.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<String>,
    /// At most this many, the newest first [default: 100].
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) limit: Option<usize>,
}

/// Arguments of `disconnect`.
#[derive(Debug, Args)]
pub(crate) struct DisconnectArgs {
    /// Connections, by id or the beginning of one.
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// What the client is told [default: disconnected by the operator].
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Close code: 1000, 1001, 1008, 1011 to 1014, or 3000 to 4999 [default: 1000].
    #[arg(long, value_name = "N")]
    pub(crate) code: Option<u16>,
}

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The service, by name or id.
    #[arg(required_unless_present = "all")]
    pub(crate) name: Option<String>,
    /// Search the output of all services; of how many bytes is bounded.
    #[arg(long, conflicts_with_all = ["name", "follow"])]
    pub(crate) all: bool,
    /// Go on with new lines as they come.
    #[arg(long, short, conflicts_with = "until")]
    pub(crate) follow: bool,
    /// Only lines after this: 10m, 2h, 1d, or a time like 2026-11-22T10:45:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only lines before this, in the same forms.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Only lines that match this regular expression.
    #[arg(long, short = 'e', value_name = "REGEX")]
    pub(crate) grep: Option<String>,
    /// Only lines at least so severe: trace, debug, info, warn or error. Which one a line is, is guessed from how it begins.
    #[arg(long, value_name = "LEVEL")]
    pub(crate) level: Option<LogLevel>,
    /// At most this many of the last lines [default: 200].
    #[arg(long = "lines", short = 'n', visible_alias = "tail", value_name = "N")]
    pub(crate) lines: Option<usize>,
}

/// Arguments of `health`.
#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// The service, by name or id.
    pub(crate) name: String,
    /// Check now.
    #[arg(long)]
    pub(crate) check: bool,
    /// Show past checks.
    #[arg(long, conflicts_with = "check")]
    pub(crate) history: bool,
}

/// Arguments of `events`.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Go on with new events as they come.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only of this service.
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,
    /// Only of these kinds, separated by commas: `instance.error`, or `rule.` for all that begin so.
    #[arg(long, value_name = "KINDS")]
    pub(crate) kind: Option<String>,
    /// At most this many of the last events [default: 50].
    #[arg(long = "lines", short = 'n', visible_alias = "limit", value_name = "N")]
    pub(crate) lines: Option<usize>,
}

/// A time as typed after `option`: `10m` before `now`, or a time of its own.
pub(crate) fn time(option: &str, text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let wrong = || {
        Failure::Usage(format!(
            "{option} {text:?} is neither like 30s, 10m, 2h, 1d nor a time like 2026-11-22T10:45:00Z"
        ))
    };
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let split = text.len() - text.chars().last().map_or(0, char::len_utf8);
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = number.trim().parse().map_err(|_| wrong())?;
    now.checked_sub(SignedDuration::from_secs(i64::from(number) * seconds)).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_type_them() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (text, expected) in [
            ("30s", 999_970),
            ("10m", 999_400),
            ("2h", 992_800),
            ("1d", 913_600),
            ("1970-01-01T00:00:05Z", 5),
        ] {
            assert_eq!(time("--since", text, now).unwrap().as_second(), expected, "{text}");
        }
        for text in ["", "m", "10", "10x", "-5m", "yesterday", "4294967295d", "1ü"] {
            assert!(time("--since", text, now).is_err(), "{text}");
        }
    }
}
