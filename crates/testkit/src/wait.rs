//! Waiting for a condition: tests never sleep for a time and hope.

use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Time between two looks.
const POLL: Duration = Duration::from_millis(10);

/// Looks every 10 ms until there is something, and returns it. Panics with `what` after the deadline.
pub async fn wait_for<T>(deadline: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "{what} did not happen within {deadline:?}");
        sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_returns_what_appears() {
        let mut looks = 0;
        let found = wait_for(Duration::from_secs(20), "the third look", async || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found.await, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "a miracle did not happen within 30ms")]
    async fn it_says_what_did_not_come() {
        wait_for(Duration::from_millis(30), "a miracle", async || None::<()>).await;
    }
}
