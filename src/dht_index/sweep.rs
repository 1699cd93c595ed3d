//! What is to be published to whom: the plan of the provide sweep.
//!
//! The plan doesn't list keys. For each node it knows in which parts of the keyspace the node is
//! responsible for keys ([`shares`]), and where it may lack some of them. That is owed to it, and
//! delivered: the event loop reads the keys of a part of the keyspace from the index as they are
//! needed, and asks of each whether it is for this node. Whatever happens adds to what is lacking
//! or takes from it:
//!
//! - A node comes near a key: it lacks what its share has grown by. Only that is sent.
//! - A part of the keyspace is due again: everybody lacks it.
//! - A delivery fails half way: what was acknowledged is lacking no more.
//! - This node restarts: what nodes hold is read from the disk.
//!
//! A new key is delivered by itself, at once, before everything else. It is remembered until
//! all its nodes have it or have failed; a node that failed lacks that place.
//!
//! The plan takes some hundred bytes a node, and 100 bytes for each new key under way, of which
//! there are at most [`MAX_NEW_KEYS`]. It does not grow with the number of keys.
//!
//! Believing that somebody lacks something is always safe, and costs sending it again. So where
//! memory is bounded, that is what is believed.
//!
//! Not guaranteed: a record is renewed within [`REPUBLISH_EVERY`](crate::limits::REPUBLISH_EVERY)
//! only while its nodes can be reached; a node that loses its records without saying so gets them
//! at the next renewal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use libp2p::PeerId;

use super::assign::{Undecided, shares};
use super::keys::OwnKey;
use super::keyspace::Keyspace;
use super::spans::Spans;
use crate::backoff::Jitter;
use crate::limits::{
    DELIVERY_KEYS, FORGET_HOLDER_AFTER, GONE_AFTER, MAX_NEW_KEYS, MAX_REMEMBERED_HOLDERS, MAX_SENDING,
    PUBLISH_RETRY_FIRST, PUBLISH_RETRY_LONGEST, SMALL_SWARM,
};

mod holder;
mod sections;
mod words;

use holder::{Holder, Sending};
use sections::Sections;
pub use words::{Action, Delivery, Event, Remembered, Sent, holders_of_each};

#[derive(Debug)]
struct NewKey {
    key: OwnKey,
    /// Nodes that it has not been delivered to yet, nor given up for.
    waiting: usize,
}

/// The plan for all keys of a node.
#[derive(Debug)]
pub struct Sweep {
    jitter: Jitter,
    /// Keys that the node has.
    total: u64,
    /// The nodes that are there.
    present: Arc<Keyspace>,
    /// The nodes among which keys are spread: those that just went, too.
    placed: Arc<Keyspace>,
    holders: BTreeMap<PeerId, Holder>,
    /// New keys under way, in the order in which they came.
    new: BTreeMap<u64, NewKey>,
    numbers: BTreeMap<OwnKey, u64>,
    next_number: u64,
    /// Nodes that can be sent to and are to get new keys.
    with_keys: BTreeSet<PeerId>,
    /// Nodes that can be sent to and are owed a part of the keyspace.
    with_spans: BTreeSet<PeerId>,
    /// When who may be sent to again.
    pauses: BTreeSet<(Instant, PeerId)>,
    /// Nodes that hold records and are responsible for nothing: they get no new keys.
    beyond: BTreeSet<PeerId>,
    sending: usize,
    sections: Sections,
    /// When the first of those that went is given up.
    next_gone: Option<Instant>,
}

impl Sweep {
    /// A plan for a node that has `total` keys; `seed` spreads the renewals. What is remembered
    /// must be of the same node, and [`Event::Again`] has to tell of keys that came after it.
    #[must_use]
    pub fn new(now: Instant, seed: u64, total: u64, remembered: &Remembered) -> Self {
        let mut sweep = Self {
            jitter: Jitter::new(seed),
            total,
            present: Arc::default(),
            placed: Arc::default(),
            holders: BTreeMap::new(),
            new: BTreeMap::new(),
            numbers: BTreeMap::new(),
            next_number: 0,
            with_keys: BTreeSet::new(),
            with_spans: BTreeSet::new(),
            pauses: BTreeSet::new(),
            beyond: BTreeSet::new(),
            sending: 0,
            sections: Sections::new(now),
            next_gone: None,
        };
        let fresh = sweep.sections.resume(now, &remembered.sections, &mut sweep.jitter);
        for (peer, held) in remembered.holders.iter().take(MAX_REMEMBERED_HOLDERS) {
            sweep.holders.insert(*peer, Holder::remembered(now, held.intersection(&fresh)));
        }
        sweep.place(now);
        sweep
    }

    /// Keys that other nodes have the records of.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.total - self.to_publish()
    }

    /// Keys that wait for it. Those of a part of the keyspace that is not published yet are
    /// estimated.
    #[must_use]
    pub fn to_publish(&self) -> u64 {
        if self.present.is_empty() {
            return self.total;
        }
        (self.sections.unpublished(self.total) + self.new.len() as u64).min(self.total)
    }

    /// Whether no new key is under way: only then is [`Sweep::remember`] all that there is.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.new.is_empty()
    }

    /// What is worth knowing after a restart.
    #[must_use]
    pub fn remember(&self, now: Instant) -> Remembered {
        let surely = self.shares(Undecided::Out);
        let none = Spans::none();
        let holders = self.holders.iter().map(|(peer, holder)| {
            let held = holder.holds(surely.get(peer).unwrap_or(&none));
            (*peer, held)
        });
        let holders = holders.filter(|(_, held)| !held.is_empty());
        Remembered {
            sections: self.sections.ages(now),
            holders: holders.take(MAX_REMEMBERED_HOLDERS).collect(),
        }
    }

    fn shares(&self, undecided: Undecided) -> BTreeMap<PeerId, Spans> {
        shares(&self.placed, holders_of_each(self.placed.len()), undecided).into_iter().collect()
    }

    /// Takes note of what happened.
    pub fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Added(key) => {
                self.total += 1;
                self.add(key);
            }
            Event::Again(key) => self.add(key),
            Event::Removed(key) => {
                self.total = self.total.saturating_sub(1);
                if let Some(number) = self.numbers.remove(&key) {
                    self.new.remove(&number);
                }
            }
            Event::Keyspace(present) => self.keyspace(now, present),
            Event::Sent(sent) => self.sent(now, sent),
        }
        self.settle(now);
    }

    /// What to do next; `None` until an event or [`Sweep::next_wakeup`].
    pub fn next_action(&mut self, now: Instant) -> Option<Action> {
        while let Some((at, peer)) = self.pauses.first().copied()
            && at <= now
        {
            self.pauses.pop_first();
            self.change(peer, |holder| holder.paused = None);
        }
        if self.next_gone.is_some_and(|at| at <= now) {
            self.place(now);
        }
        if !self.present.is_empty()
            && let Some(due) = self.sections.start_due(now, self.total)
        {
            self.renew(&due);
        }
        self.settle(now);
        while self.sending < MAX_SENDING {
            let peer = self.with_keys.first().or(self.with_spans.first()).copied()?;
            let delivery = self.delivery(peer);
            self.refresh(peer);
            if delivery.is_some() {
                self.sending += 1;
                return delivery.map(Action::Deliver);
            }
        }
        None
    }

    /// When there is something to do without a further event.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        let due = self.sections.next_due().filter(|_| !self.present.is_empty());
        let ready = !(self.with_keys.is_empty() && self.with_spans.is_empty()) && self.sending < MAX_SENDING;
        let ready = ready.then(|| self.sections.origin());
        let paused = self.pauses.first().map(|(at, _)| *at);
        ready.into_iter().chain(due).chain(paused).chain(self.next_gone).min()
    }

    fn add(&mut self, key: OwnKey) {
        if self.numbers.contains_key(&key) {
            return;
        }
        for peer in &self.beyond {
            if let Some(holder) = self.holders.get_mut(peer) {
                holder.lacks(key.place);
            }
        }
        let full = self.new.len() >= MAX_NEW_KEYS;
        let number = self.next_number;
        let mut waiting = 0;
        for peer in self.placed.closest(&key.bytes(), holders_of_each(self.placed.len())) {
            let Some(holder) = self.holders.get_mut(&peer) else { continue };
            if full || holder.is_out() {
                holder.lacks(key.place);
            } else {
                holder.queue.push_back(number);
                waiting += 1;
            }
            self.refresh(peer);
        }
        if waiting == 0 {
            // It is owed like all else there, from the index.
            self.sections.unpublish(key.place);
            return;
        }
        self.next_number += 1;
        self.numbers.insert(key, number);
        self.new.insert(number, NewKey { key, waiting });
    }

    fn delivery(&mut self, peer: PeerId) -> Option<Delivery> {
        let holder = self.holders.get_mut(&peer)?;
        let placed = Arc::clone(&self.placed);
        let mut delivery = Delivery { peer, keys: Vec::new(), spans: Spans::none(), placed };
        let mut numbers = Vec::new();
        while numbers.len() < DELIVERY_KEYS
            && let Some(number) = holder.queue.pop_front()
        {
            // Not those that were removed meanwhile.
            if let Some(new) = self.new.get(&number) {
                delivery.keys.push(new.key);
                numbers.push(number);
            }
        }
        if numbers.is_empty() {
            delivery.spans = holder.owed().clone();
            if delivery.spans.is_empty() {
                return None;
            }
        }
        holder.sending = Some(Sending { numbers, spans: delivery.spans.clone() });
        Some(delivery)
    }

    fn sent(&mut self, now: Instant, sent: Sent) {
        let Some(holder) = self.holders.get_mut(&sent.peer) else { return };
        let Some(sending) = holder.sending.take() else { return };
        self.sending = self.sending.saturating_sub(1);
        if let Some(reached) = sent.reached {
            holder.got(&sending.spans.intersection(&Spans::of([(0, reached)])));
        }
        let (arrived, missed) = sending.numbers.split_at(sent.keys.min(sending.numbers.len()));
        let mut missed = missed.to_vec();
        if sent.ok {
            holder.failures = 0;
        } else {
            holder.failures = holder.failures.saturating_add(1);
            let pause = self.jitter.pause(holder.failures, PUBLISH_RETRY_FIRST, PUBLISH_RETRY_LONGEST);
            holder.paused = Some(now + pause);
            self.pauses.insert((now + pause, sent.peer));
            missed.extend(holder.queue.drain(..));
        }
        self.waited_for(arrived);
        self.missed(sent.peer, &missed);
        self.refresh(sent.peer);
    }

    /// One node less that these keys wait for.
    fn waited_for(&mut self, numbers: &[u64]) {
        for number in numbers {
            let Some(new) = self.new.get_mut(number) else { continue };
            new.waiting = new.waiting.saturating_sub(1);
            if new.waiting == 0
                && let Some(new) = self.new.remove(number)
            {
                self.numbers.remove(&new.key);
            }
        }
    }

    /// A node did not get these keys: they are owed to it.
    fn missed(&mut self, peer: PeerId, numbers: &[u64]) {
        for number in numbers {
            let Some(key) = self.new.get(number).map(|new| new.key) else { continue };
            if let Some(holder) = self.holders.get_mut(&peer) {
                holder.lacks(key.place);
            }
            self.waited_for(&[*number]);
            if !self.new.contains_key(number) {
                // Perhaps nobody has it.
                self.sections.unpublish(key.place);
            }
        }
    }

    fn keyspace(&mut self, now: Instant, present: Arc<Keyspace>) {
        let mut changed = Vec::new();
        for (peer, holder) in &mut self.holders {
            if holder.gone.is_none() && !present.contains(peer) {
                holder.gone = Some(now);
                changed.push(*peer);
            }
        }
        for peer in present.peers() {
            let holder = self.holders.entry(peer).or_default();
            // Who comes back is tried at once.
            if holder.gone.take().is_some() {
                holder.failures = 0;
                if let Some(at) = holder.paused.take() {
                    self.pauses.remove(&(at, peer));
                }
                changed.push(peer);
            }
        }
        self.present = present;
        self.place(now);
        for peer in changed {
            self.drop_queue_if_gone(peer);
            self.refresh(peer);
        }
    }

    fn drop_queue_if_gone(&mut self, peer: PeerId) {
        let Some(holder) = self.holders.get_mut(&peer).filter(|holder| holder.gone.is_some()) else { return };
        let missed: Vec<u64> = holder.queue.drain(..).collect();
        self.missed(peer, &missed);
    }

    /// Spreads the keyspace among those that are there and those that just went, if these are
    /// others than before.
    fn place(&mut self, now: Instant) {
        self.forget_holders(now);
        let stays = |holder: &Holder| match holder.gone {
            None => true,
            Some(since) => now.saturating_duration_since(since) < GONE_AFTER,
        };
        let placed = self.holders.iter().filter(|(_, holder)| stays(holder));
        let placed = Keyspace::new(placed.map(|(peer, _)| *peer));
        let gone = self.holders.values().filter(|holder| stays(holder)).filter_map(|holder| holder.gone);
        self.next_gone = gone.min().map(|since| since + GONE_AFTER);
        if placed == *self.placed {
            return;
        }
        let before = self.shares(Undecided::Out);
        // As long as everybody gets everything, what is under way is right.
        let all_alike = placed.len().max(self.placed.len()) <= SMALL_SWARM;
        self.placed = Arc::new(placed);
        let mut after = self.shares(Undecided::In);
        self.beyond.clear();
        let peers: Vec<PeerId> = self.holders.keys().copied().collect();
        for peer in peers {
            let after = after.remove(&peer);
            self.change(peer, |holder| {
                holder.place(before.get(&peer), after);
                if let Some(sending) = holder.sending.as_mut().filter(|_| !all_alike) {
                    // It is what the node was responsible for before.
                    sending.spans = Spans::none();
                }
            });
            if self.holders.get(&peer).is_some_and(Holder::is_beyond) {
                self.beyond.insert(peer);
            }
        }
    }

    fn forget_holders(&mut self, now: Instant) {
        let mut gone: Vec<_> = self
            .holders
            .iter()
            .filter(|(_, holder)| holder.sending.is_none())
            .filter_map(|(peer, holder)| holder.gone.map(|since| (since, *peer)))
            .collect();
        gone.sort_unstable();
        let excess = gone.len().saturating_sub(MAX_REMEMBERED_HOLDERS);
        for (at, (since, peer)) in gone.into_iter().enumerate() {
            if at >= excess && now.saturating_duration_since(since) < FORGET_HOLDER_AFTER {
                break;
            }
            self.drop_queue_if_gone(peer);
            self.change(peer, |holder| holder.place(None, None));
            self.beyond.remove(&peer);
            if let Some(paused) = self.holders.remove(&peer).and_then(|holder| holder.paused) {
                self.pauses.remove(&(paused, peer));
            }
        }
    }

    /// These parts of the keyspace are to be sent to everybody again.
    fn renew(&mut self, due: &Spans) {
        let peers: Vec<PeerId> = self.holders.keys().copied().collect();
        for peer in peers {
            self.change(peer, |holder| holder.lacks_all(due));
        }
    }

    fn change(&mut self, peer: PeerId, change: impl FnOnce(&mut Holder)) {
        if let Some(holder) = self.holders.get_mut(&peer) {
            change(holder);
        }
        self.refresh(peer);
    }

    /// Brings the lists of what is to do to what a node is owed now.
    fn refresh(&mut self, peer: PeerId) {
        let Some(holder) = self.holders.get_mut(&peer) else { return };
        let owes_nothing = holder.gone.is_some() || holder.owed().is_empty();
        let ready = holder.sending.is_none() && !holder.is_out();
        let put = |list: &mut BTreeSet<PeerId>, there: bool| {
            if there {
                list.insert(peer)
            } else {
                list.remove(&peer)
            };
        };
        put(&mut self.with_keys, ready && !holder.queue.is_empty());
        put(&mut self.with_spans, ready && !owes_nothing);
        // Who fails is not waited for.
        let counts = holder.gone.is_none() && holder.failures == 0;
        let (owes, serves) =
            if counts { (sections::mask(holder.owed()), sections::mask(holder.wanted())) } else { (0, 0) };
        self.sections.recount((holder.owes, holder.serves), (owes, serves));
        (holder.owes, holder.serves) = (owes, serves);
    }

    fn settle(&mut self, now: Instant) {
        self.sections.settle(now, &mut self.jitter);
    }
}

#[cfg(test)]
mod tests;
