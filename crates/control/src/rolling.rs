//! A restart, one instance after the other: the next one only when this one is ready, so that somebody always serves. Each is
//! stopped when its clients have left, for the others if they can.

use crate::engine::Command;
use crate::handle::{Handle, RestartMode};
use myagent_core::InstanceKey;
use myagent_core::error::{Code, Problem};
use myagent_core::instance::InstanceState;
use myagent_core::view::InstanceView;
use tokio::sync::oneshot;

/// Restarts these instances. Stops at the first that does not come back: the others still run as they were.
pub(crate) async fn restart(
    handle: Handle,
    name: &str,
    keys: Vec<InstanceKey>,
    mode: RestartMode,
) -> Result<(), Problem> {
    match mode {
        RestartMode::Rolling => {
            // A single one has nobody to leave its clients to.
            let (number, leave) = (keys.len(), keys.len() > 1);
            for (done, key) in keys.into_iter().enumerate() {
                let before = runner(&handle, name, key);
                tell(&handle, key, leave).await?;
                until_back(&handle, name, key, before).await.map_err(|mut problem| {
                    if done + 1 < number {
                        problem.detail += "; those after it were left as they are";
                    }
                    problem
                })?;
            }
        }
        RestartMode::AllAtOnce => {
            let before: Vec<_> = keys.iter().map(|key| runner(&handle, name, *key)).collect();
            for key in &keys {
                tell(&handle, *key, false).await?;
            }
            for (key, before) in keys.into_iter().zip(before) {
                until_back(&handle, name, key, before).await?;
            }
        }
    }
    Ok(())
}

async fn tell(handle: &Handle, key: InstanceKey, leave: bool) -> Result<(), Problem> {
    let gone = || Problem::new(Code::ShuttingDown, "the manager is shutting down");
    let (answer, result) = oneshot::channel();
    handle.commands.send(Command::RestartInstance { key, leave, answer }).await.map_err(|_| gone())?;
    result.await.map_err(|_| gone())?
}

fn find(handle: &Handle, name: &str, key: InstanceKey) -> Option<InstanceView> {
    handle.service(name).ok()?.instances.iter().find(|instance| instance.index == key.index).cloned()
}

fn runner(handle: &Handle, name: &str, key: InstanceKey) -> Option<u32> {
    find(handle, name, key).and_then(|instance| instance.runner_pid)
}

async fn until_back(
    handle: &Handle,
    name: &str,
    key: InstanceKey,
    before: Option<u32>,
) -> Result<(), Problem> {
    let mut views = handle.views.clone();
    loop {
        views.mark_unchanged();
        let failed = |cause: String| Err(Problem::new(Code::ServiceStartFailed, cause));
        match find(handle, name, key) {
            None => return failed(format!("{name}-{} is gone", key.index)),
            Some(instance) if instance.status == InstanceState::Running && instance.runner_pid != before => {
                return Ok(());
            }
            Some(instance) if matches!(instance.status, InstanceState::Error | InstanceState::Stopped) => {
                let cause = instance.error_message.unwrap_or_else(|| "it was stopped".to_owned());
                return failed(format!("{} did not come back: {cause}", instance.name));
            }
            Some(_) => {}
        }
        if views.changed().await.is_err() {
            return failed("the manager is shutting down".to_owned());
        }
    }
}
