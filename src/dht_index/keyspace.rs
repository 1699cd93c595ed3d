//! Who is responsible for a key: the nodes closest to it.
//!
//! Kademlia's measure: the XOR of the SHA-256 of a node's id and the SHA-256 of the key.

use libp2p::PeerId;
use libp2p::kad::{KBucketKey, RecordKey};

use super::keys::KEY_BYTES;

/// The nodes among which keys are spread, as far as this node knows them, itself left out.
#[derive(Debug, Clone, Default)]
pub struct Keyspace {
    /// In the order of their hashed ids.
    peers: Vec<KBucketKey<PeerId>>,
}

impl Keyspace {
    /// Of these nodes, in any order; one that is named twice counts once.
    #[must_use]
    pub fn new(peers: impl IntoIterator<Item = PeerId>) -> Self {
        let mut peers: Vec<_> = peers.into_iter().map(KBucketKey::from).collect();
        peers.sort_by(|a, b| a.hashed_bytes().cmp(b.hashed_bytes()));
        peers.dedup_by(|a, b| a.preimage() == b.preimage());
        Self { peers }
    }

    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// The `count` nodes closest to `key`, the closest first; all when there are fewer.
    #[must_use]
    pub fn closest(&self, key: &[u8; KEY_BYTES], count: usize) -> Vec<PeerId> {
        let target = KBucketKey::new(RecordKey::new(key));
        let mut near: Vec<_> = self.peers.iter().map(|peer| (target.distance(peer), peer)).collect();
        if count < near.len() {
            near.select_nth_unstable_by(count, |a, b| a.0.cmp(&b.0));
            near.truncate(count);
        }
        near.sort_by_key(|near| near.0);
        near.into_iter().map(|(_, peer)| *peer.preimage()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_are_those_of_a_full_sort() {
        let peers: Vec<PeerId> = (0..40).map(|_| PeerId::random()).collect();
        let space = Keyspace::new(peers.iter().chain(&peers).copied());
        assert_eq!(space.len(), 40);
        for n in 0..20u8 {
            let key = [n; KEY_BYTES];
            let target = KBucketKey::new(RecordKey::new(&key));
            let mut sorted = peers.clone();
            sorted.sort_by_key(|peer| target.distance(&KBucketKey::from(*peer)));
            for count in [0, 1, 8, 40, 50] {
                assert_eq!(space.closest(&key, count), sorted[..count.min(40)], "{count}");
            }
        }
    }
}
