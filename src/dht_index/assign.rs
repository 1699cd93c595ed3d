//! Which part of the keyspace each node is responsible for.
//!
//! For neighbouring keys the closest nodes are the same ones, so nothing has to be decided key
//! by key: the keyspace is cut into halves until each piece has one answer for all its keys, and
//! the pieces of a node are its share. A list of keys in the order of the keyspace is then cut
//! into the lists of all nodes by ranges alone, and memory grows with the nodes and not with the
//! keys.
//!
//! A piece has one answer when choosing its closest nodes needs no bit beyond those that its
//! keys share. Which nodes are below the piece's own prefix plays no part: a region that holds
//! fewer nodes than are wanted, or none, takes them from its neighbours as it should.
//!
//! With n nodes there are some 5n pieces, if the nodes are evenly spread. But distance is an XOR:
//! where nodes are crowded, the same pattern of pieces repeats below every prefix that is far
//! from them. So a piece is cut no further than [`SHARE_BITS`], and what is then undecided counts
//! as the caller says. Each key is asked for by itself in the end ([`Keyspace::closest`]); a share
//! only saves asking for all of them.

use std::ops::Range;

use libp2p::PeerId;

use super::keyspace::{Keyspace, Node, halves};
use super::spans::Spans;
use crate::limits::SHARE_BITS;

/// Bits of the places that [`Spans`] are made of.
const BITS: usize = 64;

/// What a share says of pieces that are for several nodes, for some keys this one and for some
/// that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecided {
    /// They belong to all of these nodes: the share is no less than what the node is to hold.
    In,
    /// They belong to none: it is no more.
    Out,
}

/// The part of the keyspace for which each node is one of the `count` closest, in the order of
/// [`Keyspace::peers`].
#[must_use]
pub fn shares(space: &Keyspace, count: usize, undecided: Undecided) -> Vec<(PeerId, Spans)> {
    let nodes = space.nodes();
    let mut shares: Vec<_> = nodes.iter().map(|node| (node.peer, Spans::none())).collect();
    // The piece that begins at `from` and whose keys share their first `bits`.
    let mut pieces = vec![(0_u64, 0)];
    while let Some((from, bits)) = pieces.pop() {
        let (chosen, rest) = closest_to_all(nodes, from, bits, count);
        if !rest.is_empty() && bits < SHARE_BITS {
            // The left half is looked at first: pieces come in their order.
            pieces.push((from | 1 << (BITS - 1 - bits), bits + 1));
            pieces.push((from, bits + 1));
            continue;
        }
        let to = from | u64::MAX.checked_shr(bits as u32).unwrap_or(0);
        let rest = Some(rest).filter(|_| undecided == Undecided::In);
        for at in chosen.into_iter().chain(rest).flatten() {
            if let Some((_, share)) = shares.get_mut(at) {
                share.push(from, to);
            }
        }
    }
    shares
}

/// The ranges of nodes that are among the `count` closest to every key of a piece, and those of
/// which some are, one for one key and another for another.
fn closest_to_all(nodes: &[Node], from: u64, bits: usize, count: usize) -> (Vec<Range<usize>>, Range<usize>) {
    let mut wanted = count;
    let mut chosen = Vec::new();
    // Subtrees, the closest last: where each begins, its nodes, and how many bits they share.
    let mut ahead = vec![(0, nodes, 0)];
    while wanted > 0
        && let Some((start, subtree, shared)) = ahead.pop()
    {
        if subtree.len() <= wanted {
            wanted -= subtree.len();
            chosen.push(start..start + subtree.len());
        } else if shared < bits {
            let (zeros, ones) = halves(subtree, shared);
            let (zeros, ones) = ((start, zeros, shared + 1), (start + zeros.len(), ones, shared + 1));
            let one = from & 1 << (BITS - 1 - shared) != 0;
            ahead.extend(if one { [zeros, ones] } else { [ones, zeros] });
        } else {
            return (chosen, start..start + subtree.len());
        }
    }
    (chosen, 0..0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::dht_index::keys::{KEY_BYTES, place};
    use crate::dht_index::simulated::{crowded, even};

    fn key(n: u32) -> [u8; KEY_BYTES] {
        let mut key = [7; KEY_BYTES];
        key[..4].copy_from_slice(&n.to_be_bytes());
        key
    }

    /// Each of `keys` keys is in the shares of its closest nodes, and of others only when
    /// undecided; returns how many keys are.
    fn check(peers: impl IntoIterator<Item = PeerId>, keys: u32) -> usize {
        let space = Keyspace::new(peers);
        let mut undecided = 0;
        for count in [1, 8, 20] {
            let [most, least] = [Undecided::In, Undecided::Out].map(|mode| shares(&space, count, mode));
            for n in 0..keys {
                let place = place(&key(n));
                let having = |shares: &[(PeerId, Spans)]| -> BTreeSet<PeerId> {
                    shares.iter().filter(|(_, share)| share.contains(place)).map(|(peer, _)| *peer).collect()
                };
                let closest: BTreeSet<_> = space.closest(&key(n), count).into_iter().collect();
                let (most, least) = (having(&most), having(&least));
                assert!(least.is_subset(&closest) && closest.is_subset(&most), "{count}, key {n}");
                undecided += usize::from(most != least);
            }
        }
        undecided
    }

    #[test]
    fn every_key_is_with_the_nodes_closest_to_it() {
        for nodes in [0, 1, 2, 7, 8, 9, 20, 21, 50, 200] {
            assert!(check(even(nodes), 200) < 3, "{nodes}");
        }
        // Of 180 questions.
        let undecided = check(even(1_000), 60);
        assert!(undecided < 9, "{undecided}");
        let shares = shares(&Keyspace::new(even(1_000)), 8, Undecided::Out);
        let all: f64 = shares.iter().map(|(_, share)| share.share()).sum();
        assert!((7.99..=8.0).contains(&all), "each place is with 8: {all}");
    }

    /// Kubo's issue 1263: nodes crowded in some places, and regions that hold few or none.
    #[test]
    fn crowded_nodes_leave_no_key_without_its_own() {
        check(crowded(&[(0x5a, 40)]), 100);
        check(crowded(&[(0x5a, 19), (0xa5, 1)]), 100);
        check(crowded(&[(0x00, 7), (0x01, 30), (0xff, 5)]), 100);
        check(crowded(&[(0x80, 25), (0x7f, 25), (0x10, 1)]), 100);
    }
}
