//! One member: its connection, and how long it used to stay away.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits::{MAX_PATIENCE, MAX_STAYS, STAY_HALVES};

#[derive(Debug, Clone, Default)]
pub(super) enum Link {
    /// Known by its history only.
    #[default]
    Unseen,
    Up {
        since: Instant,
    },
    Gone(Gone),
}

#[derive(Debug, Clone)]
pub(super) struct Gone {
    pub(super) at: Instant,
    /// How long it may be away. Fixed when it goes, so that nothing moves while it is.
    pub(super) patience: Duration,
    /// Whether it was up before, since this node started.
    pub(super) seen: bool,
    /// Whether the absence says how long the member stays away: this node saw its beginning, and
    /// wasn't cut off.
    pub(super) theirs: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Member {
    pub(super) link: Link,
    /// When it last failed a fetch or proof, and none has succeeded since.
    pub(super) failed: Option<Instant>,
    pub(super) draining: bool,
    /// How long it stayed away, the newest last.
    stays: VecDeque<Duration>,
}

impl Member {
    pub(super) fn up(&mut self, now: Instant, repair_after: Duration) {
        match &self.link {
            Link::Up { .. } => return,
            Link::Gone(gone) if gone.theirs => {
                let away = now.saturating_duration_since(gone.at).min(MAX_PATIENCE);
                // Shorter ones change nothing, and a flapping connection would push the others out.
                if given(away) > repair_after {
                    self.remember(away);
                }
            }
            Link::Gone(_) | Link::Unseen => {}
        }
        self.draining = false;
        self.link = Link::Up { since: now };
    }

    /// Whether it was up.
    pub(super) fn down(&mut self, now: Instant, repair_after: Duration) -> bool {
        let seen = match &self.link {
            Link::Gone(_) => return false,
            Link::Unseen => false,
            Link::Up { since } => {
                let up = now.saturating_duration_since(*since);
                self.fade(up);
                true
            }
        };
        let patience = self.patience(repair_after);
        self.link = Link::Gone(Gone { at: now, patience, seen, theirs: seen });
        seen
    }

    pub(super) fn remember(&mut self, away: Duration) {
        if self.stays.len() >= MAX_STAYS {
            self.stays.pop_front();
        }
        self.stays.push_back(away.min(MAX_PATIENCE));
    }

    pub(super) fn stays(&self) -> impl Iterator<Item = Duration> {
        self.stays.iter().copied()
    }

    /// Who stays for weeks is no laptop any more.
    fn fade(&mut self, up: Duration) {
        let halvings = (up.as_secs() / STAY_HALVES.as_secs()).min(31) as u32;
        for stay in &mut self.stays {
            *stay /= 1 << halvings;
        }
    }

    /// Half as long again as it usually stays away. The second longest absence is the usual one:
    /// one journey of two weeks does not count for the next eight.
    fn patience(&self, repair_after: Duration) -> Duration {
        let mut stays: Vec<Duration> = self.stays().collect();
        stays.sort_unstable();
        let usual = stays.iter().rev().nth(1).or(stays.first());
        let most = MAX_PATIENCE.max(repair_after);
        usual.map_or(repair_after, |usual| given(*usual).clamp(repair_after, most))
    }
}

fn given(usual: Duration) -> Duration {
    usual * 3 / 2
}
