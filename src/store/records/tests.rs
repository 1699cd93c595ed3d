use libp2p::Multiaddr;
use libp2p::multihash::Multihash;

use super::*;

mod crash;
mod lasting;
mod oracle;
mod rooms;
mod speed;

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

const ME_PEER: u8 = 0;

fn after(start: Instant, seconds: u32) -> Instant {
    start + Duration::from_secs(u64::from(seconds))
}

const BOUNDS: Bounds = Bounds { keys: 8, records: 14, providers_per_key: 3, peers: 5, records_per_peer: 6 };

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
    let long = |port| format!("/dns/{}/tcp/{port}", "a".repeat(300)).parse().unwrap();
    new.addresses = (0..10).map(long).collect();
    store.add_provider_at(&new, now).unwrap();
    assert_eq!(store.providers_at(&key(1), now)[0].addresses.len(), 3, "a kilobyte of them");
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

#[test]
fn who_is_gone_is_not_told_until_it_is_back() {
    let mut store = Records::new(peer(ME_PEER));
    let now = store.origin;
    for provider in [1, 2] {
        store.add_provider_at(&record(key(1), peer(provider), None), now).unwrap();
    }
    let told = |store: &Records| {
        let mut told: Vec<_> = store.providers_at(&key(1), now).iter().map(|r| r.provider).collect();
        told.sort();
        told
    };
    store.member_up(peer(1), true);
    store.member_down(peer(1));
    store.member_down(peer(3));
    assert_eq!(told(&store), [peer(2)]);
    assert_eq!(store.away_providers(&key(1)), [peer(1)]);
    assert_eq!(store.len(), 2, "the hint is kept");
    store.member_up(peer(1), true);
    assert_eq!(told(&store), [peer(1), peer(2)]);
    store.member_down(peer(1));
    // It tells this node of itself, so it is there.
    store.add_provider_at(&record(key(2), peer(1), None), now).unwrap();
    assert_eq!(told(&store), [peer(1), peer(2)]);
    store.remove_provider(&key(1), &peer(1));
    assert_eq!(told(&store), [peer(2)]);
}

#[test]
fn one_that_is_gone_gives_its_place_at_a_key_to_one_that_is_here() {
    let mut store = Records::with_bounds(peer(ME_PEER), BOUNDS);
    let now = store.origin;
    for provider in [1, 2, 3] {
        store.add_provider_at(&record(key(1), peer(provider), None), now).unwrap();
    }
    store.member_down(peer(2));
    store.add_provider_at(&record(key(1), peer(4), None), now).unwrap();
    let mut told: Vec<_> = store.providers_at(&key(1), now).iter().map(|r| r.provider).collect();
    told.sort();
    assert_eq!(told, [peer(1), peer(3), peer(4)]);
}
