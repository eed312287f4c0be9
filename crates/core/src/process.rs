//! What the system knows of the manager's own process, as plain numbers.

/// The process of the manager, as the system sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessStats {
    /// User and system time.
    pub cpu_seconds: f64,
    /// Memory in use.
    pub resident_bytes: u64,
    /// Addresses in use.
    pub virtual_bytes: u64,
    /// Its threads.
    pub threads: u64,
    /// Its open files and sockets.
    pub open_files: u64,
    /// How many it may have; none: as many as it likes.
    pub max_files: Option<u64>,
    /// When it was started, seconds since 1970.
    pub started_at: f64,
}
