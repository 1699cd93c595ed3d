//! When to publish which image in the DHT.
//!
//! A provider record lives [`RECORD_TTL`](crate::limits::RECORD_TTL); each image is due
//! again within [`REPUBLISH_EVERY`]. The interval is spent so: an image is due after half to
//! three quarters of it (spread, so that a scan's burst is not repeated for ever), and the
//! pace is such that all images together take at most a quarter. New images go first and
//! are not paced; failures are tried again with growing pauses.
//!
//! Not guaranteed: an interval is overrun while there are no peers, or while publishing
//! fails. Two ordered sets and a map, with times of 4 bytes, take some 130 bytes an image
//! (measured with 300,000 random hashes).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::backoff::Jitter;
use crate::limits::{
    MAX_PUBLISHING, MIN_RENEWALS_PER_SECOND, PUBLISH_RETRY_FIRST, PUBLISH_RETRY_LONGEST, REPUBLISH_EVERY,
    SHORT_ABSENCE,
};
use crate::types::ImageId;

/// What the planner is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The node holds this image.
    Add(ImageId),
    /// It holds it no more.
    Remove(ImageId),
    /// A [`Action::Publish`] ended.
    Done {
        /// Which.
        image: ImageId,
        /// Whether other nodes have the record now.
        ok: bool,
    },
    /// Whether there is any peer in the routing table.
    PeersAvailable(bool),
    /// How many members the swarm has: when it doubles, other nodes are responsible for
    /// most keys, and all are due again.
    SwarmSize(usize),
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Put the provider record on the responsible nodes; report [`Event::Done`].
    Publish(ImageId),
    /// Renew it no more, and drop the own record. Needs no report.
    Withdraw(ImageId),
}

/// Tenths of a second since the planner was made; 13 years fit.
type Tick = u32;

const TICK: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// In `fresh`: was not published since it was added.
    Fresh,
    /// In `renewals`.
    Published,
    /// In flight; `true`: it had been published before.
    InFlight(bool),
    /// In flight and removed: to be forgotten when that ends.
    Removed,
    /// In flight, removed, withdrawn, and added again: to be published anew.
    AddedAgain,
}

#[derive(Debug, Clone, Copy)]
struct Key {
    due: Tick,
    failures: u8,
    stage: Stage,
}

/// The plan for all images of a node.
#[derive(Debug)]
pub struct Republish {
    origin: Instant,
    jitter: Jitter,
    keys: BTreeMap<ImageId, Key>,
    fresh: BTreeSet<(Tick, ImageId)>,
    renewals: BTreeSet<(Tick, ImageId)>,
    withdrawals: BTreeSet<ImageId>,
    in_flight: usize,
    peers: bool,
    peers_since: Option<Instant>,
    swarm: usize,
    next_renewal: Instant,
    published: u64,
}

impl Republish {
    /// A plan without images; `seed` spreads the renewals.
    #[must_use]
    pub fn new(now: Instant, seed: u64) -> Self {
        Self {
            origin: now,
            jitter: Jitter::new(seed),
            keys: BTreeMap::new(),
            fresh: BTreeSet::new(),
            renewals: BTreeSet::new(),
            withdrawals: BTreeSet::new(),
            in_flight: 0,
            peers: false,
            peers_since: None,
            swarm: 1,
            next_renewal: now,
            published: 0,
        }
    }

    /// Images that are published now.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.published
    }

    /// Images that wait for their first publication, or for it to end.
    #[must_use]
    pub fn to_publish(&self) -> u64 {
        (self.keys.len() as u64).saturating_sub(self.published)
    }

    /// Takes note of what happened.
    pub fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Add(image) => self.add(now, image),
            Event::Remove(image) => self.remove(image),
            Event::Done { image, ok } => self.done(now, image, ok),
            Event::PeersAvailable(peers) => self.peers(now, peers),
            Event::SwarmSize(members) => self.swarm_size(now, members),
        }
    }

    /// What to do next; `None` until an event or [`Republish::next_wakeup`].
    pub fn next_action(&mut self, now: Instant) -> Option<Action> {
        if let Some(image) = self.withdrawals.pop_first() {
            return Some(Action::Withdraw(image));
        }
        if !self.peers || self.in_flight >= MAX_PUBLISHING {
            return None;
        }
        let tick = self.tick(now);
        let due = |queue: &BTreeSet<(Tick, ImageId)>| queue.first().copied().filter(|(due, _)| *due <= tick);
        let image = if let Some(entry) = due(&self.fresh) {
            self.fresh.remove(&entry);
            entry.1
        } else {
            let entry = due(&self.renewals).filter(|_| self.next_renewal <= now)?;
            self.renewals.remove(&entry);
            self.next_renewal = now + self.pace();
            entry.1
        };
        let key = self.keys.get_mut(&image)?;
        key.stage = Stage::InFlight(key.stage == Stage::Published);
        self.in_flight += 1;
        Some(Action::Publish(image))
    }

    /// When there is something to do without a further event.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        if !self.withdrawals.is_empty() {
            return Some(self.origin);
        }
        if !self.peers || self.in_flight >= MAX_PUBLISHING {
            return None;
        }
        let first =
            |queue: &BTreeSet<(Tick, ImageId)>| queue.first().map(|(due, _)| self.origin + TICK * *due);
        let renewal = first(&self.renewals).map(|at| at.max(self.next_renewal));
        first(&self.fresh).into_iter().chain(renewal).min()
    }

    fn tick(&self, at: Instant) -> Tick {
        let tenths = at.saturating_duration_since(self.origin).as_millis() / TICK.as_millis();
        Tick::try_from(tenths).unwrap_or(Tick::MAX)
    }

    /// Between two renewals: all of them in a quarter of the interval, or faster.
    fn pace(&self) -> Duration {
        let slowest = Duration::from_secs(1) / MIN_RENEWALS_PER_SECOND;
        let keys = u32::try_from(self.keys.len()).unwrap_or(u32::MAX).max(1);
        slowest.min(REPUBLISH_EVERY / 4 / keys)
    }

    fn add(&mut self, now: Instant, image: ImageId) {
        let due = self.tick(now);
        match self.keys.get_mut(&image) {
            None => {
                // When its withdrawal has not been carried out yet it need not be.
                self.withdrawals.remove(&image);
                self.keys.insert(image, Key { due, failures: 0, stage: Stage::Fresh });
                self.fresh.insert((due, image));
            }
            Some(key) if key.stage == Stage::Removed => {
                let in_time = self.withdrawals.remove(&image);
                key.stage = if in_time { Stage::InFlight(false) } else { Stage::AddedAgain };
            }
            Some(_) => {}
        }
    }

    fn remove(&mut self, image: ImageId) {
        let Some(key) = self.keys.get_mut(&image) else { return };
        let queued = (key.due, image);
        match key.stage {
            Stage::Fresh => {
                self.fresh.remove(&queued);
                self.keys.remove(&image);
            }
            Stage::Published => {
                self.published -= 1;
                self.renewals.remove(&queued);
                self.keys.remove(&image);
                self.withdrawals.insert(image);
            }
            Stage::InFlight(before) => {
                self.published -= u64::from(before);
                key.stage = Stage::Removed;
                self.withdrawals.insert(image);
            }
            Stage::AddedAgain => key.stage = Stage::Removed,
            Stage::Removed => {}
        }
    }

    fn done(&mut self, now: Instant, image: ImageId, ok: bool) {
        let tick = self.tick(now);
        let Some(key) = self.keys.get_mut(&image) else { return };
        let before = match key.stage {
            Stage::Fresh | Stage::Published => return,
            Stage::InFlight(before) => before,
            Stage::AddedAgain => {
                *key = Key { due: tick, failures: 0, stage: Stage::Fresh };
                self.fresh.insert((tick, image));
                self.in_flight -= 1;
                return;
            }
            Stage::Removed => {
                // The query may have stored the own record after the withdrawal.
                self.withdrawals.insert(image);
                self.keys.remove(&image);
                self.in_flight -= 1;
                return;
            }
        };
        self.in_flight -= 1;
        key.failures = if ok { 0 } else { key.failures.saturating_add(1) };
        let wait = if ok {
            self.jitter.between(REPUBLISH_EVERY / 2, REPUBLISH_EVERY * 3 / 4)
        } else {
            self.jitter.pause(u32::from(key.failures), PUBLISH_RETRY_FIRST, PUBLISH_RETRY_LONGEST)
        };
        key.due = tick.saturating_add((wait.as_millis() / TICK.as_millis()) as Tick);
        if ok || before {
            self.published += u64::from(!before);
            key.stage = Stage::Published;
            self.renewals.insert((key.due, image));
        } else {
            key.stage = Stage::Fresh;
            self.fresh.insert((key.due, image));
        }
    }

    fn peers(&mut self, now: Instant, peers: bool) {
        if peers == self.peers {
            return;
        }
        self.peers = peers;
        if !peers {
            self.peers_since = Some(now);
        } else if self.peers_since.is_none_or(|lost| now.saturating_duration_since(lost) >= SHORT_ABSENCE) {
            self.all_due(now);
        }
    }

    fn swarm_size(&mut self, now: Instant, members: usize) {
        if members >= self.swarm * 2 {
            self.swarm = members;
            self.all_due(now);
        } else if members < self.swarm / 4 {
            // Shrunk for good, or else the next growth is one doubling too many.
            self.swarm = members.max(1);
        }
    }

    /// Every renewal is due, at the usual pace, in the order in which they are due already.
    /// Linear in the number of keys; happens a few times in the life of a swarm.
    fn all_due(&mut self, now: Instant) {
        let tick = self.tick(now);
        let early = std::mem::take(&mut self.renewals);
        for (due, image) in early {
            let due = due.min(tick);
            if let Some(key) = self.keys.get_mut(&image) {
                key.due = due;
            }
            self.renewals.insert((due, image));
        }
        for (_, image) in std::mem::take(&mut self.fresh) {
            if let Some(key) = self.keys.get_mut(&image) {
                *key = Key { due: key.due.min(tick), failures: 0, ..*key };
                self.fresh.insert((key.due, image));
            }
        }
    }
}

#[cfg(test)]
mod tests;
