//! How fast copies are fetched, when a person says so.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes a second, averaged: a small picture, or a run of chunks of a large one, is begun when those before
/// it have had their time.
#[derive(Debug)]
pub(in crate::node) struct Pace {
    rate: Option<u64>,
    next: Mutex<Instant>,
}

impl Pace {
    /// `None`: as fast as it goes.
    pub(in crate::node) fn new(rate: Option<u64>) -> Self {
        Self { rate: rate.map(|rate| rate.max(1)), next: Mutex::new(Instant::now()) }
    }

    /// Waits until so many bytes may be fetched.
    pub(in crate::node) async fn wait(&self, bytes: u64) {
        if let Some(at) = self.book(Instant::now(), bytes) {
            tokio::time::sleep_until(at.into()).await;
        }
    }

    fn book(&self, now: Instant, bytes: u64) -> Option<Instant> {
        let rate = self.rate?;
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let start = now.max(*next);
        let takes = Duration::try_from_secs_f64(bytes as f64 / rate as f64).unwrap_or(Duration::MAX);
        *next = start.checked_add(takes).unwrap_or(start);
        Some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_waits_for_those_before_it() {
        let pace = Pace::new(Some(1000));
        let now = Instant::now();
        assert_eq!(pace.book(now, 3000), Some(now));
        assert_eq!(pace.book(now, 500), Some(now + Duration::from_secs(3)));
        let later = now + Duration::from_secs(60);
        assert_eq!(pace.book(later, 1), Some(later), "time that was not used is lost");
        assert_eq!(Pace::new(None).book(now, u64::MAX), None);
    }
}
