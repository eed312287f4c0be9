//! A new process of the program takes over from the old one, and no client notices.
//!
//! Theory of operation. The old manager starts the new program with one end of a socket pair as its standard input
//! ([`messages`]). The new one looks whether it could take over (settings, database) and says so. Only then the old one lets
//! go: its engine ends and leaves the runners alone, API and command socket accept no more, but its front door goes on with
//! what it knows. It passes the locks and every listening socket on; from the same sockets the new one accepts, once it has
//! found all runners again, and says that it is ready. Now the old front door closes its end of them, finishes what is under
//! way and the process ends. At each moment somebody accepts, and connections that nobody has accepted yet wait in the kernel.
//!
//! If the new one fails after the old one has let go, the old program takes over from itself, in the same process
//! ([`old::hand_over`]). A manager in the foreground leaves a small process in its place ([`follow`]): whoever started it
//! (a terminal, a container, systemd) waits for that one.

pub(crate) mod follow;
pub(crate) mod messages;
pub(crate) mod new;
pub(crate) mod old;
