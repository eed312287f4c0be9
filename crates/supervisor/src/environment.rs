//! The environment of an agent: the manager's own, then `.env` beside the agent, then the service's variables and secrets,
//! then ours.

use myagent_core::service::{Service, Source};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Merges it; later ones win. An unreadable `.env` is an error, so that an agent never starts half configured.
pub(crate) fn merge(
    own: impl Iterator<Item = (String, String)>,
    service: &Service,
    secrets: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, String> {
    let mut merged: BTreeMap<String, String> =
        own.filter(|(name, _)| !name.starts_with("MYAGENT_")).collect();
    if let Some(folder) = folder(&service.source) {
        merged.extend(read_dot_env(&folder.join(".env"))?);
    }
    merged.extend(service.environment.clone());
    if let Some(secret) = service.secret_names.iter().find(|secret| !secrets.contains_key(*secret)) {
        let name = &service.name;
        return Err(format!(
            "the secret {secret} cannot be read with the present secret.key; restore that file, or set it again: myagent-manager update {name} --secret {secret}"
        ));
    }
    merged.extend(secrets.clone());
    Ok(merged)
}

/// The folder in which an agent runs.
pub(crate) fn folder(source: &Source) -> Option<PathBuf> {
    match source {
        Source::File { path, .. } => path.parent().map(Path::to_owned),
        Source::Command { cwd, .. } => cwd.clone(),
        Source::External { .. } => None,
    }
}

fn read_dot_env(path: &Path) -> Result<Vec<(String, String)>, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let pairs: Result<_, _> = dotenvy::from_read_iter(text.as_bytes()).collect();
    pairs.map_err(|error| format!("{}: {}", path.display(), at_fault(&text, &error)))
}

/// What is wrong with a `.env`, without its content: that may be a secret, and the message goes to logs and `status`.
fn at_fault(text: &str, error: &dotenvy::Error) -> String {
    let dotenvy::Error::LineParse(found, _) = error else { return "cannot be read".to_owned() };
    let first = found.lines().next().unwrap_or_default().trim();
    let number = text.lines().position(|line| line.trim() == first);
    let place = number.map_or_else(|| "a line".to_owned(), |number| format!("line {}", number + 1));
    format!("{place} is not KEY=VALUE, or its quote is not closed")
}

/// The interpreter for an agent file: the one named, else `.venv` beside the file, else `python3` of the `PATH`.
pub(crate) fn python(file: &Path, named: Option<&Path>, path: Option<&str>) -> Result<PathBuf, String> {
    if let Some(named) = named {
        return if named.is_file() {
            Ok(named.to_owned())
        } else {
            Err(format!("no Python at {}", named.display()))
        };
    }
    let beside =
        file.parent().map(|folder| folder.join(".venv/bin/python")).filter(|python| python.is_file());
    let in_path = || {
        path.unwrap_or_default()
            .split(':')
            .filter(|folder| !folder.is_empty())
            .map(|folder| Path::new(folder).join("python3"))
            .find(|python| python.is_file())
    };
    beside
        .or_else(in_path)
        .ok_or_else(|| "no python3 in the PATH; install Python 3.9 or later, or use --python".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use myagent_core::config::ServiceConfig;
    use myagent_core::service::Desired;

    fn service(folder: &Path) -> Service {
        Service {
            service_id: myagent_core::ServiceId(uuid::Uuid::nil()),
            name: "a".into(),
            description: String::new(),
            source: Source::File { path: folder.join("agent.py"), python: None, worker: None },
            host: "127.0.0.1".into(),
            port: None,
            tags: Default::default(),
            replicas: 1,
            config: ServiceConfig::default(),
            environment: [("B".to_owned(), "service".to_owned()), ("C".to_owned(), "service".to_owned())]
                .into(),
            secret_names: Default::default(),
            desired: Desired::Running,
            version: 1,
            restart_version: 0,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            updated_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn later_ones_win() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".env"), "A=file\nB='of file'\n# comment\nexport D=\"x y\"\n")
            .unwrap();
        let own = [("A", "own"), ("E", "own"), ("MYAGENT_DATA_DIR", "x")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()));
        let secrets = [("C".to_owned(), "secret".to_owned())].into();
        let merged = merge(own.into_iter(), &service(folder.path()), &secrets).unwrap();
        let expected = [("A", "file"), ("B", "service"), ("C", "secret"), ("D", "x y"), ("E", "own")];
        assert_eq!(merged.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), expected);
        for text in ["# why\nA='open\n", "A=1\nhidden open\n"] {
            std::fs::write(folder.path().join(".env"), text).unwrap();
            let error = merge(std::iter::empty(), &service(folder.path()), &BTreeMap::new()).unwrap_err();
            assert!(error.contains(".env: line 2 is not KEY=VALUE") && !error.contains("open"), "{error}");
        }
    }

    #[test]
    fn a_secret_that_cannot_be_read_is_told_and_not_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let service = Service { secret_names: ["TOKEN".to_owned()].into(), ..service(folder.path()) };
        let error = merge(std::iter::empty(), &service, &BTreeMap::new()).unwrap_err();
        assert!(error.contains("update a --secret TOKEN"), "{error}");
        let secrets = [("TOKEN".to_owned(), "x".to_owned())].into();
        assert_eq!(merge(std::iter::empty(), &service, &secrets).unwrap()["TOKEN"], "x");
    }

    #[test]
    fn the_interpreter_is_found_where_the_design_says() {
        let folder = tempfile::tempdir().unwrap();
        let (file, bin) = (folder.path().join("agent.py"), folder.path().join("bin"));
        std::fs::create_dir_all(&bin).unwrap();
        assert!(python(&file, None, bin.to_str()).unwrap_err().contains("--python"));
        std::fs::write(bin.join("python3"), "").unwrap();
        assert_eq!(python(&file, None, bin.to_str()).unwrap(), bin.join("python3"));
        let venv = folder.path().join(".venv/bin");
        std::fs::create_dir_all(&venv).unwrap();
        std::fs::write(venv.join("python"), "").unwrap();
        assert_eq!(python(&file, None, bin.to_str()).unwrap(), venv.join("python"));
        assert_eq!(python(&file, Some(&bin.join("python3")), None).unwrap(), bin.join("python3"));
        assert!(python(&file, Some(&bin.join("none")), None).is_err());
    }
}
