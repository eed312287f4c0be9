//! The relay over real sockets: a client and an agent of another WebSocket implementation, and raw sockets where bytes
//! matter.

mod ends;
mod frames;
mod http;
mod notices;
mod reference;
mod rig;
mod scanner;
mod tls;
