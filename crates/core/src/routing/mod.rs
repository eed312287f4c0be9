//! Who gets a client: a snapshot of the fleet, a request, and a pure choice.
//!
//! The front door keeps the memory that strategies need (ticks, loads) and passes it in; deciding takes no lock.

mod decide;
mod request;
mod snapshot;
mod strategy;

pub use decide::{Choice, Decision, decide};
pub use request::Request;
pub use snapshot::{RoutedInstance, RoutedService, RoutingSnapshot};
pub use strategy::Strategy;
