//! Finding members through the DHT: every node is a provider of one key, and looks up who else is.
//!
//! A node that was told one address, of a node whose own list of members does not hold all, meets the
//! others so. A key has a few providers only (those closest to it are kept), so in a large swarm this
//! is a sample; the members of each of them are the rest.
//!
//! Looks are rare while they bring nobody new, and often while they do or when few are known.

use std::time::Instant;

use crate::backoff::Jitter;
use crate::limits::{
    FEW_MEMBERS, MEET_FIRST, MEET_LONGEST, MEET_LONGEST_ALONE, PUBLISH_RETRY_FIRST, PUBLISH_RETRY_LONGEST,
    REPUBLISH_EVERY,
};

/// What the planner is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Whether there is anybody in the routing table.
    Reachable(bool),
    /// How many members there are.
    Members(usize),
    /// An [`Action::Provide`] ended.
    Provided {
        /// Somebody took the record.
        ok: bool,
    },
    /// An [`Action::Look`] ended.
    Looked {
        /// It named peers that were not known.
        news: bool,
    },
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Become a provider of the members' key, or stay one; report [`Event::Provided`].
    Provide,
    /// Look up its providers; report [`Event::Looked`].
    Look,
}

/// One of the two things, and when it is due.
#[derive(Debug)]
struct Task {
    at: Instant,
    running: bool,
    /// Times in a row that it brought nothing.
    vain: u32,
}

impl Task {
    fn new(at: Instant) -> Self {
        Self { at, running: false, vain: 0 }
    }

    fn is_due(&self, now: Instant) -> bool {
        !self.running && self.at <= now
    }
}

/// The plan.
#[derive(Debug)]
pub struct Meeting {
    reachable: bool,
    members: usize,
    /// Members there were when the record was published: with twice as many, others are the closest.
    provided_to: usize,
    provide: Task,
    look: Task,
    jitter: Jitter,
}

impl Meeting {
    /// Has published nothing; `seed` spreads the pauses.
    #[must_use]
    pub fn new(now: Instant, seed: u64) -> Self {
        let (provide, look) = (Task::new(now), Task::new(now + MEET_FIRST));
        Self { reachable: false, members: 0, provided_to: 0, provide, look, jitter: Jitter::new(seed) }
    }

    /// Takes note of what happened.
    pub fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Reachable(reachable) => {
                if reachable && !self.reachable {
                    self.provide.at = self.provide.at.min(now + MEET_FIRST);
                    self.look_soon(now);
                }
                self.reachable = reachable;
            }
            Event::Members(members) => {
                if members > 2 * self.provided_to.max(1) {
                    self.provide.at = self.provide.at.min(now + MEET_FIRST);
                }
                if members < self.members && members < FEW_MEMBERS {
                    self.look_soon(now);
                }
                self.members = members;
            }
            Event::Provided { ok } => {
                self.provide.running = false;
                self.provide.vain = if ok { 0 } else { self.provide.vain.saturating_add(1) };
                let pause = if ok {
                    self.provided_to = self.members;
                    self.jitter.between(REPUBLISH_EVERY * 3 / 4, REPUBLISH_EVERY)
                } else {
                    self.jitter.pause(self.provide.vain, PUBLISH_RETRY_FIRST, PUBLISH_RETRY_LONGEST)
                };
                self.provide.at = now + pause;
            }
            Event::Looked { news } => {
                self.look.running = false;
                self.look.vain = if news { 1 } else { self.look.vain.saturating_add(1) };
                let few = self.members < FEW_MEMBERS;
                let longest = if few { MEET_LONGEST_ALONE } else { MEET_LONGEST };
                self.look.at = now + self.jitter.pause(self.look.vain, MEET_FIRST, longest);
            }
        }
    }

    fn look_soon(&mut self, now: Instant) {
        self.look.vain = 0;
        self.look.at = self.look.at.min(now + MEET_FIRST);
    }

    /// What to do next; `None` until an event or [`Meeting::next_wakeup`].
    pub fn next_action(&mut self, now: Instant) -> Option<Action> {
        if !self.reachable {
            return None;
        }
        for (task, action) in [(&mut self.provide, Action::Provide), (&mut self.look, Action::Look)] {
            if task.is_due(now) {
                task.running = true;
                return Some(action);
            }
        }
        None
    }

    /// When there is something to do without a further event.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        let tasks = [&self.provide, &self.look].into_iter().filter(|task| self.reachable && !task.running);
        tasks.map(|task| task.at).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Runs for so long; every publication works, and a look brings news as `news` says of its number.
    /// How often each was done.
    fn run(plan: &mut Meeting, now: &mut Instant, time: Duration, news: impl Fn(u32) -> bool) -> (u32, u32) {
        let (end, mut provided, mut looked) = (*now + time, 0, 0);
        loop {
            while let Some(action) = plan.next_action(*now) {
                assert_ne!(plan.next_action(*now), Some(action), "one at a time");
                match action {
                    Action::Provide => {
                        provided += 1;
                        plan.on_event(*now, Event::Provided { ok: true });
                    }
                    Action::Look => {
                        looked += 1;
                        plan.on_event(*now, Event::Looked { news: news(looked) });
                    }
                }
            }
            match plan.next_wakeup().filter(|at| *at <= end) {
                Some(at) => *now = at.max(*now),
                None => return (provided, looked),
            }
        }
    }

    #[test]
    fn looks_are_many_at_first_and_few_later() {
        let mut now = Instant::now();
        let mut plan = Meeting::new(now, 1);
        assert_eq!(run(&mut plan, &mut now, Duration::from_secs(60), |_| false), (0, 0), "nobody is there");
        plan.on_event(now, Event::Reachable(true));
        plan.on_event(now, Event::Members(10));
        let (provided, looked) = run(&mut plan, &mut now, Duration::from_secs(60), |_| false);
        assert!((1..=2).contains(&provided) && (4..=8).contains(&looked), "{provided} {looked}");
        let day = Duration::from_secs(24 * 3600);
        let (provided, looked) = run(&mut plan, &mut now, day, |_| false);
        assert!((3..=4).contains(&provided), "{provided}");
        assert!((96..=130).contains(&looked), "{looked}");
    }

    #[test]
    fn whoever_knows_few_looks_more_often_and_news_are_followed() {
        let mut now = Instant::now();
        let mut plan = Meeting::new(now, 1);
        plan.on_event(now, Event::Reachable(true));
        plan.on_event(now, Event::Members(1));
        let hour = Duration::from_secs(3600);
        let (_, looked) = run(&mut plan, &mut now, hour, |_| false);
        assert!(looked >= 60, "{looked}");
        plan.on_event(now, Event::Members(50));
        run(&mut plan, &mut now, hour, |_| false);
        let (_, looked) = run(&mut plan, &mut now, hour, |n| n == 1);
        assert!(looked >= 8, "{looked}");
    }

    #[test]
    fn a_swarm_that_grows_gets_the_record_again() {
        let mut now = Instant::now();
        let mut plan = Meeting::new(now, 1);
        plan.on_event(now, Event::Reachable(true));
        let minute = Duration::from_secs(60);
        assert_eq!(run(&mut plan, &mut now, minute, |_| false).0, 1);
        for members in [2, 3, 4, 8, 9, 20] {
            plan.on_event(now, Event::Members(members));
            run(&mut plan, &mut now, minute, |_| false);
        }
        plan.on_event(now, Event::Members(21));
        assert_eq!(run(&mut plan, &mut now, minute, |_| false).0, 0);
        plan.on_event(now, Event::Members(60));
        assert_eq!(run(&mut plan, &mut now, minute, |_| false).0, 1);
    }
}
