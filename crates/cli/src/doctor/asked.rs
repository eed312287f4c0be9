//! The checks for whoever asks the manager: one examination at a time, off the threads that serve, and not waited for for ever.

use super::examine;
use crate::datadir::DataDir;
use myagent_core::diagnosis::Diagnosis;
use myagent_core::error::{Code, Problem};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// How long an examination may take, the wait for the one before included. The slowest check waits five seconds for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Makes examinations.
#[derive(Debug)]
pub(crate) struct Examiner(Arc<Semaphore>);

impl Default for Examiner {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Examiner {
    /// Examines this machine and the data directory.
    pub(crate) async fn examine(&self, data: DataDir) -> Result<Diagnosis, Problem> {
        let runtime = Handle::current();
        self.run(PATIENCE, move || runtime.block_on(examine(&data)).into()).await
    }

    /// Checks read files and start `python3`. One that hangs cannot be ended; it keeps its place, so that there is never a second
    /// one beside it.
    async fn run(
        &self,
        patience: Duration,
        work: impl FnOnce() -> Diagnosis + Send + 'static,
    ) -> Result<Diagnosis, Problem> {
        let examination = async {
            let place = Arc::clone(&self.0).acquire_owned().await.ok()?;
            let work = tokio::task::spawn_blocking(move || {
                let _place = place;
                work()
            });
            match work.await {
                Ok(diagnosis) => Some(diagnosis),
                Err(error) => {
                    tracing::error!(%error, "an examination of the machine failed");
                    None
                }
            }
        };
        match tokio::time::timeout(patience, examination).await {
            Ok(Some(diagnosis)) => Ok(diagnosis),
            Ok(None) => {
                Err(Problem::new(Code::Internal, "the examination failed; the manager's log has more"))
            }
            Err(_) => {
                let detail = format!(
                    "the examination did not end within {} s: a disk or python3 does not answer; \
                     `myagent-manager doctor` looks for itself",
                    patience.as_secs()
                );
                Err(Problem::new(Code::InsufficientResources, detail))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use myagent_core::diagnosis::Finding;
    use std::sync::mpsc;

    #[tokio::test]
    async fn a_check_that_hangs_is_not_waited_for_and_has_none_beside_it() {
        let examiner = Examiner::default();
        let (answer, waiting) = mpsc::channel::<()>();
        let hangs = move || {
            // Ends when the sender is dropped.
            let _ = waiting.recv();
            Diagnosis::from(Vec::new())
        };
        let soon = Duration::from_millis(20);
        let code = |result: Result<Diagnosis, Problem>| result.map_err(|problem| problem.code);
        assert_eq!(code(examiner.run(soon, hangs).await), Err(Code::InsufficientResources));
        let unreachable = || panic!("a second one runs beside it");
        assert_eq!(code(examiner.run(soon, unreachable).await), Err(Code::InsufficientResources));
        drop(answer);
        let diagnosis = Diagnosis::from(vec![Finding::ok("python", "is there")]);
        let next = diagnosis.clone();
        assert_eq!(code(examiner.run(PATIENCE, || next).await), Ok(diagnosis));
    }
}
