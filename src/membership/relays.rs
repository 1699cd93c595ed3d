//! Which relays a node keeps a place at, so that others can reach it through them.
//!
//! A node that nobody outside its network can reach needs one. It can't know by itself that it is such a
//! node, so it takes a place wherever one is offered, until others have reached it at a public address.
//! Places are renewed by libp2p; this plan is about getting them, and getting them back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use libp2p::{Multiaddr, PeerId};

use crate::backoff::Jitter;
use crate::limits::{MAX_OWN_RELAYS, MAX_RELAYS_KNOWN, RELAY_RETRY_FIRST, RELAY_RETRY_LONGEST};

/// What the planner is told.
#[derive(Debug, Clone)]
pub enum Event {
    /// A connected node relays for others.
    Offered {
        /// Who.
        relay: PeerId,
        /// One of its addresses.
        address: Multiaddr,
    },
    /// It is connected no more.
    Gone(PeerId),
    /// It gave a place, or renewed it.
    Placed(PeerId),
    /// It gave none, or the place is lost.
    Lost(PeerId),
    /// Somebody outside has reached this public address.
    Reached(Multiaddr),
    /// This node is somewhere else: what was reached may not be any more.
    Moved,
}

/// To be done: take a place at this relay. Report [`Event::Placed`] or [`Event::Lost`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserve {
    /// Where.
    pub relay: PeerId,
    /// Its address.
    pub address: Multiaddr,
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// None; to be asked for from then on.
    None(Instant),
    Asked,
    Held,
}

#[derive(Debug)]
struct Relay {
    address: Multiaddr,
    place: Place,
    failures: u32,
}

/// The plan.
#[derive(Debug)]
pub struct Relays {
    /// This node takes places at all.
    wanted: bool,
    relays: BTreeMap<PeerId, Relay>,
    reached: BTreeSet<Multiaddr>,
    jitter: Jitter,
}

impl Relays {
    /// Knows no relay. `wanted`: false for a node that never needs one.
    #[must_use]
    pub fn new(wanted: bool, seed: u64) -> Self {
        Self { wanted, relays: BTreeMap::new(), reached: BTreeSet::new(), jitter: Jitter::new(seed) }
    }

    /// Takes note of what happened.
    pub fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Offered { relay, address } => {
                if self.relays.len() < MAX_RELAYS_KNOWN {
                    let new = || Relay { address, place: Place::None(now), failures: 0 };
                    self.relays.entry(relay).or_insert_with(new);
                }
            }
            Event::Gone(relay) => drop(self.relays.remove(&relay)),
            Event::Placed(relay) => {
                if let Some(relay) = self.relays.get_mut(&relay) {
                    relay.place = Place::Held;
                    relay.failures = 0;
                }
            }
            Event::Lost(relay) => {
                if let Some(relay) = self.relays.get_mut(&relay) {
                    relay.failures = relay.failures.saturating_add(1);
                    let pause = self.jitter.pause(relay.failures, RELAY_RETRY_FIRST, RELAY_RETRY_LONGEST);
                    relay.place = Place::None(now + pause);
                }
            }
            Event::Reached(address) => {
                if self.reached.len() < MAX_RELAYS_KNOWN {
                    self.reached.insert(address);
                }
            }
            Event::Moved => self.reached.clear(),
        }
    }

    /// What to do next; nothing until an event or [`Relays::next_wakeup`].
    pub fn next_action(&mut self, now: Instant) -> Option<Reserve> {
        if !self.wants_more() {
            return None;
        }
        let due = |relay: &Relay| matches!(relay.place, Place::None(at) if at <= now);
        let (id, relay) = self.relays.iter_mut().find(|(_, relay)| due(relay))?;
        relay.place = Place::Asked;
        Some(Reserve { relay: *id, address: relay.address.clone() })
    }

    /// When there is something to do without a further event.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        let pauses = self.relays.values().filter_map(|relay| match relay.place {
            Place::None(at) => Some(at),
            _ => None,
        });
        pauses.min().filter(|_| self.wants_more())
    }

    /// Relays that this node has a place at.
    pub fn held(&self) -> impl Iterator<Item = &PeerId> {
        self.relays.iter().filter(|(_, relay)| relay.place == Place::Held).map(|(id, _)| id)
    }

    /// Public addresses that others have reached.
    pub fn reached(&self) -> impl Iterator<Item = &Multiaddr> {
        self.reached.iter()
    }

    fn wants_more(&self) -> bool {
        let taken = self.relays.values().filter(|relay| !matches!(relay.place, Place::None(_))).count();
        self.wanted && self.reached.is_empty() && taken < MAX_OWN_RELAYS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(relays: &mut Relays, now: Instant) -> PeerId {
        let relay = PeerId::random();
        let address: Multiaddr = "/ip4/203.0.113.1/tcp/4011".parse().unwrap();
        relays.on_event(now, Event::Offered { relay, address });
        relay
    }

    #[test]
    fn two_places_and_no_more() {
        let now = Instant::now();
        let mut relays = Relays::new(true, 1);
        for _ in 0..5 {
            offer(&mut relays, now);
        }
        let first = relays.next_action(now).unwrap().relay;
        let second = relays.next_action(now).unwrap().relay;
        assert_ne!(first, second);
        assert_eq!((relays.next_action(now), relays.next_wakeup()), (None, None));
        relays.on_event(now, Event::Placed(first));
        assert_eq!(relays.held().collect::<Vec<_>>(), [&first]);

        // One is gone: the next takes its place.
        relays.on_event(now, Event::Gone(first));
        let third = relays.next_action(now).unwrap().relay;
        assert!(third != first && third != second);
    }

    #[test]
    fn a_lost_place_is_asked_for_after_a_pause() {
        let now = Instant::now();
        let mut relays = Relays::new(true, 2);
        let relay = offer(&mut relays, now);
        let mut last = now;
        for _ in 0..20 {
            assert_eq!(relays.next_action(last).map(|reserve| reserve.relay), Some(relay));
            relays.on_event(last, Event::Lost(relay));
            assert_eq!(relays.next_action(last), None);
            let next = relays.next_wakeup().unwrap();
            assert!(next > last && next <= last + RELAY_RETRY_LONGEST * 2);
            last = next;
        }
    }

    #[test]
    fn who_is_reached_needs_no_relay_until_it_moves() {
        let now = Instant::now();
        let mut relays = Relays::new(true, 3);
        offer(&mut relays, now);
        relays.on_event(now, Event::Reached("/ip4/203.0.113.9/tcp/4011".parse().unwrap()));
        assert_eq!((relays.next_action(now), relays.next_wakeup()), (None, None));
        relays.on_event(now, Event::Moved);
        assert!(relays.next_action(now).is_some());

        let mut relay_itself = Relays::new(false, 4);
        offer(&mut relay_itself, now);
        assert_eq!(relay_itself.next_action(now), None);
    }
}
