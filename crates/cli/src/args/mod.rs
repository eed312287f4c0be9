//! Arguments that are more than a word.

pub(crate) mod looking;
pub(crate) mod route;
pub(crate) mod select;
pub(crate) mod server;
pub(crate) mod service;
