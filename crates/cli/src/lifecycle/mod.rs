//! Starting and being a manager.
//!
//! [`background`] starts one for a command that changes something; [`foreground`] is `daemon`, `api`, `proxy` and `up`: the
//! manager itself, or a guest that has the one that runs open its listeners; [`end`] is `shutdown`. The parts of a manager
//! are put together in [`crate::wire`].

mod background;
mod end;
pub(crate) mod foreground;
mod held;
pub(crate) mod upgrade;

pub(crate) use background::ensure_manager;
pub(crate) use end::shut_down;
pub(crate) use foreground::run_foreground;
pub(crate) use held::Held;

/// Set for a manager that a command starts in the background.
pub(crate) const BACKGROUND: &str = "MYAGENT_BACKGROUND";
