//! `route …`: routing rules, and who would get a client.

use super::App;
use crate::args::route::{self, ExplainArgs, RouteCommand};
use crate::client::{Client, rule_path};
use crate::exit::Failure;
use crate::output::{self, rule};
use anyhow::Result;
use hyper::Method;
use myagent_core::Problem;
use myagent_core::request::BatchItem;
use myagent_core::routing::Explanation;
use myagent_core::view::RuleView;
use serde_json::{Map, Value, json};

const RULES: &str = "/api/v1/routing/rules";

pub(super) async fn run(app: &App, command: RouteCommand) -> Result<()> {
    match command {
        RouteCommand::Add { name, rule } => {
            let mut body = rule.to_json()?;
            body.insert("name".to_owned(), json!(name));
            let mut client = app.change().await?;
            let view = client.send(Method::POST, RULES, Some(&Value::Object(body))).await?;
            tell(app, "added", &view)
        }
        RouteCommand::Update { name, new_name, rule, unset } => {
            let mut body = rule.to_json()?;
            route::unset(&mut body, unset)?;
            if let Some(new_name) = new_name {
                body.insert("name".to_owned(), json!(new_name));
            }
            if body.is_empty() {
                let message = "nothing is to be changed; see: myagent-manager route update --help";
                return Err(Failure::Usage(message.to_owned()).into());
            }
            let mut client = app.change().await?;
            let view = client.send(Method::PATCH, &rule_path(&name), Some(&Value::Object(body))).await?;
            tell(app, "updated", &view)
        }
        RouteCommand::List => list(app).await,
        RouteCommand::Show { name } => {
            let view: RuleView = app.look().await?.get(&rule_path(&name)).await?;
            if app.out.is_json() {
                return output::json(&view);
            }
            Ok(output::write_line(&rule::show(&view, &app.out))?)
        }
        RouteCommand::Delete { names } => each(app, &names, "deleted", Change::Delete).await,
        RouteCommand::Enable { names } => each(app, &names, "enabled", Change::Enabled(true)).await,
        RouteCommand::Disable { names } => each(app, &names, "disabled", Change::Enabled(false)).await,
        RouteCommand::Explain(args) => explain(app, &args).await,
    }
}

fn tell(app: &App, done: &str, view: &RuleView) -> Result<()> {
    if app.out.is_json() {
        return output::json(view);
    }
    app.out.done(&format!("{done} rule {:?}", view.rule.spec.name))?;
    for warning in &view.warnings {
        app.out.note(&format!("warning: {warning}; the rule leads nowhere there until one is"));
    }
    Ok(())
}

async fn list(app: &App) -> Result<()> {
    let views: Vec<RuleView> = app.look().await?.get_all(RULES).await?;
    if app.out.is_json() {
        return output::json(&views);
    }
    if views.is_empty() {
        app.out.note(
            "no rules: clients that name no service go to all of them; see: myagent-manager route add --help",
        );
        return Ok(());
    }
    Ok(output::write_line(&rule::list(&views, &app.out))?)
}

enum Change {
    Delete,
    Enabled(bool),
}

impl Change {
    async fn make(&self, client: &mut Client, name: &str) -> Result<()> {
        let path = rule_path(name);
        match self {
            Self::Delete => client.send_only(Method::DELETE, &path, None).await,
            Self::Enabled(enabled) => {
                let body = Value::Object(Map::from_iter([("enabled".to_owned(), json!(enabled))]));
                client.send_only(Method::PATCH, &path, Some(&body)).await
            }
        }
    }
}

async fn each(app: &App, names: &[String], done: &str, change: Change) -> Result<()> {
    let mut client = app.change().await?;
    let mut items = Vec::new();
    for name in names {
        let problem = match change.make(&mut client, name).await {
            Ok(()) => None,
            // Anything but the manager's own "no" would be the same for all the others.
            Err(error) => Some(error.downcast::<Problem>()?),
        };
        match &problem {
            None => app.out.done(&format!("{done} rule {name:?}"))?,
            Some(problem) if names.len() == 1 => return Err(problem.clone().into()),
            Some(problem) => output::error(&problem.to_string()),
        }
        items.push(BatchItem { name: name.clone(), problem });
    }
    if app.out.is_json() {
        output::json(&items)?;
    }
    let failed = items.iter().filter(|item| item.problem.is_some()).count();
    if failed > 0 { Err(Failure::Partly { failed, total: items.len() }.into()) } else { Ok(()) }
}

async fn explain(app: &App, args: &ExplainArgs) -> Result<()> {
    let body = args.to_json()?;
    let mut client = app.look().await?;
    let explanation: Explanation = client.send(Method::POST, "/api/v1/routing/explain", Some(&body)).await?;
    if app.out.is_json() {
        return output::json(&explanation);
    }
    Ok(output::write_line(&rule::explanation(&explanation, &app.out))?)
}
