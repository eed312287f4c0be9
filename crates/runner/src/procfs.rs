//! Reads the few facts of `/proc` that the tree needs: parents, start times, processor time, memory, environment tags.
//! It owns no state and decides nothing. A process that is gone, or not ours to read, is simply `None`.

use std::fs;
use std::io::Read;

/// Name of the variable that tags every process of one start.
pub(crate) const START_ID_VARIABLE: &str = "MYAGENT_START_ID";

/// A process, told apart from a later one with the same number by its start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub(crate) struct ProcessId {
    /// Number.
    pub(crate) pid: u32,
    /// Clock ticks between boot and its start.
    pub(crate) start: u64,
}

/// One line of `/proc/<pid>/stat`, as far as it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Who.
    pub(crate) id: ProcessId,
    /// Its parent.
    pub(crate) parent: u32,
    /// It has ended and waits for its parent.
    pub(crate) zombie: bool,
    /// User and system time, clock ticks.
    pub(crate) ticks: u64,
    /// Resident memory, pages.
    pub(crate) resident_pages: u64,
}

/// The process of that number, if there is one.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    // One read into a small buffer: this runs once a second for each process of each tree.
    let mut file = fs::File::open(format!("/proc/{pid}/stat")).ok()?;
    let mut buffer = [0u8; 1024];
    let length = file.read(&mut buffer).ok()?;
    parse_stat(pid, &String::from_utf8_lossy(&buffer[..length]))
}

fn parse_stat(pid: u32, line: &str) -> Option<Stat> {
    // The name is in parentheses and may itself contain spaces and parentheses.
    let (_, rest) = line.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    Some(Stat {
        id: ProcessId { pid, start: number(19)? },
        parent: u32::try_from(number(1)?).ok()?,
        // A leader that ended before its other threads looks like a zombie too, but its process still runs.
        zombie: matches!(*fields.first()?, "Z" | "X") && number(17)? <= 1,
        ticks: number(11)? + number(12)?,
        resident_pages: number(21)?,
    })
}

/// Every process of the machine, as far as it can be read.
pub(crate) fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(stat)
        .collect()
}

/// The children of all threads of a process; `None` if this kernel does not tell.
pub(crate) fn children(pid: u32) -> Option<Vec<u32>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let text = fs::read_to_string(task.path().join("children")).ok()?;
        found.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Some(found)
}

/// Whether the process was started with this start's tag in its environment.
pub(crate) fn has_tag(pid: u32, start_id: &str) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    environment.split(|byte| *byte == 0).any(|variable| {
        variable
            .strip_prefix(START_ID_VARIABLE.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"="))
            .is_some_and(|value| value == start_id.as_bytes())
    })
}

/// Memory of a process with shared pages divided among their users, bytes. Slow: the kernel walks the page tables.
pub(crate) fn proportional_bytes(pid: u32) -> Option<u64> {
    sum_of_lines(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, &["Pss:"])
}

/// Memory of this process that it shares with nobody, bytes.
pub(crate) fn own_private_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    sum_of_lines(&text, &["Private_Clean:", "Private_Dirty:"])
}

fn sum_of_lines(text: &str, names: &[&str]) -> Option<u64> {
    let kilobytes = |line: &str| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok();
    let mut lines = text.lines().filter(|line| names.iter().any(|name| line.starts_with(name))).peekable();
    lines.peek()?;
    Some(lines.filter_map(kilobytes).sum::<u64>() * 1024)
}

/// Tells this boot from the next; start times count from it.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_contain_anything() {
        let line = "7 (a) b (c)) S 3 7 7 0 -1 4194560 1 0 0 0 11 22 0 0 20 0 1 0 4444 1000 55 1844 1 1";
        let expected = Stat {
            id: ProcessId { pid: 7, start: 4444 },
            parent: 3,
            zombie: false,
            ticks: 33,
            resident_pages: 55,
        };
        assert_eq!(parse_stat(7, line), Some(expected));
        for garbage in ["", "7 (a", "7 (a) S", "7 (a) S x"] {
            assert_eq!(parse_stat(7, garbage), None);
        }
    }

    #[test]
    fn this_process_is_found_with_its_memory_and_environment() {
        let own = std::process::id();
        let found = stat(own).unwrap();
        assert!(all().iter().any(|stat| stat.id == found.id));
        assert!(found.resident_pages > 0 && !found.zombie);
        assert!(own_private_bytes().unwrap() > 0 && proportional_bytes(own).unwrap() > 0);
        assert!(!has_tag(own, "no such start"));
        assert!(!boot_id().is_empty());
        assert_eq!(stat(0), None);
    }
}
