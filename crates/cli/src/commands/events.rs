//! `events [-f] [--service NAME] [--kind KINDS]`: what happened; as JSON an array, with `-f` one document per line.

use super::App;
use crate::args::looking::EventsArgs;
use crate::client::query;
use crate::output;
use crate::output::follow::{Ended, follow};
use crate::output::human::{plain, time};
use crate::output::{Colour, Output};
use anyhow::{Result, bail};
use myagent_core::event::Event;
use myagent_core::view::Page;

const DEFAULT_LINES: usize = 50;

pub(super) async fn run(app: &App, args: &EventsArgs) -> Result<()> {
    let limit = args.lines.unwrap_or(DEFAULT_LINES).to_string();
    let wanted = [("service", args.service.clone()), ("kind", args.kind.clone()), ("limit", Some(limit))];
    let path = format!("/api/v1/events{}", query(&wanted));
    let mut client = app.look().await?;
    if args.follow {
        let mut events = client.events(&path).await?;
        let line = |event: Event| {
            if app.out.is_json() { Ok(serde_json::to_string(&event)?) } else { Ok(show(&event, &app.out)) }
        };
        return match follow(&mut events, line).await? {
            Ended::ByUs => Ok(()),
            Ended::ByManager => bail!("the manager ended"),
        };
    }
    let page: Page<Event> = client.get(&path).await?;
    if app.out.is_json() {
        return output::json(&page.items);
    }
    if page.items.is_empty() {
        app.out.note("nothing happened");
        return Ok(());
    }
    let lines: Vec<String> = page.items.iter().map(|event| show(event, &app.out)).collect();
    Ok(output::write_line(&lines.join("\n"))?)
}

fn show(event: &Event, out: &Output) -> String {
    let subject = event.instance.as_deref().or(event.service.as_deref()).unwrap_or("-");
    let at = out.paint(Colour::Dim, &time(event.at));
    format!("{at} {:<20} {subject:<16} {} (by {})", event.kind, plain(&event.why), event.who)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_what_to_whom_why_and_who() {
        let event = Event {
            id: 1,
            at: jiff::Timestamp::UNIX_EPOCH,
            who: "cli".to_owned(),
            kind: "service.started".to_owned(),
            service_id: None,
            service: Some("weather".to_owned()),
            instance: None,
            why: "asked to".to_owned(),
        };
        assert_eq!(
            show(&event, &Output::plain()),
            "1970-01-01T00:00:00.000Z service.started      weather          asked to (by cli)"
        );
    }
}
