//! The clock that leases are counted on: it runs while the machine sleeps, and nobody sets
//! it. [`Instant`] stands still meanwhile on Linux, which is how a sleep is noticed.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::replication::lease::BootTime;

/// `CLOCK_BOOTTIME` is Linux's; elsewhere the monotonic clock runs on during sleep.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::Monotonic;

/// How far the two clocks may part before it counts as a sleep.
const SLEPT: Duration = Duration::from_secs(1);

/// Now.
pub(super) fn now() -> BootTime {
    let time = clock_gettime(CLOCK);
    let millis = time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000);
    BootTime(u64::try_from(millis).unwrap_or_default())
}

/// When `at` will be, if the machine doesn't sleep.
pub(super) fn instant(at: BootTime) -> Instant {
    Instant::now() + Duration::from_millis(at.0.saturating_sub(now().0))
}

/// Notices that the machine slept.
#[derive(Debug)]
pub(super) struct SleepWatch {
    boot: BootTime,
    running: Instant,
}

impl SleepWatch {
    pub(super) fn new() -> Self {
        Self { boot: now(), running: Instant::now() }
    }

    /// Whether the machine slept since the last look.
    pub(super) fn slept(&mut self) -> bool {
        let before = std::mem::replace(self, Self::new());
        let boot = Duration::from_millis(self.boot.0.saturating_sub(before.boot.0));
        boot > self.running.duration_since(before.running) + SLEPT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_is_what_the_other_clock_did_not_see() {
        let mut watch = SleepWatch::new();
        assert!(!watch.slept());
        watch.boot = BootTime(watch.boot.0.saturating_sub(5_000));
        assert!(watch.slept());
        assert!(!watch.slept(), "told once");
    }
}
