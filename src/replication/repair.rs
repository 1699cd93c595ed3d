//! Which contents are offered to whom, so that each gets the copies it lacks.
//!
//! A survey ([`survey`](super::survey)) finds own contents with too few copies; this planner
//! offers them in batches to the members that placement names, and the member pulls. An offer
//! costs a line of a message and promises nothing: only a copy that its holder's catalog tells
//! ends a shortage.
//!
//! All holders of a content see that it lacks copies. The first by rank offers at once, each
//! further one [`OFFER_STEP`] later, so that one that is dead or blind stops nobody, and as a
//! rule nobody offers what is coming already. Two that offer the same content offer it to the
//! same member, which takes it once.
//!
//! Not guaranteed: that a member takes what it is offered. One that is full, silent or
//! unwilling is passed over for a while, and the next by placement is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use libp2p::PeerId;

use super::placement::{self, Place};
use crate::limits::{
    MAX_OFFERED, MAX_SHORT, MAX_TAKERS, OFFER_BUSY, OFFER_FAILED, OFFER_FULL, OFFER_FULL_FIRST,
    OFFER_PATIENCE, OFFER_STEP, OFFER_UNWANTED,
};
use crate::protocol::OfferAnswer;
use crate::types::ContentId;

/// An own content with too few copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Short {
    /// Which.
    pub content: ContentId,
    /// Its length.
    pub bytes: u64,
    /// Copies that count now.
    pub copies: u16,
    /// How many there should be.
    pub wanted: u16,
    /// This node's number among the holders that are there, from 0.
    pub rank: u16,
    /// Whose copies count, this node included when its own does.
    pub have: Vec<PeerId>,
}

impl Short {
    /// The most urgent first: fewest copies, then the smallest.
    fn urgency(&self) -> (u16, u64, ContentId) {
        (self.copies, self.bytes, self.content)
    }
}

/// What the planner is told.
#[derive(Debug, Clone)]
pub enum Event {
    /// All own contents with too few copies, or the most urgent [`MAX_SHORT`] of them.
    Surveyed(Vec<Short>),
    /// The members that can take a copy, and the places of all others that are known.
    Members {
        /// Trusted, there, with room, and not about to leave.
        takers: Vec<Place>,
        /// Holders that are none of these, this node among them.
        others: Vec<Place>,
    },
    /// An offer was answered, content by content in the order of the offer.
    Answered {
        /// By whom.
        peer: PeerId,
        /// What.
        answers: Vec<(ContentId, OfferAnswer)>,
    },
    /// An offer was not answered.
    Failed(PeerId),
}

/// Offer these contents; ends with [`Event::Answered`] or [`Event::Failed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// To whom. One offer at a time.
    pub peer: PeerId,
    /// What, at most [`MAX_OFFERED`].
    pub contents: Vec<ContentId>,
}

#[derive(Debug)]
struct Entry {
    short: Short,
    /// This node may offer it from then on.
    due: Instant,
    /// Who has been offered it and said that it comes, and until when that is believed.
    coming: BTreeMap<PeerId, Instant>,
    /// Who will not take it until when.
    passed: BTreeMap<PeerId, Instant>,
    /// Who had no room for it when it was last asked.
    full: BTreeSet<PeerId>,
    /// Whom to offer it to, the best first, without those who are passed over; made when it is
    /// needed.
    order: Option<Vec<PeerId>>,
}

impl Entry {
    /// Copies that nobody has been found for.
    fn lacks(&self) -> usize {
        usize::from(self.short.wanted.saturating_sub(self.short.copies)).saturating_sub(self.coming.len())
    }

    /// Whether it needs not be offered to that member now.
    fn leaves_out(&self, peer: &PeerId) -> bool {
        self.coming.contains_key(peer) || self.passed.contains_key(peer)
    }

    /// Whether none of these is left to offer it to, and there may be others instead.
    fn is_through(&self, order: &[PeerId]) -> bool {
        order.iter().all(|peer| self.leaves_out(peer))
            && order.iter().any(|peer| self.passed.contains_key(peer))
    }
}

/// The offers of a node. Memory: some 200 bytes for each of [`MAX_SHORT`] contents.
#[derive(Debug)]
pub struct Repair {
    entries: BTreeMap<ContentId, Entry>,
    /// The contents by urgency.
    queue: Vec<ContentId>,
    takers: BTreeMap<PeerId, Place>,
    places: Vec<Place>,
    others: BTreeMap<PeerId, Place>,
    in_flight: BTreeMap<PeerId, Vec<ContentId>>,
    /// Members that are not offered anything until then.
    paused: BTreeMap<PeerId, Instant>,
    /// Nothing is to be done before then; `None`: not before an event.
    wake: Option<Instant>,
}

impl Repair {
    /// Knows of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            queue: Vec::new(),
            takers: BTreeMap::new(),
            places: Vec::new(),
            others: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            paused: BTreeMap::new(),
            wake: None,
        }
    }

    /// Takes note of what happened.
    pub fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Surveyed(shorts) => self.surveyed(now, shorts),
            Event::Members { takers, others } => self.members(takers, others),
            Event::Answered { peer, answers } => self.answered(now, peer, &answers),
            Event::Failed(peer) => {
                self.in_flight.remove(&peer);
                self.paused.insert(peer, now + OFFER_FAILED);
            }
        }
        self.wake = Some(now);
    }

    /// What to do next; `None` until an event or [`Repair::next_wakeup`].
    pub fn next_action(&mut self, now: Instant) -> Option<Offer> {
        if self.wake.is_none_or(|at| at > now) {
            return None;
        }
        self.expire(now);
        let mut offer: Option<Offer> = None;
        for content in &self.queue {
            let Some(entry) = self.entries.get_mut(content).filter(|e| e.due <= now && e.lacks() > 0) else {
                continue;
            };
            if entry.order.as_ref().is_none_or(|order| entry.is_through(order)) {
                entry.order = Some(order(entry, &self.places, &self.takers, &self.others));
            }
            let free = |peer: &&PeerId| !self.paused.contains_key(peer) && !entry.leaves_out(peer);
            let Some(first) = entry.order.iter().flatten().find(free) else { continue };
            // The best of them has to answer another offer first: that one is waited for.
            if self.in_flight.contains_key(first) {
                continue;
            }
            let offer = offer.get_or_insert_with(|| Offer { peer: *first, contents: Vec::new() });
            if offer.peer == *first {
                offer.contents.push(*content);
            }
            if offer.contents.len() >= MAX_OFFERED {
                break;
            }
        }
        match &offer {
            Some(offer) => drop(self.in_flight.insert(offer.peer, offer.contents.clone())),
            None => self.wake = self.next_time(now),
        }
        offer
    }

    /// When to call [`Repair::next_action`] without an event.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        self.wake
    }

    /// Copies of a content that count, as the last survey saw it.
    #[must_use]
    pub fn copies(&self, content: &ContentId) -> u16 {
        self.entries.get(content).map_or(0, |entry| entry.short.copies)
    }

    /// Contents that lack copies, as far as they are known here.
    #[must_use]
    pub fn short(&self) -> usize {
        self.entries.len()
    }

    /// Those of them that some member has promised to take.
    #[must_use]
    pub fn coming(&self) -> usize {
        self.entries.values().filter(|entry| !entry.coming.is_empty()).count()
    }

    /// Those of them that no member that is there can take now: more nodes, or more room, are needed.
    #[must_use]
    pub fn without_taker(&self) -> usize {
        let none = |entry: &&Entry| {
            let passed = |peer: &PeerId| entry.passed.contains_key(peer);
            entry.lacks() > 0 && entry.order.as_ref().is_some_and(|order| order.iter().all(passed))
        };
        self.entries.values().filter(none).count()
    }

    /// Whether an offer is on its way.
    #[must_use]
    pub fn is_offering(&self) -> bool {
        !self.in_flight.is_empty()
    }

    fn surveyed(&mut self, now: Instant, mut shorts: Vec<Short>) {
        shorts.sort_unstable_by_key(Short::urgency);
        shorts.truncate(MAX_SHORT);
        let mut before = std::mem::take(&mut self.entries);
        self.queue = shorts.iter().map(|short| short.content).collect();
        for short in shorts {
            let entry = match before.remove(&short.content) {
                Some(mut entry) => {
                    // Who holds it now is not awaited any more.
                    entry.coming.retain(|peer, _| !short.have.contains(peer));
                    if entry.short != short {
                        entry.order = None;
                    }
                    entry.short = short;
                    entry
                }
                None => Entry {
                    due: now + OFFER_STEP * u32::from(short.rank),
                    short,
                    coming: BTreeMap::new(),
                    passed: BTreeMap::new(),
                    full: BTreeSet::new(),
                    order: None,
                },
            };
            self.entries.insert(entry.short.content, entry);
        }
    }

    fn members(&mut self, takers: Vec<Place>, others: Vec<Place>) {
        self.takers = takers.iter().map(|place| (place.peer, place.clone())).collect();
        self.others = others.into_iter().map(|place| (place.peer, place)).collect();
        self.places = takers;
        self.in_flight.retain(|peer, _| self.takers.contains_key(peer));
        self.paused.retain(|peer, _| self.takers.contains_key(peer));
        for entry in self.entries.values_mut() {
            entry.order = None;
            // What was promised by one that is gone does not come.
            entry.coming.retain(|peer, _| self.takers.contains_key(peer));
            // Whoever comes back may have room by then.
            entry.passed.retain(|peer, _| self.takers.contains_key(peer));
            entry.full.retain(|peer| self.takers.contains_key(peer));
        }
    }

    fn answered(&mut self, now: Instant, peer: PeerId, answers: &[(ContentId, OfferAnswer)]) {
        let Some(offered) = self.in_flight.remove(&peer) else { return };
        for (content, answer) in answers.iter().filter(|(content, _)| offered.contains(content)) {
            let Some(entry) = self.entries.get_mut(content) else { continue };
            match answer {
                OfferAnswer::Coming | OfferAnswer::Held => {
                    entry.coming.insert(peer, now + OFFER_PATIENCE);
                }
                OfferAnswer::Unwanted => {
                    entry.passed.insert(peer, now + OFFER_UNWANTED);
                }
                OfferAnswer::Full => {
                    let pause = if entry.full.insert(peer) { OFFER_FULL_FIRST } else { OFFER_FULL };
                    entry.passed.insert(peer, now + pause);
                }
                OfferAnswer::Busy => {
                    self.paused.insert(peer, now + OFFER_BUSY);
                }
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        self.paused.retain(|_, until| *until > now);
        for entry in self.entries.values_mut() {
            // What did not come in time is offered again, to the same member if it is still the
            // best: what waits there is not fetched twice.
            entry.coming.retain(|_, until| *until > now);
            let before = entry.passed.len();
            entry.passed.retain(|_, until| *until > now);
            if entry.passed.len() < before {
                entry.order = None;
            }
        }
    }

    fn next_time(&self, now: Instant) -> Option<Instant> {
        let entries = self.entries.values().flat_map(|entry| {
            let due = (entry.due > now).then_some(entry.due);
            due.into_iter().chain(entry.coming.values().copied()).chain(entry.passed.values().copied())
        });
        entries.chain(self.paused.values().copied()).min()
    }
}

impl Default for Repair {
    fn default() -> Self {
        Self::new()
    }
}

/// The members that may take a content, the best first. More than enough of them: some may be
/// full. When all of these are, the next are named.
fn order(
    entry: &Entry,
    places: &[Place],
    takers: &BTreeMap<PeerId, Place>,
    others: &BTreeMap<PeerId, Place>,
) -> Vec<PeerId> {
    let short = &entry.short;
    let left: Vec<Place>;
    let places = if entry.passed.is_empty() {
        places
    } else {
        left = places.iter().filter(|place| !entry.passed.contains_key(&place.peer)).cloned().collect();
        &left
    };
    let have: BTreeSet<PeerId> = short.have.iter().copied().collect();
    let have: Vec<&Place> =
        have.iter().filter_map(|peer| takers.get(peer).or_else(|| others.get(peer))).collect();
    placement::first(short.content, places, &have, MAX_TAKERS).into_iter().map(|place| place.peer).collect()
}

#[cfg(test)]
mod tests;
