//! Who is responsible for a key: the nodes closest to it.
//!
//! Kademlia's measure: the XOR of the SHA-256 of a node's id and the SHA-256 of the key. The
//! nodes are sorted by that hash, so the nodes below any prefix are neighbours in the list: a
//! trie without its pointers. Going down it, the half that the target is in first, meets the
//! nodes in the order of their distance, because whatever shares one more bit is closer than
//! all that doesn't. Nothing is measured and nothing sorted, and 8 of 10,000 nodes cost some
//! tens of steps.

use libp2p::PeerId;
use libp2p::kad::KBucketKey;
use sha2::{Digest as _, Sha256};

use super::keys::KEY_BYTES;

/// Bits of a place.
const BITS: usize = 256;

/// A place in the keyspace.
pub(super) type Place = [u8; 32];

/// One bit of a place, the highest first; none beyond the last.
pub(super) fn bit(place: &Place, at: usize) -> bool {
    place.get(at / 8).is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0)
}

/// A node and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) peer: PeerId,
}

/// The nodes among which keys are spread, as far as this node knows them, itself left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keyspace {
    /// In the order of their places.
    nodes: Vec<Node>,
}

impl Keyspace {
    /// Of these nodes, in any order; one that is named twice counts once.
    #[must_use]
    pub fn new(peers: impl IntoIterator<Item = PeerId>) -> Self {
        let mut nodes: Vec<_> = peers.into_iter().map(|peer| Node { place: place_of(&peer), peer }).collect();
        nodes.sort_by_key(|node| node.place);
        nodes.dedup_by(|a, b| a.peer == b.peer);
        Self { nodes }
    }

    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All of them, in the order of the keyspace.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.nodes.iter().map(|node| node.peer)
    }

    /// Whether it is one of them.
    #[must_use]
    pub fn contains(&self, peer: &PeerId) -> bool {
        self.nodes.binary_search_by(|node| node.place.cmp(&place_of(peer))).is_ok()
    }

    /// The `count` nodes closest to `key`, the closest first; all when there are fewer.
    #[must_use]
    pub fn closest(&self, key: &[u8; KEY_BYTES], count: usize) -> Vec<PeerId> {
        let target = Sha256::digest(key).into();
        Nearest { target: &target, ahead: vec![(&self.nodes, 0)] }.take(count).collect()
    }

    /// Whether the node is one of the `count` closest to `key`.
    #[must_use]
    pub fn is_close(&self, peer: &PeerId, key: &[u8; KEY_BYTES], count: usize) -> bool {
        let target = Sha256::digest(key).into();
        self.len() <= count
            || Nearest { target: &target, ahead: vec![(&self.nodes, 0)] }
                .take(count)
                .any(|near| near == *peer)
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }
}

pub(super) fn place_of(peer: &PeerId) -> Place {
    let mut place = [0; 32];
    place.copy_from_slice(KBucketKey::from(*peer).hashed_bytes());
    place
}

/// Cuts nodes that agree in the first `at` bits where the next bit changes.
pub(super) fn halves(nodes: &[Node], at: usize) -> (&[Node], &[Node]) {
    nodes.split_at(nodes.partition_point(|node| !bit(&node.place, at)))
}

/// Walks all nodes in the order of their distance to a target.
struct Nearest<'a> {
    target: &'a Place,
    /// Subtrees ahead, the closest last, each with the number of bits that its nodes share.
    ahead: Vec<(&'a [Node], usize)>,
}

impl Iterator for Nearest<'_> {
    type Item = PeerId;

    fn next(&mut self) -> Option<PeerId> {
        loop {
            let (nodes, shared) = self.ahead.pop()?;
            match nodes {
                [] => {}
                [node] => return Some(node.peer),
                // The same place twice would need a collision of SHA-256.
                [node, ..] if shared >= BITS => return Some(node.peer),
                nodes => {
                    let (zeros, ones) = halves(nodes, shared);
                    let (near, far) = if bit(self.target, shared) { (ones, zeros) } else { (zeros, ones) };
                    self.ahead.push((far, shared + 1));
                    self.ahead.push((near, shared + 1));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::kad::RecordKey;

    #[test]
    fn the_closest_are_those_of_a_full_sort() {
        let peers: Vec<PeerId> = (0..300).map(|_| PeerId::random()).collect();
        for known in [0, 1, 2, 9, 40, 300] {
            let mut peers = peers[..known].to_vec();
            let space = Keyspace::new(peers.iter().chain(&peers).copied());
            assert_eq!(space.len(), known);
            assert!(peers.iter().all(|peer| space.contains(peer)) && !space.contains(&PeerId::random()));
            for n in 0..50u8 {
                let key = [n; KEY_BYTES];
                let target = KBucketKey::new(RecordKey::new(&key));
                peers.sort_by_key(|peer| target.distance(&KBucketKey::from(*peer)));
                for count in [0, 1, 8, 40, 500] {
                    assert_eq!(space.closest(&key, count), peers[..count.min(known)], "{count} of {known}");
                }
            }
        }
    }
}
