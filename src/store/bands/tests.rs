use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::dht_index::bands::common;

const ANY: (usize, usize) = (usize::MAX, usize::MAX);

fn shown(hash: [u8; 32], number: u8) -> Shown {
    Shown { hash, content: ContentId([number; 32]) }
}

fn small(pictures: usize, per_sender: usize, bucket: u16) -> BandStore {
    let bounds = Bounds { pictures, pictures_per_sender: per_sender, bucket, senders: 4 };
    BandStore::bounded(Instant::now(), bounds)
}

fn contents(search: &Search) -> Vec<u8> {
    search.near.iter().map(|near| near.shown.content.0[0]).collect()
}

#[test]
fn a_picture_is_found_by_its_holders_until_they_take_it_back_or_it_expires() {
    let now = Instant::now();
    let mut store = small(10, 10, 10);
    let [one, two] = [(); 2].map(|()| PeerId::random());
    let picture = shown([3; 32], 1);
    assert_eq!(store.store(now, &one, picture, Bands(0b11)), Stored::Kept { hot: 0 });
    assert_eq!(store.store(now, &two, picture, Bands(0b110)), Stored::Kept { hot: 0 });
    let found = store.near(now, &[3; 32], Bands::ALL, 0, ANY);
    assert_eq!(found.looked, 3, "bands 0, 1 and 2, once each");
    let holders: BTreeSet<PeerId> = found.near[0].holders.iter().copied().collect();
    assert_eq!((found.near.len(), holders), (1, BTreeSet::from([one, two])));
    // What is said anew takes the place of what was said.
    store.store(now, &two, picture, Bands(0b1000));
    assert!(store.near(now, &[3; 32], Bands(0b100), 0, ANY).near.is_empty());
    store.store(now, &one, picture, Bands::default());
    let found = store.near(now, &[3; 32], Bands::ALL, 0, ANY);
    assert_eq!((found.looked, found.near[0].holders.clone()), (1, vec![two]));
    let later = now + RECORD_TTL + Duration::from_secs(2);
    assert!(store.near(later, &[3; 32], Bands::ALL, 0, ANY).near.is_empty(), "expired, and not swept yet");
    store.sweep(later, 10);
    assert_eq!(store.pictures(), 0);
    assert_eq!(store.near(later, &[3; 32], Bands::ALL, 0, ANY).looked, 0);
}

#[test]
fn a_hot_band_stops_growing_and_says_so() {
    let now = Instant::now();
    let mut store = small(100, 100, 5);
    let peer = PeerId::random();
    for number in 0..5 {
        assert_eq!(store.store(now, &peer, shown([0; 32], number), Bands(1)), Stored::Kept { hot: 0 });
    }
    assert_eq!(store.near(now, &[0; 32], Bands(1), 0, ANY).hot, 0, "full, and complete");
    // Hot in one band; found by another.
    let mut other = [0; 32];
    other[2] = 9;
    assert_eq!(store.store(now, &peer, shown(other, 7), Bands(0b11)), Stored::Kept { hot: 1 });
    let by_hot = store.near(now, &other, Bands(1), 0, ANY);
    assert_eq!((contents(&by_hot), by_hot.hot, by_hot.looked), (vec![], 1, 5));
    assert_eq!(contents(&store.near(now, &other, Bands(0b11), 0, ANY)), [7]);
    // All its bands are hot: nothing is kept, and nothing is counted for its sender.
    assert_eq!(store.store(now, &peer, shown([0; 32], 8), Bands(1)), Stored::Kept { hot: 1 });
    assert_eq!(store.pictures(), 6);
    // The renewal of what is in there is no growth.
    assert_eq!(store.store(now, &peer, shown([0; 32], 3), Bands(1)), Stored::Kept { hot: 0 });
    // There is room again, but what was refused is not in it until its holder says so again.
    store.store(now, &peer, shown([0; 32], 3), Bands::default());
    assert_eq!(store.near(now, &[0; 32], Bands(1), 0, ANY).hot, 1);
    store.sweep(now + RECORD_TTL + Duration::from_secs(2), 100);
    assert_eq!(store.near(now, &[0; 32], Bands(1), 0, ANY).hot, 0);
}

#[test]
fn a_flood_fills_its_senders_share_and_pushes_nobody_out() {
    let now = Instant::now();
    let mut store = small(6, 3, 100);
    let [honest, flood, third] = [(); 3].map(|()| PeerId::random());
    store.store(now, &honest, shown([200; 32], 200), Bands::ALL);
    for number in 0..50 {
        let stored = store.store(now, &flood, shown([number; 32], number), Bands::ALL);
        assert_eq!(stored == Stored::Refused, number >= 3, "{number}");
    }
    assert_eq!(store.store(now, &flood, shown([1; 32], 1), Bands(3)), Stored::Kept { hot: 0 }, "a renewal");
    assert_eq!(contents(&store.near(now, &[200; 32], Bands::ALL, 0, ANY)), [200]);
    // Everything is full.
    store.store(now, &third, shown([201; 32], 201), Bands::ALL);
    store.store(now, &third, shown([202; 32], 202), Bands::ALL);
    assert_eq!(store.store(now, &third, shown([203; 32], 203), Bands::ALL), Stored::Refused);
    // Another holder of a picture that is there takes no room.
    assert_eq!(store.store(now, &honest, shown([1; 32], 1), Bands(3)), Stored::Kept { hot: 0 });
    // One that says of a content that it has another hash is not believed.
    assert_eq!(store.store(now, &honest, shown([9; 32], 1), Bands(3)), Stored::Refused);
    // Nobody can take back what another holds.
    store.store(now, &third, shown([200; 32], 200), Bands::default());
    assert_eq!(contents(&store.near(now, &[200; 32], Bands::ALL, 0, ANY)), [200]);
}

#[test]
fn many_holders_share_the_places_of_a_picture() {
    let now = Instant::now();
    let mut store = small(10, 10, 10);
    let peers: Vec<PeerId> = (0..4).map(|_| PeerId::random()).collect();
    for (peer, second) in peers.iter().zip(0..) {
        let at = now + Duration::from_secs(second);
        assert_eq!(store.store(at, peer, shown([1; 32], 1), Bands::ALL), Stored::Kept { hot: 0 });
    }
    let found = store.near(now, &[1; 32], Bands(1), 0, ANY);
    let holders: BTreeSet<PeerId> = found.near[0].holders.iter().copied().collect();
    assert_eq!(holders, peers[1..].iter().copied().collect(), "the oldest word went");
    // Senders beyond the bound are refused; one without pictures makes room.
    assert_eq!(store.store(now, &PeerId::random(), shown([2; 32], 2), Bands::ALL), Stored::Kept { hot: 0 });
    assert_eq!(store.store(now, &PeerId::random(), shown([3; 32], 3), Bands::ALL), Stored::Refused);
}

#[test]
fn an_answer_is_cut_at_its_bounds() {
    let now = Instant::now();
    let mut store = small(100, 100, 100);
    let peer = PeerId::random();
    for number in 0..20 {
        let mut hash = [0; 32];
        hash[31] = number;
        store.store(now, &peer, shown(hash, number), Bands(1));
    }
    let found = store.near(now, &[0; 32], Bands(1), 8, (3, usize::MAX));
    assert_eq!((contents(&found), found.cut), (vec![0, 1, 2], true), "the nearest");
    let found = store.near(now, &[0; 32], Bands(1), 8, (100, 5));
    assert_eq!((found.looked, found.cut), (5, true));
}

/// Few bits, so that bands are often equal.
fn any_hash() -> impl Strategy<Value = [u8; 32]> {
    prop::collection::vec(prop_oneof![9 => Just(0u8), 1 => 0u8..4], 32)
        .prop_map(|bytes| bytes.try_into().expect("32"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against looking at everything: whatever is said and taken back, renewed and swept, what is
    /// found is what has a band in common, among those that were told; and that is all within 15
    /// bits.
    #[test]
    fn what_is_found_is_what_an_exhaustive_search_finds(
        steps in prop::collection::vec((any_hash(), 0u8..20, 0usize..3, any::<u16>(), 0u64..20_000), 1..60),
        asked in any_hash(),
        most in 0u32..32,
    ) {
        let mut now = Instant::now();
        let mut store = small(1000, 1000, 1000);
        let peers: Vec<PeerId> = (0..3).map(|_| PeerId::random()).collect();
        let mut said: BTreeMap<(u8, usize), ([u8; 32], Bands, Instant)> = BTreeMap::new();
        let mut hashes: BTreeMap<u8, [u8; 32]> = BTreeMap::new();
        for (hash, number, peer, bands, pause) in steps {
            now += Duration::from_secs(pause);
            store.sweep(now, 7);
            let hash = *hashes.entry(number).or_insert(hash);
            let bands = Bands(if bands % 5 == 0 { 0 } else { bands });
            store.store(now, &peers[peer], shown(hash, number), bands);
            said.insert((number, peer), (hash, bands, now));
        }
        let live = |at: &Instant| now < *at + RECORD_TTL;
        let expected: BTreeSet<u8> = said
            .iter()
            .filter(|(_, (_, bands, at))| !bands.is_empty() && live(at))
            .filter(|((number, _), (hash, ..))| {
                let of = |((other, _), (_, bands, _)): (&(u8, usize), &([u8; 32], Bands, Instant))| {
                    if other == number { bands.0 } else { 0 }
                };
                let kept = said.iter().map(of).fold(0, |all, bands| all | bands);
                distance(hash, &asked) <= most && common(hash, &asked).0 & kept != 0
            })
            .map(|((number, _), _)| *number)
            .collect();
        let found = store.near(now, &asked, Bands::ALL, most, ANY);
        let found: BTreeSet<u8> = contents(&found).into_iter().collect();
        // An expired holder's chains are gone once swept: found is between the two.
        let certain: BTreeSet<u8> = said
            .iter()
            .filter(|(_, (hash, bands, at))| {
                live(at) && distance(hash, &asked) <= most && common(hash, &asked).0 & bands.0 != 0
            })
            .map(|((number, _), _)| *number)
            .collect();
        prop_assert!(found.is_superset(&certain), "{:?} {:?}", found, certain);
        prop_assert!(found.is_subset(&expected), "{:?} {:?}", found, expected);
        // To the end, and once more from the beginning.
        store.sweep(now + RECORD_TTL + RECORD_TTL, 1000);
        store.sweep(now + RECORD_TTL + RECORD_TTL, 1000);
        prop_assert_eq!(store.pictures(), 0);
        prop_assert!(store.filled.iter().all(|filled| *filled == 0) && store.first.iter().all(|first| *first == 0));
        prop_assert!(store.senders.iter().all(|sender| sender.pictures == 0));
    }
}
