//! One condition of a rule: a field, an operator, a value. Compiled when it is saved, so that a bad one never gets into force.
//!
//! A field that the request does not have makes a condition false, and one with `not_` true.

use super::field::Field;
use super::forwarded::parse_network;
use super::head::Head;
use super::pairs::Pairs;
use super::values::{Use, Values};
use crate::error::FieldError;
use ipnet::IpNet;
use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use utoipa::ToSchema;

/// Longest value, bytes.
pub const MAX_VALUE: usize = 4096;
/// Most entries of a list.
pub const MAX_LIST: usize = 1000;
/// Up to how many entries a list is looked through rather than searched.
const SHORT: usize = 8;
/// Most memory that a compiled regular expression may need, bytes.
const MAX_REGEX: usize = 256 * 1024;

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// The same text.
    Equals,
    /// Another text, or no such field.
    NotEquals,
    /// The value is in it.
    Contains,
    /// The value is not in it, or there is no such field.
    NotContains,
    /// Begins with the value.
    StartsWith,
    /// Ends with the value.
    EndsWith,
    /// The expression is found somewhere in it; anchor it with `^` and `$` if all of it is meant.
    RegexMatch,
    /// Equals one of the list.
    InList,
    /// Equals none of the list, or there is no such field.
    NotInList,
    /// An address in one of the networks.
    IpInRange,
    /// The field is there, be it empty.
    Exists,
    /// It is not.
    NotExists,
}

impl Operator {
    /// All, in the order of the reference page.
    pub const ALL: [Self; 12] = [
        Self::Equals,
        Self::NotEquals,
        Self::Contains,
        Self::NotContains,
        Self::StartsWith,
        Self::EndsWith,
        Self::RegexMatch,
        Self::InList,
        Self::NotInList,
        Self::IpInRange,
        Self::Exists,
        Self::NotExists,
    ];

    fn is_negated(self) -> bool {
        matches!(self, Self::NotEquals | Self::NotContains | Self::NotInList | Self::NotExists)
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A condition as it is written and stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Name of a [`Field`].
    pub field: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what: text, number, boolean; for lists and networks also an array, or text with commas; nothing for `exists`.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub value: Value,
    /// Whether upper and lower case differ.
    #[serde(default)]
    pub case_sensitive: bool,
}

/// A condition ready to be used.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    pub(super) field: Field,
    pub(super) check: Check,
}

/// What it asks of the value of its field. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Check {
    matcher: Matcher,
    negated: bool,
    case_sensitive: bool,
}

/// Texts are in lower case where case does not count.
#[derive(Clone, Debug)]
enum Matcher {
    Exists,
    Equals(Arc<str>),
    StartsWith(Arc<str>),
    EndsWith(Arc<str>),
    /// Sorted.
    InList(Arc<[Box<str>]>),
    IpInRange(Arc<[IpNet]>),
    Contains(Arc<Needle>),
    Regex(Arc<Regex>),
}

#[derive(Clone, Debug)]
struct Needle {
    finder: Finder<'static>,
    /// In lower case, as those of values.
    pairs: Pairs,
}

impl Condition {
    /// Compiles it. Errors name `field` and `value`, prefixed by `place` (`conditions[2]`).
    pub(super) fn compile(&self, place: &str) -> Result<Compiled, Vec<FieldError>> {
        let at = |name: &str, message| FieldError::new(format!("{place}.{name}"), message);
        let field = Field::parse(&self.field).map_err(|message| at("field", message));
        let matcher = self.matcher(field.as_ref().ok()).map_err(|message| at("value", message));
        match (field, matcher) {
            (Ok(field), Ok(matcher)) => {
                let negated = self.operator.is_negated();
                // A regular expression ignores case by itself.
                let case_sensitive = self.case_sensitive || matches!(matcher, Matcher::Regex(_));
                Ok(Compiled { field, check: Check { matcher, negated, case_sensitive } })
            }
            (field, matcher) => Err(field.err().into_iter().chain(matcher.err()).collect()),
        }
    }

    fn matcher(&self, field: Option<&Field>) -> Result<Matcher, String> {
        let fold = |text: String| if self.case_sensitive { text } else { text.to_lowercase() };
        // An address has many spellings, of which requests have one.
        let canonical = |text: String| match text.parse::<IpAddr>() {
            Ok(address) if field == Some(&Field::ClientIp) => address.to_canonical().to_string(),
            _ => text,
        };
        Ok(match self.operator {
            Operator::Exists | Operator::NotExists => match &self.value {
                Value::Null | Value::Bool(true) => Matcher::Exists,
                Value::String(text) if text.is_empty() => Matcher::Exists,
                _ => return Err(format!("is not used by {}; leave it out", self.operator)),
            },
            Operator::Equals | Operator::NotEquals => Matcher::Equals(fold(canonical(self.text()?)).into()),
            Operator::StartsWith => Matcher::StartsWith(fold(self.some_text()?).into()),
            Operator::EndsWith => Matcher::EndsWith(fold(self.some_text()?).into()),
            Operator::Contains | Operator::NotContains => {
                let needle = fold(self.some_text()?);
                let finder = Finder::new(needle.as_bytes()).into_owned();
                Matcher::Contains(Arc::new(Needle {
                    finder,
                    pairs: Pairs::of(needle.to_lowercase().as_bytes()),
                }))
            }
            Operator::RegexMatch => Matcher::Regex(Arc::new(self.regex()?)),
            Operator::InList | Operator::NotInList => {
                let mut list: Vec<Box<str>> =
                    self.list()?.into_iter().map(|text| fold(canonical(text)).into()).collect();
                list.sort_unstable();
                list.dedup();
                Matcher::InList(list.into())
            }
            Operator::IpInRange => {
                let networks: Result<Vec<_>, _> =
                    self.list()?.iter().map(|text| parse_network(text)).collect();
                Matcher::IpInRange(networks?.into())
            }
        })
    }

    fn text(&self) -> Result<String, String> {
        match &self.value {
            Value::Null => Err(format!("is missing; {} needs one", self.operator)),
            Value::Array(_) => Err(format!("is a list, which {} does not take; use in_list", self.operator)),
            value => scalar(value),
        }
    }

    fn some_text(&self) -> Result<String, String> {
        let text = self.text()?;
        if text.is_empty() {
            Err("is empty, so that it would match everything; use exists".to_owned())
        } else {
            Ok(text)
        }
    }

    fn list(&self) -> Result<Vec<String>, String> {
        let list = match &self.value {
            Value::Null => return Err(format!("is missing; {} needs a list", self.operator)),
            Value::Array(values) => values.iter().map(scalar).collect::<Result<Vec<_>, _>>()?,
            Value::String(text) => {
                text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
            }
            value => vec![scalar(value)?],
        };
        match list.len() {
            0 => Err("is an empty list; write [\"a\", \"b\"] or \"a, b\"".to_owned()),
            1..=MAX_LIST => Ok(list),
            more => {
                Err(format!("has {more} entries, at most {MAX_LIST} are allowed; use regex_match or a tag"))
            }
        }
    }

    fn regex(&self) -> Result<Regex, String> {
        RegexBuilder::new(&self.some_text()?)
            .case_insensitive(!self.case_sensitive)
            .size_limit(MAX_REGEX)
            .dfa_size_limit(MAX_REGEX)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => {
                    format!("is too large a regular expression (over {MAX_REGEX} bytes compiled); use smaller repetitions, or (?-u) for ASCII classes")
                }
                error => {
                    // The last line has the cause, those before it point at the place.
                    let text = error.to_string();
                    let cause = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                    format!("is no regular expression: {cause}")
                }
            })
    }
}

fn scalar(value: &Value) -> Result<String, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(bool) => bool.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            return Err("must be text, a number or a boolean".to_owned());
        }
    };
    if text.len() > MAX_VALUE { Err(format!("is longer than {MAX_VALUE} bytes")) } else { Ok(text) }
}

impl Check {
    /// What it needs to know of its field besides the text.
    pub(super) fn uses(&self) -> Use {
        match self.matcher {
            Matcher::IpInRange(_) => Use::Address,
            Matcher::Contains(_) => Use::Search,
            _ => Use::Text,
        }
    }

    /// How long it takes, roughly; the quick ones of a rule are tried first.
    pub(super) fn cost(&self) -> u8 {
        match self.matcher {
            Matcher::Exists | Matcher::Equals(_) | Matcher::StartsWith(_) | Matcher::EndsWith(_) => 0,
            Matcher::InList(_) | Matcher::IpInRange(_) => 1,
            Matcher::Contains(_) => 2,
            Matcher::Regex(_) => 3,
        }
    }

    /// How the values begin that it matches.
    pub(super) fn head(&self) -> Head {
        match &self.matcher {
            Matcher::Equals(text) => Head::of_all(text),
            Matcher::StartsWith(text) => Head::of_longer(text),
            _ => Head::ANY,
        }
    }

    /// It holds for what its operator does not match, and for a value that is not there.
    #[inline]
    pub(super) fn is_negated(&self) -> bool {
        self.negated
    }

    /// Whether a request has it whose value lies in that slot.
    #[inline]
    pub(super) fn holds(&self, values: &Values, slot: u32) -> bool {
        match values.bytes(slot, self.case_sensitive) {
            None => self.negated,
            Some(text) => self.matches(text, values, slot) != self.negated,
        }
    }

    #[inline]
    fn matches(&self, text: &[u8], values: &Values, slot: u32) -> bool {
        match &self.matcher {
            Matcher::Exists => true,
            Matcher::Equals(value) => text == value.as_bytes(),
            Matcher::StartsWith(value) => text.starts_with(value.as_bytes()),
            Matcher::EndsWith(value) => text.ends_with(value.as_bytes()),
            Matcher::InList(list) if list.len() <= SHORT => list.iter().any(|entry| entry.as_bytes() == text),
            Matcher::InList(list) => list.binary_search_by(|entry| entry.as_bytes().cmp(text)).is_ok(),
            Matcher::IpInRange(networks) => values
                .address(slot)
                .is_some_and(|address| networks.iter().any(|network| network.contains(&address))),
            Matcher::Contains(needle) => {
                values.pairs(slot).is_none_or(|pairs| pairs.may_contain(&needle.pairs))
                    && needle.finder.find(text).is_some()
            }
            Matcher::Regex(regex) => regex.is_match(text),
        }
    }
}

#[cfg(test)]
mod tests;
