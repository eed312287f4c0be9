//! The task that measures: every ten seconds by the wall clock, whatever the file does.

use super::Statistics;
use super::memory::Taken;
use super::writer::Writer;
use crate::handle::Handle;
use myagent_core::series::SLOT;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long runners are waited for before the first measurement: what is not known of them yet would look like a fall to zero.
const ATTACH: Duration = Duration::from_secs(10);
/// How long the last of it may be written.
const END: Duration = Duration::from_secs(3);
/// After the end of a slot, so that a clock that is set by a little does not make it be measured twice.
const LATE: Duration = Duration::from_millis(20);

/// The task, while the engine runs.
pub(crate) struct Collecting {
    tasks: JoinSet<()>,
    end: CancellationToken,
}

impl Collecting {
    /// Begins.
    pub(crate) fn start(handle: &Handle) -> Self {
        let (mut tasks, end) = (JoinSet::new(), CancellationToken::new());
        tasks.spawn(collect(handle.clone(), end.clone()));
        Self { tasks, end }
    }

    /// Writes what is not written and ends.
    pub(crate) async fn end(mut self) {
        self.end.cancel();
        match timeout(END, self.tasks.join_next()).await {
            Ok(Some(Err(error))) => tracing::error!(%error, "the task of the statistics failed"),
            Ok(_) => {}
            Err(_) => tracing::warn!("the last minute of statistics was not stored in time"),
        }
    }
}

async fn collect(handle: Handle, end: CancellationToken) {
    let statistics = Arc::clone(&handle.statistics);
    // One at a time: the writer is in it, or here.
    let mut writing = JoinSet::new();
    let mut writer = Some(Writer::new(Arc::clone(&statistics)));
    work(&mut writing, &mut writer, Writer::open);
    tokio::select! {
        () = end.cancelled() => {}
        _ = timeout(ATTACH, handle.attached()) => {}
    }
    join(&mut writing, &mut writer, &statistics).await;
    let mut is_first = true;
    while !end.is_cancelled() {
        tokio::select! {
            () = end.cancelled() => break,
            () = sleep(until_next(handle.clock.now())) => {
                if std::mem::take(&mut is_first) {
                    work(&mut writing, &mut writer, Writer::look_again);
                    join(&mut writing, &mut writer, &statistics).await;
                }
                measure(&handle, &statistics);
                let now = handle.clock.now().as_second();
                if now.rem_euclid(60) < SLOT {
                    work(&mut writing, &mut writer, |writer| writer.flush(false));
                }
            }
            Some(done) = writing.join_next() => take_back(done, &mut writer, &statistics),
        }
    }
    join(&mut writing, &mut writer, &statistics).await;
    work(&mut writing, &mut writer, |writer| writer.flush(true));
    join(&mut writing, &mut writer, &statistics).await;
}

fn measure(handle: &Handle, statistics: &Statistics) {
    let views = handle.views.borrow().clone();
    let taken = statistics.memory().take(handle.clock.now().as_second(), &views);
    if let Taken::Back(seconds) = taken {
        tracing::warn!(seconds, "the clock went back; statistics go on from there, and keep what they have");
    }
}

/// Has the writer do something, unless it is still at the last.
fn work(
    writing: &mut JoinSet<Writer>,
    writer: &mut Option<Writer>,
    what: impl FnOnce(&mut Writer) + Send + 'static,
) {
    if let Some(mut writer) = writer.take() {
        writing.spawn_blocking(move || {
            what(&mut writer);
            writer
        });
    }
}

async fn join(writing: &mut JoinSet<Writer>, writer: &mut Option<Writer>, statistics: &Arc<Statistics>) {
    while let Some(done) = writing.join_next().await {
        take_back(done, writer, statistics);
    }
}

fn take_back(
    done: Result<Writer, tokio::task::JoinError>,
    writer: &mut Option<Writer>,
    statistics: &Arc<Statistics>,
) {
    *writer = Some(done.unwrap_or_else(|error| {
        tracing::error!(%error, "writing statistics failed");
        Writer::new(Arc::clone(statistics))
    }));
}

/// Until the slot has ended.
fn until_next(now: jiff::Timestamp) -> Duration {
    let millis = SLOT * 1_000 - now.as_millisecond().rem_euclid(SLOT * 1_000);
    Duration::from_millis(millis.unsigned_abs()) + LATE
}
