//! What `doctor` looks at: each check looks at one thing and says how it is and what to do about it. Nothing is changed,
//! and no manager is needed.

mod asked;
mod fleet;
mod machine;
mod ownership;
mod place;

pub(crate) use asked::Examiner;

use crate::config;
use crate::datadir::DataDir;
use myagent_core::diagnosis::Finding;
use myagent_core::settings::Settings;

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
    use myagent_core::diagnosis::Level;

    #[tokio::test]
    async fn a_new_data_directory_is_not_broken_and_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let args = GlobalArgs { data_dir: Some(dir.path().join("new")), ..GlobalArgs::default() };
        let findings = examine(&DataDir::resolve(&args).unwrap()).await;
        let mut checks: Vec<_> = findings.iter().map(|finding| finding.check.as_str()).collect();
        checks.dedup();
        assert_eq!(checks.len(), 11);
        let of_place =
            |finding: &&Finding| ["directory", "secret.key", "manager"].contains(&finding.check.as_str());
        assert!(
            findings.iter().filter(of_place).all(|finding| finding.level != Level::Broken),
            "{findings:?}"
        );
        assert!(findings.iter().all(|finding| (finding.level == Level::Ok) == finding.fix.is_none()));
        assert!(!dir.path().join("new").exists());
    }
}
