//! Clients that mean harm, or are broken: each is told what is wrong and hurts nobody but itself.

mod events;
mod floods;
mod frames;
pub(crate) mod story;

use crate::wire::{Got, TEXT, Wire, frame};
use anyhow::{Context, Result, bail, ensure};
use events::Then;
use story::{PATH, Story};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What came of it is what should. `usable`: asks something on the same connection.
async fn check(story: &Story, wire: &mut Wire, session: Option<&str>, then: &Then) -> Result<()> {
    match then {
        Then::Told(kind, code) => {
            let told = Story::short(wire).await?;
            ensure!(told["event"] == *kind && told["metadata"]["code"] == *code, "{told}");
        }
        Then::Answer(text) => {
            let answer = wire.expect("agent.final_answer").await?;
            ensure!(answer["content"] == text.as_str(), "{answer}");
        }
        Then::Kinds(kinds) => {
            for kind in *kinds {
                let event = wire.reader.event().await?;
                ensure!(event["event"] == *kind || event["type"] == *kind, "{event}");
            }
        }
        Then::Closed(code, words) => {
            let (found, reason) = loop {
                match wire.next().await? {
                    Got::Close(code, reason) => break (code, reason),
                    Got::End => bail!("it ended without a close frame"),
                    Got::Event(..) | Got::Pong(_) => {}
                }
            };
            ensure!(found == *code && reason.contains(words), "closed with {found} {reason:?}");
            return Ok(());
        }
    }
    if let Some(session) = session {
        return story.still_answers(wire, session).await;
    }
    wire.text(r#"{"type":"ping"}"#).await?;
    let pong = wire.reader.event().await?;
    ensure!(pong["type"] == "pong", "{pong}");
    Ok(())
}

async fn check_event(story: &Story, case: &events::Case) -> Result<()> {
    let mut wire = Wire::greeted(story.address, PATH).await?;
    let session = if case.bare { None } else { Some(wire.create_session().await?) };
    let text = case.text.replace("$S", session.as_deref().unwrap_or_default());
    wire.send(&frame(TEXT, text.as_bytes())).await?;
    check(story, &mut wire, session.as_deref(), &case.then).await
}

async fn check_frames(story: &Story, case: &frames::Case) -> Result<()> {
    let mut wire = Wire::greeted(story.address, PATH).await?;
    let session = wire.create_session().await?;
    let bytes = (case.bytes)(&session);
    for part in bytes.chunks(if case.slowly { 1 } else { bytes.len() }) {
        wire.send(part).await?;
    }
    check(story, &mut wire, Some(&session), &case.then).await
}

async fn attack(story: &Story) -> Result<()> {
    let half = floods::half_frames(story).await?;
    let mut wrong = Vec::new();
    let (events, frames) = (events::cases(), frames::cases());
    for case in &events {
        if let Err(error) = check_event(story, case).await {
            wrong.push(format!("{}: {error:#}", case.name));
        }
    }
    for case in &frames {
        if let Err(error) = check_frames(story, case).await {
            wrong.push(format!("{}: {error:#}", case.name));
        }
    }
    let all = events.len() + frames.len();
    assert!(wrong.is_empty(), "{} of {all} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    floods::pings(story).await.context("pings")?;
    floods::sessions(story).await.context("sessions")?;
    floods::messages(story).await.context("messages")?;
    floods::events(story).await.context("events")?;
    floods::flat_out(story).await.context("flat out")?;
    floods::deaf(story).await.context("deaf")?;
    floods::comers_and_goers(story).await.context("comers and goers")?;
    floods::other_halves(story, half).await.context("other halves")
}

#[tokio::test]
async fn whatever_a_client_sends_the_others_are_served() -> Result<()> {
    let story = Story::begin().await?;
    let (stop, stopped) = watch::channel(false);
    let mut bystander = JoinSet::new();
    bystander.spawn(Story::bystander(story.url()?, stopped));
    attack(&story).await?;
    stop.send_replace(true);
    let took = bystander.join_next().await.context("nobody")???;
    story.end(took).await
}
