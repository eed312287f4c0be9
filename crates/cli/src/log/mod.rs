//! The manager's own log: to the terminal in the foreground, to `manager.log` (10 MiB, one old one kept) in the background;
//! for people, or as JSON lines. What is logged can be changed while it runs.

mod json;

use crate::lifecycle::{BACKGROUND, Held};
use anyhow::{Context, Result};
use json::Json;
use myagent_core::settings::{LogFormat, Settings, check_log_level};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, reload};

/// Size at which the log is put aside.
const MAX: u64 = 10 * 1024 * 1024;

/// What is logged now, and the way to change it.
#[derive(Clone)]
pub(crate) struct LogLevel {
    current: Arc<Mutex<String>>,
    set: Arc<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>,
}

impl LogLevel {
    /// The filter: `info`, or `info,myagent_proxy=debug`.
    pub(crate) fn get(&self) -> String {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes it, until this process ends; the error reads after the name of the field.
    pub(crate) fn set(&self, level: &str) -> Result<(), String> {
        let level = level.trim();
        let filter = filter(level)?;
        // Held meanwhile, so that of two that change it at once the one that is told is the one that holds.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        (self.set)(filter)?;
        level.clone_into(&mut current);
        Ok(())
    }
}

fn filter(level: &str) -> Result<EnvFilter, String> {
    check_log_level(level)?;
    EnvFilter::builder().parse(level).map_err(|error| format!("{level:?} is no filter: {error}"))
}

/// Starts logging.
pub(crate) fn start(held: &Held, settings: &Settings) -> Result<LogLevel> {
    let (writer, ansi) = if std::env::var_os(BACKGROUND).is_some() {
        (BoxMakeWriter::new(Rotating::open(&held.data.path().join("manager.log"))?), None)
    } else {
        (BoxMakeWriter::new(io::stderr), Some(rustix::termios::isatty(io::stderr())))
    };
    let filter = filter(&settings.log_level).map_err(|fault| anyhow::anyhow!("log_level: {fault}"))?;
    let (filter, handle) = reload::Layer::new(filter);
    tracing_subscriber::registry()
        .with(lines(settings.log_format, writer, ansi))
        .with(filter)
        .try_init()
        .context("failed to start logging")?;
    let set = move |filter| handle.reload(filter).map_err(|error| format!("cannot be changed: {error}"));
    let current = Arc::new(Mutex::new(settings.log_level.trim().to_owned()));
    Ok(LogLevel { current, set: Arc::new(set) })
}

/// How lines look. `ansi`: in short, for a terminal, and whether in colours; none: for a file.
fn lines<S>(format: LogFormat, writer: BoxMakeWriter, ansi: Option<bool>) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    // Without `log_internal_errors(false)` a line that cannot be written (a full disk, a closed pipe) is complained about on
    // standard error, and if that fails too, which is likely, the task that logged it panics.
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(ansi.unwrap_or(false))
        .log_internal_errors(false);
    match (format, ansi) {
        (LogFormat::Json, _) => layer.event_format(Json).boxed(),
        (LogFormat::Pretty, None) => layer.with_target(false).boxed(),
        (LogFormat::Pretty, Some(_)) => layer.with_target(false).compact().boxed(),
    }
}

/// A file that is put aside as `.1` when it is full.
#[derive(Clone)]
struct Rotating {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl Rotating {
    fn open(path: &Path) -> Result<Self> {
        let file = append(path).with_context(|| format!("failed to open {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file: Arc::new(Mutex::new(file)) })
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Write for &Rotating {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.metadata()?.len() > MAX {
            std::fs::rename(&self.path, self.path.with_extension("log.1"))?;
            *file = append(&self.path)?;
        }
        file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Rotating {
    type Writer = &'a Rotating;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// A writer whose bytes can be looked at.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Shared {
        fn logged(&self, format: LogFormat, log: impl FnOnce()) -> String {
            let writer = self.clone();
            let layer = lines(format, BoxMakeWriter::new(move || writer.clone()), None);
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    #[test]
    fn a_json_line_has_the_message_and_the_fields_as_they_are() {
        let text = Shared::default().logged(LogFormat::Json, || {
            let error = io::Error::other("no \"room\"");
            tracing::warn!(target: "myagent_x", %error, count = 3, ratio = 0.5, level = "mine", "a\nb");
            tracing::info!(is = true);
        });
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines[0]["ts"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{text}");
        assert!(text.starts_with(r#"{"ts":""#), "{text}");
        let without_ts = |line: &Value| {
            let mut line = line.clone();
            line.as_object_mut().unwrap().remove("ts");
            line
        };
        assert_eq!(
            without_ts(&lines[0]),
            serde_json::json!({"level": "warn", "target": "myagent_x", "message": "a\nb", "error": "no \"room\"",
                "count": 3, "ratio": 0.5, "field_level": "mine"})
        );
        assert_eq!((&lines[1]["message"], &lines[1]["is"]), (&"".into(), &true.into()));
    }

    #[test]
    fn a_line_for_people_has_neither_colours_nor_the_module_in_a_file() {
        let text = Shared::default().logged(LogFormat::Pretty, || tracing::info!(pid = 7, "took over"));
        assert!(text.contains(" INFO took over pid=7") && !text.contains('\x1b'), "{text:?}");
    }

    #[test]
    fn the_level_is_what_was_set_last_and_a_slip_changes_nothing() {
        let (filter_layer, handle) =
            reload::Layer::<_, tracing_subscriber::Registry>::new(filter("info").unwrap());
        let set = move |filter| handle.reload(filter).map_err(|error| error.to_string());
        let level = LogLevel { current: Arc::new(Mutex::new("info".to_owned())), set: Arc::new(set) };
        let subscriber = tracing_subscriber::registry().with(filter_layer);
        tracing::subscriber::with_default(subscriber, || {
            assert!(!tracing::enabled!(tracing::Level::DEBUG));
            level.set(" debug ").unwrap();
            assert!(tracing::enabled!(tracing::Level::DEBUG));
            assert!(level.set("loud").unwrap_err().contains("\"loud\" does not end in one of"));
            assert!(level.set("info,a=[b=debug").is_err());
            assert_eq!(level.get(), "debug");
        });
    }
}
