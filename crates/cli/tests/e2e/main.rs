//! Stories: the real binary, real agents, real sockets. One file per story; `docs/testing.md` tells how they are written.
#![expect(clippy::unwrap_used, reason = "a story that fails shall say where")]

mod acceptance;
mod adapters;
mod background;
mod bad_input;
mod busy;
mod changes;
mod clients;
mod connections;
mod conversations;
mod crash_loop;
mod fleet;
mod hand_over;
mod hostile;
mod life_cycle;
mod limits;
mod logs;
mod manager_dies;
mod many_sessions;
mod moving;
mod moving_dies;
mod nothing_left;
mod other_worker;
mod ports;
mod readiness;
mod recorded;
mod resume;
mod secrets;
mod side_by_side;
mod statistics;
mod wire;
