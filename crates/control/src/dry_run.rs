//! What a rule would change, if it was made: the present rules with it, against everybody who is connected. Nothing is changed, and
//! the engine is not asked.

use crate::handle::Handle;
use crate::rules::{find, name_taken, too_many};
use myagent_core::connections::{Filter, Order};
use myagent_core::error::{Code, Problem};
use myagent_core::ids::RuleId;
use myagent_core::routing::dry_run::{DryRun, MAX_CONNECTIONS, dry_run};
use myagent_core::routing::rule::{MAX_RULES, parse_dry_run};
use myagent_core::routing::{CompiledRule, RoutingSnapshot, Rule};
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Lets one dry run go at a time; others wait. Each has a copy of what is known of the connections.
#[derive(Clone)]
pub(crate) struct DryRuns(Arc<Semaphore>);

impl Default for DryRuns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Handle {
    /// Says what a rule would change: `{rule, replaces?}`. It is refused as it would be if it was made, or put in place of the other.
    pub async fn dry_run_rule(&self, body: Value) -> Result<DryRun, Problem> {
        let (spec, replaces) = parse_dry_run(body).map_err(Problem::fields)?;
        let routing = self.routing.borrow().clone();
        let rules: Vec<_> = routing.rules().cloned().collect();
        let replaced = replaces.map(|name| find(&name, rules.iter())).transpose()?;
        let replaced = replaced.as_ref().map(|rule| rule.rule());
        let is_other = |rule: &Rule| replaced.is_none_or(|replaced| replaced.rule_id != rule.rule_id);
        if rules.iter().any(|rule| rule.rule().spec.name == spec.name && is_other(rule.rule())) {
            return Err(name_taken(&spec.name));
        }
        if replaced.is_none() && rules.len() >= MAX_RULES {
            return Err(too_many());
        }
        // No stored rule has this id.
        let (now, nil) = (self.clock.now(), RuleId(Uuid::nil()));
        let (rule_id, created_at) = replaced.map_or((nil, now), |rule| (rule.rule_id, rule.created_at));
        let replaced_name = replaced.map(|rule| rule.spec.name.clone());
        let rule = Rule { rule_id, spec, created_at, updated_at: now, version: 1 };
        let rule = Arc::new(CompiledRule::new(rule).map_err(Problem::fields)?);
        let mut others = rules;
        others.retain(|other| other.rule().rule_id != rule_id);
        others.push(rule);

        let cut_short = |error: &dyn std::fmt::Display| {
            Problem::new(Code::Internal, format!("the dry run was cut short: {error}"))
        };
        let permit = Arc::clone(&self.dry_runs.0).acquire_owned().await.map_err(|error| cut_short(&error))?;
        let handle = self.clone();
        let run = tokio::task::spawn_blocking(move || {
            let services = routing.services().to_vec();
            let snapshot = RoutingSnapshot::build(services, others, routing.default_strategy(), None);
            let page = handle.connections(&Filter::default(), Order::default(), (MAX_CONNECTIONS, 0));
            let answer = dry_run(&snapshot, rule_id, replaced_name.as_deref(), &page.items);
            drop(permit);
            let omitted = (page.total as u64).saturating_sub(page.items.len() as u64);
            DryRun { omitted, ..answer }
        });
        run.await.map_err(|error| cut_short(&error))
    }
}
