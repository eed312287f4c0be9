//! Temporary: only some stories.
#![expect(clippy::unwrap_used, unfulfilled_lint_expectations, reason = "a story that fails shall say where")]
#[path = "e2e/acceptance.rs"]
mod acceptance;
#[path = "e2e/bad_input.rs"]
mod bad_input;
#[path = "e2e/conversations.rs"]
mod conversations;
#[path = "e2e/hand_over.rs"]
mod hand_over;
#[path = "e2e/life_cycle.rs"]
mod life_cycle;
#[path = "e2e/secrets.rs"]
mod secrets;
