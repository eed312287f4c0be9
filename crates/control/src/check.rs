//! What must be true on this machine for a service to be registered: files that exist, programs that can be run.

use myagent_core::error::FieldError;
use myagent_core::service::{Service, Source};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Checks a service against the machine and the manager's settings; all faults at once.
pub(crate) fn service(service: &Service, allow_sources: &[String]) -> Result<(), Vec<FieldError>> {
    let mut errors = service.validate().err().unwrap_or_default();
    let kind = service.source.kind();
    if !allow_sources.iter().any(|allowed| allowed == kind) {
        let message =
            format!("{kind} sources are switched off here (allow_sources = {})", allow_sources.join(", "));
        errors.push(FieldError::new("source.kind", message));
    }
    if errors.is_empty() {
        errors.extend(source(&service.source));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn source(source: &Source) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut check = |field: &str, result: Result<(), String>| {
        errors.extend(result.err().map(|message| FieldError::new(field, message)));
    };
    match source {
        Source::File { path, python, worker } => {
            check("source.path", agent_file(path));
            if let Some(python) = python {
                check("source.python", program(python));
            }
            if let Some(worker) = worker {
                check("source.worker", program(worker));
            }
        }
        Source::Command { argv, cwd, .. } => {
            check("source.argv", program(Path::new(argv.first().map_or("", String::as_str))));
            if let Some(cwd) = cwd {
                check("source.cwd", folder(cwd));
            }
        }
        // Whether anybody is there is seen when it is started.
        Source::External { .. } => {}
    }
    errors
}

fn agent_file(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let metadata = absolute(path)?;
    if metadata.is_dir() {
        return Err(format!("{shown} is a directory; give the agent's Python file in it"));
    }
    if metadata.len() == 0 {
        return Err(format!("{shown} is empty; it must define agent, create_agent() or agent_factory()"));
    }
    let mut byte = [0];
    let readable = std::fs::File::open(path).and_then(|mut file| file.read(&mut byte));
    readable.map(|_| ()).map_err(|error| format!("cannot read {shown}: {error}"))
}

fn program(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let metadata = absolute(path)?;
    if metadata.is_dir() {
        return Err(format!("{shown} is a directory; give a program"));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(format!("{shown} is not executable; run chmod +x on it, or name its interpreter first"));
    }
    Ok(())
}

fn folder(path: &Path) -> Result<(), String> {
    if absolute(path)?.is_dir() { Ok(()) } else { Err(format!("{} is not a directory", path.display())) }
}

fn absolute(path: &Path) -> Result<std::fs::Metadata, String> {
    if !path.is_absolute() {
        return Err(format!("{} is not an absolute path", path.display()));
    }
    std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("{} does not exist", path.display()),
        _ => format!("cannot look at {}: {error}", path.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn each_fault_is_told_with_its_path() {
        let folder_path = tempfile::tempdir().unwrap();
        let at = |name: &str| folder_path.path().join(name);
        std::fs::write(at("empty.py"), "").unwrap();
        std::fs::write(at("agent.py"), "agent = 1").unwrap();
        let check = |source: Source, expected: &str| {
            let text = self::source(&source).iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            assert!(
                text.contains(expected) && text.is_empty() == expected.is_empty(),
                "{text:?} / {expected:?}"
            );
        };
        let file = |name: &str| Source::File { path: at(name), python: None, worker: None };
        check(file("agent.py"), "");
        check(file("none.py"), "source.path: ");
        check(file("empty.py"), "is empty");
        check(file(""), "is a directory; give the agent's");
        let relative = Source::File { path: "a.py".into(), python: None, worker: None };
        check(relative, "not an absolute path");
        let python = Source::File { path: at("agent.py"), python: Some(at("agent.py")), worker: None };
        check(python, "source.python: ");
        let worker =
            |worker: PathBuf| Source::File { path: at("agent.py"), python: None, worker: Some(worker) };
        check(worker("/bin/sh".into()), "");
        check(worker(at("none")), "source.worker: ");
        check(worker(at("agent.py")), "not executable; run chmod +x");
        check(worker("worker.mjs".into()), "source.worker: worker.mjs is not an absolute path");
        let command = |program: &str| Source::Command { argv: vec![program.into()], cwd: None, path: None };
        check(command("/bin/sh"), "");
        check(command(at("agent.py").to_str().unwrap()), "not executable; run chmod +x");
        check(command("/"), "is a directory; give a program");
        let cwd = Source::Command { argv: vec!["/bin/sh".into()], cwd: Some(at("agent.py")), path: None };
        check(cwd, "source.cwd: ");
        check(Source::External { url: "wss://h".into() }, "");
    }
}
