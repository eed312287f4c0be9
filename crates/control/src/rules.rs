//! Routing rules in memory, and the use cases around them. Looking reads the published snapshot, which has them in the order
//! in which they are tried; a rule that is live and one that is shown are the same.

use crate::engine::Command;
use crate::handle::Handle;
use crate::once::{Made, Once};
use myagent_core::error::{Code, FieldError, Problem};
use myagent_core::ids::{RuleId, ServiceId};
use myagent_core::routing::rule::MAX_RULES;
use myagent_core::routing::{CompiledRule, Rule};
use myagent_core::suggest::nearest;
use myagent_core::view::{RuleView, ServiceView};
use myagent_core::wire::sums::Traffic;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All rules.
#[derive(Default)]
pub(crate) struct Rules {
    by_id: BTreeMap<RuleId, Arc<CompiledRule>>,
    /// Something was changed that is not published yet.
    pub(crate) dirty: bool,
}

impl Rules {
    /// In any order.
    pub(crate) fn all(&self) -> Vec<Arc<CompiledRule>> {
        self.by_id.values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Puts a rule in, in place of the one with its id.
    pub(crate) fn put(&mut self, rule: CompiledRule) {
        self.by_id.insert(rule.rule().rule_id, Arc::new(rule));
        self.dirty = true;
    }

    pub(crate) fn remove(&mut self, id: RuleId) {
        self.dirty |= self.by_id.remove(&id).is_some();
    }

    /// Whether another rule than `id` has that name.
    pub(crate) fn has_name(&self, name: &str, id: Option<RuleId>) -> bool {
        self.by_id.values().any(|rule| rule.rule().spec.name == name && Some(rule.rule().rule_id) != id)
    }

    pub(crate) fn find(&self, name_or_id: &str) -> Result<Arc<CompiledRule>, Problem> {
        find(name_or_id, self.by_id.values())
    }
}

/// Finds a rule by name or id; the error suggests the nearest name.
pub(crate) fn find<'a>(
    name_or_id: &str,
    rules: impl Iterator<Item = &'a Arc<CompiledRule>> + Clone,
) -> Result<Arc<CompiledRule>, Problem> {
    let id = name_or_id.parse::<RuleId>().ok();
    let is_it =
        |rule: &&Arc<CompiledRule>| rule.rule().spec.name == name_or_id || Some(rule.rule().rule_id) == id;
    rules.clone().find(is_it).cloned().ok_or_else(|| {
        let near = nearest(name_or_id, rules.map(|rule| rule.rule().spec.name.as_str()));
        let hint =
            near.map_or_else(|| "see `route list`".to_owned(), |near| format!("did you mean {near:?}?"));
        Problem::new(Code::RuleNotFound, format!("no rule is named {name_or_id:?}; {hint}"))
    })
}

/// Another rule has this name.
pub(crate) fn name_taken(name: &str) -> Problem {
    let detail = format!("a rule named {name:?} exists already; choose another name or update it");
    Problem {
        errors: vec![FieldError::new("name", "is the name of another rule")],
        ..Problem::new(Code::RuleAlreadyExists, detail)
    }
}

/// There is no room for another rule.
pub(crate) fn too_many() -> Problem {
    let detail = format!("there are {MAX_RULES} rules already; delete one that is not needed");
    Problem::new(Code::InsufficientResources, detail)
}

impl Handle {
    /// All rules in the order in which they are tried.
    pub fn rules(&self) -> Vec<RuleView> {
        let (routing, services) = (self.routing.borrow().clone(), self.services());
        routing.rules().map(|rule| view(rule.rule(), &services)).collect()
    }

    /// One rule, by name or id.
    pub fn rule(&self, name_or_id: &str) -> Result<RuleView, Problem> {
        let routing = self.routing.borrow().clone();
        let rules: Vec<_> = routing.rules().cloned().collect();
        Ok(view(find(name_or_id, rules.iter())?.rule(), &self.services()))
    }

    /// Makes a rule, once for each key; when this returns, it is in force.
    pub async fn create_rule(
        &self,
        body: Value,
        once: Option<Once>,
        who: &str,
    ) -> Result<(RuleView, Made), Problem> {
        let who = who.to_owned();
        let (rule, made) = self.ask(|answer| Command::CreateRule { body, once, who, answer }).await?;
        Ok((view(&rule, &self.services()), made))
    }

    /// Changes a rule, if it is at the version `expected`: what is given (`whole`: everything, what is not given gets its default); when this returns, it is in
    /// force. Connections that are open stay where they are.
    pub async fn change_rule(
        &self,
        name_or_id: &str,
        body: Value,
        whole: bool,
        expected: Option<u64>,
        who: &str,
    ) -> Result<RuleView, Problem> {
        let (name, who) = (name_or_id.to_owned(), who.to_owned());
        let rule =
            self.ask(|answer| Command::ChangeRule { name, body, whole, expected, who, answer }).await?;
        Ok(view(&rule, &self.services()))
    }

    /// Removes a rule; when this returns, it is in force no more.
    pub async fn delete_rule(
        &self,
        name_or_id: &str,
        expected: Option<u64>,
        who: &str,
    ) -> Result<(), Problem> {
        let (name, who) = (name_or_id.to_owned(), who.to_owned());
        self.ask(|answer| Command::DeleteRule { name, expected, who, answer }).await
    }
}

/// A rule as it is shown: with what went by it, and with what it names that is not there.
fn view(rule: &Rule, services: &[Arc<ServiceView>]) -> RuleView {
    let mut stats = Traffic::default();
    for service in services {
        if let Some(traffic) = service.stats.rules.get(&rule.spec.name) {
            stats.add(traffic);
        }
    }
    RuleView { rule: rule.clone(), stats, warnings: warnings(rule, services) }
}

/// What a rule names that is not there. Services come and go, so this is no error.
fn warnings(rule: &Rule, services: &[Arc<ServiceView>]) -> Vec<String> {
    let spec = &rule.spec;
    let is_known = |name: &str| {
        let id = name.parse::<ServiceId>().ok();
        services.iter().any(|service| service.name == name || Some(service.service_id) == id)
    };
    let is_tag = |tag: &str| services.iter().any(|service| service.tags.contains(tag));
    let mut warnings = Vec::new();
    let mut check_service = |field: String, name: &str| {
        if !is_known(name) {
            warnings.push(format!("{field}: no service is named {name:?}"));
        }
    };
    for (index, name) in spec.target_services.iter().enumerate() {
        check_service(format!("target_services[{index}]"), name);
    }
    for (index, name) in
        spec.split.iter().enumerate().filter_map(|(at, share)| Some((at, share.service.as_ref()?)))
    {
        check_service(format!("split[{index}].service"), name);
    }
    let mut check_tag = |field: String, tag: &str| {
        if !is_tag(tag) {
            warnings.push(format!("{field}: no service has the tag {tag:?}"));
        }
    };
    for (index, tag) in spec.target_tags.iter().enumerate() {
        check_tag(format!("target_tags[{index}]"), tag);
    }
    for (index, tag) in
        spec.split.iter().enumerate().filter_map(|(at, share)| Some((at, share.tag.as_ref()?)))
    {
        check_tag(format!("split[{index}].tag"), tag);
    }
    warnings
}
