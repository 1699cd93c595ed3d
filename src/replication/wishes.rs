//! Which duplicates go next, and when dropping stops: between what a look at the swarm
//! found and the planner that drops.
//!
//! Each look finds anew all that may go, so the newest findings replace the older ones: a
//! drop that waits for its next attempt and is not among them any more is called off. A
//! drop that has been tried for [`DROP_TURN`] makes room for another; it comes back in
//! [`DROP_PAUSE_LONGEST`].
//!
//! The brake looks at a whole run: what was dropped within the last [`BRAKE_WINDOW`] and
//! what would go now. Not guaranteed: that it survives a restart to the file. Who starts a
//! node tells it what its trash took in that time ([`Event::Past`]); an approval ends with
//! the process.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::drop::{End, Plan};
use super::lease::BootTime;
use crate::brake::{Brake, Run, Verdict};
use crate::limits::{
    BRAKE_WINDOW, DROP_PAUSE_FIRST, DROP_PAUSE_LONGEST, DROP_TURN, MAX_REFUSALS, MAX_WISHED_DROPS,
};
use crate::types::ContentId;

/// An own content that may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// What the drop planner is told.
    pub plan: Plan,
    /// Files of the folder that go with it.
    pub files: u64,
}

/// What the planner is told.
#[derive(Debug, Clone)]
pub enum Event {
    /// All that may go now, the most urgent first, and the files in the folder.
    Found {
        /// See [`Wish`].
        wishes: Vec<Wish>,
        /// Pictures in the folder.
        files: u64,
    },
    /// A drop ended.
    Ended {
        /// Of what.
        subject: ContentId,
        /// How.
        how: End,
    },
    /// Files that were dropped before the node started, within the window, or went now because a
    /// person said so.
    Past(u64),
    /// A person lets the run go on.
    Approved,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Begin the drop.
    Begin(Plan),
    /// Other nodes hold the keeper now.
    Replan(Plan),
    /// Call it off, if nothing is being done for it just now.
    Cancel(ContentId),
    /// The brake holds the run back now.
    Braked {
        /// Files that would go, with those that went.
        would_take: u64,
        /// Files that may go.
        allowed: u64,
        /// Files in the folder.
        files: u64,
    },
}

#[derive(Debug, Clone)]
struct UnderWay {
    plan: Plan,
    files: u64,
    since: BootTime,
    cancelled: bool,
    /// It was cancelled because others wait.
    had_its_turn: bool,
}

/// The queue of a node.
#[derive(Debug)]
pub struct Wishes {
    brake: Brake,
    waiting: VecDeque<Wish>,
    under_way: BTreeMap<ContentId, UnderWay>,
    /// Not before this time again.
    rested: BTreeMap<ContentId, BootTime>,
    /// Pairs that were looked at and are not the same picture.
    refused: BTreeSet<(ContentId, ContentId)>,
    files: u64,
    /// When, and how many files went; the oldest first.
    went: VecDeque<(BootTime, u64)>,
    approved: u64,
    /// Kept so long, although nothing is under way.
    approved_until: BootTime,
    held: Option<Verdict>,
    /// What the brake said to a removal.
    refused_removal: Option<Verdict>,
    told: bool,
    actions: VecDeque<Action>,
    dropped: u64,
}

impl Wishes {
    /// Of a node that has just started.
    #[must_use]
    pub fn new(brake: Brake) -> Self {
        Self {
            brake,
            waiting: VecDeque::new(),
            under_way: BTreeMap::new(),
            rested: BTreeMap::new(),
            refused: BTreeSet::new(),
            files: 0,
            went: VecDeque::new(),
            approved: 0,
            approved_until: BootTime(0),
            held: None,
            refused_removal: None,
            told: false,
            actions: VecDeque::new(),
            dropped: 0,
        }
    }

    /// Takes note of what happened.
    pub fn on_event(&mut self, now: BootTime, event: Event) {
        match event {
            Event::Found { wishes, files } => self.found(now, wishes, files),
            Event::Ended { subject, how } => self.ended(now, subject, how),
            Event::Past(files) if files > 0 => self.went.push_back((now, files)),
            Event::Past(_) => {}
            Event::Approved => self.approve(now),
        }
    }

    /// What to do next; `None` until an event or [`Wishes::next_wakeup`].
    pub fn next_action(&mut self, now: BootTime) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        if self.held.is_some() {
            return None;
        }
        self.make_room(now);
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        if self.under_way.len() >= MAX_WISHED_DROPS {
            return None;
        }
        let ready = |wish: &Wish| self.rested.get(&wish.plan.subject).is_none_or(|until| *until <= now);
        let at = self.waiting.iter().position(ready)?;
        let wish = self.waiting.remove(at)?;
        let Wish { plan, files } = wish;
        self.rested.remove(&plan.subject);
        let under_way =
            UnderWay { plan: plan.clone(), files, since: now, cancelled: false, had_its_turn: false };
        self.under_way.insert(plan.subject, under_way);
        Some(Action::Begin(plan))
    }

    /// When to call [`Wishes::next_action`] without an event.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<BootTime> {
        if self.held.is_some() || self.waiting.is_empty() {
            return None;
        }
        // Only what next_action can then act on: any other time may be past, and the loop that
        // waits for it would spin.
        if self.under_way.len() >= MAX_WISHED_DROPS {
            let turns = self.under_way.values().filter(|drop| !drop.cancelled);
            return turns.map(|drop| drop.since.after(DROP_TURN)).min();
        }
        self.waiting.iter().filter_map(|wish| self.rested.get(&wish.plan.subject)).min().copied()
    }

    /// Pairs of (loser, keeper) that were looked at and are not the same picture: the next
    /// look finds another keeper, or none.
    #[must_use]
    pub fn refused(&self) -> &BTreeSet<(ContentId, ContentId)> {
        &self.refused
    }

    /// What the brake says, when it holds.
    #[must_use]
    pub fn held(&self) -> Option<Verdict> {
        self.held
    }

    /// Drops under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Files dropped since the node started.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Files that may go without a further approval.
    #[must_use]
    pub fn approved(&self) -> u64 {
        self.approved
    }

    fn found(&mut self, now: BootTime, wishes: Vec<Wish>, files: u64) {
        self.files = files;
        let wanted: BTreeMap<ContentId, &Plan> =
            wishes.iter().map(|wish| (wish.plan.subject, &wish.plan)).collect();
        for (subject, under_way) in &mut self.under_way {
            let plan = wanted.get(subject).filter(|plan| plan.keeper == under_way.plan.keeper);
            match plan {
                _ if under_way.cancelled => {}
                None => {
                    under_way.cancelled = true;
                    self.actions.push_back(Action::Cancel(*subject));
                }
                // Each time, because a drop that is at work just now doesn't listen.
                Some(plan) => {
                    under_way.plan = Plan::clone(plan);
                    self.actions.push_back(Action::Replan(Plan::clone(plan)));
                }
            }
        }
        self.rested.retain(|subject, until| *until > now && wanted.contains_key(subject));
        let is_new = |wish: &Wish| {
            let pair = (wish.plan.subject, wish.plan.keeper);
            !self.under_way.contains_key(&wish.plan.subject) && !self.refused.contains(&pair)
        };
        self.waiting = wishes.into_iter().filter(is_new).collect();
        self.judge(now);
    }

    fn ended(&mut self, now: BootTime, subject: ContentId, how: End) {
        let Some(was) = self.under_way.remove(&subject) else { return };
        match how {
            End::Removed => {
                self.dropped = self.dropped.saturating_add(was.files);
                self.went.push_back((now, was.files));
                // What was found before it went may still name it: to begin again would be to
                // fetch what has just been given up.
                self.rested.insert(subject, now.after(DROP_PAUSE_FIRST));
            }
            End::NotSame if self.refused.len() < MAX_REFUSALS => {
                self.refused.insert((subject, was.plan.keeper));
            }
            // A look may miss what is just being moved: that is no reason for a long rest.
            End::Cancelled if !was.had_its_turn => {
                self.rested.insert(subject, now.after(DROP_PAUSE_FIRST));
            }
            End::NotSame | End::Refused | End::Pinned | End::CameBack | End::Cancelled => {
                self.rested.insert(subject, now.after(DROP_PAUSE_LONGEST));
            }
        }
        self.judge(now);
    }

    fn approve(&mut self, now: BootTime) {
        for verdict in [self.held, self.refused_removal].into_iter().flatten() {
            if let Verdict::Wait { would_take, .. } = verdict {
                self.approved = self.approved.max(would_take);
            }
        }
        if self.refused_removal.take().is_some() {
            // Nothing waits for it: the person has yet to say it again.
            self.approved_until = now.after(BRAKE_WINDOW);
        }
        self.judge(now);
    }

    /// When others wait, who had its turn rests.
    fn make_room(&mut self, now: BootTime) {
        if self.waiting.is_empty() || self.under_way.len() < MAX_WISHED_DROPS {
            return;
        }
        for (subject, under_way) in &mut self.under_way {
            if !under_way.cancelled && under_way.since.after(DROP_TURN) <= now {
                under_way.cancelled = true;
                under_way.had_its_turn = true;
                self.actions.push_back(Action::Cancel(*subject));
            }
        }
    }

    /// Whether so many files may go because a person says so: they count like all others of the run.
    /// `in_folder`: pictures in the folder now.
    pub fn judge_removal(&mut self, now: BootTime, files: u64, in_folder: u64) -> Verdict {
        self.forget_old(now);
        let dropped: u64 = self.went.iter().map(|(_, files)| files).sum();
        let under_way: u64 = self.under_way.values().map(|u| u.files).sum();
        let verdict = self.brake.judge(Run {
            files: in_folder.saturating_add(dropped),
            dropped: dropped.saturating_add(under_way),
            planned: files,
            approved: self.approved,
        });
        self.refused_removal = match verdict {
            Verdict::Go => None,
            wait @ Verdict::Wait { .. } => Some(wait),
        };
        verdict
    }

    /// What the brake said to a removal that was not done, until it is approved.
    #[must_use]
    pub fn refused_removal(&self) -> Option<Verdict> {
        self.refused_removal
    }

    fn forget_old(&mut self, now: BootTime) {
        while self.went.front().is_some_and(|(at, _)| at.after(BRAKE_WINDOW) <= now) {
            self.went.pop_front();
        }
        let is_quiet = self.went.is_empty() && self.waiting.is_empty() && self.under_way.is_empty();
        if is_quiet && self.approved_until <= now {
            self.approved = 0; // The run it was for is over.
        }
    }

    fn judge(&mut self, now: BootTime) {
        self.forget_old(now);
        let dropped: u64 = self.went.iter().map(|(_, files)| files).sum();
        let waiting: u64 = self.waiting.iter().map(|wish| wish.files).sum();
        let under_way: u64 = self.under_way.values().map(|u| u.files).sum();
        let run = Run {
            files: self.files.saturating_add(dropped),
            dropped: dropped.saturating_add(under_way),
            planned: waiting,
            approved: self.approved,
        };
        self.held = match self.brake.judge(run) {
            Verdict::Go => None,
            wait @ Verdict::Wait { .. } => Some(wait),
        };
        match self.held {
            Some(Verdict::Wait { would_take, allowed, files }) if !self.told => {
                self.told = true;
                self.actions.push_back(Action::Braked { would_take, allowed, files });
            }
            Some(_) => {}
            None => self.told = false,
        }
    }
}

#[cfg(test)]
mod tests;
