//! `POST /api/v1/services/{name or id}/restart?wait=&all_at_once=&rolling=`: one instance after the other, or all at once;
//! a stopped service is started.

use super::stop::{in_background, wait_or_not};
use crate::error::{ApiError, Result};
use crate::extract::{Name, Params};
use crate::{Ctx, Shared};
use axum::extract::State;
use axum::response::Response;
use myagent_control::RestartMode;
use myagent_core::view::ServiceView;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RestartQuery {
    /// Answer when it is done (the default).
    wait: Option<bool>,
    /// Not one instance after the other.
    all_at_once: bool,
    /// One instance after the other (the default).
    rolling: bool,
}

impl RestartQuery {
    fn mode(self) -> Result<RestartMode> {
        match (self.all_at_once, self.rolling) {
            (true, true) => Err(ApiError::field("rolling", "excludes all_at_once; give one of them")),
            (true, false) => Ok(RestartMode::AllAtOnce),
            (false, _) => Ok(RestartMode::Rolling),
        }
    }
}

/// Restarts a service: one instance after the other, or all at once.
///
/// A stopped service is started.
#[utoipa::path(
    post,
    path = "/{service}/restart",
    operation_id = "restart_service",
    tag = "services",
    params(("service" = String, Path, description = "Name or id."), RestartQuery),
    responses((status = 200, description = "It is ready.", body = ServiceView), (status = 202, description = "It begins.", body = ServiceView), (status = 409), (status = 502))
)]
pub(crate) async fn post(
    State(shared): Ctx,
    Name(name): Name,
    Params(query): Params<RestartQuery>,
) -> Result<Response> {
    let mode = query.mode()?;
    let name = shared.control.service(&name)?.name.clone();
    let (control, who, service) = (shared.control.clone(), shared.who, name.clone());
    let restart = async move { control.restart(&service, mode, who).await };
    wait_or_not(&shared, &name, query.wait.unwrap_or(true), restart).await
}

/// Restarts a service one instance after the other, after a change that needs it.
pub(super) async fn restart_now(shared: &Shared, name: &str, wait: bool) -> Result<Arc<ServiceView>> {
    let (control, who, service) = (shared.control.clone(), shared.who, name.to_owned());
    let restart = async move { control.restart(&service, RestartMode::Rolling, who).await };
    if wait {
        return Ok(restart.await?);
    }
    in_background(shared, name.to_owned(), restart);
    Ok(shared.control.service(name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rolling_is_the_default_and_both_are_refused() {
        let mode = |all_at_once, rolling| RestartQuery { wait: None, all_at_once, rolling }.mode().ok();
        assert_eq!(mode(false, false), Some(RestartMode::Rolling));
        assert_eq!(mode(false, true), Some(RestartMode::Rolling));
        assert_eq!(mode(true, false), Some(RestartMode::AllAtOnce));
        assert_eq!(mode(true, true), None);
    }
}
