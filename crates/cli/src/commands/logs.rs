//! `logs NAME`: the output of all instances of a service, merged by time; `-f` goes on until Ctrl-C or until nobody reads.
//! `logs --all` searches the output of all services.

use super::App;
use crate::args::looking::{LogsArgs, time};
use crate::client::{query as query_of, service_path};
use crate::output::follow::{Ended, follow};
use crate::output::human;
use crate::output::{self, Colour, Output};
use anyhow::{Result, bail};
use myagent_core::logs::{FoundLines, LogLevel, LogLine};
use myagent_core::view::Page;

pub(super) async fn run(app: &App, args: &LogsArgs) -> Result<()> {
    let at = |option: &str, text: &Option<String>| {
        text.as_deref().map(|text| time(option, text, app.now())).transpose()
    };
    let shared = [
        ("since", at("--since", &args.since)?.map(|at| at.to_string())),
        ("until", at("--until", &args.until)?.map(|at| at.to_string())),
        ("level", args.level.map(|level| level.to_string())),
    ];
    let lines = args.lines.map(|lines| lines.to_string());
    let mut client = app.look().await?;
    let Some(name) = &args.name else {
        let query = [&shared[..], &[("q", args.grep.clone()), ("limit", lines)]].concat();
        let found: FoundLines = client.get(&format!("/api/v1/logs/search{}", query_of(&query))).await?;
        return search(app, &found);
    };
    let follows = args.follow.then(|| "true".to_owned());
    let query = [&shared[..], &[("grep", args.grep.clone()), ("tail", lines), ("follow", follows)]].concat();
    let path = service_path(name, &format!("/logs{}", query_of(&query)));
    if !args.follow {
        let page: Page<LogLine> = client.get(&path).await?;
        return show_all(app, page.items.iter());
    }
    let mut events = client.events(&path).await?;
    match follow(&mut events, |line: LogLine| show(&line, &app.out)).await? {
        Ended::ByUs => Ok(()),
        Ended::ByManager => bail!("the manager ended; the instances may go on: see status"),
    }
}

/// What was found, as other logs are shown: the newest line last.
fn search(app: &App, found: &FoundLines) -> Result<()> {
    if app.out.is_json() {
        let lines: Vec<String> =
            found.items.iter().rev().map(serde_json::to_string).collect::<Result<_, _>>()?;
        if !lines.is_empty() {
            output::write_line(&lines.join("\n"))?;
        }
    } else {
        show_all(app, found.items.iter().rev().map(|found| &found.line))?;
    }
    if let (true, Some(reached)) = (found.truncated, found.reached) {
        app.out.note(&format!("there may be more before {reached}: go on with --until {reached}"));
    }
    Ok(())
}

fn show_all<'a>(app: &App, lines: impl Iterator<Item = &'a LogLine>) -> Result<()> {
    let text: Vec<String> = lines.map(|line| show(line, &app.out)).collect::<Result<_>>()?;
    if text.is_empty() { Ok(()) } else { Ok(output::write_line(&text.join("\n"))?) }
}

fn show(line: &LogLine, out: &Output) -> Result<String> {
    if out.is_json() {
        return Ok(serde_json::to_string(line)?);
    }
    let head = out.paint(Colour::Dim, &format!("{} {}", human::time(line.ts), line.instance));
    let text = match line.level {
        Some(LogLevel::Error) => out.paint(Colour::Red, &line.line),
        Some(LogLevel::Warn) => out.paint(Colour::Yellow, &line.line),
        _ => line.line.clone(),
    };
    Ok(format!("{head} {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_with_its_time_and_its_instance() {
        let line = LogLine {
            ts: jiff::Timestamp::UNIX_EPOCH,
            stream: "stdout".to_owned(),
            instance: "weather-0".to_owned(),
            line: "listening".to_owned(),
            level: Some(LogLevel::Error),
        };
        assert_eq!(show(&line, &Output::plain()).unwrap(), "1970-01-01T00:00:00.000Z weather-0 listening");
    }
}
