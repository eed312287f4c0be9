//! What this runner says to another one of the service, over that one's take-over socket: a question, and then a client.

use myagent_core::wire::handover::{Ask, Down, MAX_MESSAGE, Moved, Refusal, Up, decode, encode};
use myagent_handover::Channel;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;
use uuid::Uuid;

/// A runner that does not answer within this gets no client.
const ANSWER: Duration = Duration::from_secs(1);
/// One that was sent a client with its sessions has so long to adopt them, and to say that it has.
const TAKEN: Duration = Duration::from_secs(5);
/// Bytes of a moved client in one message.
const PART: usize = 32 * 1024;

/// It would take a client. Dropped without one, it is told so.
pub(crate) struct Willing {
    channel: Channel,
    /// Places in use there; none: it is of an earlier version, and takes no client of which anything is unsent.
    pub(crate) places: Option<u32>,
}

/// What became of a client that was brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Brought {
    /// It is theirs.
    Taken,
    /// It is still ours: they have not touched it, and will not.
    Ours,
    /// Nobody can say: they may still take it, so it must not be used here any more.
    Unclear,
}

/// Asks a runner whether it takes a session's client: to its own session, or with ours.
pub(crate) async fn ask(
    takeover: &Path,
    session_id: Uuid,
    bring: bool,
) -> io::Result<Result<Willing, (Refusal, String)>> {
    let asking = async {
        let channel = Channel::connect(takeover).await?;
        let mut message = Vec::new();
        encode(&mut message, &Down::Ask(Ask { session_id, bring }), &[]).map_err(io::Error::other)?;
        channel.send(&message, None).await?;
        match answer(&channel, &mut message).await? {
            Up::Willing { places } => Ok(Ok(Willing { channel, places })),
            Up::Unwilling { reason, detail } => Ok(Err((reason, detail))),
            Up::Taken { .. } | Up::GivenBack { .. } => Err(io::ErrorKind::InvalidData.into()),
        }
    };
    timeout(ANSWER, asking).await?
}

async fn answer(channel: &Channel, message: &mut Vec<u8>) -> io::Result<Up> {
    if channel.recv(message).await?.is_none() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(decode::<Up>(message).map_err(io::Error::other)?.0)
}

impl Willing {
    /// Hands a client over that comes for a session there. After `Ok` the socket is the other runner's, whatever becomes of it;
    /// after an error it is still ours.
    pub(crate) async fn hand_over(self, socket: BorrowedFd<'_>, moved: &Moved, raw: &[u8]) -> io::Result<()> {
        let rest = self.first(socket, moved, raw, ANSWER).await?;
        if let Err(error) = self.rest(rest).await {
            // It died with the socket in its hands; the client sees the end, and comes back.
            tracing::warn!(%error, "a runner died while a client was handed to it");
        }
        Ok(())
    }

    /// Brings a client with sessions of ours, which have been released. The socket stays open here until it is taken.
    pub(crate) async fn bring(self, socket: BorrowedFd<'_>, moved: &Moved, raw: &[u8]) -> Brought {
        let rest = match self.first(socket, moved, raw, TAKEN).await {
            Ok(rest) => rest,
            Err(error) => {
                tracing::warn!(%error, "a client could not be brought to another runner");
                return Brought::Ours;
            }
        };
        // From here on it has a descriptor. It touches it only after it has said so, and it says so before it ends.
        let told = async {
            self.rest(rest).await?;
            answer(&self.channel, &mut Vec::new()).await
        };
        match timeout(TAKEN, told).await {
            Ok(Ok(Up::Taken { .. })) => Brought::Taken,
            Ok(Ok(Up::Unwilling { detail, .. })) => {
                tracing::info!(detail, "a runner that was willing is not any more");
                Brought::Ours
            }
            // It has ended; had it taken the client, that would have been heard first.
            Ok(Err(error))
                if matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) =>
            {
                tracing::warn!("a runner died while a client was brought to it");
                Brought::Ours
            }
            Ok(Ok(Up::Willing { .. } | Up::GivenBack { .. }) | Err(_)) | Err(_) => Brought::Unclear,
        }
    }

    /// Sends the socket with what fits of the bytes; the rest of them.
    async fn first<'a>(
        &self,
        socket: BorrowedFd<'_>,
        moved: &Moved,
        raw: &'a [u8],
        patience: Duration,
    ) -> io::Result<&'a [u8]> {
        let mut message = Vec::new();
        let down = Down::Moved(moved.clone());
        encode(&mut message, &down, &[]).map_err(io::Error::other)?;
        let room = MAX_MESSAGE.saturating_sub(message.len()).min(PART);
        let (first, rest) = raw.split_at(raw.len().min(room));
        message.extend_from_slice(first);
        timeout(patience, self.channel.send(&message, Some(socket))).await??;
        Ok(rest)
    }

    async fn rest(&self, rest: &[u8]) -> io::Result<()> {
        let mut message = Vec::new();
        for part in rest.chunks(PART) {
            encode(&mut message, &Down::Unread, &[part]).map_err(io::Error::other)?;
            self.channel.send(&message, None).await?;
        }
        Ok(())
    }
}
