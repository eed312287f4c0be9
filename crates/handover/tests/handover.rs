//! Descriptors, large messages and ends of channels, over real sockets.

use myagent_core::wire::handover::MAX_MESSAGE;
use myagent_handover::{Channel, Listener};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Descriptors of this process; exact because nextest gives each test a process of its own.
fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[tokio::test]
async fn a_descriptor_travels_with_its_message() -> Outcome {
    let (one, two) = Channel::pair()?;
    let (mut kept, given) = UnixStream::pair()?;
    one.send(b"here is one", Some(given.as_fd())).await?;
    one.send(b"here is none", None).await?;
    drop(given);

    let mut buffer = Vec::new();
    let received = two.recv(&mut buffer).await?.ok_or("closed")?;
    assert_eq!(buffer, b"here is one");
    let descriptor = received.descriptor.ok_or("no descriptor")?;
    assert!(rustix::io::fcntl_getfd(&descriptor)?.contains(rustix::io::FdFlags::CLOEXEC));
    let mut taken = UnixStream::from(descriptor);
    taken.write_all(b"hello")?;
    let mut text = [0; 5];
    kept.read_exact(&mut text)?;
    assert_eq!(&text, b"hello");

    assert!(two.recv(&mut buffer).await?.ok_or("closed")?.descriptor.is_none());
    assert_eq!(buffer, b"here is none");
    Ok(())
}

#[tokio::test]
async fn the_largest_message_fits_and_a_larger_one_is_refused() -> Outcome {
    let (one, two) = Channel::pair()?;
    let message: Vec<u8> = (0..MAX_MESSAGE).map(|i| (i % 251) as u8).collect();
    let mut buffer = Vec::new();
    for _ in 0..3 {
        one.send(&message, None).await?;
    }
    for _ in 0..3 {
        assert!(two.recv(&mut buffer).await?.is_some());
        assert_eq!(buffer, message);
    }
    let too_large = vec![0; MAX_MESSAGE + 1];
    assert_eq!(one.send(&too_large, None).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(one.send(&[], None).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    Ok(())
}

#[tokio::test]
async fn a_full_channel_says_so_and_a_waiting_sender_goes_on_when_it_is_read() -> Outcome {
    let (one, two) = Channel::pair()?;
    let message = vec![7; MAX_MESSAGE];
    let mut queued = 0_u32;
    let error = loop {
        match one.try_send(&message, None) {
            Ok(()) => queued += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(queued >= 2, "only {queued} of the largest messages fit");
    let read_all = async {
        let mut buffer = Vec::new();
        for _ in 0..=queued {
            two.recv(&mut buffer).await?.ok_or_else(|| std::io::Error::other("closed"))?;
        }
        std::io::Result::Ok(())
    };
    let (sent, read) = tokio::join!(one.send(&message, None), read_all);
    sent?;
    read?;
    Ok(())
}

#[tokio::test]
async fn the_end_of_the_peer_is_seen_on_both_ways() -> Outcome {
    let (one, two) = Channel::pair()?;
    one.send(b"last words", None).await?;
    drop(one);
    let mut buffer = Vec::new();
    assert!(two.recv(&mut buffer).await?.is_some());
    assert_eq!(buffer, b"last words");
    assert!(two.recv(&mut buffer).await?.is_none());
    assert!(two.recv(&mut buffer).await?.is_none());
    assert_eq!(two.send(b"hello?", None).await.unwrap_err().kind(), ErrorKind::BrokenPipe);

    let (one, two) = Channel::pair()?;
    two.send(b"never read", None).await?;
    drop(one);
    assert!(two.recv(&mut buffer).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn no_descriptor_is_left_behind() -> Outcome {
    let (one, two) = Channel::pair()?;
    let (given, _kept) = UnixStream::pair()?;
    let mut buffer = Vec::new();
    let before = open_descriptors();
    for _ in 0..50 {
        one.send(b"a", Some(given.as_fd())).await?;
        drop(two.recv(&mut buffer).await?);
    }
    // Two descriptors in one message are more than agreed: refused, and both closed.
    for _ in 0..50 {
        send_two(&one, given.as_fd())?;
        assert_eq!(two.recv(&mut buffer).await.unwrap_err().kind(), ErrorKind::InvalidData);
        assert!(buffer.is_empty());
    }
    assert_eq!(open_descriptors(), before);
    // Descriptors in the air are closed with the channel that was to receive them.
    let (mut end, in_the_air) = UnixStream::pair()?;
    one.send(b"b", Some(in_the_air.as_fd())).await?;
    drop(in_the_air);
    drop(two);
    assert_eq!(end.read(&mut [0; 1])?, 0);
    Ok(())
}

fn send_two(channel: &Channel, descriptor: std::os::fd::BorrowedFd<'_>) -> std::io::Result<()> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let rights = [descriptor, descriptor];
    assert!(control.push(SendAncillaryMessage::ScmRights(&rights)));
    rustix::net::sendmsg(channel, &[std::io::IoSlice::new(b"two")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

#[tokio::test]
async fn a_listener_is_private_replaces_a_stale_file_and_respects_a_live_one() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("takeover.sock");
    assert_eq!(Channel::connect(&path).await.unwrap_err().kind(), ErrorKind::NotFound);

    let first = Listener::bind(&path)?;
    assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
    assert_eq!(Listener::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
    drop(first);
    assert_eq!(Channel::connect(&path).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);

    let second = Listener::bind(&path)?;
    let (client, server) = tokio::join!(Channel::connect(&path), second.accept());
    let (client, server) = (client?, server?);
    client.send(b"hello", None).await?;
    let mut buffer = Vec::new();
    assert!(server.recv(&mut buffer).await?.is_some());
    assert_eq!(buffer, b"hello");

    let file = folder.path().join("file");
    std::fs::write(&file, "precious")?;
    assert_eq!(Listener::bind(&file).unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(std::fs::read_to_string(&file)?, "precious");
    Ok(())
}
