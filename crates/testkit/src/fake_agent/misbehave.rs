//! What a bad agent does besides serving: floods its output, eats memory and processor time, leaves descendants behind.

use super::options::Options;
use rustix::process::getpid;
use serde_json::json;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;
use tokio::time::Instant;

/// File names of the descendants, by the way they were started.
pub const DESCENDANTS: [&str; 5] = ["plain", "ignores_term", "setsid", "double_fork", "detached"];

/// A descendant that nobody ends goes by itself after this time.
const DESCENDANT_LIFE: Duration = Duration::from_mins(10);

/// Each line starts one of [`DESCENDANTS`], all but the plain child. `$0` is this program, `$1` the folder.
const TREE: &str = r#"
(trap '' TERM; exec "$0" --descendant "$1/ignores_term") &
setsid "$0" --descendant "$1/setsid" &
("$0" --descendant "$1/double_fork" &)
(setsid env -i "$0" --descendant "$1/detached" &)
"#;

/// Starts everything that runs beside the serving.
pub(super) fn start(options: &Options) -> io::Result<()> {
    if options.print_env {
        let mut variables: Vec<_> = std::env::vars_os().collect();
        variables.sort();
        let mut out = io::stdout().lock();
        for (name, value) in variables {
            writeln!(out, "{}={}", name.display(), value.display())?;
        }
    }
    if let Some(folder) = &options.spawn_tree {
        spawn_tree(folder)?;
    }
    if let Some((rate, time)) = options.flood {
        let report = options.flood_report.clone();
        // The end of the output is the end of the flood.
        thread::spawn(move || drop(flood(rate, time, report.as_deref())));
    }
    if let Some(rate) = options.leak_mb_per_s {
        thread::spawn(move || leak(rate));
    }
    if options.burn_cpu {
        thread::spawn(|| {
            loop {
                std::hint::spin_loop();
            }
        });
    }
    Ok(())
}

fn spawn_tree(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let program = std::env::current_exe()?;
    Command::new(&program).arg("--descendant").arg(folder.join(DESCENDANTS[0])).spawn()?;
    // The shell ends at once, so that those started in its background are orphans of different kinds.
    Command::new("sh").arg("-c").arg(TREE).arg(program).arg(folder).spawn()?.wait()?;
    Ok(())
}

/// Writes the PID and waits to be ended.
pub(super) fn be_descendant(file: &Path) -> io::Result<()> {
    write_whole(file, &getpid().as_raw_nonzero().to_string())?;
    let end = Instant::now() + DESCENDANT_LIFE;
    while Instant::now() < end {
        thread::park_timeout(Duration::from_secs(1));
    }
    Ok(())
}

/// Whoever sees the file sees all of it.
fn write_whole(file: &Path, text: &str) -> io::Result<()> {
    let unfinished = file.with_extension("unfinished");
    std::fs::write(&unfinished, text)?;
    std::fs::rename(&unfinished, file)
}

/// Lines of a block, each of 97 bytes.
const FLOOD_LINES: usize = 100;

fn flood(mb_per_s: f64, time: Duration, report: Option<&Path>) -> io::Result<()> {
    let block = format!("{}\n", "flood ".repeat(16)).repeat(FLOOD_LINES);
    let start = Instant::now();
    let (mut blocks, mut longest) = (0, Duration::ZERO);
    while start.elapsed() < time {
        let before = Instant::now();
        io::stdout().lock().write_all(block.as_bytes())?;
        longest = longest.max(before.elapsed());
        blocks += 1;
        let written = (blocks * block.len()) as f64 / 1e6;
        let ahead = if mb_per_s > 0.0 { written / mb_per_s - start.elapsed().as_secs_f64() } else { 0.0 };
        if ahead > 0.0 {
            thread::park_timeout(Duration::from_secs_f64(ahead));
        }
    }
    if let Some(file) = report {
        let lines = blocks * FLOOD_LINES;
        let said = json!({"lines": lines, "longest_write_ms": longest.as_secs_f64() * 1e3});
        write_whole(file, &said.to_string())?;
    }
    writeln!(io::stdout().lock(), "flood over: {:.1} MB", (blocks * block.len()) as f64 / 1e6)
}

fn leak(mb_per_s: u64) {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    loop {
        // Written to, or the kernel would give no memory for it.
        kept.push(vec![1; mb_per_s as usize * (1 << 20) / 10]);
        std::hint::black_box(&kept);
        thread::park_timeout(Duration::from_millis(100));
    }
}
