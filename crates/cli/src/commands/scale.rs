//! `scale NAME N`.

use super::App;
use crate::client::service_path;
use crate::output;
use crate::output::human::count;
use crate::progress::spin;
use anyhow::Result;
use hyper::Method;
use myagent_core::service::Desired;
use myagent_core::view::ServiceView;
use serde_json::json;

pub(super) async fn run(app: &App, name: &str, replicas: u32) -> Result<()> {
    let mut client = app.change().await?;
    let spinner = spin(&app.out, format!("scaling {name} to {replicas}"));
    let body = json!({"replicas": replicas});
    let view: ServiceView = client.send(Method::POST, &service_path(name, "/scale"), Some(&body)).await?;
    drop(spinner);
    if app.out.is_json() {
        return output::json(&view);
    }
    app.out.done(&format!("scaled {} to {}", view.name, count(view.replicas as usize, "instance")))?;
    if view.desired == Desired::Stopped {
        app.out.note(&format!("it is stopped; start it with: myagent-manager start {}", view.name));
    }
    Ok(())
}
