//! Where things are: names only, nothing is looked at.

use std::path::{Path, PathBuf};

/// The longest path that fits a Unix socket address, bytes.
pub const MAX_SOCKET_PATH: usize = 107;
/// The longest name that we give to a socket in the runtime folder.
const MAX_SOCKET_NAME: usize = 32;

/// The folder for Unix sockets: `$XDG_RUNTIME_DIR/myagent-<hash>`, else `<data>/run`, else, where that is too long for a
/// socket address, `/tmp/myagent-<uid>-<hash>`. The hash is that of the data directory, so that two never meet.
pub fn runtime_dir(xdg_runtime_dir: Option<&Path>, data_dir: &Path, uid: u32) -> PathBuf {
    let hash = hash(data_dir.as_os_str().as_encoded_bytes());
    let fits = |dir: &PathBuf| dir.as_os_str().len() + 1 + MAX_SOCKET_NAME <= MAX_SOCKET_PATH;
    let in_xdg =
        xdg_runtime_dir.filter(|dir| dir.is_absolute()).map(|dir| dir.join(format!("myagent-{hash:016x}")));
    in_xdg
        .filter(fits)
        .or_else(|| Some(data_dir.join("run")).filter(fits))
        .unwrap_or_else(|| PathBuf::from(format!("/tmp/myagent-{uid}-{hash:016x}")))
}

/// The name of a runner's sockets: short whatever the service is called.
pub fn socket_name(start_id: crate::StartId, kind: char) -> String {
    let id = start_id.0.simple().to_string();
    format!("{}.{kind}", &id[id.len() - 20..])
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): stable across versions of this program, unlike the standard library's hashes.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_always_fit() {
        let long = PathBuf::from(format!("/{}", "x".repeat(200)));
        let xdg = Path::new("/run/user/1000");
        let check = |xdg, data: &Path, prefix: &str| {
            let dir = runtime_dir(xdg, data, 1000);
            assert!(dir.starts_with(prefix), "{dir:?}");
            let socket = dir.join(socket_name(crate::StartId(uuid::Uuid::max()), 'c'));
            assert!(socket.as_os_str().len() <= MAX_SOCKET_PATH);
        };
        check(Some(xdg), Path::new("/data"), "/run/user/1000");
        check(Some(Path::new("relative")), Path::new("/data"), "/data/run");
        check(Some(long.as_path()), Path::new("/data"), "/data/run");
        check(None, Path::new("/data"), "/data/run");
        check(None, &long, "/tmp");
        assert!(runtime_dir(None, &long, 7).to_string_lossy().starts_with("/tmp/myagent-7-"));
        assert_ne!(runtime_dir(Some(xdg), Path::new("/a"), 1), runtime_dir(Some(xdg), Path::new("/b"), 1));
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
