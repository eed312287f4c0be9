//! A spinner while something takes a while: on standard error, only if that is a terminal.

use crate::output::Output;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

/// Turns until it is dropped, then leaves no trace.
pub(crate) struct Spinner(Option<ProgressBar>);

/// Shows `text` with a spinner, unless nobody would see it.
pub(crate) fn spin(output: &Output, text: impl Into<String>) -> Spinner {
    if output.is_quiet() || !std::io::stderr().is_terminal() {
        return Spinner(None);
    }
    let bar = ProgressBar::new_spinner().with_message(text.into());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    Spinner(Some(bar))
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
