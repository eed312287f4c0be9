//! `daemon`, `api`, `proxy`, `up`, `shutdown`: being, joining and ending a manager is in [`crate::lifecycle`].

use super::App;
use crate::args::server::{Foreground, ShutdownArgs};
use crate::lifecycle;
use crate::progress::spin;
use anyhow::Result;

pub(super) fn run(app: &App, wanted: &Foreground) -> Result<()> {
    lifecycle::run_foreground(&app.data, wanted)
}

pub(super) async fn shut_down(app: &App, args: ShutdownArgs) -> Result<()> {
    let spinner = spin(&app.out, "shutting down");
    lifecycle::shut_down(&app.data, args.keep_services).await?;
    drop(spinner);
    let rest = if args.keep_services { "; the services go on" } else { "" };
    Ok(app.out.done(&format!("the manager has ended{rest}"))?)
}
