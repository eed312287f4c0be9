//! What can go wrong with stored data; each message is one line that names the file and the way out.

use myagent_core::error::{Code, Problem};
use rusqlite::ErrorCode;
use std::io;
use std::path::{Path, PathBuf};

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A later version of this program wrote the file.
    #[error(
        "the database {} was written by a newer version of this program (schema {found}, this one knows up to {known}); \
         use that version, or another data directory", path.display()
    )]
    NewerVersion {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// The file is damaged or no database at all.
    #[error(
        "failed to {operation}: the database {} is damaged ({detail}) and was left as it is; \
         restore a copy of it, or move it away to start empty", path.display()
    )]
    Corrupt {
        /// What was being done.
        operation: String,
        /// The database.
        path: PathBuf,
        /// What SQLite found.
        detail: String,
    },
    /// A sound database that this program did not make.
    #[error("{} is a database of another program and was left as it is; give another path", path.display())]
    NotOurs {
        /// The database.
        path: PathBuf,
    },
    /// The file or its folder cannot be written.
    #[error("failed to {operation}: {} is read-only; make it and its folder writable, or use another data directory", path.display())]
    ReadOnly {
        /// What was being done.
        operation: String,
        /// The database or key.
        path: PathBuf,
    },
    /// No space is left; nothing of the change was stored.
    #[error("failed to {operation}: the disk that holds {} is full; nothing was changed, free some space and try again", path.display())]
    Full {
        /// What was being done.
        operation: String,
        /// The database or key.
        path: PathBuf,
    },
    /// Another process kept the file locked for longer than we wait.
    #[error("failed to {operation}: another process keeps {} locked; end it and try again", path.display())]
    Locked {
        /// What was being done.
        operation: String,
        /// The database.
        path: PathBuf,
    },
    /// A directory stands where a file belongs.
    #[error("failed to {operation}: {} is a directory; give the path of a file, or move it away", path.display())]
    IsDirectory {
        /// What was being done.
        operation: String,
        /// The path.
        path: PathBuf,
    },
    /// The operating system refuses access.
    #[error("failed to {operation}: no permission for {}; change its owner or mode, or use another data directory", path.display())]
    Permission {
        /// What was being done.
        operation: String,
        /// The database or key.
        path: PathBuf,
    },
    /// The file cannot be reached for another reason.
    #[error("failed to {operation} {}", path.display())]
    Io {
        /// What was being done.
        operation: String,
        /// The database or key.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The name is taken.
    #[error("a service named {name} exists already; choose another name, or unregister that one first")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A rule has that name.
    #[error("a rule named {name:?} exists already; choose another name, or delete that one first")]
    DuplicateRule {
        /// The name.
        name: String,
    },
    /// A row holds something that this program cannot read.
    #[error("failed to {operation}: the database {} holds a value that cannot be read: {detail}", path.display())]
    Inconsistent {
        /// What was being done.
        operation: String,
        /// The database.
        path: PathBuf,
        /// Which column, and what is wrong with it.
        detail: String,
    },
    /// The key file can be read by others, so it protects nothing.
    #[error("{} can be read by other users (mode {mode:03o}); change that with: chmod 600 {}", path.display(), path.display())]
    KeyExposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file is not a key.
    #[error(
        "{} holds {length} bytes and not the 32 of a key; restore a copy of it, or move it away and set all secrets again",
        path.display()
    )]
    KeyDamaged {
        /// The key file.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
    },
    /// A secret was encrypted with another key, or changed since.
    #[error(
        "the secret {name} of a service cannot be decrypted with the present secret.key; restore that file, or set the secret again"
    )]
    SecretUnreadable {
        /// Name of the secret.
        name: String,
    },
    /// A secret's value could not be encrypted, or the system gave no random bytes.
    #[error("failed to {operation}: {detail}")]
    Crypto {
        /// What was being done.
        operation: String,
        /// Why.
        detail: String,
    },
    /// Anything else that SQLite reports.
    #[error("failed to {operation} in the database {}", path.display())]
    Sqlite {
        /// What was being done.
        operation: String,
        /// The database.
        path: PathBuf,
        /// SQLite's own message.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// The stable code that a client sees.
    pub fn code(&self) -> Code {
        match self {
            Self::Duplicate { .. } => Code::ServiceAlreadyExists,
            Self::DuplicateRule { .. } => Code::RuleAlreadyExists,
            Self::Full { .. } => Code::InsufficientResources,
            _ => Code::StorageFailed,
        }
    }

    /// Whether any other change would have failed as well.
    pub(crate) fn is_of_the_place(&self) -> bool {
        !matches!(self, Self::Duplicate { .. } | Self::DuplicateRule { .. } | Self::Inconsistent { .. })
    }

    /// The error as a client sees it, its cause included.
    pub fn problem(&self) -> Problem {
        let detail = match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        };
        Problem::new(self.code(), detail)
    }

    /// Sorts an error of the file system.
    pub(crate) fn from_io(operation: &str, path: &Path, source: io::Error) -> Self {
        let (operation, path) = (operation.to_owned(), path.to_owned());
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission { operation, path },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { operation, path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { operation, path },
            io::ErrorKind::IsADirectory => Self::IsDirectory { operation, path },
            _ => Self::Io { operation, path, source },
        }
    }

    /// Sorts an error of SQLite.
    pub(crate) fn from_sqlite(operation: &str, path: &Path, source: rusqlite::Error) -> Self {
        let (operation, path) = (operation.to_owned(), path.to_owned());
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked { operation, path },
            Some(ErrorCode::DiskFull) => Self::Full { operation, path },
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { operation, path },
            Some(ErrorCode::PermissionDenied) => Self::Permission { operation, path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt { operation, path, detail: source.to_string() }
            }
            Some(_) => Self::Sqlite { operation, path, source },
            None => match source {
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..) => {
                    Self::Inconsistent { operation, path, detail: source.to_string() }
                }
                source => Self::Sqlite { operation, path, source },
            },
        }
    }
}

/// What an operation inside a transaction can fail with; [`crate::Store`] adds the operation and the file.
#[derive(Debug)]
pub(crate) enum Fault {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

impl Fault {
    pub(crate) fn named(self, operation: &str, path: &Path) -> StoreError {
        match self {
            Self::Sqlite(source) => StoreError::from_sqlite(operation, path, source),
            Self::Store(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(source: rusqlite::Error) -> Self {
        Self::Sqlite(source)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_systems_answers_are_told_apart() {
        let check = |kind: io::ErrorKind, expected: &str| {
            let error = StoreError::from_io("open the database", Path::new("/data/m.db"), kind.into());
            let message = error.problem().detail;
            assert!(message.contains(expected) && message.contains("/data/m.db"), "{message}");
            assert!(!message.contains('\n'), "{message}");
        };
        check(io::ErrorKind::PermissionDenied, "no permission");
        check(io::ErrorKind::ReadOnlyFilesystem, "read-only");
        check(io::ErrorKind::StorageFull, "full");
        check(io::ErrorKind::QuotaExceeded, "full");
        check(io::ErrorKind::IsADirectory, "is a directory");
        check(io::ErrorKind::NotFound, "failed to open the database /data/m.db: entity not found");
    }

    #[test]
    fn sqlites_answers_are_told_apart() {
        let check = |code: i32, expected: &str| {
            let source = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
            let message =
                StoreError::from_sqlite("store service a", Path::new("/m.db"), source).problem().detail;
            assert!(message.contains(expected) && message.contains("store service a"), "{code}: {message}");
        };
        check(rusqlite::ffi::SQLITE_BUSY, "locked");
        check(rusqlite::ffi::SQLITE_LOCKED, "locked");
        check(rusqlite::ffi::SQLITE_FULL, "full");
        check(rusqlite::ffi::SQLITE_READONLY, "read-only");
        check(rusqlite::ffi::SQLITE_PERM, "no permission");
        check(rusqlite::ffi::SQLITE_NOTADB, "damaged");
        check(rusqlite::ffi::SQLITE_IOERR, "disk I/O error");
    }

    #[test]
    fn clients_get_stable_codes() {
        assert_eq!(StoreError::Duplicate { name: "a".into() }.code(), Code::ServiceAlreadyExists);
        assert_eq!(StoreError::DuplicateRule { name: "a".into() }.code(), Code::RuleAlreadyExists);
        assert_eq!(
            StoreError::Full { operation: "x".into(), path: "/m".into() }.code(),
            Code::InsufficientResources
        );
        assert_eq!(StoreError::NotOurs { path: "/m".into() }.code(), Code::StorageFailed);
    }
}
