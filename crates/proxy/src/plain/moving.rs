//! Moving bytes between two sockets, each step within a time.

use myagent_core::wire::handover::MAX_HEAD;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::ready;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

/// How much is read at once.
pub(super) const READ: usize = MAX_HEAD;

/// Why bytes were not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotWritten {
    /// The other side took nothing for too long.
    Stalled,
    /// It is gone.
    Gone,
}

/// Reads what has come, at most `most` bytes, appending it; 0: the end. Through the thread's own buffer, so that who waits for bytes holds none.
pub(super) async fn read(
    from: &mut (impl AsyncRead + Unpin),
    scratch: &RefCell<Box<[u8]>>,
    most: usize,
    out: &mut Vec<u8>,
) -> io::Result<usize> {
    poll_fn(|context| {
        let mut scratch = scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch[..most]);
        ready!(Pin::new(&mut *from).poll_read(context, &mut buffer))?;
        out.extend_from_slice(buffer.filled());
        Ok(buffer.filled().len()).into()
    })
    .await
}

/// Writes everything; each step that takes some of it may last so long.
pub(super) async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    limit: Duration,
) -> Result<(), NotWritten> {
    while !bytes.is_empty() {
        match timeout(limit, to.write(bytes)).await {
            Ok(Ok(count)) if count > 0 => bytes = &bytes[count..],
            Ok(_) => return Err(NotWritten::Gone),
            Err(_) => return Err(NotWritten::Stalled),
        }
    }
    match timeout(limit, to.flush()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(NotWritten::Gone),
        Err(_) => Err(NotWritten::Stalled),
    }
}
