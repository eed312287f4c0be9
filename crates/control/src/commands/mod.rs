//! One file for each thing that the engine can be asked to do.

mod ask_runners;
mod check_health;
mod desired;
mod register;
mod restart;
mod rules;
mod shut_down;
mod unregister;
mod update;

use crate::engine::{Command, Engine};
use myagent_core::error::{Code, Problem};
use myagent_store::StoreError;

impl Engine {
    pub(crate) fn command(&mut self, command: Command) {
        if self.ending.is_some() {
            refuse(command);
            return;
        }
        // An asker that has left does not want its answer.
        match command {
            Command::Register { new, once, who, answer } => {
                drop(answer.send(self.register(*new, once.as_ref(), &who)));
            }
            Command::Update { name, update, expected, who, answer } => {
                drop(answer.send(self.update_service(&name, &update, expected, &who)));
            }
            Command::Unregister { name, expected, who, answer } => {
                drop(answer.send(self.unregister(&name, expected, &who)));
            }
            Command::SetDesired { name, desired, who, answer } => {
                drop(answer.send(self.set_desired(&name, desired, &who)));
            }
            Command::Restart { name, mode, who, answer } => self.restart(&name, mode, &who, answer),
            Command::RestartInstance { key, leave, answer } => {
                drop(answer.send(self.restart_instance(key, leave)));
            }
            Command::CheckHealth { name, answer } => self.check_health(&name, answer),
            Command::Disconnect { what, id, who, answer } => self.disconnect(what, id, &who, answer),
            Command::CreateRule { body, once, who, answer } => {
                drop(answer.send(self.create_rule(body, once.as_ref(), &who)));
            }
            Command::ChangeRule { name, body, whole, expected, who, answer } => {
                drop(answer.send(self.change_rule(&name, body, whole, expected, &who)));
            }
            Command::DeleteRule { name, expected, who, answer } => {
                drop(answer.send(self.delete_rule(&name, expected, &who)));
            }
            Command::Notify { what, to, who, answer } => self.notify(&what, to, &who, answer),
            Command::ShutDown { instances, who, answer } => self.shut_down(instances, &who, answer),
        }
    }
}

/// While the manager ends it takes no more commands.
fn refuse(command: Command) {
    let problem = || Problem::new(Code::ShuttingDown, "the manager is shutting down");
    match command {
        Command::Register { answer, .. } => drop(answer.send(Err(problem()))),
        Command::Update { answer, .. } => drop(answer.send(Err(problem()))),
        Command::Unregister { answer, .. }
        | Command::SetDesired { answer, .. }
        | Command::Restart { answer, .. }
        | Command::RestartInstance { answer, .. }
        | Command::DeleteRule { answer, .. }
        | Command::ShutDown { answer, .. } => drop(answer.send(Err(problem()))),
        Command::CheckHealth { answer, .. } => drop(answer.send(Err(problem()))),
        Command::CreateRule { answer, .. } => drop(answer.send(Err(problem()))),
        Command::ChangeRule { answer, .. } => drop(answer.send(Err(problem()))),
        Command::Disconnect { answer, .. } => drop(answer.send(Err(problem()))),
        Command::Notify { answer, .. } => drop(answer.send(Err(problem()))),
    }
}

/// Whether a thing is at the version that its changer has seen.
pub(crate) fn check_version(what: &str, present: u64, expected: Option<u64>) -> Result<(), Problem> {
    match expected {
        Some(expected) if expected != present => {
            let detail = format!(
                "{what} was changed since: it is at version {present}, not {expected}; read it again and repeat the change"
            );
            Err(Problem::new(Code::PreconditionFailed, detail))
        }
        _ => Ok(()),
    }
}

/// A storage error, for the client. The whole of it goes to the log.
pub(crate) fn storage(error: &StoreError) -> Problem {
    tracing::error!(%error, "storage failed");
    error.problem()
}
