use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::replication::placement::Weight;
use crate::types::FolderId;

fn peer(name: u8) -> PeerId {
    let hash = libp2p::multihash::Multihash::wrap(0, &[name; 36]).unwrap();
    PeerId::from_multihash(hash).unwrap()
}

fn place(name: u8) -> Place {
    Place { peer: peer(name), folder: FolderId(name.into()), weight: Weight::default(), zone: None }
}

fn short(name: u8, rank: u16) -> Short {
    Short {
        content: ContentId([name; 32]),
        bytes: u64::from(name),
        copies: 1,
        wanted: 2,
        rank,
        have: vec![peer(0)],
    }
}

/// A node that knows of three members with room.
fn repair(now: Instant, shorts: Vec<Short>) -> Repair {
    let mut repair = Repair::new();
    let takers = (1..4).map(place).collect();
    repair.on_event(now, Event::Members { takers, others: vec![place(0)] });
    repair.on_event(now, Event::Surveyed(shorts));
    repair
}

fn all(repair: &mut Repair, now: Instant) -> Vec<Offer> {
    std::iter::from_fn(|| repair.next_action(now)).collect()
}

fn answer(repair: &mut Repair, now: Instant, offer: &Offer, answer: OfferAnswer) {
    let answers = offer.contents.iter().map(|content| (*content, answer)).collect();
    repair.on_event(now, Event::Answered { peer: offer.peer, answers });
}

#[test]
fn everything_is_offered_once_each_to_its_first_member() {
    let now = Instant::now();
    let mut repair = repair(now, (0..100).map(|name| short(name, 0)).collect());
    let offers = all(&mut repair, now);
    assert_eq!(offers.len(), 3, "one for each member");
    let mut offered: Vec<_> = offers.iter().flat_map(|offer| offer.contents.clone()).collect();
    offered.sort_unstable();
    assert_eq!(offered, (0..100).map(|name| ContentId([name; 32])).collect::<Vec<_>>());
    for offer in &offers {
        answer(&mut repair, now, offer, OfferAnswer::Coming);
    }
    assert_eq!((all(&mut repair, now), repair.coming()), (vec![], 100));
    assert_eq!(repair.next_wakeup(), Some(now + OFFER_PATIENCE));
}

#[test]
fn what_does_not_come_is_offered_again() {
    let now = Instant::now();
    let mut repair = repair(now, vec![short(1, 0)]);
    let first = repair.next_action(now).unwrap();
    answer(&mut repair, now, &first, OfferAnswer::Coming);
    let later = now + OFFER_PATIENCE;
    assert_eq!(repair.next_action(later), Some(first));
}

#[test]
fn one_that_is_full_unwilling_or_silent_is_passed_over() {
    let now = Instant::now();
    for how in [OfferAnswer::Full, OfferAnswer::Unwanted] {
        let mut repair = repair(now, vec![short(1, 0)]);
        let first = repair.next_action(now).unwrap();
        answer(&mut repair, now, &first, how);
        let second = repair.next_action(now).unwrap();
        assert_ne!(first.peer, second.peer);
        answer(&mut repair, now, &second, how);
        let third = repair.next_action(now).unwrap();
        answer(&mut repair, now, &third, how);
        assert_eq!((repair.next_action(now), repair.without_taker()), (None, 1), "all have been asked");
        let again = repair.next_wakeup().unwrap();
        assert_eq!(repair.next_action(again).map(|offer| offer.peer), Some(first.peer));
    }
    // One that was full and comes back is asked again.
    let mut full = repair(now, vec![short(1, 0)]);
    let takers = |names: &[u8]| names.iter().map(|name| place(*name)).collect();
    let only = |names: &[u8]| Event::Members { takers: takers(names), others: vec![place(0)] };
    full.on_event(now, only(&[1]));
    let offer = full.next_action(now).unwrap();
    answer(&mut full, now, &offer, OfferAnswer::Full);
    assert_eq!(full.next_action(now), None);
    full.on_event(now, only(&[]));
    full.on_event(now, only(&[1]));
    assert_eq!(full.next_action(now), Some(offer));
    let mut repair = repair(now, vec![short(1, 0)]);
    let first = repair.next_action(now).unwrap();
    repair.on_event(now, Event::Failed(first.peer));
    assert_ne!(repair.next_action(now).unwrap().peer, first.peer);
}

/// More members are full than are named at a time: for ever, the one with room was never asked.
#[test]
fn the_only_member_with_room_is_found_among_many() {
    let now = Instant::now();
    let count = 3 * MAX_TAKERS as u8;
    let mut repair = repair(now, vec![short(1, 0)]);
    let takers = (1..=count).map(place).collect();
    repair.on_event(now, Event::Members { takers, others: vec![place(0)] });
    let mut asked = BTreeSet::new();
    while let Some(offer) = repair.next_action(now) {
        assert!(asked.insert(offer.peer), "asked twice");
        answer(&mut repair, now, &offer, OfferAnswer::Full);
    }
    assert_eq!((asked.len(), repair.without_taker()), (usize::from(count), 1));
    // Room may come back anywhere.
    let again = repair.next_wakeup().unwrap();
    assert!(again > now && repair.next_action(again).is_some());
}

#[test]
fn one_that_is_full_is_asked_again_soon_and_then_seldom() {
    let mut now = Instant::now();
    let mut repair = repair(now, vec![short(1, 0)]);
    repair.on_event(now, Event::Members { takers: vec![place(1)], others: vec![place(0)] });
    for pause in [OFFER_FULL_FIRST, OFFER_FULL, OFFER_FULL] {
        let offer = repair.next_action(now).unwrap();
        answer(&mut repair, now, &offer, OfferAnswer::Full);
        assert_eq!(repair.next_action(now), None);
        assert_eq!(repair.next_wakeup(), Some(now + pause));
        now += pause;
    }
}

#[test]
fn a_full_queue_is_waited_for_and_not_passed_over() {
    let now = Instant::now();
    let mut repair = repair(now, vec![short(1, 0)]);
    let takers = vec![place(1)];
    repair.on_event(now, Event::Members { takers, others: vec![place(0)] });
    let first = repair.next_action(now).unwrap();
    answer(&mut repair, now, &first, OfferAnswer::Busy);
    assert_eq!(repair.next_action(now), None);
    assert_eq!(repair.next_wakeup(), Some(now + OFFER_BUSY));
    assert_eq!(repair.next_action(now + OFFER_BUSY), Some(first));
}

#[test]
fn a_later_holder_waits_for_those_before_it() {
    let now = Instant::now();
    let mut repair = repair(now, vec![short(1, 2)]);
    assert_eq!((repair.next_action(now), repair.next_wakeup()), (None, Some(now + OFFER_STEP * 2)));
    // A survey that sees the same meanwhile starts nothing anew.
    repair.on_event(now + OFFER_STEP, Event::Surveyed(vec![short(1, 2)]));
    assert!(repair.next_action(now + OFFER_STEP * 2).is_some());
}

#[test]
fn what_is_not_short_any_more_is_forgotten() {
    let now = Instant::now();
    let mut repair = repair(now, vec![short(1, 0), short(2, 0)]);
    repair.on_event(now, Event::Surveyed(vec![short(2, 0)]));
    let offers = all(&mut repair, now);
    assert_eq!(offers.iter().map(|offer| offer.contents.clone()).collect::<Vec<_>>(), [[ContentId([2; 32])]]);
}

#[test]
fn two_missing_copies_go_to_two_members() {
    let now = Instant::now();
    let mut repair = repair(now, vec![Short { wanted: 3, ..short(1, 0) }]);
    let first = repair.next_action(now).unwrap();
    answer(&mut repair, now, &first, OfferAnswer::Coming);
    let second = repair.next_action(now).unwrap();
    assert_ne!(first.peer, second.peer);
    answer(&mut repair, now, &second, OfferAnswer::Coming);
    assert_eq!(repair.next_action(now), None);
    // One of them is gone: the copy it promised does not come.
    let left: Vec<Place> = (1..4).filter(|name| peer(*name) != first.peer).map(place).collect();
    repair.on_event(now, Event::Members { takers: left, others: vec![place(0)] });
    let third = repair.next_action(now).unwrap();
    assert!(third.peer != first.peer && third.peer != second.peer);
}

#[test]
fn without_anybody_who_could_take_it_that_is_told() {
    let now = Instant::now();
    let mut repair = Repair::new();
    repair.on_event(now, Event::Members { takers: vec![], others: vec![place(0)] });
    repair.on_event(now, Event::Surveyed(vec![short(1, 0)]));
    assert_eq!((repair.next_action(now), repair.without_taker(), repair.next_wakeup()), (None, 1, None));
}

#[test]
fn the_most_urgent_ones_are_worked_on() {
    let now = Instant::now();
    let urgent = Short { copies: 0, bytes: 1 << 40, ..short(250, 0) };
    let mut repair = repair(now, (0..200).map(|name| short(name, 0)).chain([urgent]).collect());
    let offer = repair.next_action(now).unwrap();
    assert_eq!(offer.contents[0], ContentId([250; 32]));
}

proptest! {
    /// Whatever members answer: no loop without time, no more than the bounds, and never an
    /// offer to a holder or of what already comes from everywhere.
    #[test]
    fn offers_are_bounded_and_go_to_those_who_lack_it(
        names in prop::collection::btree_set(0u8..60, 1..40),
        answers in prop::collection::vec((0u8..6, 0u64..40), 1..200),
        wanted in 2u16..5,
    ) {
        let mut now = Instant::now();
        let shorts: Vec<Short> = names.iter().map(|name| Short { wanted, ..short(*name, 0) }).collect();
        let mut repair = repair(now, shorts);
        let mut flying: Vec<Offer> = Vec::new();
        for (kind, seconds) in answers {
            let offers = all(&mut repair, now);
            prop_assert!(offers.len() <= 3);
            for offer in &offers {
                prop_assert!(!offer.contents.is_empty() && offer.contents.len() <= MAX_OFFERED);
                prop_assert!(offer.peer != peer(0));
                prop_assert!(flying.iter().all(|other| other.peer != offer.peer), "one at a time");
            }
            flying.extend(offers);
            if let Some(wakeup) = repair.next_wakeup() {
                prop_assert!(wakeup > now, "a loop that never sleeps");
            }
            if let Some(offer) = flying.pop() {
                match kind {
                    0 => answer(&mut repair, now, &offer, OfferAnswer::Coming),
                    1 => answer(&mut repair, now, &offer, OfferAnswer::Held),
                    2 => answer(&mut repair, now, &offer, OfferAnswer::Busy),
                    3 => answer(&mut repair, now, &offer, OfferAnswer::Full),
                    4 => answer(&mut repair, now, &offer, OfferAnswer::Unwanted),
                    _ => repair.on_event(now, Event::Failed(offer.peer)),
                }
            }
            now += Duration::from_secs(seconds);
        }
    }
}
