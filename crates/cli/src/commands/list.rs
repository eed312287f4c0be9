//! `list`: one line per service; as JSON an array of services.

use super::App;
use crate::client::query;
use crate::output;
use crate::output::service;
use anyhow::Result;
use myagent_core::view::ServiceView;

pub(super) async fn run(app: &App, status: Option<String>, tags: Option<String>) -> Result<()> {
    let filtered = status.is_some() || tags.is_some();
    let path = format!("/api/v1/services{}", query(&[("status", status), ("tags", tags)]));
    let views: Vec<ServiceView> = app.look().await?.get_all(&path).await?;
    if app.out.is_json() {
        return output::json(&views);
    }
    if views.is_empty() {
        app.out.note(if filtered {
            "no service matches"
        } else {
            "no services yet; register one with: myagent-manager register NAME FILE"
        });
        return Ok(());
    }
    Ok(output::write_line(&service::list(&views, app.now(), &app.out))?)
}
