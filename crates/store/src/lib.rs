//! Everything that outlives the manager, in one SQLite file: a module per table, migrations in `migrations/`. Statistics over
//! time have a file of their own ([`series`]).
//!
//! [`Store`] is blocking, `Send` and `Sync`: one connection writes behind a mutex, a few read. It knows no runtime; an
//! asynchronous caller wraps calls in its own blocking pool. Each write is one transaction, so a killed manager leaves
//! either all of a change or nothing; a lookup that finds nothing is `Ok(None)` or `Ok(false)`, not an error.
//!
//! It decides nothing: what is valid, and what follows from what is stored, is decided by its callers. A database that
//! is damaged, newer than this program or another program's is left exactly as it was found.
//!
//! To add a table or column: a new file in `migrations/`, a line in `open.rs`, and the module of the table.

mod columns;
mod connections;
mod error;
mod events;
mod health;
mod idempotency;
mod instances;
mod key;
mod key_of_chunk;
mod open;
mod peaks;
mod prune;
mod rules;
mod saving;
mod secrets;
mod series;
mod services;
mod totals;

pub use connections::Store;
pub use error::StoreError;
pub use events::{EventDraft, EventFilter};
pub use health::HealthCheck;
pub use idempotency::Creation;
pub use instances::StoredInstance;
pub use key::SecretKey;
pub use prune::{Keep, Retention};
pub use saving::Saving;
pub use series::{ChunkRef, SeriesState, SeriesStore};
