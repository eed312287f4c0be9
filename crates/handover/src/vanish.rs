//! Clients whose network vanishes: no FIN, no RST, nothing. What the kernel does about them is said once, on the listening
//! socket: accepted sockets inherit it, and it goes with them from process to process, so it costs no call for a connection
//! and needs no manager that lives.
//!
//! Conversations that can be pinged are (relay and host do that, after less silence); this is for everything else: event
//! streams, answers to plain requests, clients that wait in the queue, and connections that nobody can read from because
//! the agent does not.

use rustix::net::sockopt;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// Silence after which the kernel asks whether the other side is there.
pub const ASK_AFTER: Duration = Duration::from_secs(30);
/// Time between two such questions.
pub const ASK_EVERY: Duration = Duration::from_secs(15);
/// A client that has acknowledged nothing for so long is given up, whether it was asked or sent something; so is one whose
/// buffers were full all the while.
pub const GIVE_UP_AFTER: Duration = Duration::from_mins(1);
/// How much later than our own patience with a slow client the kernel's ends at the earliest, so that it is ours that counts.
const LATER: Duration = Duration::from_secs(30);

/// Has the kernel watch the clients that this listener will accept, and send to them without delay.
pub fn watch_clients(listener: impl AsFd) -> io::Result<()> {
    let listener = listener.as_fd();
    sockopt::set_tcp_nodelay(listener, true)?;
    sockopt::set_socket_keepalive(listener, true)?;
    sockopt::set_tcp_keepidle(listener, ASK_AFTER)?;
    sockopt::set_tcp_keepintvl(listener, ASK_EVERY)?;
    give_up_after(listener, GIVE_UP_AFTER)
}

/// Has the kernel give this connection up when the other side has acknowledged nothing for so long.
pub fn give_up_after(socket: impl AsFd, time: Duration) -> io::Result<()> {
    let time = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(socket, time)?)
}

/// Has the kernel be more patient with a client than [`watch_clients`] said, if whoever serves it is: then it is not given up
/// before `slow_client` is over. Of a listener's time nothing changes for the usual patience.
pub fn allow_slowness(socket: impl AsFd, slow_client: Duration) -> io::Result<()> {
    let least = slow_client.saturating_add(LATER);
    if least > GIVE_UP_AFTER { give_up_after(socket, least) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn accepted_sockets_inherit_it_and_slow_ones_get_more_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        watch_clients(&listener).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        assert!(sockopt::tcp_nodelay(&socket).unwrap() && sockopt::socket_keepalive(&socket).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&socket).unwrap(), ASK_AFTER);
        assert_eq!(sockopt::tcp_keepintvl(&socket).unwrap(), ASK_EVERY);
        for (slow, milliseconds) in [(1, 60_000), (30, 60_000), (31, 61_000), (3600, 3_630_000)] {
            allow_slowness(&socket, Duration::from_secs(slow)).unwrap();
            assert_eq!(sockopt::tcp_user_timeout(&socket).unwrap(), milliseconds);
        }
    }
}
