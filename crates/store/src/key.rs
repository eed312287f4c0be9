//! The key that secrets are encrypted with: 32 random bytes in `secret.key`, readable by its owner only.
//!
//! Whoever has both the key and the database has the secrets; the key keeps them out of copies of the database alone.

use crate::error::StoreError;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

const LENGTH: usize = 32;
const FILE: &str = "secret.key";

/// The key. Never shown, not even by `Debug`.
#[derive(Clone)]
pub struct SecretKey([u8; LENGTH]);

impl SecretKey {
    /// A key of these bytes, for tests and for callers that keep it elsewhere.
    pub fn from_bytes(bytes: [u8; LENGTH]) -> Self {
        Self(bytes)
    }

    /// Reads `secret.key` in the data directory, or makes it (mode 0600). Two processes that make it at once get the
    /// same one. A key that others can read is refused.
    pub fn load_or_create(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        if let Some(key) = load(&path)? {
            return Ok(key);
        }
        create(dir, &path)?;
        load(&path)?.ok_or_else(|| StoreError::from_io("read", &path, ErrorKind::NotFound.into()))
    }

    pub(crate) fn bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

fn load(path: &Path) -> Result<Option<SecretKey>, StoreError> {
    let failed = |error| StoreError::from_io("read", path, error);
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(StoreError::IsDirectory { operation: "read the key".to_owned(), path: path.to_owned() });
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(StoreError::KeyExposed { path: path.to_owned(), mode });
    }
    if metadata.len() != LENGTH as u64 {
        return Err(StoreError::KeyDamaged { path: path.to_owned(), length: metadata.len() });
    }
    let mut bytes = [0; LENGTH];
    file.read_exact(&mut bytes).map_err(failed)?;
    Ok(Some(SecretKey(bytes)))
}

/// Writes the key under another name and links it into place, so that nobody ever reads half of it and the first of two
/// processes wins.
fn create(dir: &Path, path: &Path) -> Result<(), StoreError> {
    let mut bytes = [0; LENGTH];
    let mut suffix = [0; 8];
    for buffer in [&mut bytes[..], &mut suffix[..]] {
        getrandom::fill(buffer).map_err(|error| StoreError::Crypto {
            operation: "make secret.key".to_owned(),
            detail: error.to_string(),
        })?;
    }
    let temporary = dir.join(format!("{FILE}.{:016x}", u64::from_ne_bytes(suffix)));
    let result = write_and_link(&bytes, &temporary, path);
    // A leftover does no harm: it is a key that nothing was encrypted with.
    let _ = fs::remove_file(&temporary);
    match result {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(StoreError::from_io("make", path, error))
        }
        _ => Ok(()),
    }
}

fn write_and_link(bytes: &[u8], temporary: &Path, path: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::hard_link(temporary, path)?;
    // The name must survive a power cut too: secrets encrypted with a lost key are lost.
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let keys: Vec<[u8; LENGTH]> = std::thread::scope(|scope| {
            let load = || *SecretKey::load_or_create(dir.path()).unwrap().bytes();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0] && *key != [0; LENGTH]));
        let files: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files, [FILE]);
        assert_eq!(fs::metadata(dir.path().join(FILE)).unwrap().mode() & 0o777, 0o600);
        assert_eq!(format!("{:?}", SecretKey::from_bytes(keys[0])), "SecretKey(…)");
    }

    #[test]
    fn a_key_that_cannot_be_trusted_is_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let refused = || SecretKey::load_or_create(dir.path()).unwrap_err().to_string();

        SecretKey::load_or_create(dir.path()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(refused().contains(&format!("(mode 644); change that with: chmod 600 {}", path.display())));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short").unwrap();
        assert!(refused().contains("holds 5 bytes"));
        assert_eq!(fs::read(&path).unwrap(), b"short");

        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(refused().contains("is a directory"));

        let missing = SecretKey::load_or_create(&dir.path().join("none")).unwrap_err();
        assert!(matches!(missing, StoreError::Io { .. }), "{missing:?}");
    }
}
