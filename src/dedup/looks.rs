//! When to look at the swarm for duplicates.
//!
//! A look reads all rows, so it is worth its price only when something has changed; and
//! after one the node rests for [`LOOK_REST_TIMES`] times as long as it took: a twentieth of
//! one core at most goes into looking. Without any change there is one look every
//! [`REPUBLISH_EVERY`], for what no event tells (a member that was away when its pictures
//! were compared).

use std::time::{Duration, Instant};

use crate::limits::{
    LOOK_PATIENCE, LOOK_REST_LEAST, LOOK_REST_LONGEST, LOOK_REST_TIMES, LOOK_RETRY, LOOK_SMALL,
    REPUBLISH_EVERY,
};

/// What the planner is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The own catalog or that of a member has changed, or a member came or went.
    Changed,
    /// A pair turned out not to be the same picture: there may be another keeper.
    Refused,
    /// How the own folder is.
    Folder(Folder),
    /// The look that was begun has ended.
    Ended {
        /// It saw everything.
        ok: bool,
        /// Contents that it read.
        contents: u64,
    },
}

/// How far the own folder is known. What comes in pieces is judged as a whole: otherwise the
/// first pieces of a flood of duplicates pass by the brake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folder {
    /// The first scan is not done: there is no look, however long that takes.
    Scanning,
    /// Files are still arriving: a look waits for them, but not for ever ([`LOOK_PATIENCE`]).
    Arriving,
    /// All of it is known.
    Quiet,
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
    folder: Folder,
    /// Since when it is so.
    since: Instant,
}

impl Looks {
    /// Of a node that starts now: it looks as soon as its members have had time to connect.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            running: None,
            changed: true,
            rested: now + LOOK_REST_LEAST,
            due: now + REPUBLISH_EVERY,
            folder: Folder::Scanning,
            since: now,
        }
    }

    /// Takes note of what happened.
    pub fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Changed | Event::Refused => self.changed = true,
            Event::Folder(folder) if folder != self.folder => (self.folder, self.since) = (folder, now),
            Event::Folder(_) => {}
            Event::Ended { ok, contents } => {
                let Some(since) = self.running.take() else { return };
                // A few rows cost next to nothing, however long a busy machine took for them.
                let small = contents < LOOK_SMALL;
                let took = if small { Duration::ZERO } else { now.saturating_duration_since(since) };
                self.rested = now + rest(took, ok);
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

    /// Whether a look is under way, or will be within `soon`.
    #[must_use]
    pub fn is_near(&self, now: Instant, soon: Duration) -> bool {
        self.running.is_some() || (self.changed && self.next_wakeup().is_some_and(|at| at <= now + soon))
    }

    /// When to call [`Looks::next_action`] without an event.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        let at = if self.changed { self.rested } else { self.due.max(self.rested) };
        let at = match self.folder {
            Folder::Scanning => None,
            Folder::Arriving => Some(at.max(self.since + LOOK_PATIENCE)),
            Folder::Quiet => Some(at),
        };
        at.filter(|_| self.running.is_none())
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
        assert_eq!(looks.next_wakeup(), None, "the folder is scanned first");
        looks.on_event(start, Event::Folder(Folder::Quiet));
        assert_eq!(looks.next_action(start), None, "members connect first");
        let begun = looks.next_wakeup().unwrap();
        assert_eq!(looks.next_action(begun), Some(Look));
        assert_eq!((looks.next_action(begun), looks.next_wakeup()), (None, None), "one at a time");
        looks.on_event(begun + SECOND, Event::Ended { ok: true, contents: LOOK_SMALL });
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
    fn arriving_files_are_waited_for_but_not_for_ever() {
        let (mut looks, ended) = after_a_look();
        let later = ended + 100 * SECOND;
        looks.on_event(later, Event::Folder(Folder::Arriving));
        looks.on_event(later, Event::Changed);
        looks.on_event(later + SECOND, Event::Folder(Folder::Arriving));
        assert_eq!(looks.next_wakeup(), Some(later + LOOK_PATIENCE));
        looks.on_event(later + 2 * SECOND, Event::Folder(Folder::Quiet));
        assert_eq!(looks.next_action(later + 2 * SECOND), Some(Look));
    }

    #[test]
    fn a_change_during_a_look_leads_to_another() {
        let (mut looks, ended) = after_a_look();
        looks.on_event(ended, Event::Refused);
        let begun = ended + 20 * SECOND;
        assert_eq!(looks.next_action(begun), Some(Look));
        looks.on_event(begun, Event::Changed);
        looks.on_event(begun, Event::Ended { ok: true, contents: LOOK_SMALL });
        assert_eq!(looks.next_wakeup(), Some(begun + LOOK_REST_LEAST));
    }

    #[test]
    fn without_a_change_there_is_one_look_every_eight_hours() {
        let (mut looks, ended) = after_a_look();
        assert_eq!(looks.next_action(ended + REPUBLISH_EVERY.checked_sub(2 * SECOND).unwrap()), None);
        assert_eq!(looks.next_action(ended + REPUBLISH_EVERY), Some(Look));
    }

    #[test]
    fn a_look_that_failed_is_repeated_and_not_at_once() {
        let (mut looks, ended) = after_a_look();
        looks.on_event(ended, Event::Changed);
        let begun = ended + 20 * SECOND;
        assert_eq!(looks.next_action(begun), Some(Look));
        looks.on_event(begun, Event::Ended { ok: false, contents: LOOK_SMALL });
        assert_eq!(looks.next_wakeup(), Some(begun + LOOK_RETRY));
        looks.on_event(begun, Event::Ended { ok: true, contents: LOOK_SMALL });
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
            looks.on_event(now, Event::Folder(Folder::Quiet));
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
                looks.on_event(now, Event::Ended { ok, contents: LOOK_SMALL });
                let rest = looks.next_wakeup().unwrap() - now;
                prop_assert!(rest >= LOOK_REST_LEAST);
                prop_assert!(rest >= (took * LOOK_REST_TIMES).min(LOOK_REST_LONGEST));
            }
        }
    }
}
