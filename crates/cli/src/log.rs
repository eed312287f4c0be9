//! The manager's own log: to the terminal in the foreground, to `manager.log` (10 MiB, one old one kept) in the background.

use crate::lifecycle::{BACKGROUND, Held};
use anyhow::{Context, Result};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Size at which the log is put aside.
const MAX: u64 = 10 * 1024 * 1024;

/// Starts logging.
pub(crate) fn start(held: &Held, level: &str) -> Result<()> {
    let filter = EnvFilter::builder().parse(level).context("failed to read log_level")?;
    // Without `log_internal_errors(false)` a line that cannot be written (a full disk, a closed pipe) is complained about on
    // standard error, and if that fails too, which is likely, the task that logged it panics.
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_target(false).log_internal_errors(false);
    if std::env::var_os(BACKGROUND).is_some() {
        let log = Rotating::open(&held.data.path().join("manager.log"))?;
        builder.with_ansi(false).with_writer(log).init();
    } else {
        builder.with_writer(io::stderr).with_ansi(rustix::termios::isatty(io::stderr())).compact().init();
    }
    Ok(())
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
