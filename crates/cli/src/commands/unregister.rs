//! `unregister NAME…`: stops services and forgets them.

use super::App;
use crate::client::service_path;
use crate::exit::Failure;
use crate::output;
use crate::progress::spin;
use anyhow::Result;
use hyper::Method;
use myagent_core::Problem;
use myagent_core::request::BatchItem;

pub(super) async fn run(app: &App, names: &[String]) -> Result<()> {
    let mut client = app.change().await?;
    let mut items = Vec::new();
    for name in names {
        let spinner = spin(&app.out, format!("unregistering {name}"));
        let result = client.send_only(Method::DELETE, &service_path(name, ""), None).await;
        drop(spinner);
        let problem = match result {
            Ok(()) => None,
            // Anything but the manager's own "no" would be the same for all the others.
            Err(error) => Some(error.downcast::<Problem>()?),
        };
        match &problem {
            None => app.out.done(&format!("unregistered {name}"))?,
            Some(problem) if names.len() == 1 => return Err(problem.clone().into()),
            Some(problem) => output::error(&format!("{name}: {problem}")),
        }
        items.push(BatchItem { name: name.clone(), problem });
    }
    if app.out.is_json() {
        output::json(&items)?;
    }
    let failed = items.iter().filter(|item| item.problem.is_some()).count();
    if failed > 0 { Err(Failure::Partly { failed, total: items.len() }.into()) } else { Ok(()) }
}
