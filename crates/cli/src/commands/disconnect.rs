//! `disconnect ID…`: closes connections.

use super::App;
use crate::args::looking::DisconnectArgs;
use crate::client::connection_path;
use crate::exit::Failure;
use crate::output;
use anyhow::Result;
use hyper::Method;
use myagent_core::Problem;
use myagent_core::view::DisconnectView;
use serde_json::{Map, Value, json};

pub(super) async fn run(app: &App, args: &DisconnectArgs) -> Result<()> {
    let mut body = Map::new();
    if let Some(reason) = &args.reason {
        body.insert("reason".to_owned(), json!(reason));
    }
    if let Some(code) = args.code {
        body.insert("code".to_owned(), json!(code));
    }
    let body = Value::Object(body);
    // A connection is there only if a manager knows of it: none is started.
    let mut client = app.look().await?;
    let (mut views, mut failed) = (Vec::new(), 0);
    for id in &args.ids {
        let path = connection_path(id, "/disconnect");
        match client.send::<DisconnectView>(Method::POST, &path, Some(&body)).await {
            Ok(view) if view.closed => {
                app.out.done(&format!("disconnected {}", view.connection_id))?;
                views.push(view);
            }
            Ok(view) => {
                failed += 1;
                let id = view.connection_id;
                output::error(&format!("{id} was told to close and had not ended after two seconds"));
                views.push(view);
            }
            Err(error) => {
                // Anything but the manager's own "no" would be the same for all the others.
                let problem = error.downcast::<Problem>()?;
                if args.ids.len() == 1 {
                    return Err(problem.into());
                }
                failed += 1;
                output::error(&problem.to_string());
            }
        }
    }
    if app.out.is_json() {
        output::json(&views)?;
    }
    if failed > 0 { Err(Failure::Partly { failed, total: args.ids.len() }.into()) } else { Ok(()) }
}
