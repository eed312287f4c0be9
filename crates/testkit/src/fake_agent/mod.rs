//! A command agent for tests: it speaks the event protocol, and misbehaves in any way its options say.

mod http;
mod misbehave;
mod options;
mod protocol;
mod serve;

pub use misbehave::DESCENDANTS;
pub use options::{Options, UsageError};
pub use serve::{main, serve};

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// Name of the program.
const NAME: &str = "myagent-fake-agent";

/// The program, beside the tests in the target directory. It is built if it is missing or older than its source, because
/// cargo does not build the programs of a dev-dependency.
pub fn path() -> PathBuf {
    let tests = std::env::current_exe().unwrap_or_default();
    let profile = tests.ancestors().find(|folder| folder.ends_with("deps")).and_then(Path::parent);
    let profile = profile.map_or_else(|| PathBuf::from("target/debug"), Path::to_owned);
    let program = profile.join(NAME);
    if !is_fresh(&program) {
        build(&profile);
        assert!(program.exists(), "{} was not built", program.display());
    }
    program
}

fn is_fresh(program: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let Some(built) = modified(program) else { return false };
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let newest = [source.join("fake_agent"), source.join("bin")]
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .flatten()
        .filter_map(|entry| modified(&entry.path()))
        .max();
    newest.unwrap_or(SystemTime::UNIX_EPOCH) <= built
}

fn build(profile: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "-p", "myagent-testkit", "--bin", NAME]);
    if profile.ends_with("release") {
        command.arg("--release");
    }
    command.arg("--target-dir").arg(profile.parent().unwrap_or(profile));
    let status = command.current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(status.is_ok_and(|status| status.success()), "{NAME} cannot be built");
}
