//! A network that vanishes: whatever the other side sends from now on is lost on its way, and nothing says so.

use socket2::{SockFilter, SockRef};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

/// "Return 0 bytes", as the kernel's packet filters say it.
const DROP: u16 = 0x06;

/// Nothing reaches this TCP socket any more, not even its kernel: it acknowledges nothing and answers no question, as if a
/// cable had been cut. What it sends still goes out; it has nothing to send.
pub fn vanish(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).attach_filter(&[SockFilter::new(DROP, 0, 0, 0)])
}

/// What the kernel knows of one end of an IPv4 connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its state is `ESTABLISHED`: bytes may flow.
    pub open: bool,
    /// Silence will be asked about: the timer that runs is that of keepalive.
    pub watched: bool,
}

/// Looks at the ends of connections whose other end is at `remote`: the ports of these ends, and what is known of them.
pub fn ends_towards(remote: SocketAddr) -> io::Result<Vec<(u16, Seen)>> {
    let table = std::fs::read_to_string("/proc/net/tcp")?;
    let hex = |text: &str| u16::from_str_radix(text, 16).ok();
    let end = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let [_, from, to, state, _, timer, ..] = words[..] else { return None };
        let port = |address: &str| address.rsplit_once(':').and_then(|(_, port)| hex(port));
        let timer = timer.split_once(':').and_then(|(kind, _)| hex(kind));
        let seen = Seen { open: hex(state) == Some(1), watched: timer == Some(2) };
        (port(to)? == remote.port()).then_some((port(from)?, seen))
    };
    Ok(table.lines().skip(1).filter_map(end).collect())
}

/// Looks at the end at `local` whose other end is at `remote`; none: there is no such connection.
pub fn look(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<Seen>> {
    let ends = ends_towards(remote)?;
    Ok(ends.into_iter().find(|(port, _)| *port == local.port()).map(|(_, seen)| seen))
}
