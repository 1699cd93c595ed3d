//! Moving a content: what its chunks must hash to ([`outline`]) and which chunk to ask of
//! whom next ([`schedule`]). Decisions only; the bytes move in `node/` and `client.rs`.

pub mod outline;
pub mod schedule;

use std::time::Duration;

/// Pause before asking a busy node again, for try number `attempt` (from 1): 25 ms, doubled
/// each time, at most 800 ms. For single questions; [`schedule`] has its own for windows.
#[must_use]
pub fn busy_pause(attempt: u32) -> Duration {
    Duration::from_millis(25 << attempt.saturating_sub(1).min(5))
}
