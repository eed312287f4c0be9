//! What a registered service shall run, as the caller sees it: files and programs are looked up in the caller's folder
//! and `PATH`, made absolute, and checked, so that a slip is told at once and not at the first start.

use anyhow::{Context, Result, bail};
use myagent_core::request::absolute;
use myagent_core::service::{Endpoint, Source};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where the caller stands.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Its working directory.
    pub(crate) cwd: PathBuf,
    /// Its `PATH`.
    pub(crate) path: OsString,
}

impl Caller {
    /// The process that we are.
    pub(crate) fn current() -> Result<Self> {
        let cwd = std::env::current_dir().context("failed to find the working directory")?;
        Ok(Self { cwd, path: std::env::var_os("PATH").unwrap_or_default() })
    }

    /// An agent file, absolute; a Python file, unless it has a worker of its own.
    pub(crate) fn agent_file(&self, file: &Path, has_worker: bool) -> Result<PathBuf> {
        let path = absolute(&self.cwd, file);
        let shown = path.display();
        let metadata =
            fs::metadata(&path).with_context(|| format!("failed to read the agent file {shown}"))?;
        if metadata.is_dir() {
            bail!("{shown} is a directory; give the file with the agent in it");
        }
        if !has_worker && !is_python(&path) {
            bail!(
                "{shown} is not a Python file (.py); to run a program, put it after --: register NAME -- {shown}; \
                 an agent in another language needs a worker: --worker PROGRAM"
            );
        }
        if metadata.len() == 0 {
            bail!("{shown} is empty; it needs create_agent(), agent or agent_factory()");
        }
        fs::File::open(&path).with_context(|| format!("failed to read the agent file {shown}"))?;
        Ok(path)
    }

    /// A program, absolute: a path from the working directory, a bare name from `PATH`.
    pub(crate) fn program(&self, program: &OsStr) -> Result<PathBuf> {
        if program.is_empty() {
            bail!("the program's name is empty");
        }
        if program.as_encoded_bytes().contains(&b'/') {
            let path = absolute(&self.cwd, Path::new(program));
            check_executable(&path)?;
            return Ok(path);
        }
        let found = std::env::split_paths(&self.path)
            .map(|dir| absolute(&self.cwd, &dir.join(program)))
            .find(|path| check_executable(path).is_ok());
        let shown = program.display();
        found.with_context(|| {
            format!("no program {shown} on the PATH; install it, or give its path (./{shown} for one in this folder)")
        })
    }

    /// A command and its arguments; it runs in the caller's folder.
    pub(crate) fn command(&self, argv: &[OsString], path: Option<&str>) -> Result<Source> {
        let Some((program, arguments)) = argv.split_first() else { bail!("the command after -- is missing") };
        if program.is_empty() {
            bail!("the program after -- is empty");
        }
        let mut absolute = vec![text(self.program(program)?.as_os_str())?];
        for argument in arguments {
            absolute.push(text(argument)?);
        }
        Ok(Source::Command { argv: absolute, cwd: Some(self.cwd.clone()), path: path.map(str::to_owned) })
    }

    /// A worker for an agent file, absolute.
    pub(crate) fn worker(&self, worker: &Path) -> Result<PathBuf> {
        self.program(worker.as_os_str()).context("failed to find the --worker program")
    }

    /// A Python interpreter, absolute.
    pub(crate) fn python(&self, python: &Path) -> Result<PathBuf> {
        self.program(python.as_os_str()).context("failed to find the --python interpreter")
    }
}

/// A file that the embedded worker can load, by its name.
pub(crate) fn is_python(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("py"))
}

/// An endpoint that runs already.
pub(crate) fn endpoint(url: &str) -> Result<Source> {
    match Endpoint::parse(url) {
        Ok(_) => Ok(Source::External { url: url.to_owned() }),
        Err(message) => bail!("--endpoint {message}"),
    }
}

fn text(argument: &OsStr) -> Result<String> {
    match argument.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => bail!("{} is not valid UTF-8", argument.display()),
    }
}

fn check_executable(path: &Path) -> Result<()> {
    let shown = path.display();
    let metadata = fs::metadata(path).with_context(|| format!("failed to find the program {shown}"))?;
    if metadata.is_dir() {
        bail!("{shown} is a directory, not a program");
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        bail!("{shown} is not executable; make it so with: chmod +x {shown}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene() -> (tempfile::TempDir, Caller) {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        fs::create_dir(dir.path().join("folder.py")).unwrap();
        fs::write(dir.path().join("agent.py"), "agent = 1\n").unwrap();
        fs::write(dir.path().join("empty.py"), "").unwrap();
        fs::write(dir.path().join("notes.txt"), "x").unwrap();
        fs::write(bin.join("serve"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(bin.join("serve"), fs::Permissions::from_mode(0o755)).unwrap();
        let caller = Caller {
            cwd: dir.path().to_owned(),
            path: OsString::from(format!("/nowhere:{}", bin.display())),
        };
        (dir, caller)
    }

    #[test]
    fn files_and_programs_become_absolute() {
        let (dir, caller) = scene();
        assert_eq!(caller.agent_file(Path::new("./agent.py"), false).unwrap(), dir.path().join("agent.py"));
        assert_eq!(caller.agent_file(Path::new("notes.txt"), true).unwrap(), dir.path().join("notes.txt"));
        let serve = dir.path().join("bin/serve");
        assert_eq!(caller.program(OsStr::new("serve")).unwrap(), serve);
        assert_eq!(caller.program(OsStr::new("bin/serve")).unwrap(), serve);
        assert_eq!(caller.python(&serve).unwrap(), serve);
        assert_eq!(caller.worker(Path::new("./bin/serve")).unwrap(), serve);
        assert_eq!(caller.worker(Path::new("serve")).unwrap(), serve);
        let argv = ["serve", "--port", "{port}"].map(OsString::from);
        let expected = Source::Command {
            argv: vec![serve.to_str().unwrap().to_owned(), "--port".to_owned(), "{port}".to_owned()],
            cwd: Some(dir.path().to_owned()),
            path: Some("/ws".to_owned()),
        };
        assert_eq!(caller.command(&argv, Some("/ws")).unwrap(), expected);
        assert!(endpoint("wss://agents.example:7000/ws").is_ok());
    }

    #[test]
    fn each_slip_is_told_with_the_way_out() {
        let (_dir, caller) = scene();
        let check = |result: Result<()>, expected: &str| {
            let message = format!("{:#}", result.unwrap_err());
            assert!(message.contains(expected), "{message:?} lacks {expected:?}");
        };
        let file = |name: &str| caller.agent_file(Path::new(name), false).map(drop);
        check(file("missing.py"), "No such file");
        check(file("folder.py"), "is a directory; give the file");
        check(file("empty.py"), "is empty; it needs create_agent()");
        check(file("notes.txt"), "is not a Python file");
        check(file("notes.txt"), "--worker PROGRAM");
        check(caller.worker(Path::new("./none")).map(drop), "failed to find the --worker program");
        check(caller.worker(Path::new("./notes.txt")).map(drop), "chmod +x");
        let program = |name: &str| caller.program(OsStr::new(name)).map(drop);
        check(program("missing"), "no program missing on the PATH");
        check(program("./missing"), "failed to find the program");
        check(program("./bin"), "is a directory, not a program");
        check(program("./notes.txt"), "chmod +x");
        check(program(""), "is empty");
        check(caller.command(&[], None).map(drop), "is missing");
        check(endpoint("http://x").map(drop), "does not start with ws:// or wss://");
    }
}
