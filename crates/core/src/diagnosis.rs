//! What `doctor` finds: for each thing that it looks at, how that is and what to do about it. The command and the API show the same.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How bad it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = FindingLevel)]
pub enum Level {
    /// Well.
    #[default]
    Ok,
    /// It works, with less than it could be.
    Warning,
    /// Something will not work.
    Broken,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// A word for the check.
    pub check: String,
    /// How bad it is.
    pub level: Level,
    /// What was found, in a sentence.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// What all checks found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Diagnosis {
    /// The worst of the findings.
    pub level: Level,
    /// One for each check, in the order in which they were made.
    pub findings: Vec<Finding>,
}

impl Finding {
    /// All is well.
    pub fn ok(check: &str, message: impl Into<String>) -> Self {
        Self { check: check.to_owned(), level: Level::Ok, message: message.into(), fix: None }
    }

    /// It works, with less than it could be.
    pub fn warning(check: &str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Warning, fix: Some(fix.into()), ..Self::ok(check, message) }
    }

    /// Something will not work.
    pub fn broken(check: &str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Broken, fix: Some(fix.into()), ..Self::ok(check, message) }
    }
}

impl From<Vec<Finding>> for Diagnosis {
    fn from(findings: Vec<Finding>) -> Self {
        let level = findings.iter().map(|finding| finding.level).max().unwrap_or_default();
        Self { level, findings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnosis_is_as_bad_as_its_worst_finding() {
        let level = |findings: &[Finding]| Diagnosis::from(findings.to_vec()).level;
        let (well, bad) = (Finding::ok("python", "is there"), Finding::broken("ports", "none", "widen"));
        assert_eq!(level(&[]), Level::Ok);
        assert_eq!(level(std::slice::from_ref(&well)), Level::Ok);
        assert_eq!(level(&[well.clone(), Finding::warning("space", "little", "make room")]), Level::Warning);
        assert_eq!(level(&[bad, well.clone()]), Level::Broken);
        assert_eq!(
            serde_json::to_string(&well).unwrap(),
            r#"{"check":"python","level":"ok","message":"is there"}"#
        );
    }
}
