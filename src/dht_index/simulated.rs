//! A DHT in one thread: nodes with routing tables as Kademlia keeps them, and its lookup.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;
use libp2p::multihash::Multihash;
use sha2::{Digest as _, Sha256};

use super::explore::{Action, Event, Explore};
use super::keyspace::{Place, bit, place_of};
use crate::limits::NODES_PER_LOOKUP;

/// Entries of a bucket.
const BUCKET: usize = 20;

/// The node with this number: always the same.
pub(super) fn peer(number: u64) -> PeerId {
    let hash = Multihash::wrap(0x12, &Sha256::digest(number.to_be_bytes())).expect("32 bytes fit");
    PeerId::from_multihash(hash).expect("the hash that peer ids have")
}

/// So many nodes, evenly spread.
pub(super) fn even(nodes: usize) -> Vec<PeerId> {
    (0..nodes as u64).map(peer).collect()
}

/// Nodes of which most are crowded: for each first byte, so many.
pub(super) fn crowded(crowds: &[(u8, usize)]) -> Vec<PeerId> {
    let mut left: BTreeMap<u8, usize> = crowds.iter().copied().collect();
    let mut peers = Vec::new();
    for number in 0.. {
        if left.values().all(|left| *left == 0) {
            break;
        }
        let peer = peer(number);
        if let Some(left) = left.get_mut(&place_of(&peer)[0])
            && *left > 0
        {
            *left -= 1;
            peers.push(peer);
        }
    }
    peers
}

struct SimNode {
    place: Place,
    peer: PeerId,
    /// Whom it knows, by index.
    table: Vec<usize>,
}

pub(super) struct Net {
    /// In the order of their places.
    nodes: Vec<SimNode>,
    /// Questions asked.
    pub(super) messages: usize,
}

impl Net {
    /// Every node knows up to 20 nodes of each bucket.
    pub(super) fn new(peers: &[PeerId]) -> Self {
        let mut places: Vec<(Place, PeerId)> = peers.iter().map(|peer| (place_of(peer), *peer)).collect();
        places.sort_unstable();
        let mut nodes = Vec::new();
        for (at, (place, peer)) in places.iter().enumerate() {
            let mut table = Vec::new();
            let (mut low, mut high) = (0, places.len());
            let mut depth = 0;
            while high - low > 1 {
                let middle = low + places[low..high].partition_point(|(place, _)| !bit(place, depth));
                let (other, own) =
                    if bit(place, depth) { (low..middle, middle..high) } else { (middle..high, low..middle) };
                let step = other.len().div_ceil(BUCKET).max(1);
                // Others for each node.
                table.extend(other.clone().skip(at % step).step_by(step).take(BUCKET));
                (low, high) = (own.start, own.end);
                depth += 1;
            }
            nodes.push(SimNode { place: *place, peer: *peer, table });
        }
        Self { nodes, messages: 0 }
    }

    fn closest_known(&self, at: usize, target: &Place) -> Vec<usize> {
        let mut known = self.nodes[at].table.clone();
        known.sort_by_cached_key(|node| distance(&self.nodes[*node].place, target));
        known.truncate(NODES_PER_LOOKUP);
        known
    }

    /// What node `me` gets when it looks for these bytes.
    fn lookup(&mut self, me: usize, target: &[u8]) -> Vec<PeerId> {
        let target: Place = Sha256::digest(target).into();
        let mut known: BTreeMap<Place, usize> = BTreeMap::new();
        let mut asked = BTreeSet::new();
        let mut heard = self.closest_known(me, &target);
        loop {
            let fresh = heard.into_iter().filter(|node| *node != me);
            known.extend(fresh.map(|node| (distance(&self.nodes[node].place, &target), node)));
            let next = known.values().take(NODES_PER_LOOKUP).find(|node| !asked.contains(*node));
            let Some(next) = next.copied() else { break };
            asked.insert(next);
            self.messages += 1;
            heard = self.closest_known(next, &target);
        }
        known.values().take(NODES_PER_LOOKUP).map(|node| self.nodes[*node].peer).collect()
    }

    /// Explores from the view of one node. Each `fail`th lookup fails.
    pub(super) fn explore(&mut self, me: &PeerId, fail: usize) -> Explore {
        let me = self.nodes.iter().position(|node| node.peer == *me).expect("a node of the network");
        let mut explore = Explore::new();
        let mut count = 0;
        while let Some(Action::Lookup(target)) = explore.next_action() {
            count += 1;
            if fail > 0 && count % fail == 0 {
                explore.on_event(Event::Failed { target, nodes: Vec::new() });
                continue;
            }
            let nodes = self.lookup(me, &target).into_iter().map(|peer| (peer, Vec::new())).collect();
            explore.on_event(Event::Found { target, nodes });
        }
        explore
    }
}

fn distance(a: &Place, b: &Place) -> Place {
    std::array::from_fn(|at| a[at] ^ b[at])
}
