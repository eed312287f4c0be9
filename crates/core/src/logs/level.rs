//! How severe a line of output is. Agents write what they like, so this is a guess: it knows the forms that common loggers
//! write, looks only at the beginning of a line, and takes what it does not know for `info`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// Bytes at the beginning of a line in which its level is looked for: loggers write it before the text.
const HEAD: usize = 200;
/// How the last lines of a traceback begin; the name before it says what kind of error.
const RAISED: [&str; 2] = ["Error", "Exception"];

/// How severe a line is; the least severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// For whoever looks for a fault.
    Debug,
    /// What is usual.
    Info,
    /// Worth a look.
    Warn,
    /// Wrong.
    Error,
}

impl LogLevel {
    /// All of them, the least severe first.
    pub const ALL: [Self; 5] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// The level of a line of this stream. What does not say how severe it is counts as `info`, on standard error, too: many
    /// loggers write everything there. What the runner says of the output, that lines were dropped, is a warning.
    pub fn of(stream: &str, line: &str) -> Self {
        if stream == "runner" { Self::Warn } else { Self::guess(line) }
    }

    /// The level that a line says it has, else `info`. Known are JSON with `level`, `severity` or `lvl` (words, and the numbers
    /// of pino and bunyan), `ERROR:name:text`, `[error]`, `… ERROR …`, `level=error`, `error: text`, `E0512 10:00:00.0 …`
    /// (glog), and the beginnings and ends of tracebacks and panics.
    pub fn guess(line: &str) -> Self {
        let text = line.trim_start();
        let found = if text.starts_with('{') { of_json(text) } else { None };
        found.or_else(|| of_form(text)).or_else(|| of_words(head(text))).unwrap_or(Self::Info)
    }

    /// A level as loggers call them.
    fn of_word(word: &[u8]) -> Option<Self> {
        let is = |names: &[&str]| names.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()));
        // Most words are no levels; this is asked of each of them.
        match word.first()?.to_ascii_lowercase() {
            b't' if is(&["trace"]) => Some(Self::Trace),
            b'd' if is(&["debug", "dbg"]) => Some(Self::Debug),
            b'i' if is(&["info", "inf", "information"]) => Some(Self::Info),
            b'n' if is(&["notice"]) => Some(Self::Info),
            b'w' if is(&["warn", "warning", "wrn"]) => Some(Self::Warn),
            b'e' if is(&["error", "err", "emerg", "emergency"]) => Some(Self::Error),
            b'c' if is(&["critical", "crit"]) => Some(Self::Error),
            b'f' if is(&["fatal"]) => Some(Self::Error),
            b'p' if is(&["panic"]) => Some(Self::Error),
            b's' if is(&["severe"]) => Some(Self::Error),
            b'a' if is(&["alert"]) => Some(Self::Error),
            _ => None,
        }
    }

    /// The numbers of pino and bunyan: 10 is `trace`, 60 is `fatal`.
    fn of_number(number: f64) -> Option<Self> {
        match number {
            10.0..20.0 => Some(Self::Trace),
            20.0..30.0 => Some(Self::Debug),
            30.0..40.0 => Some(Self::Info),
            40.0..50.0 => Some(Self::Warn),
            50.0..=60.0 => Some(Self::Error),
            _ => None,
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|level| level.as_str().eq_ignore_ascii_case(text))
            .or_else(|| text.eq_ignore_ascii_case("warning").then_some(Self::Warn))
            .ok_or_else(|| format!("{text:?} is not one of trace, debug, info, warn, error"))
    }
}

/// The members of a JSON line that may name its level.
#[derive(Deserialize)]
struct Members {
    level: Option<serde_json::Value>,
    severity: Option<serde_json::Value>,
    lvl: Option<serde_json::Value>,
}

fn of_json(text: &str) -> Option<LogLevel> {
    let members: Members = serde_json::from_str(text).ok()?;
    [members.level, members.severity, members.lvl].into_iter().flatten().find_map(|value| {
        value.as_str().map_or_else(
            || value.as_f64().and_then(LogLevel::of_number),
            |word| LogLevel::of_word(word.as_bytes()),
        )
    })
}

/// Forms that are known by how the line begins.
fn of_form(text: &str) -> Option<LogLevel> {
    let bytes = text.as_bytes();
    // glog and klog: `E0512 10:00:00.123456 …`, the month and the day behind the letter.
    if let Some((letter, rest)) = bytes.split_first()
        && rest.len() > 5
        && rest[..4].iter().all(u8::is_ascii_digit)
        && rest[4] == b' '
        && rest[5].is_ascii_digit()
    {
        match letter {
            b'I' => return Some(LogLevel::Info),
            b'W' => return Some(LogLevel::Warn),
            b'E' | b'F' => return Some(LogLevel::Error),
            _ => {}
        }
    }
    let is_panic = (text.starts_with("thread '") && head(text).contains("panicked at"))
        || text.starts_with("fatal error: ")
        || text.trim_start_matches("+ ").starts_with("Traceback (most recent call last)")
        || text.trim_start_matches("+ ").starts_with("Exception Group Traceback");
    // `ValueError: text`, `json.decoder.JSONDecodeError: text`, and one without a text.
    let name = head(text).split(':').next().unwrap_or_default();
    let is_name = || name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte));
    let is_raised = RAISED.iter().any(|kind| name.ends_with(kind)) && is_name();
    (is_panic || is_raised).then_some(LogLevel::Error)
}

/// Where a word has to stand to be a level.
fn of_words(text: &str) -> Option<LogLevel> {
    let bytes = text.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let (mut at, mut before) = (0, None);
    while at < bytes.len() {
        if bytes[at] == 0x1b {
            // A colour; what stands behind it begins as if it were not there.
            at += 1 + bytes[at + 1..].iter().position(u8::is_ascii_alphabetic).map_or(0, |end| end + 1);
            continue;
        }
        if !is_word(bytes[at]) {
            before = Some(bytes[at]);
            at += 1;
            continue;
        }
        let length = bytes[at..].iter().position(|byte| !is_word(*byte)).unwrap_or(bytes.len() - at);
        let word = &bytes[at..at + length];
        let after = bytes.get(at + length).copied();
        if let Some(level) = LogLevel::of_word(word) {
            let is_upper = word.iter().all(u8::is_ascii_uppercase);
            let opens = before.is_none_or(|byte| b" \t[(|<:-*".contains(&byte));
            let closes = after.is_none_or(|byte| b" \t])|>:,\x1b".contains(&byte));
            let in_brackets = before == Some(b'[') && after == Some(b']');
            // `error: text`, and of rustc `error[E0512]: text`.
            let leads = before.is_none() && (after == Some(b':') || (after == Some(b'[') && !is_upper));
            if (is_upper && opens && closes) || in_brackets || leads {
                return Some(level);
            }
        } else if [&b"level"[..], b"lvl", b"severity"].iter().any(|key| word.eq_ignore_ascii_case(key))
            && matches!(after, Some(b'=' | b'"' | b':'))
        {
            let value = &bytes[at + length..];
            let start = value.iter().position(|byte| !b"=\": ".contains(byte)).unwrap_or(value.len());
            let value = &value[start..];
            let end = value.iter().position(|byte| !is_word(*byte)).unwrap_or(value.len());
            if let Some(level) = LogLevel::of_word(&value[..end]) {
                return Some(level);
            }
        }
        (at, before) = (at + length, Some(b'a'));
    }
    None
}

/// The beginning of a text, at most [`HEAD`] bytes and a few of a character that crosses them.
fn head(text: &str) -> &str {
    let end = (HEAD..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: LogLevel, lines: &[&str]) {
        for line in lines {
            assert_eq!(LogLevel::guess(line), expected, "{line}");
        }
    }

    #[test]
    fn lines_of_common_loggers_say_how_severe_they_are() {
        check(
            LogLevel::Error,
            &[
                r#"{"level":"error","msg":"x"}"#,
                r#"{"time":1,"severity":"ERROR","message":"level=info"}"#,
                r#"{"lvl":"crit"}"#,
                r#"{"level":50,"time":1700000000000,"msg":"pino"}"#,
                r#"{"level":60,"msg":"fatal"}"#,
                // Cut off, as a line that is too long is.
                r#"{"level":"error","msg":"a long tex"#,
                "ERROR:root:could not connect",
                "CRITICAL:app.db:gone",
                "2026-11-22 10:45:00,123 - app - ERROR - no such file",
                "2026-11-22T10:45:00Z ERROR app::db: no such file",
                "[2026-11-22 10:45:00] [error] no such file",
                "[ERROR] no such file",
                "time=\"2026-11-22\" level=error msg=\"x\"",
                "ts=1 lvl=eror level=fatal",
                "E0512 10:45:00.123456 1234 main.go:12] text",
                "F0512 10:45:00.123456 1234 main.go:12] text",
                "Traceback (most recent call last):",
                "  + Exception Group Traceback (most recent call last):",
                "thread 'main' panicked at src/main.rs:2:5:",
                "thread 'tokio-rt' (123) panicked at src/main.rs:2:5:",
                "panic: runtime error: index out of range",
                "ValueError: invalid literal for int()",
                "json.decoder.JSONDecodeError: Expecting value: line 1",
                "TypeError: x is not a function",
                "KeyboardInterruptError",
                "error: aborting due to 2 previous errors",
                "error[E0512]: cannot transmute",
                "\x1b[31mERROR\x1b[0m something",
                "2026-11-22 10:45:00.000 | ERROR    | __main__:<module>:1 - loguru",
                "[\x1b[31m ERROR \x1b[0m] coloured",
            ],
        );
        check(
            LogLevel::Warn,
            &[
                "WARNING:root:slow",
                r#"{"level":40}"#,
                r#"{"level":"WARN"}"#,
                "[warn] slow",
                "level=warning slow",
                "W0512 10:45:00.1 slow",
                "warning: unused variable",
                "2026/11/22 10:45:00 WARN slow ERROR",
            ],
        );
        check(LogLevel::Debug, &["DEBUG:x:y", r#"{"level":20}"#, "level=DEBUG", "[debug] x"]);
        check(LogLevel::Trace, &["TRACE x", r#"{"level":"trace"}"#, r#"{"level":10}"#]);
    }

    #[test]
    fn what_says_nothing_is_info() {
        check(
            LogLevel::Info,
            &[
                "",
                "hello",
                "INFO:     Uvicorn running",
                r#"{"level":30}"#,
                r#"{"level":"loud"}"#,
                r#"{"level":5}"#,
                r#"{"level":{"error":1}}"#,
                r#"{"msg":"no level, but an error"}"#,
                "I0512 10:45:00.1 x",
                "an error occurred",
                "no errors",
                "GET /ERROR HTTP/1.1",
                "MY_ERROR_COUNT 3",
                "LOG_LEVEL=DEBUG",
                "the level of the sea",
                "level=",
                "E05",
                "\x1b",
                "\x1b[31",
                "übrigens ERRORS",
                "{",
            ],
        );
        // Not in the text, only where a level stands.
        check(LogLevel::Info, &[&format!("{} ERROR", "x".repeat(HEAD + 1)), &"ü".repeat(300)]);
        assert_eq!(LogLevel::of("stderr", "text"), LogLevel::Info);
        assert_eq!(LogLevel::of("runner", "7 lines of output were dropped"), LogLevel::Warn);
    }

    #[test]
    fn levels_are_read_as_they_are_written_and_have_an_order() {
        for level in LogLevel::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
            assert_eq!(serde_json::to_value(level).unwrap(), level.as_str());
        }
        assert_eq!("WARNING".parse(), Ok(LogLevel::Warn));
        assert!("loud".parse::<LogLevel>().unwrap_err().contains("trace, debug"));
        assert!(LogLevel::ALL.is_sorted());
    }
}
