//! `POST /api/v1/services/{name or id}/restart?wait=&all_at_once=&rolling=`: one instance after the other, or all at once;
//! a stopped service is started.

use super::stop::wait_or_not;
use crate::Ctx;
use crate::error::{ApiError, Result};
use crate::extract::{Name, Params};
use axum::extract::State;
use axum::response::Response;
use myagent_control::RestartMode;
use serde::Deserialize;

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RestartQuery {
    wait: Option<bool>,
    all_at_once: bool,
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
