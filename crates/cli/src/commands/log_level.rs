//! `log-level [LEVEL]`: what the manager logs of itself.

use super::App;
use crate::output;
use anyhow::Result;
use hyper::Method;
use myagent_core::view::LogLevelView;

const PATH: &str = "/api/v1/manager/log-level";

pub(super) async fn run(app: &App, level: Option<String>) -> Result<()> {
    let mut client = app.look().await?;
    let Some(level) = level else {
        let view: LogLevelView = client.get(PATH).await?;
        if app.out.is_json() {
            return output::json(&view);
        }
        return Ok(output::write_line(&view.level)?);
    };
    let body = serde_json::to_value(LogLevelView { level })?;
    let view: LogLevelView = client.send(Method::PUT, PATH, Some(&body)).await?;
    if app.out.is_json() {
        return output::json(&view);
    }
    Ok(app.out.done(&format!("the manager logs {} now, until it ends", view.level))?)
}
