//! What happened, for the audit log and the live feed: who, what, to which service, why.

use crate::ids::ServiceId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Grows; given by the store.
    pub id: i64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who: `cli`, `api`, `manager`, `runner`.
    pub who: String,
    /// What, as a dotted word: `service.registered`, `instance.running`, `instance.error`…
    pub kind: String,
    /// To which service, if to one.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub service_id: Option<ServiceId>,
    /// Its name then.
    pub service: Option<String>,
    /// To which instance (`weather-0`), if to one.
    pub instance: Option<String>,
    /// One sentence: why.
    pub why: String,
}
