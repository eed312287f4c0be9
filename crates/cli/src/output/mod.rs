//! What people and programs see: data on standard output, everything else on standard error. Colour only on a terminal,
//! and never the only signal.

pub(crate) mod follow;
pub(crate) mod human;
pub(crate) mod rule;
pub(crate) mod service;
pub(crate) mod sessions;
pub(crate) mod table;

use clap::ValueEnum;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// The form of data on standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Standard output could not be written; a closed pipe is no failure.
#[derive(Debug, thiserror::Error)]
#[error("failed to write to standard output")]
pub(crate) struct WriteFailed(#[source] pub(crate) io::Error);

/// How to show things in this run.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    format: Format,
    quiet: bool,
    colour: bool,
}

impl Output {
    /// `--format` and `--quiet`, and what standard output is.
    pub(crate) fn new(format: Format, quiet: bool) -> Self {
        let colour = io::stdout().is_terminal() && wants_colour();
        Self { format, quiet, colour }
    }

    /// Without colour, for tests of texts.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { format: Format::Table, quiet: false, colour: false }
    }

    /// Whether programs read this.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether only data is wanted.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// What came of a command, for people; nothing with `--quiet`.
    pub(crate) fn done(&self, text: &str) -> Result<(), WriteFailed> {
        if self.quiet || self.is_json() { Ok(()) } else { write_line(text) }
    }

    /// Something besides the data; nothing with `--quiet`.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            write_error(text);
        }
    }

    /// `text` in a colour, on a terminal.
    pub(crate) fn paint(&self, colour: Colour, text: &str) -> String {
        paint(self.colour, colour, text)
    }
}

/// The few colours there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    /// Well.
    Green,
    /// On its way, or worth a look.
    Yellow,
    /// Wrong.
    Red,
    /// Beside the point.
    Dim,
    /// A heading.
    Bold,
}

fn paint(on: bool, colour: Colour, text: &str) -> String {
    let code = match colour {
        Colour::Green => "32",
        Colour::Yellow => "33",
        Colour::Red => "31",
        Colour::Dim => "2",
        Colour::Bold => "1",
    };
    if on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

fn wants_colour() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Data for programs, as an indented document on standard output.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(write_line(&serde_json::to_string_pretty(value)?)?)
}

/// Writes `text` and a line end to standard output.
pub(crate) fn write_line(text: &str) -> Result<(), WriteFailed> {
    let mut stdout = io::stdout().lock();
    // One write, so that what two processes say is not mixed within a line.
    let mut bytes = Vec::with_capacity(text.len() + 1);
    bytes.extend_from_slice(text.trim_end_matches('\n').as_bytes());
    bytes.push(b'\n');
    stdout.write_all(&bytes).and_then(|()| stdout.flush()).map_err(WriteFailed)
}

/// What went wrong, as one line on standard error.
pub(crate) fn error(message: &str) {
    let coloured = io::stderr().is_terminal() && wants_colour();
    write_error(&format!("{} {}", paint(coloured, Colour::Red, "error:"), message.trim_end()));
}

/// A line on standard error.
pub(crate) fn write_note(text: &str) {
    write_error(text);
}

fn write_error(text: &str) {
    // Nobody is left to be told that standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_added_only_when_it_is_on() {
        assert_eq!(paint(false, Colour::Red, "x"), "x");
        assert_eq!(paint(true, Colour::Red, "x"), "\x1b[31mx\x1b[0m");
    }
}
