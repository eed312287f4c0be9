//! The data directory: is it ours, is the key in it safe, is there room?

use crate::output::human::bytes;
use myagent_core::diagnosis::Finding;
use rustix::fs::{Access, access, statvfs};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Below this, something will soon fail.
const LITTLE_SPACE: u64 = 1 << 30;
/// Below this, something fails already.
const NO_SPACE: u64 = 50 << 20;
/// Length of a key, bytes.
const KEY_LENGTH: u64 = 32;

/// Can the manager use it, and only the manager's user?
pub(super) fn directory(dir: &Path) -> Finding {
    const CHECK: &str = "directory";
    let shown = dir.display();
    let metadata = match fs::metadata(dir) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let parent = existing(dir);
            return if access(parent, Access::WRITE_OK | Access::EXEC_OK).is_ok() {
                Finding::ok(CHECK, format!("{shown} is not there yet and can be made"))
            } else {
                let message = format!("{shown} is not there, and {} cannot be written", parent.display());
                Finding::broken(CHECK, message, "give another one with --data-dir")
            };
        }
        Err(error) => {
            return Finding::broken(
                CHECK,
                format!("{shown} cannot be read: {error}"),
                "give another one with --data-dir",
            );
        }
    };
    if !metadata.is_dir() {
        return Finding::broken(
            CHECK,
            format!("{shown} is not a directory"),
            "give another one with --data-dir",
        );
    }
    let (owner, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != own {
        let message = format!("{shown} belongs to user {owner}, and you are {own}");
        return Finding::broken(CHECK, message, "run as its owner, or give another one with --data-dir");
    }
    if access(dir, Access::WRITE_OK | Access::EXEC_OK | Access::READ_OK).is_err() {
        return Finding::broken(CHECK, format!("{shown} cannot be written"), format!("chmod 700 {shown}"));
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Finding::warning(
            CHECK,
            format!("{shown} is open to others (mode {mode:o})"),
            format!("chmod 700 {shown}"),
        );
    }
    Finding::ok(CHECK, format!("{shown} is ours alone"))
}

/// A key that others can read is refused by the manager; a damaged one makes secrets unreadable.
pub(super) fn secret_key(dir: &Path) -> Finding {
    const CHECK: &str = "secret.key";
    let path = dir.join("secret.key");
    let shown = path.display();
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Finding::ok(CHECK, "is made when a manager starts");
        }
        Err(error) => {
            return Finding::broken(
                CHECK,
                format!("{shown} cannot be read: {error}"),
                format!("chmod 600 {shown}"),
            );
        }
    };
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Finding::broken(
            CHECK,
            format!("{shown} can be read by others (mode {mode:o})"),
            format!("chmod 600 {shown}"),
        );
    }
    if !metadata.is_file() || metadata.len() != KEY_LENGTH {
        let message = format!("{shown} is damaged: {} bytes instead of {KEY_LENGTH}", metadata.len());
        return Finding::broken(
            CHECK,
            message,
            "bring it back from a backup; without it the stored secrets cannot be read",
        );
    }
    Finding::ok(CHECK, "is there, for its owner only")
}

/// The database, logs and journals need room.
pub(super) fn space(dir: &Path) -> Finding {
    const CHECK: &str = "disk space";
    let place = existing(dir);
    let stat = match statvfs(place) {
        Ok(stat) => stat,
        Err(error) => {
            let message = format!("the free space of {} is not known: {error}", place.display());
            return Finding::warning(CHECK, message, "look at it with: df -h");
        }
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let message = format!("{} free for {}", bytes(free), dir.display());
    let fix = "make room, or give a directory elsewhere with --data-dir";
    // Some file systems have no fixed number of files and say 0.
    if free < NO_SPACE || (stat.f_files > 0 && stat.f_favail == 0) {
        Finding::broken(CHECK, message, fix)
    } else if free < LITTLE_SPACE {
        Finding::warning(CHECK, message, fix)
    } else {
        Finding::ok(CHECK, message)
    }
}

/// The directory itself, or the nearest above it that is there.
fn existing(dir: &Path) -> &Path {
    dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use myagent_core::diagnosis::Level;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_directory_and_a_key_that_others_can_read_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        mode(dir.path(), 0o700);
        assert_eq!(directory(dir.path()).level, Level::Ok);
        mode(dir.path(), 0o755);
        assert_eq!(directory(dir.path()).level, Level::Warning);

        let key = dir.path().join("secret.key");
        assert_eq!(directory(&key.join("below")).level, Level::Ok);
        assert_eq!(secret_key(dir.path()).level, Level::Ok);
        fs::write(&key, [7; 32]).unwrap();
        mode(&key, 0o644);
        let finding = secret_key(dir.path());
        assert_eq!(
            (finding.level, finding.fix),
            (Level::Broken, Some(format!("chmod 600 {}", key.display())))
        );
        mode(&key, 0o600);
        assert_eq!(secret_key(dir.path()).level, Level::Ok);
        fs::write(&key, "short").unwrap();
        assert!(secret_key(dir.path()).message.contains("5 bytes instead of 32"));
        assert_eq!(directory(&key).level, Level::Broken);
        assert!(space(dir.path()).message.contains("free for"));
    }
}
