//! When to survey the copies: soon after a change, never all the time.

use std::time::{Duration, Instant};

use crate::limits::{
    LOOK_REST_TIMES, REPUBLISH_EVERY, SURVEY_PATIENCE, SURVEY_REST_LEAST, SURVEY_REST_LONGEST,
};

/// The surveys of a node: one at a time, each followed by a rest of [`LOOK_REST_TIMES`] times as
/// long as it took, [`SURVEY_REST_LONGEST`] at most.
#[derive(Debug, Clone)]
pub struct Rounds {
    running: Option<Instant>,
    changed: bool,
    /// Since when a survey has been held back.
    held: Option<Instant>,
    /// Not before.
    rested: Instant,
    /// Not later, unless the node rests.
    due: Instant,
}

impl Rounds {
    /// Of a node that starts now.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { running: None, changed: true, held: None, rested: now, due: now + REPUBLISH_EVERY }
    }

    /// Something has changed.
    pub fn changed(&mut self) {
        self.changed = true;
    }

    /// A survey is wanted at this time at the latest.
    pub fn at(&mut self, due: Instant) {
        self.due = self.due.min(due);
    }

    /// Something is about to change what a survey sees: it waits until then, but not for ever
    /// ([`SURVEY_PATIENCE`]).
    pub fn hold(&mut self, now: Instant, until: Instant) {
        if self.next_wakeup().is_some_and(|at| at <= now) {
            let since = *self.held.get_or_insert(now);
            self.rested = self.rested.max(until.min(since + SURVEY_PATIENCE));
        }
    }

    /// Whether a survey is to begin now; it ends with [`Rounds::ended`].
    pub fn next_action(&mut self, now: Instant) -> bool {
        if self.next_wakeup().is_none_or(|at| at > now) {
            return false;
        }
        self.running = Some(now);
        self.changed = false;
        self.held = None;
        self.due = now + REPUBLISH_EVERY;
        true
    }

    /// The survey has ended; `ok`: it could read everything.
    pub fn ended(&mut self, now: Instant, ok: bool) {
        let Some(since) = self.running.take() else { return };
        let took = now.saturating_duration_since(since);
        // What a busy machine adds to a short one is not worth a rest.
        let took = took.saturating_sub(Duration::from_millis(20));
        self.rested =
            now + took.saturating_mul(LOOK_REST_TIMES).clamp(SURVEY_REST_LEAST, SURVEY_REST_LONGEST);
        self.changed |= !ok;
    }

    /// When to call [`Rounds::next_action`] without an event.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        let at = if self.changed { self.rested } else { self.due.max(self.rested) };
        self.running.is_none().then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_surveyed_after_the_rest_and_once() {
        let start = Instant::now();
        let mut rounds = Rounds::new(start);
        assert!(rounds.next_action(start));
        rounds.changed();
        assert!(!rounds.next_action(start), "one at a time");
        let ended = start + Duration::from_secs(1);
        rounds.ended(ended, true);
        let next = rounds.next_wakeup().unwrap();
        assert_eq!(next, ended + Duration::from_millis(980) * LOOK_REST_TIMES);
        assert!(rounds.next_action(next));
        rounds.ended(next, true);
        assert_eq!(rounds.next_wakeup(), Some(next + REPUBLISH_EVERY), "nothing has changed");
        rounds.at(next + SURVEY_REST_LEAST * 3);
        assert_eq!(rounds.next_wakeup(), Some(next + SURVEY_REST_LEAST * 3));
    }

    /// A node that stood still in the middle of one offered for ten minutes what was not short any more, and
    /// saw nothing of what had become short.
    #[test]
    fn one_that_took_minutes_is_followed_by_the_longest_rest_and_no_more() {
        let start = Instant::now();
        let mut rounds = Rounds::new(start);
        assert!(rounds.next_action(start));
        let ended = start + Duration::from_secs(300);
        rounds.ended(ended, true);
        rounds.changed();
        assert_eq!(rounds.next_wakeup(), Some(ended + SURVEY_REST_LONGEST));
    }

    #[test]
    fn one_that_is_held_back_comes_in_the_end() {
        let start = Instant::now();
        let mut rounds = Rounds::new(start);
        let mut now = start;
        let second = Duration::from_secs(1);
        while now < start + SURVEY_PATIENCE {
            rounds.hold(now, now + second);
            assert!(!rounds.next_action(now));
            now += second;
        }
        rounds.hold(now, now + second);
        assert!(rounds.next_action(now));
    }

    #[test]
    fn one_that_failed_is_repeated() {
        let start = Instant::now();
        let mut rounds = Rounds::new(start);
        assert!(rounds.next_action(start));
        rounds.ended(start, false);
        assert_eq!(rounds.next_wakeup(), Some(start + SURVEY_REST_LEAST));
    }
}
