//! Finds all nodes of the DHT by few lookups.
//!
//! A lookup brings back the 20 nodes closest to its target. Let the farthest of them share c
//! bits with the target: then no node that shares more is unknown, because it would be closer.
//! So the prefix of c + 1 bits is known completely, and what is left of the prefix that the
//! lookup was for are the siblings on the way down to it. Fewer than 20 nodes: that is all there
//! are. It takes 1, 4, 8, 14 lookups for 10, 50, 100, 200 nodes, and some n/13 beyond.
//!
//! A node's routing table is no substitute: it was right for 514 of 2,000 keys in a swarm of 100.
//! Nor is exploring only where there are keys: the nodes closest to a key may be below a prefix
//! that has none.
//!
//! The target is a known node below the prefix, if there is one: its place is known and as good
//! as any. Else bytes are searched whose SHA-256 begins with the prefix. That is possible for
//! [`MAX_SEARCHED_BITS`]; a longer prefix without a known node is taken for empty. It would take a
//! million nodes, or somebody who crowds nodes in one place on purpose, to hide one so.

use std::collections::BTreeMap;

use libp2p::{Multiaddr, PeerId};
use sha2::{Digest as _, Sha256};

use super::keyspace::{Place, place_of};
use crate::limits::{
    MAX_ADDRESSES_PER_PEER, MAX_EXPLORED, MAX_EXPLORING, MAX_LOOKUP_TRIES, MAX_SEARCHED_BITS,
    NODES_PER_LOOKUP,
};

mod schedule;

pub use schedule::Schedule;

/// A node and where it can be reached.
pub type Found = (PeerId, Vec<Multiaddr>);

/// What the planner is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A lookup ended with these nodes, the closest to its target.
    Found {
        /// Of the lookup.
        target: Vec<u8>,
        /// At most [`NODES_PER_LOOKUP`], in any order.
        nodes: Vec<Found>,
    },
    /// A lookup did not come to an end; these nodes answered until then.
    Failed {
        /// Of the lookup.
        target: Vec<u8>,
        /// Those that are certainly there.
        nodes: Vec<Found>,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Look up the nodes closest to these bytes (to their SHA-256), and report the result.
    Lookup(Vec<u8>),
}

/// The first `len` bits of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Prefix {
    bits: Place,
    len: usize,
}

impl Prefix {
    fn contains(&self, place: &Place) -> bool {
        shared_bits(&self.bits, place) >= self.len
    }

    /// The places that share the first `at` bits and differ in the next.
    fn sibling(place: &Place, at: usize) -> Self {
        let mut bits = *place;
        if let Some(byte) = bits.get_mut(at / 8) {
            *byte ^= 0x80 >> (at % 8);
        }
        Self { bits, len: at + 1 }
    }
}

fn shared_bits(a: &Place, b: &Place) -> usize {
    let differing = a.iter().zip(b).position(|(a, b)| a != b);
    differing.map_or(256, |at| {
        at * 8 + a.iter().zip(b).nth(at).map_or(0, |(a, b)| (a ^ b).leading_zeros()) as usize
    })
}

#[derive(Debug)]
struct Lookup {
    prefix: Prefix,
    place: Place,
    tries: u8,
}

/// One exploration. It is over when there is nothing to do and nothing under way.
#[derive(Debug)]
pub struct Explore {
    /// Prefixes below which there may be unknown nodes, and how often each was tried.
    ahead: Vec<(Prefix, u8)>,
    under_way: BTreeMap<Vec<u8>, Lookup>,
    found: BTreeMap<Place, Found>,
    lookups: usize,
    complete: bool,
}

impl Default for Explore {
    fn default() -> Self {
        Self::new()
    }
}

impl Explore {
    /// Of all of the keyspace.
    #[must_use]
    pub fn new() -> Self {
        Self {
            ahead: vec![(Prefix { bits: [0; 32], len: 0 }, 0)],
            under_way: BTreeMap::new(),
            found: BTreeMap::new(),
            lookups: 0,
            complete: true,
        }
    }

    /// What to do next; `None` until an event.
    pub fn next_action(&mut self) -> Option<Action> {
        while self.under_way.len() < MAX_EXPLORING {
            let (prefix, tries) = self.ahead.pop()?;
            let Some((target, place)) = self.target_below(&prefix, tries) else { continue };
            if self.under_way.contains_key(&target) {
                // A node just found below it serves for another prefix: when that has ended.
                self.ahead.insert(0, (prefix, tries));
                return None;
            }
            self.under_way.insert(target.clone(), Lookup { prefix, place, tries });
            self.lookups += 1;
            return Some(Action::Lookup(target));
        }
        None
    }

    /// Takes note of what happened.
    pub fn on_event(&mut self, event: Event) {
        let (target, nodes, whole) = match event {
            Event::Found { target, nodes } => (target, nodes, true),
            Event::Failed { target, nodes } => (target, nodes, false),
        };
        let Some(Lookup { prefix, place, tries }) = self.under_way.remove(&target) else { return };
        let returned: Vec<Place> =
            nodes.into_iter().take(NODES_PER_LOOKUP).map(|node| self.learn(node)).collect();
        // Fewer than there are known to be is a lookup that lost its way.
        let lost = returned.len() < NODES_PER_LOOKUP.min(self.found.len());
        if !whole || lost {
            if tries + 1 < MAX_LOOKUP_TRIES {
                self.ahead.insert(0, (prefix, tries + 1));
                return;
            }
            self.complete = false;
        }
        if self.found.len() >= MAX_EXPLORED {
            self.ahead.clear();
            self.complete = false;
        }
        if returned.len() < NODES_PER_LOOKUP {
            // All that there are, or as much as can be known.
            return;
        }
        let farthest = returned.iter().map(|node| shared_bits(&place, node)).min().unwrap_or(0);
        for at in prefix.len..=farthest {
            self.ahead.push((Prefix::sibling(&place, at), 0));
        }
    }

    /// Whether it has come to its end.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.ahead.is_empty() && self.under_way.is_empty()
    }

    /// Whether every lookup that was needed succeeded.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete && self.is_done()
    }

    /// Lookups so far.
    #[must_use]
    pub fn lookups(&self) -> usize {
        self.lookups
    }

    /// The nodes found so far.
    pub fn found(&self) -> impl Iterator<Item = &Found> {
        self.found.values()
    }

    fn learn(&mut self, (peer, mut addresses): Found) -> Place {
        let place = place_of(&peer);
        addresses.truncate(MAX_ADDRESSES_PER_PEER);
        let known = self.found.entry(place).or_insert_with(|| (peer, Vec::new()));
        if !addresses.is_empty() {
            known.1 = addresses;
        }
        place
    }

    /// Bytes whose SHA-256 is below the prefix, and that.
    fn target_below(&self, prefix: &Prefix, tries: u8) -> Option<(Vec<u8>, Place)> {
        let mut last = prefix.bits;
        // The highest place below the prefix.
        for at in prefix.len..256 {
            if let Some(byte) = last.get_mut(at / 8) {
                *byte |= 0x80 >> (at % 8);
            }
        }
        let mut first = prefix.bits;
        for at in prefix.len..256 {
            if let Some(byte) = first.get_mut(at / 8) {
                *byte &= !(0x80 >> (at % 8));
            }
        }
        if let Some((place, (peer, _))) = self.found.range(first..=last).next() {
            return Some((peer.to_bytes(), *place));
        }
        if prefix.len > MAX_SEARCHED_BITS {
            return None;
        }
        // Each try with other bytes: what the last one asked may have been the wrong nodes.
        let most = 64_u64 << prefix.len;
        (0..most).find_map(|n| {
            let target = [b"p2pimg/explore/".as_slice(), &[tries], &n.to_be_bytes()].concat();
            let place: Place = Sha256::digest(&target).into();
            prefix.contains(&place).then_some((target, place))
        })
    }
}

#[cfg(test)]
mod tests;
