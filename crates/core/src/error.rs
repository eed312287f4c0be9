//! What goes wrong, as a client sees it: a stable code, a message that names the field and the fix.

use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// Stable error codes; a client may act on them. The HTTP status of each is in [`Code::status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// Something in the request is wrong; `errors` names each field.
    InvalidRequest,
    /// No service of that name or id.
    ServiceNotFound,
    /// The name is taken.
    ServiceAlreadyExists,
    /// It was started and did not become ready; `detail` has the cause.
    ServiceStartFailed,
    /// It could not be stopped: processes survived.
    ServiceStopFailed,
    /// Somebody else listens on the port.
    PortInUse,
    /// No free port, descriptor, process or disk space.
    InsufficientResources,
    /// No instance can take the client.
    RoutingFailed,
    /// An agent could not be reached, or its answer to a plain request is none.
    AgentFailed,
    /// An agent did not answer a plain request in time.
    AgentTimeout,
    /// A client did not send its request in time.
    RequestTimeout,
    /// No connection of that id.
    ConnectionNotFound,
    /// No rule of that name or id.
    RuleNotFound,
    /// A rule has that name.
    RuleAlreadyExists,
    /// Health could not be checked: nothing of the service runs.
    HealthCheckFailed,
    /// No new process could take over; the old one goes on.
    UpgradeFailed,
    /// The manager is ending.
    ShuttingDown,
    /// A listener is open already.
    AlreadyListening,
    /// The caller may not do this.
    Forbidden,
    /// No such path.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// It was changed since: the version in `If-Match` is not the present one.
    PreconditionFailed,
    /// The `Idempotency-Key` was used for something else.
    IdempotencyKeyReused,
    /// The body is larger than allowed.
    PayloadTooLarge,
    /// The body is of a kind that is not read.
    UnsupportedMediaType,
    /// Stored data cannot be read or written.
    StorageFailed,
    /// A defect of ours.
    Internal,
}

impl Code {
    /// Every code, in the order of the reference page.
    pub const ALL: &[Self] = &[
        Self::InvalidRequest,
        Self::ServiceNotFound,
        Self::ServiceAlreadyExists,
        Self::ServiceStartFailed,
        Self::ServiceStopFailed,
        Self::PortInUse,
        Self::InsufficientResources,
        Self::RoutingFailed,
        Self::AgentFailed,
        Self::AgentTimeout,
        Self::RequestTimeout,
        Self::ConnectionNotFound,
        Self::RuleNotFound,
        Self::RuleAlreadyExists,
        Self::HealthCheckFailed,
        Self::UpgradeFailed,
        Self::ShuttingDown,
        Self::AlreadyListening,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::PreconditionFailed,
        Self::IdempotencyKeyReused,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::StorageFailed,
        Self::Internal,
    ];

    /// One line for the reference page.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::InvalidRequest => "something in the request is wrong; `errors` names each field",
            Self::ServiceNotFound => "no service of that name or id",
            Self::ServiceAlreadyExists => "the name is taken",
            Self::ServiceStartFailed => "it was started and did not become ready; `detail` has the cause",
            Self::ServiceStopFailed => "it could not be stopped: processes survived",
            Self::PortInUse => "somebody else listens on the port",
            Self::InsufficientResources => "no free port, descriptor, process or disk space",
            Self::RoutingFailed => "no instance can take the client",
            Self::AgentFailed => "an agent could not be reached, or its answer to a plain request is none",
            Self::AgentTimeout => "an agent did not answer a plain request in time",
            Self::RequestTimeout => "a client did not send its request in time",
            Self::ConnectionNotFound => "no connection of that id",
            Self::RuleNotFound => "no rule of that name or id",
            Self::RuleAlreadyExists => "a rule has that name",
            Self::HealthCheckFailed => "health could not be checked: nothing of the service runs",
            Self::UpgradeFailed => "no new process could take over; the old one goes on",
            Self::ShuttingDown => "the manager is ending",
            Self::AlreadyListening => "a listener is open already",
            Self::Forbidden => "the caller may not do this",
            Self::NotFound => "no such path",
            Self::MethodNotAllowed => "the path exists, the method does not",
            Self::PreconditionFailed => {
                "it was changed since: the version in `If-Match` is not the present one"
            }
            Self::IdempotencyKeyReused => "the `Idempotency-Key` was used for something else",
            Self::PayloadTooLarge => "the body is larger than allowed",
            Self::UnsupportedMediaType => "the body is of a kind that is not read",
            Self::StorageFailed => "stored data cannot be read or written",
            Self::Internal => "a defect of ours",
        }
    }

    /// What to do about it; for its page.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::InvalidRequest => "correct the fields that `errors` names, each with what would be right",
            Self::ServiceNotFound => "look at `list`; the answer names the nearest name there is",
            Self::ServiceAlreadyExists => {
                "choose another name, or change the one that is there with `PATCH` or `PUT`"
            }
            Self::ServiceStartFailed => {
                "mend the cause that `detail` names; `logs` of the service has its last output"
            }
            Self::ServiceStopFailed => {
                "end the processes that `detail` names by hand; stopping again tries again"
            }
            Self::PortInUse => {
                "end the process that `detail` names, or give the service another port, or none"
            }
            Self::InsufficientResources => {
                "free some disk space, ports or descriptors, or raise their limits; `doctor` says which; then try again"
            }
            Self::RoutingFailed => {
                "start an instance, or more of them; `route explain` says who would get a client and why nobody does"
            }
            Self::AgentFailed => "look at the logs of the agent",
            Self::AgentTimeout => "look at the logs of the agent, or raise `answer_timeout`",
            Self::RequestTimeout => "send the whole request in time",
            Self::ConnectionNotFound => "it has closed, or never was; look at `connections`",
            Self::RuleNotFound => "look at `route list`; the answer names the nearest name there is",
            Self::RuleAlreadyExists => "choose another name, or change the one that is there",
            Self::HealthCheckFailed => "start the service first",
            Self::UpgradeFailed => "mend the cause that `detail` names; nothing was lost",
            Self::ShuttingDown => "wait for the next manager",
            Self::AlreadyListening => "end the command that `detail` names, or choose another port",
            Self::Forbidden => {
                "use an address of this machine, and no page of another origin; or allow the kind of source with `allow_sources`"
            }
            Self::NotFound => "look at `/docs` for the paths there are",
            Self::MethodNotAllowed => "use one of the methods in the header `Allow`",
            Self::PreconditionFailed => {
                "read it again, make the change to what it is now, and send its new version"
            }
            Self::IdempotencyKeyReused => "take a new key for a new request",
            Self::PayloadTooLarge => "send less than 1 MiB",
            Self::UnsupportedMediaType => "send JSON, with `Content-Type: application/json`",
            Self::StorageFailed => {
                "look at `detail` and `GET /health`: end the process that holds the database, or mend what keeps it from being written; then try again"
            }
            Self::Internal => {
                "tell the authors, with the lines of the manager's log that have the `request_id`"
            }
        }
    }

    /// The HTTP status that goes with the code.
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::Forbidden => 403,
            Self::ServiceNotFound | Self::ConnectionNotFound | Self::RuleNotFound | Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::ServiceAlreadyExists
            | Self::RuleAlreadyExists
            | Self::PortInUse
            | Self::AlreadyListening
            | Self::HealthCheckFailed
            | Self::IdempotencyKeyReused => 409,
            Self::PreconditionFailed => 412,
            Self::PayloadTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::ServiceStartFailed | Self::ServiceStopFailed | Self::AgentFailed | Self::UpgradeFailed => {
                502
            }
            Self::InsufficientResources | Self::RoutingFailed | Self::ShuttingDown | Self::StorageFailed => {
                503
            }
            Self::AgentTimeout => 504,
            Self::RequestTimeout => 408,
            Self::Internal => 500,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Most fields at fault that are told.
pub const MAX_ERRORS: usize = 50;
/// Longest name of a field that is told, characters: it may be anything that a client sent.
const MAX_FIELD: usize = 100;

/// One field at fault: what is wrong with it and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Path of the field, as in the request: `config.max_sessions`.
    pub field: String,
    /// A sentence fragment that reads after "`field`: ".
    pub message: String,
}

impl FieldError {
    /// A field at fault.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        let mut field = field.into();
        if let Some((end, _)) = field.char_indices().nth(MAX_FIELD) {
            field.truncate(end);
            field.push('…');
        }
        Self { field, message: message.into() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// An error as told to a client: the content of an RFC 9457 problem, and of the CLI's one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Stable code.
    pub code: Code,
    /// One sentence for people, with the fix where there is one.
    pub detail: String,
    /// Every field at fault, if any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// A problem without field errors.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new() }
    }

    /// A request with fields at fault; the detail lists them all.
    /// Of very many, so many are told.
    pub fn fields(mut errors: Vec<FieldError>) -> Self {
        let more = errors.len().saturating_sub(MAX_ERRORS);
        errors.truncate(MAX_ERRORS);
        let mut detail = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        if more > 0 {
            detail.extend([format!("; and {more} more")]);
        }
        Self { code: Code::InvalidRequest, detail, errors }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_codes_is_whole_and_each_is_an_error() {
        let source = include_str!("error.rs");
        let body = source
            .split("pub enum Code {")
            .nth(1)
            .and_then(|rest| rest.split("\n}").next())
            .unwrap_or_default();
        let variants = body.lines().filter(|line| line.ends_with(',')).count();
        assert_eq!(Code::ALL.len(), variants);
        for code in Code::ALL {
            assert!(
                (400..600).contains(&code.status())
                    && !code.meaning().is_empty()
                    && !code.remedy().is_empty(),
                "{code}"
            );
        }
    }
}
