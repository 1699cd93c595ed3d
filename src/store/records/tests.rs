use std::collections::BTreeSet;

use libp2p::multihash::Multihash;
use proptest::prelude::*;

use super::*;

/// Peer ids that are the same in every run: `identity` multihashes of a number.
fn peer(number: u8) -> PeerId {
    PeerId::from_multihash(Multihash::wrap(0, &[number; 36]).unwrap()).unwrap()
}

fn key(number: u8) -> RecordKey {
    record_key(&[number; 32])
}

fn record(key: RecordKey, provider: PeerId, expires: Option<Instant>) -> ProviderRecord {
    ProviderRecord { key, provider, expires, addresses: vec![address(4001)] }
}

fn address(port: u16) -> Multiaddr {
    format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap()
}

use libp2p::Multiaddr;

const ME_PEER: u8 = 0;

fn after(start: Instant, seconds: u32) -> Instant {
    start + Duration::from_secs(u64::from(seconds))
}

/// The rules again, written the slow and obvious way.
#[derive(Default)]
struct Model {
    /// Key, provider, expiry in seconds; `None` is never.
    records: Vec<(u8, u8, Option<u32>)>,
}

impl Model {
    fn add(&mut self, bounds: Bounds, now: u32, (key, provider, expires): (u8, u8, Option<u32>)) -> bool {
        let known = self.records.iter_mut().find(|(k, p, _)| (*k, *p) == (key, provider));
        if let Some(known) = known {
            known.2 = expires;
            return true;
        }
        let own = provider == ME_PEER;
        let keys: BTreeSet<u8> = self.records.iter().map(|(k, ..)| *k).collect();
        let others: BTreeSet<u8> =
            self.records.iter().map(|(_, p, _)| *p).filter(|p| *p != ME_PEER).collect();
        let of_peer = self.records.iter().filter(|(_, p, _)| *p == provider).count();
        let too_many = (!keys.contains(&key) && keys.len() >= bounds.keys)
            || (!others.contains(&provider) && others.len() >= bounds.peers)
            || of_peer >= bounds.records_per_peer;
        if !own && too_many {
            return false;
        }
        self.records.retain(|(k, _, e)| *k != key || e.is_none_or(|e| e > now));
        self.records.push((key, provider, expires));
        let mut of_key: Vec<_> = self.records.iter().copied().filter(|(k, ..)| *k == key).collect();
        let target = KBucketKey::new(super::tests::key(key));
        of_key.sort_by_key(|(_, p, _)| (*p != ME_PEER, target.distance(&KBucketKey::from(peer(*p)))));
        of_key.truncate(bounds.providers_per_key);
        self.records.retain(|(k, ..)| *k != key);
        self.records.extend(of_key);
        true
    }

    fn providers(&self, key: u8, now: u32) -> BTreeSet<PeerId> {
        let of_key = self.records.iter().filter(|(k, ..)| *k == key);
        of_key.filter(|(.., e)| e.is_none_or(|e| e > now)).map(|(_, p, _)| peer(*p)).collect()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Add { key: u8, provider: u8, ttl: u32 },
    Remove { key: u8, provider: u8 },
    Wait(u32),
    SweepAll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..12u8, 0..8u8, 1..50u32).prop_map(|(key, provider, ttl)| Step::Add { key, provider, ttl }),
        2 => (0..12u8, 0..8u8).prop_map(|(key, provider)| Step::Remove { key, provider }),
        2 => (1..20u32).prop_map(Step::Wait),
        1 => Just(Step::SweepAll),
    ]
}

proptest! {
    #[test]
    fn behaves_like_the_naive_model(steps in prop::collection::vec(step(), 1..200)) {
        let bounds = Bounds { keys: 8, providers_per_key: 3, peers: 5, records_per_peer: 6 };
        let mut store = Records::with_bounds(peer(ME_PEER), bounds);
        let start = store.origin;
        let mut model = Model::default();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Add { key: k, provider, ttl } => {
                    // Own records have no end, as kad makes them.
                    let expires = (provider != ME_PEER).then_some(now + ttl);
                    let new = record(key(k), peer(provider), expires.map(|e| after(start, e)));
                    let accepted = store.add_provider_at(&new, after(start, now)).is_ok();
                    prop_assert_eq!(accepted, model.add(bounds, now, (k, provider, expires)));
                }
                Step::Remove { key: k, provider } => {
                    store.remove_provider(&key(k), &peer(provider));
                    model.records.retain(|(mk, mp, _)| (*mk, *mp) != (k, provider));
                }
                Step::Wait(seconds) => now += seconds,
                Step::SweepAll => {
                    while !store.sweep(after(start, now), 3).round_done {}
                    model.records.retain(|(.., e)| e.is_none_or(|e| e > now));
                }
            }
            prop_assert_eq!(store.len(), model.records.len());
            let keys: BTreeSet<u8> = model.records.iter().map(|(k, ..)| *k).collect();
            prop_assert_eq!(store.keys(), keys.len());
            let others = model.records.iter().map(|(_, p, _)| *p).filter(|p| *p != ME_PEER);
            prop_assert_eq!(store.peers(), others.collect::<BTreeSet<_>>().len());
            prop_assert_eq!(store.own_keys(), model.records.iter().filter(|(_, p, _)| *p == ME_PEER).count());
            for k in 0..12 {
                let found = store.providers_at(&key(k), after(start, now));
                let found: BTreeSet<PeerId> = found.into_iter().map(|r| r.provider).collect();
                prop_assert_eq!(found, model.providers(k, now));
            }
        }
    }
}

#[test]
fn a_record_comes_back_as_it_was_given() {
    let mut store = Records::new(peer(ME_PEER));
    let now = store.origin;
    store.add_provider_at(&record(key(1), peer(1), Some(after(now, 60))), now).unwrap();
    let found = store.providers_at(&key(1), now);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].provider, &found[0].key), (peer(1), &key(1)));
    assert_eq!(found[0].addresses, [address(4001)]);
    assert_eq!(found[0].expires, Some(after(now, 60)));
}

#[test]
fn what_no_node_of_p2pimg_writes_is_refused() {
    let mut store = Records::new(peer(ME_PEER));
    let odd = [vec![], vec![0x12, 0x20], vec![0x12; 33], vec![0x12; 34], vec![0x12; 64]];
    for bytes in odd {
        let record = record(RecordKey::from(bytes), peer(1), None);
        assert!(matches!(store.add_provider(record.clone()), Err(Error::ValueTooLarge)));
        assert!(store.providers(&record.key).is_empty());
    }
    assert!(store.put(Record::new(key(1), b"value".to_vec())).is_err());
    assert!(store.get(&key(1)).is_none());
    assert!(store.is_empty());
}

#[test]
fn another_peers_record_always_ends() {
    let mut store = Records::new(peer(ME_PEER));
    let now = store.origin;
    store.add_provider_at(&record(key(1), peer(1), None), now).unwrap();
    store.add_provider_at(&record(key(1), peer(ME_PEER), None), now).unwrap();
    assert_eq!(store.providers_at(&key(1), now).len(), 2);
    let late = store.providers_at(&key(1), now + RECORD_TTL + Duration::from_secs(2));
    assert_eq!(late.iter().map(|r| r.provider).collect::<Vec<_>>(), [peer(ME_PEER)]);
    assert_eq!(late[0].expires, None);
    assert!(late[0].addresses.is_empty(), "kad fills in the present ones");
}

#[test]
fn addresses_are_renewed_and_bounded() {
    let mut store = Records::new(peer(ME_PEER));
    let now = store.origin;
    let mut new = record(key(1), peer(1), None);
    new.addresses = (0..100).map(address).collect();
    store.add_provider_at(&new, now).unwrap();
    assert_eq!(store.providers_at(&key(1), now)[0].addresses.len(), crate::limits::MAX_ADDRESSES_PER_PEER);
    new.addresses = vec![format!("/dns/{}/tcp/1", "a".repeat(1000)).parse().unwrap(), address(7)];
    store.add_provider_at(&new, now).unwrap();
    assert_eq!(store.providers_at(&key(1), now)[0].addresses, [address(7)]);
}

#[test]
fn the_sweep_takes_small_steps_and_goes_round() {
    let mut store = Records::new(peer(ME_PEER));
    let now = store.origin;
    for number in 0..100 {
        store.add_provider_at(&record(key(number), peer(1), Some(after(now, 10))), now).unwrap();
    }
    let later = after(now, 11);
    let mut removed = 0;
    for step in 1.. {
        let swept = store.sweep(later, 7);
        assert!(swept.removed <= 7);
        removed += swept.removed;
        if swept.round_done {
            assert_eq!(step, 15);
            break;
        }
    }
    assert_eq!((removed, store.keys(), store.peers()), (100, 0, 0));
}

/// Run by hand: `cargo test --release records_memory -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a test"]
fn records_memory_per_key() {
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    for (order, providers) in [("random", 1), ("random", 3), ("sorted", 1)] {
        let mut digests: Vec<Digest> =
            (0..1_000_000u32).map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes()).collect();
        if order == "sorted" {
            digests.sort_unstable();
        }
        let mut store = Records::new(peer(ME_PEER));
        let (before, start) = (resident(), Instant::now());
        for digest in &digests {
            for provider in 1..=providers {
                store.add_provider(record(record_key(digest), peer(provider), None)).unwrap();
            }
        }
        let (bytes, took) = (resident() - before, start.elapsed());
        assert_eq!(store.len(), digests.len() * usize::from(providers));
        let start = Instant::now();
        while !store.sweep(Instant::now(), 10_000).round_done {}
        println!(
            "{order}, {providers} providers: {} bytes a key, added in {took:?}, swept in {:?}",
            bytes / digests.len(),
            start.elapsed()
        );
    }
}
