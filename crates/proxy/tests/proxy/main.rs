//! The front door over real sockets, with runners that the tests play themselves.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail like tests")]

mod admission;
mod counts;
mod hand_over;
mod kit;
mod life;
mod plain;
mod requests;
mod routing;
mod upstream;
mod waiting;
