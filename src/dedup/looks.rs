//! When to look at the swarm for duplicates.
//!
//! A look reads all rows, so it is worth its price only when something has changed; and
//! after one the node rests for [`LOOK_REST_TIMES`] times as long as it took: a twentieth of
//! one core at most goes into looking. Without any change there is one look every
//! [`REPUBLISH_EVERY`], for what no event tells (a member that was away when its pictures
//! were compared).

use std::time::{Duration, Instant};

use crate::limits::{LOOK_REST_LEAST, LOOK_REST_LONGEST, LOOK_REST_TIMES, LOOK_RETRY, REPUBLISH_EVERY};

/// What the planner is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The own catalog or that of a member has changed, or a member came or went.
    Changed,
    /// A pair turned out not to be the same picture: there may be another keeper.
    Refused,
    /// The look that was begun has ended; `ok`: it saw everything.
    Ended {
        /// See above.
        ok: bool,
    },
}

/// A look at the swarm is to begin. Ends with [`Event::Ended`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look;

/// The looks of a node.
#[derive(Debug, Clone)]
pub struct Looks {
    /// Since when a look is under way.
    running: Option<Instant>,
    /// Something has changed since the last look began.
    changed: bool,
    /// Not before.
    rested: Instant,
    /// Not later, unless the node rests.
    due: Instant,
}

impl Looks {
    /// Of a node that starts now: it looks as soon as its members have had time to connect.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { running: None, changed: true, rested: now + LOOK_REST_LEAST, due: now + REPUBLISH_EVERY }
    }

    /// Takes note of what happened.
    pub fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Changed | Event::Refused => self.changed = true,
            Event::Ended { ok } => {
                let Some(since) = self.running.take() else { return };
                self.rested = now + rest(now.saturating_duration_since(since), ok);
                self.changed |= !ok;
            }
        }
    }

    /// What to do next; `None` until an event or [`Looks::next_wakeup`].
    pub fn next_action(&mut self, now: Instant) -> Option<Look> {
        if self.next_wakeup().is_none_or(|at| at > now) {
            return None;
        }
        self.running = Some(now);
        self.changed = false;
        self.due = now + REPUBLISH_EVERY;
        Some(Look)
    }

    /// When to call [`Looks::next_action`] without an event.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        let at = if self.changed { self.rested } else { self.due.max(self.rested) };
        self.running.is_none().then_some(at)
    }
}

fn rest(took: Duration, ok: bool) -> Duration {
    let least = if ok { LOOK_REST_LEAST } else { LOOK_RETRY };
    took.saturating_mul(LOOK_REST_TIMES).clamp(least, LOOK_REST_LONGEST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A node that has looked once, for a second, and rests until the time that is returned.
    fn after_a_look() -> (Looks, Instant) {
        let start = Instant::now();
        let mut looks = Looks::new(start);
        assert_eq!(looks.next_action(start), None, "members connect first");
        let begun = looks.next_wakeup().unwrap();
        assert_eq!(looks.next_action(begun), Some(Look));
        assert_eq!((looks.next_action(begun), looks.next_wakeup()), (None, None), "one at a time");
        looks.on_event(begun + SECOND, Event::Ended { ok: true });
        (looks, begun + SECOND)
    }

    #[test]
    fn a_change_is_looked_at_after_the_rest() {
        let (mut looks, ended) = after_a_look();
        looks.on_event(ended, Event::Changed);
        assert_eq!(looks.next_action(ended + 19 * SECOND), None);
        assert_eq!(looks.next_wakeup(), Some(ended + 20 * SECOND));
        assert_eq!(looks.next_action(ended + 20 * SECOND), Some(Look));
    }

    #[test]
    fn a_change_during_a_look_leads_to_another() {
        let (mut looks, ended) = after_a_look();
        looks.on_event(ended, Event::Refused);
        let begun = ended + 20 * SECOND;
        assert_eq!(looks.next_action(begun), Some(Look));
        looks.on_event(begun, Event::Changed);
        looks.on_event(begun, Event::Ended { ok: true });
        assert_eq!(looks.next_wakeup(), Some(begun + LOOK_REST_LEAST));
    }

    #[test]
    fn without_a_change_there_is_one_look_every_eight_hours() {
        let (mut looks, ended) = after_a_look();
        assert_eq!(looks.next_action(ended + REPUBLISH_EVERY - 2 * SECOND), None);
        assert_eq!(looks.next_action(ended + REPUBLISH_EVERY), Some(Look));
    }

    #[test]
    fn a_look_that_failed_is_repeated_and_not_at_once() {
        let (mut looks, ended) = after_a_look();
        looks.on_event(ended, Event::Changed);
        let begun = ended + 20 * SECOND;
        assert_eq!(looks.next_action(begun), Some(Look));
        looks.on_event(begun, Event::Ended { ok: false });
        assert_eq!(looks.next_wakeup(), Some(begun + LOOK_RETRY));
        looks.on_event(begun, Event::Ended { ok: true });
        assert_eq!(looks.next_wakeup(), Some(begun + LOOK_RETRY), "an end without a look");
    }

    proptest! {
        /// However long looks take and whatever happens, it never looks for more than a share
        /// of the time, and a change is looked at within the longest rest.
        #[test]
        fn looks_are_rare_and_nothing_is_forgotten(
            steps in prop::collection::vec((0u64..100, any::<bool>(), any::<bool>()), 1..60)
        ) {
            let mut now = Instant::now();
            let mut looks = Looks::new(now);
            for (seconds, change, ok) in steps {
                if change {
                    looks.on_event(now, Event::Changed);
                    let by = looks.next_wakeup().unwrap();
                    prop_assert!(by <= now + LOOK_REST_LONGEST);
                }
                now = looks.next_wakeup().unwrap();
                prop_assert_eq!(looks.next_action(now), Some(Look));
                let took = Duration::from_secs(seconds);
                now += took;
                looks.on_event(now, Event::Ended { ok });
                let rest = looks.next_wakeup().unwrap() - now;
                prop_assert!(rest >= LOOK_REST_LEAST);
                prop_assert!(rest >= (took * LOOK_REST_TIMES).min(LOOK_REST_LONGEST));
            }
        }
    }
}
