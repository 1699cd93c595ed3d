use libp2p::multihash::Multihash;
use proptest::prelude::*;

use super::*;

const GIB: u64 = 1 << 30;

fn peer(number: u16) -> PeerId {
    let [high, low] = number.to_be_bytes();
    let mut key = [7; 32];
    key[..2].copy_from_slice(&[high, low]);
    PeerId::from_multihash(Multihash::wrap(0, &key).unwrap()).unwrap()
}

fn content(number: u32) -> ContentId {
    ContentId(*blake3::hash(&number.to_be_bytes()).as_bytes())
}

fn place(number: u16, capacity: u64, zone: &str) -> Place {
    Place {
        peer: peer(number),
        folder: FolderId(number.into()),
        weight: Weight::of_capacity(capacity),
        zone: zone.parse().ok(),
    }
}

/// What the oracle minimises: the formula as it is in the paper.
fn exponential(content: ContentId, place: &Place) -> f64 {
    let u = (rank(content, &place.peer) as f64 + 0.5) / 2_f64.powi(64);
    -u.ln() / place.weight.bytes() as f64
}

/// Places of any weight; few folders and zones, so that they meet.
fn some_places() -> impl Strategy<Value = Vec<Place>> {
    let one = (0..=300_u16, 0..12_u128, 0..5_u8);
    prop::collection::vec(one, 0..16).prop_map(|all| {
        let of = |(number, (weight, folder, zone)): (usize, (u16, u128, u8))| Place {
            peer: peer(number as u16),
            folder: FolderId(folder),
            weight: Weight(weight),
            zone: (zone > 0).then(|| zone.to_string().parse().unwrap()),
        };
        all.into_iter().enumerate().map(of).collect()
    })
}

/// Copies on folders of their own, in the order in which they go.
fn gone<'a>(content: ContentId, all: &[(&'a Place, bool)], copies: u16) -> Vec<&'a Place> {
    let holders: Vec<_> = all.iter().map(|(place, replica)| Holder { place, replica: *replica }).collect();
    excess(content, &holders, copies)
}

#[test]
fn a_weight_is_the_largest_step_within_the_capacity() {
    let steps: Vec<u64> = (0..=16).map(|step| Weight(step).bytes()).collect();
    assert_eq!(steps, [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32]);
    for step in 0..=251 {
        let bytes = Weight(step).bytes();
        assert_eq!(Weight::of_capacity(bytes), Weight(step));
        assert_eq!(Weight(step).log2(), log2(bytes));
        assert_eq!(Weight::of_capacity(bytes.saturating_sub(1)), Weight(step.saturating_sub(1)));
    }
    assert_eq!(Weight::of_capacity(u64::MAX), Weight(251));
    assert_eq!(Weight(u16::MAX).bytes(), Weight(251).bytes(), "a peer may send any number");
    assert_eq!(Weight::of_capacity(100 * GIB), Weight::of_capacity(110 * GIB), "small changes move nothing");
}

proptest! {
    #[test]
    fn the_logarithm_is_that_of_the_library(x in 1..=u64::MAX, shift in 0..64_u32) {
        let x = (x >> shift).max(1);
        let fixed = log2(x) as f64 / 2_f64.powi(32);
        prop_assert!((fixed - (x as f64).log2()).abs() < 1e-9, "{} of {}", fixed, x);
        prop_assert!(x == u64::MAX || log2(x) <= log2(x + 1));
    }

    #[test]
    fn the_order_is_that_of_the_formula(number: u32, weights in prop::collection::vec(1..=251_u16, 1..40)) {
        let content = content(number);
        let of = |(number, weight): (usize, u16)| Place { weight: Weight(weight), ..place(number as u16, 0, "") };
        let places: Vec<Place> = weights.into_iter().enumerate().map(of).collect();
        let order = candidates(content, &places, &[]);
        prop_assert_eq!(order.len(), places.len());
        for pair in order.windows(2) {
            let [better, worse] = [exponential(content, pair[0]), exponential(content, pair[1])];
            prop_assert!(better <= worse * (1.0 + 1e-6), "{} before {}", better, worse);
        }
    }

    /// Against the sentences of the documentation, one place at a time.
    #[test]
    fn candidates_keep_folders_apart_and_spread_over_zones(
        places in some_places(), having in 0..4_usize, number: u32, k in 0..20_usize,
    ) {
        let content = content(number);
        let having = having.min(places.len());
        let have: Vec<&Place> = places.iter().take(having).collect();
        let order = candidates(content, &places, &have);

        let folders: BTreeSet<_> = order.iter().map(|place| place.folder).collect();
        prop_assert_eq!(folders.len(), order.len(), "two of one folder");
        for place in &places {
            let taken = have.iter().any(|one| one.folder == place.folder);
            let takes = places.iter().any(|one| one.folder == place.folder && one.weight != Weight::NONE);
            prop_assert_eq!(folders.contains(&place.folder), !taken && takes);
            prop_assert!(place.weight != Weight::NONE || !order.contains(&place));
        }

        let new = |place: &Place| have.iter().all(|one| one.zone != place.zone);
        let round = |at: usize| match order[at] {
            place if !new(place) => 3,
            place if order[..at].iter().any(|before| before.zone == place.zone) => 2,
            _ => 1,
        };
        for at in 1..order.len() {
            prop_assert!(round(at - 1) <= round(at));
            if round(at - 1) == round(at) {
                let key = |place: &Place| (Reverse(score(content, place)), place.peer);
                prop_assert!(key(order[at - 1]) < key(order[at]));
            }
        }

        prop_assert_eq!(&first(content, &places, &have, k)[..], &order[..k.min(order.len())]);
        let mut reversed = places.clone();
        reversed.reverse();
        prop_assert_eq!(&candidates(content, &reversed, &have), &order, "the input's order matters");
        // Who looks after the first has taken its copy goes on where the others are.
        if let [one, two, ..] = order[..] && round(1) != 2 {
            let then: Vec<&Place> = have.iter().copied().chain([one]).collect();
            prop_assert_eq!(first(content, &places, &then, 1), [two]);
        }
    }

    #[test]
    fn trimming_parts_the_holders_and_keeps_as_many_folders(
        places in some_places(), replicas: u16, copies in 0..6_u16, number: u32,
    ) {
        let content = content(number);
        let holders: Vec<Holder> = places.iter().enumerate()
            .map(|(at, place)| Holder { place, replica: replicas >> at & 1 == 1 }).collect();
        let going = excess(content, &holders, copies);
        let peers: BTreeSet<_> = going.iter().map(|place| place.peer).collect();
        prop_assert_eq!(peers.len(), going.len(), "one goes twice");

        let (leaving, staying): (Vec<&Holder>, Vec<&Holder>) =
            holders.iter().partition(|holder| peers.contains(&holder.place.peer));
        let folders = |holders: &[&Holder]| {
            holders.iter().map(|holder| holder.place.folder).collect::<BTreeSet<_>>()
        };
        let all = folders(&holders.iter().collect::<Vec<_>>());
        prop_assert_eq!(folders(&staying).len(), all.len().min(copies.max(1).into()));
        // An original goes only with its whole folder, and when no replica's folder stays.
        for original in leaving.iter().filter(|holder| !holder.replica) {
            prop_assert!(!folders(&staying).contains(&original.place.folder));
            prop_assert!(staying.iter().all(|holder| !holder.replica));
        }
        // What is left is not trimmed again, in whatever order it comes.
        let left: Vec<Holder> = staying.iter().rev().map(|holder| **holder).collect();
        prop_assert_eq!(excess(content, &left, copies), Vec::<&Place>::new());
        let reversed: Vec<Holder> = holders.iter().rev().copied().collect();
        prop_assert_eq!(excess(content, &reversed, copies), going);
    }
}

#[test]
fn copies_spread_as_the_weights_do() {
    const CONTENTS: u32 = 40_000;
    let places: Vec<Place> =
        (0..20).map(|number| place(number, (4 + u64::from(number % 5)) * 64 * GIB, "")).collect();
    let weights: Vec<f64> = places.iter().map(|place| place.weight.bytes() as f64).collect();
    let sum: f64 = weights.iter().sum();
    let mut counted = vec![(0_u32, 0_u32); places.len()];
    for number in 0..CONTENTS {
        let order = first(content(number), &places, &[], 2);
        let [one, two] = [0, 1].map(|at| places.iter().position(|place| place == order[at]).unwrap());
        counted[one].0 += 1;
        counted[two].1 += 1;
    }
    for (at, (ones, twos)) in counted.into_iter().enumerate() {
        let share = weights[at] / sum;
        // The second is the first among the others, for each first.
        let second: f64 = (0..places.len())
            .filter(|other| *other != at)
            .map(|other| weights[other] / sum * weights[at] / (sum - weights[other]))
            .sum();
        for (found, share) in [(ones, share), (twos, second)] {
            let expected = share * f64::from(CONTENTS);
            let off = (f64::from(found) - expected).abs() / expected;
            assert!(off < 0.1, "node {at} has {found} instead of {expected}");
        }
    }
}

/// One of 20 comes or goes: its own share of the copies moves, one in 20, and no other.
#[test]
fn a_member_more_or_less_moves_only_its_own_copies() {
    const CONTENTS: u32 = 5_000;
    let with: Vec<Place> = (0..20).map(|number| place(number, 500 * GIB, "")).collect();
    let (newcomer, without) = with.split_last().unwrap();
    let mut moved = 0;
    for number in 0..CONTENTS {
        let before = first(content(number), without, &[], 2);
        let after = first(content(number), &with, &[], 2);
        if before == after {
            continue;
        }
        moved += 1;
        let others: Vec<_> = after.into_iter().filter(|place| *place != newcomer).collect();
        assert_eq!(others[..], before[..1], "the better of the two stays");
    }
    let share = f64::from(moved) / f64::from(2 * CONTENTS);
    assert!((0.04..0.06).contains(&share), "{share} of the copies moved, 0.05 expected");
}

#[test]
fn a_changed_weight_moves_only_the_copies_of_its_member() {
    let places: Vec<Place> = (0..8).map(|number| place(number, 500 * GIB, "")).collect();
    let mut larger = places.clone();
    larger[3].weight.0 += 4;
    let mut gained = 0;
    for content in (0..500).map(content) {
        let order = |places| -> Vec<PeerId> {
            candidates(content, places, &[]).into_iter().map(|place| place.peer).collect()
        };
        let (mut before, mut after) = (order(&places), order(&larger));
        let at = |order: &[PeerId]| order.iter().position(|one| *one == peer(3)).unwrap();
        assert!(at(&after) <= at(&before));
        gained += usize::from(at(&after) < at(&before));
        before.remove(at(&before));
        after.remove(at(&after));
        assert_eq!(before, after);
    }
    assert!(gained > 50);
}

/// The nameless zone is a zone: a person names only the cellar, and copies go there.
#[test]
fn another_zone_comes_first_also_from_and_to_members_without_one() {
    let places =
        [place(0, GIB, ""), place(1, 4096 * GIB, ""), place(2, GIB, "cellar"), place(3, GIB, "cellar")];
    for content in (0..50).map(content) {
        let order = candidates(content, &places, &[&places[0]]);
        assert_eq!(order[0].zone, places[2].zone);
        assert_eq!(order[2], &places[1]);
        let order = candidates(content, &places, &[&places[2]]);
        assert_eq!(order[0].zone, None);
        assert_eq!(order[2], &places[3]);
    }
}

#[test]
fn replicas_go_before_originals_then_full_zones_then_the_lowest_score() {
    let content = content(1);
    let mut places = [0, 1, 2, 3, 4].map(|number| place(number, GIB, ""));
    places.sort_by_key(|place| score(content, place));
    let [lowest, low, cellar, high, highest] = &mut places;
    cellar.zone = "cellar".parse().ok();
    let all = [(&*lowest, false), (&*low, true), (&*cellar, true), (&*high, true), (&*highest, false)];
    assert_eq!(gone(content, &all, 5), Vec::<&Place>::new());
    assert_eq!(
        gone(content, &all, 2),
        [&*low, high, cellar],
        "the replica in the cellar is the last of them"
    );
    assert_eq!(gone(content, &all, 1), [&*low, high, cellar, lowest]);
    assert_eq!(gone(content, &all, 0), gone(content, &all, 1), "the last copy stays whatever was asked for");
}

/// Two nodes on one folder fail together.
#[test]
fn holders_on_one_folder_are_one_copy() {
    let content = content(2);
    let shared = FolderId(99);
    let [x, y] = [0, 1].map(|number| Place { folder: shared, ..place(number, GIB, "") });
    let z = place(2, GIB, "");
    assert_eq!(gone(content, &[(&x, false), (&y, false), (&z, true)], 2), Vec::<&Place>::new());
    assert_eq!(gone(content, &[(&x, false), (&y, true), (&z, true)], 2), [&y], "no copy of its own");
    assert_eq!(gone(content, &[(&x, false), (&y, false), (&z, true)], 1), [&z]);
    assert_eq!(gone(content, &[(&x, false), (&x, true), (&z, false)], 2), Vec::<&Place>::new());
    assert_eq!(candidates(content, &[x.clone(), y.clone(), z.clone()], &[&x]), [&z]);
}

/// Every node has to compute the same, in whatever program and on whatever machine.
#[test]
fn scores_are_what_they_were() {
    let scores = [1, GIB, 3 << 40].map(|capacity| score(content(3), &place(5, capacity, "")));
    assert_eq!(scores, [26_053_308_694, 154_902_327_574, 204_659_362_639]);
}
