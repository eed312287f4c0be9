//! What manager, runner and proxy say to each other: plain data, no sockets.
//!
//! [`control`]: manager ⇄ runner, JSON lines on the control socket. [`handover`]: proxy ⇄ runner, one SEQPACKET message
//! for each client. [`launch`]: what a runner reads from its standard input when it starts. [`sessions`]: the sums of
//! sessions and turns in a report, [`sums`] all that is summed. The frames are documented in `docs/design/runner-protocol.md`.

pub mod control;
pub mod handover;
pub mod launch;
pub mod sessions;
pub mod sums;
