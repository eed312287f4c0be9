//! Can a control group be made, so that the whole process tree of an instance is ours even if its runner is killed?

use myagent_core::diagnosis::Finding;
use std::fs;
use std::path::{Path, PathBuf};

const CHECK: &str = "ownership";
/// With `1` runners make no group, with `v2` none of version 2.
const OFF_VARIABLE: &str = "MYAGENT_NO_CGROUP";

/// Tries version 2, then the freezer of version 1.
pub(super) fn check() -> Finding {
    check_without(&std::env::var(OFF_VARIABLE).unwrap_or_default())
}

fn check_without(off: &str) -> Finding {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut reasons = Vec::new();
    for (kind, place) in [("v2", version_2(&mounts, &groups)), ("v1", version_1(&mounts, &groups))] {
        let Some(place) = place else { continue };
        if off == "1" || off == kind {
            reasons.push(format!("{kind}: {OFF_VARIABLE}={off}"));
            continue;
        }
        match try_in(&place) {
            Ok(()) => {
                let message =
                    format!("process trees are held by control groups ({kind}, in {})", place.display());
                return Finding::ok(CHECK, message);
            }
            Err(error) => reasons.push(format!("{kind}: {}: {error}", place.display())),
        }
    }
    let why = if reasons.is_empty() { "none is mounted".to_owned() } else { reasons.join("; ") };
    Finding::warning(
        CHECK,
        format!("no control group can be made ({why}): a fully detached process may survive a killed runner"),
        "run the manager in a group of its own: Delegate=yes in its service unit, or systemd-run --user --scope",
    )
}

/// Makes a group and removes it.
fn try_in(place: &Path) -> std::io::Result<()> {
    let group = place.join(format!("myagent-doctor-{}", std::process::id()));
    fs::create_dir(&group)?;
    fs::remove_dir(&group)
}

fn version_2(mounts: &str, groups: &str) -> Option<PathBuf> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    place(mounts, own, |kind, _| kind == "cgroup2")
}

fn version_1(mounts: &str, groups: &str) -> Option<PathBuf> {
    let has_freezer = |list: &str| list.split(',').any(|word| word == "freezer");
    let own = groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        has_freezer(controllers).then_some(path)
    })?;
    place(mounts, own, |kind, options| kind == "cgroup" && has_freezer(options))
}

/// The folder of our own group in the first mount that fits.
fn place(mounts: &str, own: &str, fits: impl Fn(&str, &str) -> bool) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut after = after.split(' ');
        let (kind, options) = (after.next()?, after.nth(1)?);
        if !fits(kind, options) {
            return None;
        }
        let mut before = before.split(' ').skip(3);
        let (root, point) = (before.next()?, before.next()?);
        // In a container the mount shows a part of the tree only.
        let own = if root == "/" { own } else { own.strip_prefix(root).unwrap_or_default() };
        // Component by component, so that the group at the root has no slash at its end.
        Some(Path::new(point).join(own.trim_start_matches('/')).components().collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 25 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
36 30 0:32 / /sys/fs/cgroup/freezer rw,nosuid - cgroup cgroup rw,freezer
";

    #[test]
    fn our_own_group_is_found_in_both_versions() {
        let groups = "7:freezer:/user/7\n1:name=systemd:/init\n0::/user.slice/app\n";
        assert_eq!(version_2(HYBRID, groups), Some("/sys/fs/cgroup/unified/user.slice/app".into()));
        assert_eq!(version_1(HYBRID, groups), Some("/sys/fs/cgroup/freezer/user/7".into()));
        assert_eq!(version_2(HYBRID, "0::/\n"), Some("/sys/fs/cgroup/unified".into()));
        let container = "31 30 0:27 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert_eq!(version_2(container, "0::/docker/x/y\n"), Some("/sys/fs/cgroup/y".into()));
        assert_eq!(version_2("", groups), None);
        assert_eq!(version_1("", ""), None);
    }

    #[test]
    fn what_is_found_is_told_and_nothing_is_left() {
        assert_eq!(check_without("").check, CHECK);
        let off = check_without("1");
        assert!(off.message.contains("may survive"), "{}", off.message);
        let dir = tempfile::tempdir().unwrap();
        try_in(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
