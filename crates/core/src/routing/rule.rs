//! A routing rule: conditions, where its clients go, and how one instance is chosen there. What is stored and shown; the form
//! that decides is [`CompiledRule`].

mod parse;
#[cfg(test)]
mod tests;

pub use parse::{parse, parse_dry_run, patch};

use super::condition::{Compiled, Condition};
use super::field::Field;
use super::strategy::Strategy;
use crate::error::FieldError;
use crate::ids::{RuleId, ServiceId};
use crate::service::{MAX_TAGS, check_name, check_tag};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use utoipa::ToSchema;

/// Most rules of a fleet.
pub const MAX_RULES: usize = 1000;
/// Most conditions of a rule.
pub const MAX_CONDITIONS: usize = 32;
/// Most services that a rule names.
pub const MAX_TARGETS: usize = 500;
/// Most parts of a split.
pub const MAX_PARTS: usize = 16;
/// Priority of a rule that says none.
pub const DEFAULT_PRIORITY: i32 = 100;
/// Priorities are from minus this to this.
pub const MAX_PRIORITY: i32 = 1_000_000;
/// Largest weight.
pub const MAX_WEIGHT: u32 = 1000;

/// A rule as it is stored and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rule {
    /// Never changes.
    #[schema(value_type = uuid::Uuid)]
    pub rule_id: RuleId,
    /// What its author said.
    #[serde(flatten)]
    pub spec: RuleSpec,
    /// When it was made; of two rules of one priority the older is tried first.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Grows with each change, from 1.
    pub version: u64,
}

/// What the author of a rule says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RuleSpec {
    /// For people; 1 to 100 characters.
    pub name: String,
    /// At most 1,000 characters.
    pub description: String,
    /// Lower is tried first.
    pub priority: i32,
    /// Whether it is tried at all.
    pub enabled: bool,
    /// All must hold; none: every client matches.
    pub conditions: Vec<Condition>,
    /// Its clients go to these services (names or ids), in this order for `manual`; none: to any.
    pub target_services: Vec<String>,
    /// And only to services with these tags.
    pub target_tags: Vec<String>,
    /// Whether a service needs all of the tags or any.
    pub tag_match: TagMatch,
    /// How one is chosen; none: the default strategy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_strategy: Option<Strategy>,
    /// How, if that strategy has no answer (`manual` without a service, `hash_based` without a key); none: the default strategy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_strategy: Option<Strategy>,
    /// Shares of the clients; each client stays with its share. The percents add up to 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub split: Vec<Share>,
    /// The field that `hash_based` and `split` tell clients apart by; none: `client_ip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_key: Option<String>,
    /// Weights in place of the services' own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weights>,
    /// Whether a client may choose the strategy with `?routing_hint=`.
    pub allow_hint: bool,
}

impl Default for RuleSpec {
    fn default() -> Self {
        Self {
            name: String::new(),
            description: String::new(),
            priority: DEFAULT_PRIORITY,
            enabled: true,
            conditions: Vec::new(),
            target_services: Vec::new(),
            target_tags: Vec::new(),
            tag_match: TagMatch::All,
            target_strategy: None,
            fallback_strategy: None,
            split: Vec::new(),
            hash_key: None,
            weight: None,
            allow_hint: true,
        }
    }
}

/// How many of the target tags a service needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TagMatch {
    /// All of them.
    #[default]
    All,
    /// At least one.
    Any,
}

/// One part of a split: the services with a tag, or one service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Services with this tag; either this or `service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// This service, by name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Its share of the clients.
    pub percent: u8,
}

/// Weights of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Weights {
    /// Every target counts the same, whatever weight its service has.
    Same(u32),
    /// These services (by name or id) have these weights here; others keep their own.
    Each(BTreeMap<String, u32>),
}

/// A rule that was checked and is ready to decide. Immutable; snapshots share it.
#[derive(Clone)]
pub struct CompiledRule {
    rule: Rule,
    pub(super) conditions: Vec<Compiled>,
    pub(super) hash_key: Field,
}

impl fmt::Debug for CompiledRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rule.fmt(f)
    }
}

impl CompiledRule {
    /// Checks and compiles a rule. Errors: every field at fault.
    pub fn new(rule: Rule) -> Result<Self, Vec<FieldError>> {
        let (conditions, hash_key) = rule.spec.check()?;
        Ok(Self { rule, conditions, hash_key })
    }

    /// The rule as it was written.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }
}

impl RuleSpec {
    /// Checks everything that can be checked without knowing the services; all faults at once.
    pub fn validate(&self) -> Result<(), Vec<FieldError>> {
        self.check().map(|_| ())
    }

    fn check(&self) -> Result<(Vec<Compiled>, Field), Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut fault = |field: &str, message: String| errors.push(FieldError::new(field, message));
        if self.name.trim().is_empty() {
            fault("name", "is empty; say what the rule is for".to_owned());
        } else if self.name.chars().count() > 100 || self.name.chars().any(char::is_control) {
            fault("name", "must be at most 100 characters without control characters".to_owned());
        }
        if self.name == "dry-run" {
            // `POST /routing/rules/dry-run` makes none.
            fault("name", "must not be dry-run, which is a word of the API".to_owned());
        }
        if self.description.chars().count() > 1000 {
            fault("description", "is longer than 1000 characters".to_owned());
        }
        if !(-MAX_PRIORITY..=MAX_PRIORITY).contains(&self.priority) {
            fault(
                "priority",
                format!("must be from -{MAX_PRIORITY} to {MAX_PRIORITY}; lower is tried first"),
            );
        }
        for (field, count, max) in [
            ("conditions", self.conditions.len(), MAX_CONDITIONS),
            ("target_services", self.target_services.len(), MAX_TARGETS),
            ("target_tags", self.target_tags.len(), MAX_TAGS),
            ("split", self.split.len(), MAX_PARTS),
        ] {
            if count > max {
                fault(field, format!("has {count} entries, at most {max} are allowed"));
            }
        }
        for (index, service) in self.target_services.iter().enumerate() {
            if let Err(message) = check_service(service) {
                fault(&format!("target_services[{index}]"), message);
            }
        }
        for (index, tag) in self.target_tags.iter().enumerate() {
            if let Err(message) = check_tag(tag) {
                fault(&format!("target_tags[{index}]"), message);
            }
        }
        self.check_split(&mut fault);
        self.check_weight(&mut fault);
        if self.target_strategy == Some(Strategy::Manual) && self.target_services.is_empty() {
            fault("target_services", "is empty, but manual takes the first of them".to_owned());
        }
        let key = Field::parse(self.hash_key.as_deref().unwrap_or("client_ip"));
        if let Err(message) = &key {
            fault("hash_key", message.clone());
        }
        let mut conditions = Vec::with_capacity(self.conditions.len());
        for (index, condition) in self.conditions.iter().enumerate() {
            match condition.compile(&format!("conditions[{index}]")) {
                Ok(condition) => conditions.push(condition),
                Err(mut more) => errors.append(&mut more),
            }
        }
        match key {
            Ok(key) if errors.is_empty() => Ok((conditions, key)),
            _ => Err(errors),
        }
    }

    fn check_split(&self, fault: &mut impl FnMut(&str, String)) {
        for (index, share) in self.split.iter().enumerate() {
            let checked = match (&share.tag, &share.service) {
                (Some(tag), None) => check_tag(tag).map_err(|message| (".tag", message)),
                (None, Some(service)) => check_service(service).map_err(|message| (".service", message)),
                _ => Err(("", "needs either a tag or a service".to_owned())),
            };
            if let Err((part, message)) = checked {
                fault(&format!("split[{index}]{part}"), message);
            }
        }
        let sum: u32 = self.split.iter().map(|share| u32::from(share.percent)).sum();
        if !self.split.is_empty() && sum != 100 {
            fault("split", format!("the percents add up to {sum}, not to 100"));
        }
    }

    fn check_weight(&self, fault: &mut impl FnMut(&str, String)) {
        let range = || format!("must be a whole number from 1 to {MAX_WEIGHT}");
        match &self.weight {
            Some(Weights::Same(weight)) if !(1..=MAX_WEIGHT).contains(weight) => fault("weight", range()),
            Some(Weights::Each(weights)) => {
                if weights.len() > MAX_TARGETS {
                    fault("weight", format!("has more than {MAX_TARGETS} entries"));
                }
                for (service, weight) in weights {
                    if let Err(message) = check_service(service) {
                        fault("weight", message);
                    } else if !(1..=MAX_WEIGHT).contains(weight) {
                        fault(&format!("weight.{service}"), range());
                    }
                }
            }
            _ => {}
        }
    }
}

/// A service by name or id; whether it exists is for the moment of routing, since services come and go.
fn check_service(text: &str) -> Result<(), String> {
    if text.parse::<ServiceId>().is_ok() { Ok(()) } else { check_name(text) }
}
