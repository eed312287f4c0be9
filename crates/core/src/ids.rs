//! Identifiers, each a type of its own so that one cannot be passed for another.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

uuid_id!(
    /// A registered service (UUID v7, so ids sort by age).
    ServiceId
);
uuid_id!(
    /// One client connection, given by the proxy or, for a client that came directly, by the runner.
    ConnectionId
);
uuid_id!(
    /// One start of one instance; the environment tag `MYAGENT_START_ID` of its whole process tree.
    StartId
);
uuid_id!(
    /// A routing rule (UUID v7, so ids sort by age).
    RuleId
);

/// One copy of a service: `weather-0` is index 0 of `weather`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceKey {
    /// The service it is a copy of.
    pub service_id: ServiceId,
    /// From 0 to `replicas` - 1.
    pub index: u32,
}

impl InstanceKey {
    /// The name that people see: `<service>-<index>`.
    pub fn name(&self, service: &str) -> String {
        format!("{service}-{}", self.index)
    }
}
