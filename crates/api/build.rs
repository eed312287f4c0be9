//! Has the crate built again when the build of the web console changes, which is embedded in it.

use std::fs;
use std::io::{self, Write};

/// What Vite writes, from this crate's folder.
const DIST: &str = "../../console/dist";

fn main() -> io::Result<()> {
    let mut cargo = io::stdout().lock();
    // Cargo takes what is not there for changed, each time: an empty folder can be watched, a missing one cannot.
    if let Err(error) = fs::create_dir_all(DIST) {
        writeln!(
            cargo,
            "cargo::warning=failed to make {DIST}, so this crate is built anew each time: {error}"
        )?;
    }
    writeln!(cargo, "cargo::rerun-if-changed={DIST}")?;
    writeln!(cargo, "cargo::rerun-if-changed=build.rs")
}
