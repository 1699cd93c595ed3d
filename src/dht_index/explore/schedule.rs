//! When to explore.

use std::time::{Duration, Instant};

use crate::limits::{EXPLORE_AFTER_CHANGE, EXPLORE_EVERY, EXPLORE_LEAST, EXPLORE_LONGEST, EXPLORE_PER_NODE};

/// Tells when the next exploration is due: at once when the first node is known, soon after
/// nodes came or went, and from time to time; the larger the swarm, the less often.
#[derive(Debug, Clone, Default)]
pub struct Schedule {
    next: Option<Instant>,
    /// The end of the last one, and the pause that is kept after it.
    last: Option<(Instant, Duration)>,
}

impl Schedule {
    /// Nodes came or went.
    pub fn changed(&mut self, now: Instant) {
        let due = match self.last {
            None => now,
            Some((ended, pause)) => (now + EXPLORE_AFTER_CHANGE).max(ended + pause),
        };
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
    }

    /// One begins.
    pub fn started(&mut self) {
        self.next = None;
    }

    /// One ended, and found so many nodes.
    pub fn ended(&mut self, now: Instant, nodes: usize, complete: bool) {
        let nodes = u32::try_from(nodes).unwrap_or(u32::MAX);
        let regular = EXPLORE_PER_NODE.saturating_mul(nodes).clamp(EXPLORE_EVERY, EXPLORE_LONGEST);
        // In a large swarm some node comes or goes all the time.
        let pause = (EXPLORE_PER_NODE / 10).saturating_mul(nodes).clamp(EXPLORE_LEAST, EXPLORE_LONGEST);
        self.last = Some((now, pause));
        let next = now + if complete { regular } else { pause * 2 };
        // A change that came during it may have been missed.
        self.next = Some(self.next.map_or(next, |changed| changed.max(now + pause)).min(next));
    }

    /// When the next one is due; `None`: not before something changes.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_at_once_and_changes_come_together() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        assert_eq!(schedule.next(), None);
        schedule.changed(now);
        assert_eq!(schedule.next(), Some(now));
        schedule.started();
        assert_eq!(schedule.next(), None);
        schedule.changed(now);
        schedule.ended(now, 3, true);
        assert_eq!(schedule.next(), Some(now + EXPLORE_LEAST), "changed meanwhile");
        schedule.started();
        let later = now + EXPLORE_LEAST;
        schedule.ended(later, 10_000, true);
        assert_eq!(schedule.next(), Some(later + EXPLORE_LONGEST));
        schedule.changed(later);
        assert_eq!(schedule.next(), Some(later + EXPLORE_PER_NODE / 10 * 10_000));
        schedule.ended(later, 20, true);
        assert_eq!(schedule.next(), Some(later + EXPLORE_EVERY));
        let quiet = later + EXPLORE_EVERY / 2;
        schedule.changed(quiet);
        assert_eq!(schedule.next(), Some(quiet + EXPLORE_AFTER_CHANGE));
    }
}
