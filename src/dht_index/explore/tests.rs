use std::collections::BTreeSet;

use super::*;
use crate::dht_index::keys::KEY_BYTES;
use crate::dht_index::keyspace::Keyspace;
use crate::dht_index::simulated::{Net, crowded, even, peer};

/// Everybody but the explorer is found.
fn check(peers: &[PeerId], fail: usize) -> usize {
    let mut net = Net::new(peers);
    let me = peers[peers.len() / 2];
    let explore = net.explore(&me, fail);
    let found: BTreeSet<PeerId> = explore.found().map(|(peer, _)| *peer).collect();
    let others: BTreeSet<PeerId> = peers.iter().copied().filter(|peer| *peer != me).collect();
    assert_eq!(found, others, "of {}", peers.len());
    assert!(explore.is_done() && explore.is_complete());
    explore.lookups()
}

#[test]
fn every_node_is_found_by_few_lookups() {
    for (nodes, most) in [(1, 1), (2, 1), (10, 1), (20, 1), (21, 4), (50, 8), (100, 14), (200, 30)] {
        let lookups = check(&even(nodes), 0);
        assert!(lookups <= most, "{nodes} nodes: {lookups} lookups");
    }
}

/// Kubo's issue 1263, and worse.
#[test]
fn crowded_nodes_are_found_too() {
    for crowds in [
        &[(0x5a, 60)][..],
        &[(0x5a, 19), (0xa5, 1)],
        &[(0x00, 7), (0x01, 30), (0xff, 5)],
        &[(0x80, 25), (0x7f, 25), (0x10, 1)],
        &[(0x00, 1), (0x5a, 45), (0x5b, 1), (0xa5, 1)],
    ] {
        check(&crowded(crowds), 0);
    }
}

#[test]
fn a_lookup_that_fails_is_tried_again() {
    check(&even(10), 2);
    check(&even(100), 3);
    let mut net = Net::new(&even(100));
    let explore = net.explore(&peer(0), 1);
    assert!(explore.is_done() && !explore.is_complete(), "nobody ever answers");
    assert!(explore.lookups() < 10);
}

/// The reason to explore: what one node's lookups bring back is enough to know the closest nodes
/// of any key.
#[test]
fn the_closest_nodes_of_every_key_are_known() {
    let peers = even(120);
    let explore = Net::new(&peers).explore(&peers[7], 0);
    let known = Keyspace::new(explore.found().map(|(peer, _)| *peer));
    let all = Keyspace::new(peers.iter().copied().filter(|peer| *peer != peers[7]));
    for n in 0..100 {
        assert_eq!(known.closest(&[n; KEY_BYTES], 8), all.closest(&[n; KEY_BYTES], 8));
    }
}
