//! What `doctor` looks at: each check looks at one thing and says how it is and what to do about it. Nothing is changed,
//! and no manager is needed.

mod fleet;
mod machine;
mod ownership;
mod place;

use crate::config;
use crate::datadir::DataDir;
use myagent_core::settings::Settings;
use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Well.
    Ok,
    /// It works, with less than it could be.
    Warning,
    /// Something will not work.
    Broken,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// A word for the check.
    pub(crate) check: &'static str,
    /// How bad it is.
    pub(crate) level: Level,
    /// What was found, in a sentence.
    pub(crate) message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, message: message.into(), fix: None }
    }

    fn warning(check: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, level: Level::Warning, message: message.into(), fix: Some(fix.into()) }
    }

    fn broken(check: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, level: Level::Broken, message: message.into(), fix: Some(fix.into()) }
    }
}

/// Makes all checks.
pub(crate) async fn examine(data: &DataDir) -> Vec<Finding> {
    let mut findings =
        vec![place::directory(data.path()), place::secret_key(data.path()), place::space(data.path())];
    let settings = match config::load(data) {
        Ok(settings) => {
            findings.push(Finding::ok("settings", "config.toml and MYAGENT_* variables are well formed"));
            settings
        }
        Err(error) => {
            findings.push(Finding::broken(
                "settings",
                format!("{error:#}"),
                "correct it, or remove the line",
            ));
            Settings::default()
        }
    };
    findings.push(machine::descriptors());
    findings.push(machine::pidfd());
    findings.push(machine::python());
    findings.push(ownership::check());
    findings.push(fleet::ports(settings.port_range));
    findings.push(fleet::manager(data).await);
    findings.push(fleet::orphans());
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::GlobalArgs;

    #[tokio::test]
    async fn a_new_data_directory_is_not_broken_and_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let args = GlobalArgs { data_dir: Some(dir.path().join("new")), ..GlobalArgs::default() };
        let findings = examine(&DataDir::resolve(&args).unwrap()).await;
        let mut checks: Vec<_> = findings.iter().map(|finding| finding.check).collect();
        checks.dedup();
        assert_eq!(checks.len(), 11);
        let of_place = |finding: &&Finding| ["directory", "secret.key", "manager"].contains(&finding.check);
        assert!(
            findings.iter().filter(of_place).all(|finding| finding.level != Level::Broken),
            "{findings:?}"
        );
        assert!(findings.iter().all(|finding| (finding.level == Level::Ok) == finding.fix.is_none()));
        assert!(!dir.path().join("new").exists());
    }
}
