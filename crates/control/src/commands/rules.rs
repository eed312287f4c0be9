//! Rules: checked and compiled, stored, then in force; the answer comes after that.

use super::{check_version, storage};
use crate::engine::Engine;
use crate::once::{Made, Once, gone};
use crate::rules::{name_taken, too_many};
use myagent_core::RuleId;
use myagent_core::error::{Code, Problem};
use myagent_core::routing::rule::{MAX_RULES, parse, patch};
use myagent_core::routing::{CompiledRule, Rule, RuleSpec};
use serde_json::Value;

impl Engine {
    pub(crate) fn create_rule(
        &mut self,
        body: Value,
        once: Option<&Once>,
        who: &str,
    ) -> Result<(Rule, Made), Problem> {
        if let Some(id) = self.made_before(once)? {
            let rule = self.rules.find(&id.to_string()).map_err(|_| gone())?;
            return Ok((rule.rule().clone(), Made::Before));
        }
        let spec = parse(body).map_err(Problem::fields)?;
        self.check_rule_name(&spec, None)?;
        if self.rules.len() >= MAX_RULES {
            return Err(too_many());
        }
        let (rule_id, now) = (RuleId((self.deps.config.new_id)()), self.clock.now());
        let rule = Rule { rule_id, spec, created_at: now, updated_at: now, version: 1 };
        let compiled = CompiledRule::new(rule.clone()).map_err(Problem::fields)?;
        let creation = self.creation(once, rule_id.0);
        self.store.insert_rule(&rule, creation.as_ref()).map_err(|error| storage(&error))?;
        self.put_rule(compiled, who, "rule.created");
        Ok((rule, Made::Now))
    }

    pub(crate) fn change_rule(
        &mut self,
        name: &str,
        body: Value,
        whole: bool,
        expected: Option<u64>,
        who: &str,
    ) -> Result<Rule, Problem> {
        let before = self.rules.find(name)?;
        let before = before.rule();
        check_version(name, before.version, expected)?;
        let spec = if whole { parse(body) } else { patch(before, body) }.map_err(Problem::fields)?;
        if spec == before.spec {
            return Ok(before.clone());
        }
        self.check_rule_name(&spec, Some(before.rule_id))?;
        let (updated_at, version) = (self.clock.now(), before.version + 1);
        let rule = Rule { spec, updated_at, version, ..*before };
        let compiled = CompiledRule::new(rule.clone()).map_err(Problem::fields)?;
        if !self.store.update_rule(&rule).map_err(|error| storage(&error))? {
            return Err(Problem::new(Code::Internal, "the rule is known but not stored"));
        }
        self.put_rule(compiled, who, "rule.updated");
        Ok(rule)
    }

    pub(crate) fn delete_rule(
        &mut self,
        name: &str,
        expected: Option<u64>,
        who: &str,
    ) -> Result<(), Problem> {
        let rule = self.rules.find(name)?;
        let Rule { rule_id, spec, version, .. } = rule.rule();
        check_version(name, *version, expected)?;
        self.store.delete_rule(*rule_id).map_err(|error| storage(&error))?;
        self.rules.remove(*rule_id);
        self.record(who, "rule.deleted", None, None, format!("rule {:?}", spec.name));
        self.publish();
        Ok(())
    }

    fn check_rule_name(&self, spec: &RuleSpec, id: Option<RuleId>) -> Result<(), Problem> {
        if self.rules.has_name(&spec.name, id) {
            return Err(name_taken(&spec.name));
        }
        Ok(())
    }

    fn put_rule(&mut self, rule: CompiledRule, who: &str, kind: &str) {
        let Rule { spec, version, .. } = rule.rule();
        let state = if spec.enabled { "" } else { ", disabled" };
        let why = format!("rule {:?}: version {version}, priority {}{state}", spec.name, spec.priority);
        self.rules.put(rule);
        self.record(who, kind, None, None, why);
        self.publish();
    }
}
