//! Ports: reserved under a lock, tested by binding, held by a lease until the instance is gone.

use myagent_core::ports::{PortError, choose};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

/// The ports that instances of this manager have.
#[derive(Clone, Debug)]
pub struct Ports {
    range: (u16, u16),
    reserved: Arc<Mutex<BTreeSet<u16>>>,
}

/// A reserved port; free again when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    port: u16,
    reserved: Arc<Mutex<BTreeSet<u16>>>,
}

impl Ports {
    /// Ports from this range, first and last.
    pub fn new(range: (u16, u16)) -> Self {
        Self { range, reserved: Arc::default() }
    }

    /// The first free port, or the one it had if that is free.
    pub(crate) fn lease(&self, host: IpAddr, preferred: Option<u16>) -> Result<Lease, PortError> {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let port = choose(self.range, host, preferred, &reserved, |port| binds(host, port).is_ok())?;
        reserved.insert(port);
        Ok(Lease { port, reserved: Arc::clone(&self.reserved) })
    }

    /// This very port; the error names who has it.
    pub(crate) fn lease_fixed(&self, host: IpAddr, port: u16) -> Result<Lease, String> {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        if reserved.contains(&port) {
            return Err(format!("port {port} belongs to another instance; choose another or leave it out"));
        }
        if let Err(error) = binds(host, port) {
            return Err(in_use(host, port, &error));
        }
        reserved.insert(port);
        Ok(Lease { port, reserved: Arc::clone(&self.reserved) })
    }

    /// A port that an instance has already (it was found again).
    pub(crate) fn lease_held(&self, port: u16) -> Lease {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner).insert(port);
        Lease { port, reserved: Arc::clone(&self.reserved) }
    }
}

impl Lease {
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.port);
    }
}

/// The address to bind for a service's host.
pub(crate) fn address(host: &str) -> IpAddr {
    host.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// Whether somebody can listen there now, with `SO_REUSEADDR`. Binds and does not listen: a child that is being forked at
/// this moment holds a copy of the socket until its exec, and a copy that listened would be in the way of the next who asks.
pub fn binds(host: IpAddr, port: u16) -> io::Result<()> {
    let address = SocketAddr::new(host, port);
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    Ok(())
}

fn in_use(host: IpAddr, port: u16, error: &io::Error) -> String {
    match (error.kind(), port_holder(port)) {
        (io::ErrorKind::AddrInUse, Some((pid, command))) => {
            format!(
                "port {port} on {host} is in use by process {pid} ({command}); stop it or choose another port"
            )
        }
        (io::ErrorKind::AddrInUse, None) => format!("port {port} on {host} is in use; choose another port"),
        _ => format!("cannot listen on {host}:{port}: {error}"),
    }
}

/// Who listens on a TCP port: PID and program, if we may see it.
pub fn port_holder(port: u16) -> Option<(u32, String)> {
    let inodes: Vec<String> =
        ["/proc/net/tcp", "/proc/net/tcp6"].iter().flat_map(|table| listeners(table, port)).collect();
    if inodes.is_empty() {
        return None;
    }
    let processes = std::fs::read_dir("/proc").ok()?;
    processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find_map(|pid| {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let holds = descriptors.flatten().any(|descriptor| {
            std::fs::read_link(descriptor.path())
                .is_ok_and(|target| inodes.iter().any(|inode| target.to_string_lossy() == *inode))
        });
        holds.then(|| (pid, program(pid)))
    })
}

/// `socket:[inode]` of each socket that listens on `port` in a `/proc/net/tcp` table.
fn listeners(table: &str, port: u16) -> Vec<String> {
    let text = std::fs::read_to_string(table).unwrap_or_default();
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (_, local) = fields.get(1)?.rsplit_once(':')?;
            let listens = fields.get(3) == Some(&"0A") && u16::from_str_radix(local, 16) == Ok(port);
            listens.then(|| fields.get(9).map(|inode| format!("socket:[{inode}]")))?
        })
        .collect()
}

/// The program of a process. Not its arguments: it may be anybody's, and what is said of it is stored and shown.
fn program(pid: u32) -> String {
    let raw = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let first = raw.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(first).chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_lease_is_unique_and_free_again_when_dropped() {
        let taken = TcpListener::bind((HOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let ports = Ports::new((port, port));
        assert!(ports.lease(HOST, None).is_err());
        let error = ports.lease_fixed(HOST, port).unwrap_err();
        assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
        drop(taken);
        let lease = ports.lease(HOST, Some(port)).unwrap();
        assert_eq!(lease.port(), port);
        assert!(ports.lease(HOST, None).is_err());
        assert!(ports.lease_fixed(HOST, port).unwrap_err().contains("belongs to another instance"));
        drop(lease);
        assert!(ports.lease_fixed(HOST, port).is_ok());
    }

    #[test]
    fn asking_is_not_in_the_way_of_others_who_ask() {
        let free = TcpListener::bind((HOST, 0)).unwrap().local_addr().unwrap().port();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|_| binds(HOST, free).unwrap()));
            }
        });
    }
}
