//! `logs NAME`: the output of all instances of a service, merged by time; `-f` goes on until Ctrl-C or until nobody reads.

use super::App;
use crate::args::looking::{LogsArgs, since};
use crate::client::{query, service_path};
use crate::output::follow::{Ended, follow};
use crate::output::human::time;
use crate::output::{self, Colour, Output};
use anyhow::{Result, bail};
use myagent_core::request::LogLine;
use myagent_core::view::Page;

pub(super) async fn run(app: &App, args: &LogsArgs) -> Result<()> {
    let since = args.since.as_deref().map(|text| since(text, app.now())).transpose()?;
    let query = query(&[
        ("since", since.map(|at| at.to_string())),
        ("grep", args.grep.clone()),
        ("tail", args.lines.map(|lines| lines.to_string())),
        ("follow", args.follow.then(|| "true".to_owned())),
    ]);
    let path = service_path(&args.name, &format!("/logs{query}"));
    let mut client = app.look().await?;
    if !args.follow {
        let page: Page<LogLine> = client.get(&path).await?;
        let text: Vec<String> = page.items.iter().map(|line| show(line, &app.out)).collect::<Result<_>>()?;
        if !text.is_empty() {
            output::write_line(&text.join("\n"))?;
        }
        return Ok(());
    }
    let mut events = client.events(&path).await?;
    match follow(&mut events, |line: LogLine| show(&line, &app.out)).await? {
        Ended::ByUs => Ok(()),
        Ended::ByManager => bail!("the manager ended; the instances may go on: see status"),
    }
}

fn show(line: &LogLine, out: &Output) -> Result<String> {
    if out.is_json() {
        return Ok(serde_json::to_string(line)?);
    }
    let head = out.paint(Colour::Dim, &format!("{} {}", time(line.ts), line.instance));
    Ok(format!("{head} {}", line.line))
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
        };
        assert_eq!(show(&line, &Output::plain()).unwrap(), "1970-01-01T00:00:00.000Z weather-0 listening");
    }
}
