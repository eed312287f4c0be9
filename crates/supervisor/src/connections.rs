//! The table of open connections that instances fill and the control plane looks at.

use myagent_core::connections::Connections;
use std::sync::{Arc, PoisonError, RwLock};

/// A cheap handle on the table. Nobody holds its lock across an await; the front door does not know it.
#[derive(Clone, Debug, Default)]
pub struct OpenConnections(Arc<RwLock<Connections>>);

impl OpenConnections {
    /// Looks.
    pub fn read<T>(&self, look: impl FnOnce(&Connections) -> T) -> T {
        // Each change leaves the table whole, so that a panic in another one has not harmed it.
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes it.
    pub fn write<T>(&self, change: impl FnOnce(&mut Connections) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}
