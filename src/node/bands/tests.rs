use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::lookup::due;
use super::payload;
use super::*;
use crate::dht_index::band_plan::{Pass, changes};
use crate::dht_index::bands::{CERTAIN_UP_TO, common};
use crate::limits::MAX_BANDS_ASKED;
use crate::picture::distance;
use crate::protocol::{AskBands, PeerResponse};
use crate::types::ContentId;

/// Nodes that know each other, without a network between them.
struct World {
    nodes: BTreeMap<PeerId, (Keepers, Bands)>,
}

impl World {
    fn new(count: usize) -> Self {
        let peers: Vec<PeerId> = (0..count).map(|_| PeerId::random()).collect();
        let view = |me: &PeerId| Keepers::new(Keyspace::new(peers.iter().copied().filter(|p| p != me)), *me);
        Self { nodes: peers.iter().map(|me| (*me, (view(me), Bands::new(Instant::now())))).collect() }
    }

    fn keepers(&self, me: PeerId) -> &Keepers {
        &self.nodes[&me].0
    }

    /// What `me` sends when it tells all.
    fn told(&self, me: PeerId, own: &[Shown]) -> BTreeMap<PeerId, Vec<u8>> {
        let mut due: BTreeMap<PeerId, Vec<u8>> = BTreeMap::new();
        for shown in own {
            for (peer, bands) in changes(None, self.keepers(me), &Pass::default(), &shown.hash) {
                payload::push_entry(due.entry(peer).or_default(), shown, bands);
            }
        }
        due
    }

    fn keep(&self, me: PeerId, due: BTreeMap<PeerId, Vec<u8>>) -> u32 {
        due.into_iter()
            .map(|(peer, payload)| {
                let count = (payload.len() / crate::protocol::BANDS_ENTRY_BYTES) as u32;
                let stored = self.nodes[&peer].1.keep(me, count, &payload).unwrap();
                assert_eq!((stored.stored, stored.refused), (count, 0));
                stored.hot
            })
            .sum()
    }

    /// What `me` finds near to each hash, and how many entries were compared.
    fn near(&self, me: PeerId, hashes: &[[u8; 32]], most: u32) -> (Vec<BTreeSet<Shown>>, u64) {
        let mut found = vec![BTreeSet::new(); hashes.len()];
        let mut looked = 0;
        for (peer, questions) in due(self.keepers(me), hashes, &BTreeMap::new(), &HashSet::new()) {
            let questions: Vec<_> = questions.into_iter().collect();
            for some in questions.chunks(MAX_BANDS_ASKED) {
                let mut payload = Vec::new();
                for (at, bands) in some {
                    payload::push_question(&mut payload, &hashes[*at], *bands);
                }
                let ask = AskBands { scheme: SCHEME, count: some.len() as u32, most };
                let answer = self.nodes[&peer].1.answer(&ask, &payload).unwrap();
                let PeerResponse::BandsFound(told) = answer.header else { panic!() };
                assert_eq!((told.hot, told.cut), (0, 0));
                looked += told.looked;
                for (question, near) in payload::found(&answer.payload, told.count, &told.holders).unwrap() {
                    found[some[usize::from(question)].0].insert(near.shown);
                }
            }
        }
        (found, looked)
    }
}

/// Hashes, each third of them near an earlier one.
fn hashes(count: usize) -> Vec<[u8; 32]> {
    let mut state = 7_u64;
    let mut number = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut all: Vec<[u8; 32]> = Vec::new();
    for at in 0..count {
        let hash = if at % 3 == 2 {
            let mut hash = all[number(at as u64) as usize];
            for _ in 0..number(25) {
                let bit = number(256) as usize;
                hash[bit / 8] ^= 1 << (bit % 8);
            }
            hash
        } else {
            std::array::from_fn(|_| number(256) as u8)
        };
        all.push(hash);
    }
    all
}

fn shown(hashes: &[[u8; 32]]) -> Vec<Shown> {
    hashes
        .iter()
        .map(|hash| Shown { hash: *hash, content: ContentId(*blake3::hash(hash).as_bytes()) })
        .collect()
}

#[test]
fn recall_is_that_of_an_exhaustive_comparison() {
    for nodes in [1, 2, 5, 12] {
        let world = World::new(nodes);
        let hashes = hashes(600);
        let all = shown(&hashes);
        let peers: Vec<PeerId> = world.nodes.keys().copied().collect();
        for (own, at) in all.chunks(600_usize.div_ceil(nodes)).zip(0..) {
            assert_eq!(world.keep(peers[at], world.told(peers[at], own)), 0);
        }
        for most in [CERTAIN_UP_TO, 24] {
            let (found, _) = world.near(peers[0], &hashes, most);
            let (mut pairs, mut without) = (0, 0);
            for (hash, found) in hashes.iter().zip(found) {
                let near = all.iter().filter(|other| distance(hash, &other.hash) <= most);
                let (with, missed): (Vec<&Shown>, Vec<&Shown>) =
                    near.partition(|other| !common(hash, &other.hash).is_empty());
                assert_eq!(found, with.iter().copied().copied().collect(), "{nodes} nodes, {most} bits");
                pairs += with.len();
                without += missed.len();
            }
            assert!(most > CERTAIN_UP_TO || without == 0);
            assert!(without * 100 < pairs, "{without} of {pairs} have no band in common");
        }
    }
}

#[test]
fn a_payload_that_is_not_what_was_announced_changes_nothing() {
    let bands = Bands::new(Instant::now());
    let mut payload = Vec::new();
    payload::push_entry(&mut payload, &shown(&[[1; 32]])[0], crate::dht_index::bands::Bands::ALL);
    for (count, payload) in [(2, &payload[..]), (0, &payload), (1, &payload[1..])] {
        assert_eq!(bands.keep(PeerId::random(), count, payload).unwrap_err().code, RefusalCode::Invalid);
    }
    assert_eq!(bands.store().pictures(), 0);
    let ask = AskBands { scheme: SCHEME, count: 1, most: 24 };
    assert_eq!(bands.answer(&ask, &[0; 33]).unwrap_err().code, RefusalCode::Invalid);
    assert!(check_scheme(SCHEME).is_ok() && check_scheme(SCHEME + 1).is_err());
}

/// What a full renewal and asking for everything costs, without the network:
/// `cargo test --release --lib costs_of_bands -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement; means something with --release"]
fn costs_of_bands() {
    for nodes in [5, 10, 50] {
        let world = World::new(nodes);
        let me = *world.nodes.keys().next().unwrap();
        let hashes = hashes(100_000);
        let own = shown(&hashes);
        let began = Instant::now();
        let due = world.told(me, &own);
        let (assigned, bytes) = (began.elapsed(), due.values().map(Vec::len).sum::<usize>());
        let again = due.clone();
        let began = Instant::now();
        world.keep(me, due);
        let stored = began.elapsed();
        let began = Instant::now();
        world.keep(me, again);
        let renewed = began.elapsed();
        let began = Instant::now();
        let (_, looked) = world.near(me, &hashes, 24);
        println!(
            "{nodes} nodes, 100,000 pictures: assigned {assigned:.2?}, {bytes} bytes; all receivers: stored \
             {stored:.2?}, renewed {renewed:.2?}; asked for all: {:.2?}, {looked} compared",
            began.elapsed()
        );
    }
}
