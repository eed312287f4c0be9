//! Where this process's own control groups are in the file system: `/proc/self/cgroup` laid over `/proc/self/mountinfo`.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Of the kernel's control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// One hierarchy for each controller.
    One,
    /// One for all.
    Two,
}

/// The two files.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    groups: String,
    mounts: String,
}

impl Mounts {
    /// Those of this process; empty where there is no `/proc`.
    pub(crate) fn of_this_process() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self { groups: read("/proc/self/cgroup"), mounts: read("/proc/self/mountinfo") }
    }

    /// Folder of our group in the version 2 hierarchy.
    pub(crate) fn version_2(&self) -> Option<PathBuf> {
        let group = self.groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        self.folder(group, |mount| mount.kind == "cgroup2")
    }

    /// Folder of our group in the version 1 hierarchy of a controller.
    pub(crate) fn version_1(&self, controller: &str) -> Option<PathBuf> {
        let has = |list: &str| list.split(',').any(|name| name == controller);
        let group = self.groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let controllers = fields.nth(1)?;
            has(controllers).then(|| fields.next())?
        })?;
        self.folder(group, |mount| mount.kind == "cgroup" && has(mount.options))
    }

    fn folder(&self, group: &str, wanted: impl Fn(&Mount<'_>) -> bool) -> Option<PathBuf> {
        let mount = self.mounts.lines().filter_map(Mount::parse).find(|mount| wanted(mount))?;
        let below = Path::new(group).strip_prefix(unescape(mount.root)).ok()?;
        // A group outside our namespace is shown with `..`: not ours to make folders in.
        if below.components().any(|part| part == Component::ParentDir) {
            return None;
        }
        Some(Path::new(&unescape(mount.point)).join(below))
    }
}

struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let mut after = after.split(' ');
        Some(Self {
            root: before.next()?,
            point: before.next()?,
            kind: after.next()?,
            options: after.nth(1)?,
        })
    }
}

fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(groups: &str, mounts: &str) -> Mounts {
        Mounts { groups: groups.to_owned(), mounts: mounts.to_owned() }
    }

    #[test]
    fn a_pure_version_2_machine() {
        let found = mounts(
            "0::/user.slice/u.service\n",
            "24 1 0:2 / /proc rw - proc proc rw\n29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n",
        );
        assert_eq!(found.version_2(), Some("/sys/fs/cgroup/user.slice/u.service".into()));
        assert_eq!(found.version_1("memory"), None);
    }

    #[test]
    fn a_hybrid_machine_and_a_container() {
        let found = mounts(
            "4:memory:/docker/abc/x\n1:cpu,cpuacct:/\n0::/../other\n",
            "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             32 31 0:29 / /sys/fs/cgroup/cpu\\040x rw - cgroup cgroup rw,cpu,cpuacct\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        );
        assert_eq!(found.version_1("memory"), Some("/sys/fs/cgroup/memory/x".into()));
        assert_eq!(found.version_1("cpu"), Some("/sys/fs/cgroup/cpu x/".into()));
        assert_eq!(found.version_1("freezer"), None);
        assert_eq!(found.version_2(), None);
    }
}
