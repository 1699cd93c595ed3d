//! Removing a content from a node: the planner of the drop protocol.
//!
//! Floor 4 (`node/drops`) turns messages and finished work into [`Event`]s and carries out
//! [`Action`]s. The protocol, its messages and what is model-checked:
//! `docs/drop-protocol.md`.
//!
//! A drop goes through
//!
//! ```text
//! compare keeper -> ask holders -> journal intent -> recheck file -> rename to trash
//!   -> ask holders again -> journal final -> withdraw
//! ```
//!
//! and any denial, silence or doubt on the way keeps the file or puts it back, with a pause
//! that doubles up to a longest one. A purge of the trash is: compare, ask, purge.
//!
//! The planner also answers the requests of others ([`lease`](super::lease)), because the two
//! sides exclude each other: who intends to drop a content denies leases on it, and a lease
//! forbids to drop it.
//!
//! It trusts what *this* node saw: its comparison, its check of the proofs, its journal. It
//! does not see files, so the event loop owes it the truth about them.
//!
//! Not guaranteed: progress. A keeper with too few holders, or members that can't see each
//! other, leave the duplicate where it is. Pauses have no random spread: two that block each
//! other are told apart by rank.

use std::collections::{BTreeMap, VecDeque};

use libp2p::PeerId;

use crate::limits::{MAX_DROP_ACTIONS, MAX_DROPS, MAX_PURGE_ATTEMPTS, MAX_WITNESSES};
use crate::replication::lease::{BootTime, Leases, Terms};
use crate::types::{ContentId, FolderId};

mod asking;
mod holder;
mod stage;
#[cfg(test)]
mod tests;
mod words;

use stage::{Drop, Round, Stage};
pub use words::{
    Action, Answer, AskId, Comparison, End, Entry, Event, Plan, Renamed, Request, Rules, View, Why,
};

/// Who this node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Me {
    /// Its name.
    pub peer: PeerId,
    /// Its failure domain.
    pub folder: FolderId,
}

/// A drop that a restart found in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Remnant {
    entry: Entry,
    /// To be tried (again) then; `None` while it is being tried.
    due: Option<BootTime>,
    failures: u8,
}

/// All drops and leases of a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Drops {
    me: Me,
    terms: Terms,
    rules: Rules,
    members: BTreeMap<PeerId, FolderId>,
    leases: Leases,
    drops: BTreeMap<ContentId, Drop>,
    remnants: BTreeMap<ContentId, Remnant>,
    next_ask: u64,
    actions: VecDeque<Action>,
}

impl Drops {
    /// Of a node that starts now. Tell it the members and the journal's entries next.
    #[must_use]
    pub fn new(now: BootTime, me: Me, terms: Terms, rules: Rules) -> Self {
        Self {
            me,
            terms,
            rules,
            members: BTreeMap::new(),
            leases: Leases::new(now, terms.lease),
            drops: BTreeMap::new(),
            remnants: BTreeMap::new(),
            next_ask: 0,
            actions: VecDeque::new(),
        }
    }

    /// Takes note of what happened.
    pub fn on_event(&mut self, now: BootTime, event: Event) {
        match event {
            Event::Members(members) => self.members = members,
            Event::Resumed => self.resumed(now),
            Event::Begin(plan) => self.begin(now, plan),
            Event::Replan(plan) => self.replan(now, plan),
            Event::Pinned(content) => self.pinned(now, content),
            Event::Cancel(subject) => self.cancel(subject),
            Event::Compared { subject, outcome } => self.compared(now, subject, outcome),
            Event::Committed { subject, ok } => self.committed(now, subject, ok),
            Event::Answered { ask, from, answer } => self.answered(now, ask, from, answer),
            Event::Journaled { subject, entry, ok } => self.journaled(now, subject, entry, ok),
            Event::Rechecked { subject, ok } => self.rechecked(now, subject, ok),
            Event::Renamed { subject, outcome } => self.renamed(now, subject, outcome),
            Event::PutBack { subject, ok } => self.put_back(now, subject, ok),
            Event::Purged { subject, ok } => self.purged(now, subject, ok),
            Event::Withdrawn(subject) => self.withdrawn(subject),
            Event::Recovered { subject, entry } => self.recovered(now, subject, entry),
            Event::Asked(request) => self.asked(now, request),
        }
    }

    /// What to do next; `None` until an event or [`Drops::next_wakeup`].
    pub fn next_action(&mut self, now: BootTime) -> Option<Action> {
        if self.actions.is_empty() {
            self.wake(now);
        }
        self.actions.pop_front()
    }

    /// When to call [`Drops::next_action`] without an event.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<BootTime> {
        let drops = self.drops.values().filter_map(|drop| drop.due(&self.terms));
        drops.chain(self.remnants.values().filter_map(|remnant| remnant.due)).min()
    }

    /// What this node has promised.
    #[must_use]
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// The holders, and their contents, whose promise this node relies on at `now`.
    #[must_use]
    pub fn relied_on(&self, now: BootTime) -> Vec<(PeerId, ContentId)> {
        let mut all = Vec::new();
        for drop in self.drops.values() {
            let holders = drop.round().map(|round| round.relied_on(now, &self.terms, &self.rules));
            all.extend(holders.unwrap_or_default().into_iter().map(|holder| (holder, drop.plan.keeper)));
        }
        all
    }

    /// Whether there is any drop of `subject`, waiting ones included.
    #[must_use]
    pub fn is_dropping(&self, subject: ContentId) -> bool {
        self.drops.contains_key(&subject) || self.remnants.contains_key(&subject)
    }

    fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    /// Another member uses this folder: each would remove the other's copy with its own.
    fn shares_folder(&self) -> bool {
        self.members.values().any(|folder| *folder == self.me.folder)
    }

    fn wake(&mut self, now: BootTime) {
        let terms = self.terms;
        let due =
            |(subject, drop): (&ContentId, &Drop)| drop.due(&terms).filter(|at| *at <= now).map(|_| *subject);
        let drops: Vec<_> = self.drops.iter().filter_map(due).collect();
        for subject in drops {
            self.drop_due(now, subject);
        }
        let due = |(subject, remnant): (&ContentId, &Remnant)| {
            remnant.due.filter(|at| *at <= now).map(|_| *subject)
        };
        let remnants: Vec<_> = self.remnants.iter().filter_map(due).collect();
        for subject in remnants {
            self.redo(subject);
        }
    }

    fn drop_due(&mut self, now: BootTime, subject: ContentId) {
        let Some(drop) = self.drops.get_mut(&subject) else { return };
        match &drop.stage {
            Stage::Waiting(_) => self.attempt(now, subject),
            Stage::Stuck(_) => self.roll_back(subject),
            Stage::Asking(round) | Stage::AskingAgain(round) => {
                if let Some(silent) = round.silent() {
                    drop.last_choice(silent);
                }
                self.fail(now, subject);
            }
            _ => {}
        }
    }

    fn begin(&mut self, now: BootTime, plan: Plan) {
        let subject = plan.subject;
        if self.is_dropping(subject) {
            return; // Its end is still to come.
        }
        let contradictory = match plan.why {
            Why::Excess => plan.subject != plan.keeper,
            Why::Superseded => plan.subject == plan.keeper,
            Why::Local | Why::Purge => false,
        };
        let pinned = plan.pinned && self.rules.pins;
        let full = self.drops.len() >= MAX_DROPS;
        if contradictory || pinned || full || plan.copies == 0 || self.shares_folder() {
            self.push(Action::Ended { subject, how: End::Refused });
            return;
        }
        self.drops.insert(subject, Drop::new(plan, now));
        self.attempt(now, subject);
    }

    /// The next attempt goes by this plan. Holders that are new come first: those that are known
    /// are in the order in which they failed. And with new ones it need not wait as long as
    /// without.
    fn replan(&mut self, now: BootTime, mut plan: Plan) {
        let Some(drop) = self.drops.get_mut(&plan.subject) else { return };
        let same = (drop.plan.keeper, drop.plan.why) == (plan.keeper, plan.why);
        if !same || plan.copies == 0 {
            return;
        }
        let Stage::Waiting(until) = drop.stage else {
            // Nobody may tell it again before the next attempt.
            drop.newer = Some(plan);
            return;
        };
        let known = drop.plan.holders.iter().filter(|holder| plan.holders.contains(holder));
        let known: Vec<PeerId> = known.copied().collect();
        plan.holders.retain(|holder| !known.contains(holder));
        if !plan.holders.is_empty() {
            drop.stage = Stage::Waiting(until.min(now.after(self.terms.pause_first)));
        }
        plan.holders.extend(known);
        drop.plan = plan;
    }

    /// A drop that waits for its next attempt is forgotten. One at work goes on, and is not
    /// tried again if this attempt fails.
    fn cancel(&mut self, subject: ContentId) {
        let Some(drop) = self.drops.get_mut(&subject) else { return };
        if matches!(drop.stage, Stage::Waiting(_)) {
            self.end(subject, End::Cancelled);
        } else {
            drop.last.get_or_insert(End::Cancelled);
        }
    }

    /// Until when nothing may remove `subject`.
    fn must_wait(&self, now: BootTime, drop: &Drop) -> Option<BootTime> {
        let quiet = self.leases.quiet_until();
        let quiet = (self.rules.quiet_start && now < quiet).then_some(quiet);
        // What is in the trash is nobody's copy, so nobody can have a lease on it.
        let blocks = self.rules.leases_block && drop.plan.why != Why::Purge;
        let subject = drop.plan.subject;
        let leased = if blocks { self.leases.blocked_until(now, subject) } else { None };
        // No time is known for the end of an own drop; look again after a first pause.
        let relied = blocks && self.drops.values().any(|d| d.plan.keeper == subject && d.relies_on_own());
        let relied = (relied && drop.plan.keeper != subject).then(|| now.after(self.terms.pause_first));
        quiet.max(leased).max(relied)
    }

    /// Until when a person's wish to remove `content` has to wait at least: for leases, for an own
    /// drop of it or one that relies on it, and for a while after the start.
    #[must_use]
    pub fn removal_waits_until(&self, now: BootTime, content: ContentId) -> Option<BootTime> {
        let quiet = self.leases.quiet_until();
        let quiet = (now < quiet).then_some(quiet);
        let going = self.remnants.contains_key(&content)
            || self.drops.get(&content).is_some_and(Drop::intends)
            || self.drops.values().any(|drop| drop.plan.keeper == content && drop.relies_on_own());
        let going = going.then(|| now.after(self.terms.pause_first));
        quiet.max(self.leases.blocked_until(now, content)).max(going)
    }

    /// Starts an attempt, unless something blocks it.
    fn attempt(&mut self, now: BootTime, subject: ContentId) {
        let Some(drop) = self.drops.get(&subject) else { return };
        let wait = self.must_wait(now, drop);
        let keeper = drop.plan.keeper;
        let Some(drop) = self.drops.get_mut(&subject) else { return };
        if let Some(until) = wait {
            drop.stage = Stage::Waiting(until);
            return;
        }
        drop.stage = Stage::Comparing;
        drop.stale = false;
        drop.doubt = false;
        drop.own = false;
        if drop.plan.why == Why::Purge && !self.rules.purge_proof {
            drop.stage = Stage::Purging(Round::new(now, []));
            return self.push(Action::Purge { subject });
        }
        self.push(Action::Compare { subject, keeper });
    }

    fn compared(&mut self, now: BootTime, subject: ContentId, outcome: Comparison) {
        let rules = self.rules;
        let Some(drop) = self.drops.get_mut(&subject) else { return };
        if drop.stage != Stage::Comparing {
            return;
        }
        let Comparison::Seen { mut matched, witnesses, committed } = outcome else {
            self.fail(now, subject);
            return;
        };
        matched.insert(drop.plan.keeper);
        let agrees = matched.contains(&subject) && (!rules.witnesses || witnesses.is_subset(&matched));
        if !agrees || (rules.witnesses && witnesses.len() >= MAX_WITNESSES) {
            if drop.plan.why == Why::Purge {
                // What it went for is not the same picture: it should never have gone.
                drop.last = Some(End::CameBack);
                self.roll_back(subject);
            } else {
                self.end(subject, End::NotSame);
            }
            return;
        }
        drop.witnesses = witnesses;
        drop.own = match drop.plan.why {
            // The own copy is the one that goes.
            Why::Excess => false,
            _ => committed,
        };
        let (own, why, keeper) = (drop.own, drop.plan.why, drop.plan.keeper);
        // Who was named as a holder last time need not be one.
        let doubtful = self.drops.get(&subject).is_some_and(|drop| drop.failures > 0);
        let enough = self.targets(subject).is_some();
        let can_commit = !own && why == Why::Superseded;
        if enough && !(doubtful && can_commit) {
            self.ask(now, subject, false);
        } else if can_commit {
            // The bytes are here and the swarm may lack copies: a natural place for one.
            self.set(subject, Stage::Committing);
            self.push(Action::Commit { subject, keeper });
        } else {
            self.fail(now, subject);
        }
    }

    fn committed(&mut self, now: BootTime, subject: ContentId, ok: bool) {
        let Some(drop) = self.drops.get_mut(&subject) else { return };
        if drop.stage != Stage::Committing {
            return;
        }
        drop.own = ok;
        if self.targets(subject).is_some() {
            self.ask(now, subject, false);
        } else {
            self.fail(now, subject);
        }
    }

    fn journaled(&mut self, now: BootTime, subject: ContentId, entry: Entry, ok: bool) {
        let Some(drop) = self.drops.get_mut(&subject) else { return };
        match (drop.stage.clone(), entry) {
            (Stage::Journaling(proven, round), Entry::Intent) if ok && proven.holds(now) && !drop.doubt => {
                drop.stage = Stage::Rechecking(proven, round);
                if self.rules.recheck {
                    self.push(Action::Recheck { subject });
                } else {
                    self.rechecked(now, subject, true);
                }
            }
            (Stage::Finishing(_), Entry::Final) if ok => {
                drop.stage = Stage::Withdrawing;
                self.push(Action::Withdraw { subject });
            }
            (Stage::Journaling(..), Entry::Intent) | (Stage::Finishing(_), Entry::Final) => {
                self.fail(now, subject);
            }
            _ => {}
        }
    }

    fn rechecked(&mut self, now: BootTime, subject: ContentId, ok: bool) {
        let Some(drop) = self.drops.get(&subject) else { return };
        let Stage::Rechecking(proven, round) = drop.stage.clone() else { return };
        if ok && proven.holds(now) && !drop.doubt && self.must_wait(now, drop).is_none() {
            self.set(subject, Stage::Renaming(proven, round));
            self.push(Action::Rename { subject });
        } else {
            self.fail(now, subject);
        }
    }

    fn renamed(&mut self, now: BootTime, subject: ContentId, outcome: Renamed) {
        let Some(drop) = self.drops.get(&subject) else { return };
        let Stage::Renaming(_, round) = drop.stage.clone() else { return };
        let intact = outcome == Renamed::Intact || (outcome == Renamed::Changed && !self.rules.recheck);
        if !intact || drop.doubt {
            self.fail(now, subject);
        } else if self.rules.ask_again {
            self.ask(now, subject, true);
        } else {
            self.set(subject, Stage::Finishing(round));
            self.push(Action::Journal { subject, entry: Entry::Final });
        }
    }

    fn purged(&mut self, now: BootTime, subject: ContentId, ok: bool) {
        let Some(drop) = self.drops.get(&subject) else { return };
        if !matches!(drop.stage, Stage::Purging(_)) {
            return;
        }
        if ok {
            self.end(subject, End::Removed);
        } else {
            self.fail(now, subject);
        }
    }

    fn withdrawn(&mut self, subject: ContentId) {
        if self.drops.get(&subject).is_some_and(|drop| drop.stage == Stage::Withdrawing) {
            self.end(subject, End::Removed);
        } else if self.remnants.get(&subject).is_some_and(|remnant| remnant.entry == Entry::Final) {
            self.remnants.remove(&subject);
            self.push(Action::Ended { subject, how: End::Removed });
        }
    }

    /// This attempt is over: keep the file, or put it back, and pause.
    fn fail(&mut self, now: BootTime, subject: ContentId) {
        let Some(drop) = self.drops.get_mut(&subject) else { return };
        let touched = !matches!(
            drop.stage,
            Stage::Waiting(_) | Stage::Comparing | Stage::Committing | Stage::Asking(_) | Stage::Purging(_)
        );
        drop.failures = drop.failures.saturating_add(1);
        if drop.plan.why == Why::Purge && drop.failures >= MAX_PURGE_ATTEMPTS {
            drop.last = Some(End::CameBack);
            self.roll_back(subject);
        } else if touched {
            self.roll_back(subject);
        } else {
            self.pause(now, subject);
        }
    }

    fn roll_back(&mut self, subject: ContentId) {
        self.set(subject, Stage::PuttingBack);
        self.push(Action::PutBack { subject });
    }

    fn pause(&mut self, now: BootTime, subject: ContentId) {
        if let Some(how) = self.drops.get(&subject).and_then(|drop| drop.last) {
            return self.end(subject, how);
        }
        let wait = self.waiting_time(self.drops.get(&subject).map_or(0, |drop| drop.failures));
        self.set(subject, Stage::Waiting(now.after(wait)));
        if let Some(plan) = self.drops.get_mut(&subject).and_then(|drop| drop.newer.take()) {
            self.replan(now, plan);
        }
        if !self.rules.keep_bytes
            && let Some(drop) = self.drops.get(&subject)
        {
            let keeper = drop.plan.keeper;
            self.push(Action::Discard { subject, keeper });
        }
    }

    fn waiting_time(&self, failures: u8) -> std::time::Duration {
        let doublings = u32::from(failures.saturating_sub(1).min(16));
        self.terms.pause_first.saturating_mul(1 << doublings).min(self.terms.pause_longest)
    }

    fn set(&mut self, subject: ContentId, stage: Stage) {
        if let Some(drop) = self.drops.get_mut(&subject) {
            drop.stage = stage;
        }
    }

    fn end(&mut self, subject: ContentId, how: End) {
        if let Some(drop) = self.drops.remove(&subject) {
            self.push(Action::Discard { subject, keeper: drop.plan.keeper });
            self.push(Action::Ended { subject, how });
        }
    }
}
