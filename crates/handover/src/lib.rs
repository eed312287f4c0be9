//! Unix sockets over which descriptors travel: the road by which a client's socket moves from one process to another.
//!
//! [`Channel`] is one end of a SEQPACKET socket: messages keep their borders and each may carry one descriptor
//! (`SCM_RIGHTS`). [`Listener`] waits for channels. [`check_peer`] refuses other users; the stream control sockets use it
//! too. What the messages mean is in `myagent_core::wire::handover`; nothing here reads them. [`vanish`] is what the kernel
//! knows of the sockets that travel.

mod channel;
mod listener;
mod peer;
pub mod vanish;
mod watched;

pub use channel::{Channel, Received};
pub use listener::Listener;
pub use peer::{check_peer, peer_uid};
pub use watched::Watched;
