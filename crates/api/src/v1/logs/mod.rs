//! `/api/v1/logs`: the output of several services.

pub(crate) mod search;
