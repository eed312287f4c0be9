//! Who is at the other end of a Unix socket. Only our own user, and root, may talk to a runner or a manager.

use std::io;
use std::os::fd::AsFd;

/// The user id of the process that connected, listened or made the pair, as the kernel noted it at that moment.
pub fn peer_uid(socket: impl AsFd) -> io::Result<u32> {
    Ok(rustix::net::sockopt::socket_peercred(socket)?.uid.as_raw())
}

/// Refuses (`PermissionDenied`) a peer that is neither our own effective user nor root.
pub fn check_peer(socket: impl AsFd) -> io::Result<()> {
    let uid = peer_uid(socket)?;
    if is_allowed(uid, rustix::process::geteuid().as_raw()) {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("the peer runs as user {uid}, not as us"),
        ))
    }
}

/// Pure, so that it can be tested without a second user.
fn is_allowed(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_user_and_root_are_allowed() {
        assert!(is_allowed(1000, 1000));
        assert!(is_allowed(0, 1000));
        assert!(!is_allowed(1001, 1000));
        assert!(!is_allowed(1000, 0));
    }

    #[test]
    fn a_socket_of_our_own_is_allowed() {
        let (one, _two) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(peer_uid(&one).unwrap(), rustix::process::geteuid().as_raw());
        check_peer(&one).unwrap();
    }
}
