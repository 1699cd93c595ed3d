//! The order of nodes for a content: rendezvous hashing (Thaler, Ravishankar 1996). Every
//! node computes the same order without asking, each content has another, and one node more
//! or less moves nothing between the others.

use libp2p::PeerId;

use crate::types::ContentId;

/// The place of `peer` among all nodes for `content`; the highest is the first. No two nodes
/// have the same in practice.
#[must_use]
pub fn rank(content: ContentId, peer: &PeerId) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&content.0).update(&peer.to_bytes());
    hasher.finalize().as_bytes().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other implementations have to agree.
    #[test]
    fn the_rank_is_the_start_of_a_hash_of_content_and_peer() {
        let peer = PeerId::random();
        let content = ContentId([7; 32]);
        let hash = blake3::hash(&[&content.0[..], &peer.to_bytes()].concat());
        assert_eq!(rank(content, &peer).to_be_bytes(), hash.as_bytes()[..8]);
    }

    #[test]
    fn each_content_has_an_order_of_its_own() {
        let peers: Vec<PeerId> = (0..4).map(|_| PeerId::random()).collect();
        let first = |number: u8| peers.iter().max_by_key(|peer| rank(ContentId([number; 32]), peer));
        let firsts: std::collections::BTreeSet<_> = (0..64).map(first).collect();
        assert!(firsts.len() > 1, "all contents have the same first");
    }
}
