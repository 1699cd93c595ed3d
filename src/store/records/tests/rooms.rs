//! Floods: who gets room, and who gives way.

use super::*;

const SMALL: Bounds =
    Bounds { keys: 300, records: 300, providers_per_key: 3, peers: 50, records_per_peer: 200 };

/// A store, and a number for each new key.
struct Flooded {
    store: Records,
    next: u32,
}

fn peer_of(number: u32) -> PeerId {
    let mut bytes = [9; 36];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    PeerId::from_multihash(Multihash::wrap(0, &bytes).unwrap()).unwrap()
}

impl Flooded {
    fn new() -> Self {
        Self { store: Records::with_bounds(peer_of(0), SMALL), next: 0 }
    }

    fn now(&self) -> Instant {
        self.store.origin
    }

    /// How many of `count` new keys were taken.
    fn add(&mut self, provider: u32, count: u32, at: Instant) -> usize {
        let added = (0..count).filter(|_| {
            self.next += 1;
            let key = record_key(blake3::hash(&self.next.to_be_bytes()).as_bytes());
            self.store.add_provider_at(&record(key, peer_of(provider), None), at).is_ok()
        });
        added.count()
    }

    fn has(&self, provider: u32) -> usize {
        self.store.names.find(&peer_of(provider)).map_or(0, |index| self.store.names.records(index))
    }
}

#[test]
fn one_peer_alone_never_fills_it_and_two_leave_room_for_a_third() {
    let mut flooded = Flooded::new();
    let now = flooded.now();
    assert_eq!(flooded.add(1, 1000, now), 200);
    assert_eq!(flooded.add(2, 1000, now), 150, "as many as the other, once it is full");
    assert_eq!((flooded.has(1), flooded.has(2)), (150, 150));
    assert_eq!(flooded.add(3, 60, now), 60);
    assert_eq!(flooded.has(3), 60, "who has least gives nothing");
    assert_eq!(flooded.store.len(), 300);
}

#[test]
fn any_number_of_new_names_costs_a_member_nothing() {
    let mut flooded = Flooded::new();
    let now = flooded.now();
    flooded.store.member_up(peer_of(1), true);
    assert_eq!(flooded.add(1, 150, now), 150);
    for sybil in 100..400 {
        flooded.add(sybil, 20, now);
    }
    assert_eq!((flooded.has(1), flooded.store.len()), (150, 300));
    assert_eq!(flooded.store.peers(), 50);
    // Neither when it has more, nor when another comes that no name is left for.
    assert_eq!(flooded.add(1, 30, now), 30);
    flooded.store.member_up(peer_of(2), true);
    assert_eq!(flooded.add(2, 40, now), 40);
    assert_eq!((flooded.has(1), flooded.has(2), flooded.store.len()), (180, 40, 300));
    flooded.store.member_down(peer_of(1));
    flooded.add(100, 20, now);
    assert_eq!(flooded.has(1), 180, "a member that is gone for a while keeps its records");
}

#[test]
fn who_has_been_here_for_a_day_comes_before_new_names() {
    let mut flooded = Flooded::new();
    let now = flooded.now();
    assert_eq!(flooded.add(1, 150, now), 150);
    let later = now + RECORD_SETTLES / 2;
    let keys: Vec<Digest> = flooded.store.keys.keys().copied().collect();
    for digest in &keys {
        flooded.store.add_provider_at(&record(record_key(digest), peer_of(1), None), later).unwrap();
    }
    let next_day = now + RECORD_SETTLES + Duration::from_secs(60);
    for sybil in 100..140 {
        flooded.add(sybil, 10, next_day);
    }
    assert_eq!((flooded.has(1), flooded.store.len()), (150, 300));
}

#[test]
fn renewals_need_no_room_and_the_own_records_neither() {
    let mut flooded = Flooded::new();
    let now = flooded.now();
    flooded.add(1, 200, now);
    flooded.add(2, 150, now);
    let later = now + RECORD_TTL / 2;
    let held: Vec<(Digest, PeerId)> = {
        let names = &flooded.store.names;
        let of = |slot: &Slot| slot.iter().find_map(|held| names.get(held.peer)).unwrap().0;
        flooded.store.keys.iter().map(|(digest, slot)| (*digest, of(slot))).collect()
    };
    for (digest, provider) in &held {
        flooded.store.add_provider_at(&record(record_key(digest), *provider, None), later).unwrap();
    }
    assert_eq!(flooded.add(0, 500, later), 500);
    let end = later + RECORD_TTL.saturating_sub(Duration::from_secs(5));
    let told = held.iter().filter(|(d, _)| !flooded.store.providers_at(&record_key(d), end).is_empty());
    assert_eq!(told.count(), 300);
    // What others have is bounded all the same.
    assert_eq!(flooded.store.len(), 800);
    assert_eq!(flooded.add(1, 10, later), 0);
}

#[test]
fn what_has_expired_gives_way_before_the_sweep_comes() {
    let mut flooded = Flooded::new();
    let now = flooded.now();
    flooded.add(1, 150, now);
    flooded.add(2, 150, now);
    let late = now + RECORD_TTL + Duration::from_secs(2);
    assert_eq!(flooded.add(3, 100, late), 100);
    assert_eq!((flooded.has(3), flooded.store.len()), (100, 300));
}
