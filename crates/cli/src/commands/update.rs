//! `update NAME …`: only what is given changes; says when a restart is needed for it.

use super::App;
use super::register::Prompt;
use crate::args::service::UpdateArgs;
use crate::client::service_path;
use crate::exit::Failure;
use crate::output;
use crate::source::Caller;
use anyhow::Result;
use hyper::Method;
use myagent_core::config::find_key;
use myagent_core::instance::InstanceState;
use myagent_core::request::Changes;
use myagent_core::view::ServiceView;

pub(super) async fn run(app: &App, args: &UpdateArgs) -> Result<()> {
    let caller = Caller::current()?;
    let mut changes =
        Changes { source: args.source.source(&caller)?, options: args.options.options(&caller, &Prompt)? };
    changes.options.environment.extend(args.unset_env.iter().map(|name| (name.clone(), None)));
    changes.options.secrets.extend(args.unset_secret.iter().map(|name| (name.clone(), None)));
    let part_of_source = args.source.has_part();
    if changes == Changes::default() && !part_of_source {
        return Err(Failure::Usage(
            "nothing to change is given; see: myagent-manager update --help".to_owned(),
        )
        .into());
    }
    let mut client = app.change_hiding(args.options.secrets()).await?;
    let path = service_path(&args.name, "");
    if changes.source.is_none() && part_of_source {
        let current: ServiceView = client.get(&path).await?;
        changes.source = args.source.amend(&current.source, &caller)?;
    }
    let view: ServiceView = client.send(Method::PATCH, &path, Some(&serde_json::to_value(&changes)?)).await?;
    if app.out.is_json() {
        output::json(&view)?;
    } else {
        app.out.done(&format!("updated {} (version {})", view.name, view.version))?;
    }
    if view.status != InstanceState::Stopped && needs_restart(&changes) {
        app.out.note(&format!("what runs goes on as it was until: myagent-manager restart {}", view.name));
    }
    Ok(())
}

/// Whether something that runs must be restarted to see these changes.
fn needs_restart(changes: &Changes) -> bool {
    let options = &changes.options;
    changes.source.is_some()
        || options.host.is_some()
        || options.port.is_some()
        || !options.environment.is_empty()
        || !options.secrets.is_empty()
        || options.config.keys().any(|name| find_key(name).is_ok_and(|key| key.restart))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_a_process_was_started_with_needs_a_restart() {
        let check = |body: serde_json::Value, expected: bool| {
            assert_eq!(needs_restart(&Changes::from_json(body.clone()).unwrap()), expected, "{body}");
        };
        check(json!({"description": "x", "tags": ["a"], "replicas": 2}), false);
        check(json!({"config": {"weight": 2, "health_check_interval": 5}}), false);
        check(json!({"config": {"weight": 2, "max_sessions": 5}}), true);
        check(json!({"port": 7000}), true);
        check(json!({"environment": {"A": null}}), true);
        check(json!({"source": {"kind": "external", "url": "ws://h/"}}), true);
    }
}
