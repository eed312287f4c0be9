//! Which data directory is meant, and which manager holds it. Reads; never makes or changes anything.

use crate::cli::GlobalArgs;
use crate::exit::Failure;
use anyhow::{Context, Result};
use myagent_core::request::absolute;
pub(crate) use myagent_supervisor::start_time;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// One data directory; the manager in it is the one that is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DataDir {
    dir: PathBuf,
    database: PathBuf,
}

/// What a running manager leaves in its data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ManagerFile {
    /// Its process.
    pub(crate) pid: u32,
    /// Clock ticks between boot and its start, so that another process with its number is not taken for it.
    pub(crate) start_time: u64,
    /// Its socket.
    pub(crate) socket: PathBuf,
}

impl DataDir {
    /// `--data-dir`, else `--db-path`, else `MYAGENT_DATA_DIR`, else `$XDG_DATA_HOME/myagent`, else
    /// `~/.local/share/myagent`.
    pub(crate) fn resolve(args: &GlobalArgs) -> Result<Self> {
        let cwd = std::env::current_dir().context("failed to find the working directory")?;
        Self::choose(args, &cwd, |name| {
            std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
        })
    }

    fn choose(args: &GlobalArgs, cwd: &Path, variable: impl Fn(&str) -> Option<PathBuf>) -> Result<Self> {
        if args.data_dir.is_some() && args.db_path.is_some() {
            return Err(Failure::Usage("give --data-dir or --db-path, not both".to_owned()).into());
        }
        if let Some(file) = &args.db_path {
            let database = absolute(cwd, file);
            let mut dir = database.with_extension("");
            if dir == database {
                // A file without an extension cannot also be a directory.
                dir.as_mut_os_string().push(".d");
            }
            return Ok(Self { dir, database });
        }
        let dir = (args.data_dir.clone())
            .or_else(|| variable("MYAGENT_DATA_DIR"))
            .or_else(|| Some(variable("XDG_DATA_HOME").filter(|dir| dir.is_absolute())?.join("myagent")))
            .or_else(|| Some(variable("HOME")?.join(".local/share/myagent")))
            .context("neither MYAGENT_DATA_DIR nor HOME is set; give --data-dir DIR")?;
        let dir = absolute(cwd, &dir);
        let database = dir.join("myagent.db");
        Ok(Self { dir, database })
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// The flags that name it, for a manager that we start.
    pub(crate) fn as_args(&self) -> [std::ffi::OsString; 2] {
        if self.database == self.dir.join("myagent.db") {
            ["--data-dir".into(), self.dir.clone().into()]
        } else {
            ["--db-path".into(), self.database.clone().into()]
        }
    }

    /// The database, which `--db-path` puts beside the directory.
    pub(crate) fn database(&self) -> &Path {
        &self.database
    }

    /// The file that a running manager leaves.
    pub(crate) fn manager_file(&self) -> PathBuf {
        self.dir.join("manager.json")
    }

    /// The manager that runs, if one does.
    pub(crate) fn manager(&self) -> Option<ManagerFile> {
        let text = fs::read_to_string(self.manager_file()).ok()?;
        let manager: ManagerFile = serde_json::from_str(&text).ok()?;
        (start_time(manager.pid) == Some(manager.start_time)).then_some(manager)
    }

    /// The socket of the manager that runs, if one does.
    pub(crate) fn socket(&self) -> Option<PathBuf> {
        self.manager().map(|manager| manager.socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(args: &[&str], variables: &[(&str, &str)]) -> String {
        let value =
            |flag: &str| args.iter().position(|arg| *arg == flag).map(|at| PathBuf::from(args[at + 1]));
        let args = GlobalArgs { data_dir: value("-d"), db_path: value("-b"), ..GlobalArgs::default() };
        let variable = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value))
        };
        match DataDir::choose(&args, Path::new("/cwd"), variable) {
            Ok(data) => format!("{} {}", data.path().display(), data.database().display()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_nearest_word_counts() {
        let home = ("HOME", "/home/me");
        let xdg = ("XDG_DATA_HOME", "/xdg");
        let own = ("MYAGENT_DATA_DIR", "own");
        assert_eq!(choose(&["-d", "x"], &[home, xdg, own]), "/cwd/x /cwd/x/myagent.db");
        assert_eq!(choose(&["-b", "x/fleet.db"], &[home, own]), "/cwd/x/fleet /cwd/x/fleet.db");
        assert_eq!(choose(&["-b", "fleet"], &[]), "/cwd/fleet.d /cwd/fleet");
        assert_eq!(choose(&[], &[home, xdg, own]), "/cwd/own /cwd/own/myagent.db");
        assert_eq!(choose(&[], &[home, xdg]), "/xdg/myagent /xdg/myagent/myagent.db");
        assert_eq!(choose(&[], &[home, ("XDG_DATA_HOME", "relative")]), choose(&[], &[home]));
        assert_eq!(
            choose(&[], &[home]),
            "/home/me/.local/share/myagent /home/me/.local/share/myagent/myagent.db"
        );
        assert!(choose(&[], &[]).contains("give --data-dir"));
        assert!(choose(&["-d", "x", "-b", "y"], &[]).contains("not both"));
    }

    #[test]
    fn only_a_manager_that_lives_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let args = GlobalArgs { data_dir: Some(dir.path().to_owned()), ..GlobalArgs::default() };
        let data = DataDir::resolve(&args).unwrap();
        assert_eq!(data.socket(), None);
        let pid = std::process::id();
        let mut file = ManagerFile { pid, start_time: start_time(pid).unwrap(), socket: "/s".into() };
        fs::write(data.manager_file(), serde_json::to_string(&file).unwrap()).unwrap();
        assert_eq!(data.socket(), Some("/s".into()));
        file.start_time += 1;
        fs::write(data.manager_file(), serde_json::to_string(&file).unwrap()).unwrap();
        assert_eq!(data.socket(), None);
        fs::write(data.manager_file(), "{").unwrap();
        assert_eq!(data.socket(), None);
    }
}
