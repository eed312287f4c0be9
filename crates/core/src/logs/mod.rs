//! Lines of agents' output: what a user asks of them, what a line is, and how severe it is.

mod level;

pub use level::LogLevel;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What `logs` asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogQuery {
    /// Only lines from this time on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only lines up to this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Only lines that match this regular expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grep: Option<String>,
    /// Only lines that are at least so severe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<LogLevel>,
    /// At most this many of the last lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<usize>,
    /// Only of this instance: `weather-0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

/// One line of an agent's output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When it was read.
    #[schema(value_type = String, format = DateTime)]
    pub ts: Timestamp,
    /// `stdout`, `stderr` or `runner`.
    pub stream: String,
    /// `weather-0`.
    pub instance: String,
    /// The text.
    pub line: String,
    /// How severe it seems to be. It is guessed when the line is read, and is in no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<LogLevel>,
}

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// What the runner says of the output: lines that were dropped.
    Runner,
}

impl LogStream {
    /// As it is in the files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Runner => "runner",
        }
    }
}

/// What a search in the output of several services asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogSearch {
    /// Only lines that match this regular expression.
    pub q: Option<String>,
    /// Only of these services, by name or id; none: of all.
    pub services: Vec<String>,
    /// Only lines that are at least so severe.
    pub level: Option<LogLevel>,
    /// Only of this stream.
    pub stream: Option<LogStream>,
    /// Only lines from this time on.
    pub since: Option<Timestamp>,
    /// Only lines up to this time.
    pub until: Option<Timestamp>,
    /// At most this many.
    pub limit: usize,
}

/// One line that a search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FoundLine {
    /// Of which service.
    pub service: String,
    /// The line.
    #[serde(flatten)]
    pub line: LogLine,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FoundLines {
    /// The newest first.
    pub items: Vec<FoundLine>,
    /// It ended before it had seen all: there are as many as were asked for, or it had read as much as it may.
    pub truncated: bool,
    /// Then: every line after this time was seen. A search until this time goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub reached: Option<Timestamp>,
    /// Bytes that were read.
    pub scanned_bytes: u64,
    /// Files that were read, if only in part.
    pub files: usize,
}
