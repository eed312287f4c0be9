//! The options of the fake agent: the same for the command line and for one that runs inside a test.

use std::path::PathBuf;
use std::time::Duration;

/// How to behave. The default behaves well.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Send every message back as it came, without the event protocol.
    pub echo: bool,
    /// Answer `send N` with N messages of 64 KiB, and every other message with itself.
    pub generous: bool,
    /// Pause before each event of an answer.
    pub delay: Duration,
    /// Open the port only after this time.
    pub listen_after: Option<Duration>,
    /// Answer plain HTTP requests with 503 for this time; then, and without this option, with 200.
    pub warm_up: Option<Duration>,
    /// Answer plain HTTP requests with what they were: JSON with `method`, `target`, `headers`, and of the body its `length`
    /// and `sum`. Keeps connections, asks for a body that is announced, and takes chunks.
    pub http: bool,
    /// Never open the port.
    pub never_listen: bool,
    /// End after this time, with [`Options::code`].
    pub exit_after: Option<Duration>,
    /// Exit code of `exit_after`.
    pub code: i32,
    /// Say something on stderr and end at once with this code.
    pub crash_on_start: Option<i32>,
    /// After the first handshake answer no other handshake and no ping.
    pub hang_after_ready: bool,
    /// Answer no handshake and no ping while this file exists.
    pub hang_while: Option<PathBuf>,
    /// Answer handshakes with 503 while this file exists; connections that are open go on.
    pub refuse_while: Option<PathBuf>,
    /// Do nothing on TERM.
    pub ignore_term: bool,
    /// Start five descendants, each in a way of its own; each writes its PID into a file of this folder.
    pub spawn_tree: Option<PathBuf>,
    /// Write lines to stdout: MB/s (0: as fast as it goes) and for how long.
    pub flood: Option<(f64, Duration)>,
    /// When the flood is over, write into this file how many lines it was and how long the longest write took: JSON
    /// `{"lines","longest_write_ms"}`.
    pub flood_report: Option<PathBuf>,
    /// Take this much more memory each second, MiB.
    pub leak_mb_per_s: Option<u64>,
    /// Use one core fully.
    pub burn_cpu: bool,
    /// Print the environment, a variable a line, sorted.
    pub print_env: bool,
    /// Print this line when the port is open.
    pub ready_line: Option<String>,
    /// Be one of the descendants: write the PID into this file and wait.
    pub descendant: Option<PathBuf>,
}

/// What is wrong with a command line.
#[derive(Debug, PartialEq, Eq)]
pub enum UsageError {
    /// No such option.
    Unknown(String),
    /// The option needs a value, or another one.
    Value(String),
}

impl Options {
    /// Reads a command line without the program's name.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, UsageError> {
        let mut arguments = arguments.into_iter();
        let mut options = Self::default();
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| UsageError::Value(name.clone()));
            match name.as_str() {
                "--echo" => options.echo = true,
                "--generous" => options.generous = true,
                "--delay" => options.delay = seconds(&name, &value()?)?,
                "--listen-after" => options.listen_after = Some(seconds(&name, &value()?)?),
                "--warm-up" => options.warm_up = Some(seconds(&name, &value()?)?),
                "--http" => options.http = true,
                "--never-listen" => options.never_listen = true,
                "--exit-after" => options.exit_after = Some(seconds(&name, &value()?)?),
                "--code" => options.code = number(&name, &value()?)?,
                "--crash-on-start" => options.crash_on_start = Some(number(&name, &value()?)?),
                "--hang-after-ready" => options.hang_after_ready = true,
                "--hang-while" => options.hang_while = Some(value()?.into()),
                "--refuse-while" => options.refuse_while = Some(value()?.into()),
                "--ignore-term" => options.ignore_term = true,
                "--spawn-tree" => options.spawn_tree = Some(value()?.into()),
                "--flood" => {
                    options.flood = Some((number(&name, &value()?)?, seconds(&name, &value()?)?));
                }
                "--flood-report" => options.flood_report = Some(value()?.into()),
                "--leak-mb-per-s" => options.leak_mb_per_s = Some(number(&name, &value()?)?),
                "--burn-cpu" => options.burn_cpu = true,
                "--print-env" => options.print_env = true,
                "--ready-line" => options.ready_line = Some(value()?),
                "--descendant" => options.descendant = Some(value()?.into()),
                _ => return Err(UsageError::Unknown(name)),
            }
        }
        Ok(options)
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, UsageError> {
    text.parse().map_err(|_| UsageError::Value(name.to_owned()))
}

fn seconds(name: &str, text: &str) -> Result<Duration, UsageError> {
    Duration::try_from_secs_f64(number(name, text)?).map_err(|_| UsageError::Value(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, UsageError> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_read_and_mistakes_named() {
        assert_eq!(parse(""), Ok(Options::default()));
        let options = parse("--exit-after 0.5 --code 3 --flood 20 2 --spawn-tree /tmp/x").unwrap();
        assert_eq!((options.exit_after, options.code), (Some(Duration::from_millis(500)), 3));
        assert_eq!(options.flood, Some((20.0, Duration::from_secs(2))));
        assert_eq!(options.spawn_tree, Some("/tmp/x".into()));
        assert_eq!(parse("--nonsense"), Err(UsageError::Unknown("--nonsense".to_owned())));
        for line in ["--code", "--code x", "--listen-after -1", "--flood 1"] {
            assert!(matches!(parse(line), Err(UsageError::Value(_))), "{line}");
        }
    }
}
