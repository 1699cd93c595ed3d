//! The store against its rules, written again the slow and obvious way.

use std::collections::BTreeSet;

use libp2p::kad::KBucketKey;
use proptest::prelude::*;

use super::*;
use crate::limits::{EVICTION_STEPS, MAX_RECORD_MEMBERS};

#[derive(Default)]
struct Model {
    /// Key, provider, expiry in seconds; `None` is never. Those of a key in the order they came.
    records: Vec<(u8, u8, Option<u32>)>,
    here: BTreeSet<u8>,
    /// Trusted since they are named.
    trusted: BTreeSet<u8>,
    away: BTreeSet<u8>,
    hand: Option<u8>,
}

impl Model {
    fn keys(&self) -> BTreeSet<u8> {
        self.records.iter().map(|(k, ..)| *k).collect()
    }

    fn named(&self) -> BTreeSet<u8> {
        self.records.iter().map(|(_, p, _)| *p).filter(|p| *p != ME_PEER).collect()
    }

    fn of_peer(&self, provider: u8) -> usize {
        self.records.iter().filter(|(_, p, _)| *p == provider).count()
    }

    fn of_key(&self, key: u8) -> Vec<(u8, Option<u32>)> {
        self.records.iter().filter(|(k, ..)| *k == key).map(|(_, p, e)| (*p, *e)).collect()
    }

    fn is_trusted(&self, provider: u8) -> bool {
        let set = if self.named().contains(&provider) { &self.trusted } else { &self.here };
        set.contains(&provider)
    }

    fn forget_names(&mut self) {
        let named = self.named();
        self.trusted.retain(|p| named.contains(p));
    }

    fn add(&mut self, now: u32, (key, provider, expires): (u8, u8, Option<u32>)) -> bool {
        self.away.remove(&provider);
        let known = self.records.iter_mut().find(|(k, p, _)| (*k, *p) == (key, provider));
        if let Some(known) = known {
            known.2 = expires;
            return true;
        }
        let own = provider == ME_PEER;
        let trusted = self.is_trusted(provider);
        let names = BOUNDS.peers + if trusted { MAX_RECORD_MEMBERS } else { 0 };
        let no_name = !self.named().contains(&provider) && self.named().len() >= names;
        if !own && (no_name || self.of_peer(provider) >= BOUNDS.records_per_peer) {
            return false;
        }
        self.records.retain(|(k, _, e)| *k != key || e.is_none_or(|e| e > now));
        if !self.make_place(key, provider) {
            self.forget_names();
            return true;
        }
        if !own && !self.make_space(now, key, provider) {
            self.forget_names();
            return false;
        }
        self.forget_names();
        let trusted = self.is_trusted(provider);
        self.records.push((key, provider, expires));
        self.trusted.extend((trusted && !own).then_some(provider));
        true
    }

    /// At a full key the one that is gone, then the farthest, goes.
    fn make_place(&mut self, key: u8, provider: u8) -> bool {
        let mut of_key: Vec<u8> = self.of_key(key).iter().map(|(p, _)| *p).collect();
        if of_key.len() < BOUNDS.providers_per_key {
            return true;
        }
        of_key.retain(|p| *p != ME_PEER);
        let target = KBucketKey::new(super::key(key));
        let rank = |p: u8| (self.away.contains(&p), target.distance(&KBucketKey::from(peer(p))));
        let last = of_key.into_iter().max_by_key(|p| rank(*p)).unwrap();
        if provider != ME_PEER && rank(provider) > rank(last) {
            return false;
        }
        self.records.retain(|(k, p, _)| (*k, *p) != (key, last));
        true
    }

    fn make_space(&mut self, now: u32, key: u8, provider: u8) -> bool {
        let own = self.of_peer(ME_PEER);
        let lacks_key = !self.keys().contains(&key) && self.keys().len() - own >= BOUNDS.keys;
        if !lacks_key && self.records.len() - own < BOUNDS.records {
            return true;
        }
        let (trusted, records) = (self.is_trusted(provider), self.of_peer(provider));
        // 1: at once; 2: when there is nothing better; none: not at all.
        let yields = |p: u8, expires: Option<u32>| {
            let other = self.trusted.contains(&p);
            if p == ME_PEER {
                None
            } else if expires.is_some_and(|e| e <= now) || (trusted && !other) {
                Some(1)
            } else {
                (trusted == other && self.of_peer(p) > records + 1).then_some(2)
            }
        };
        let keys: Vec<u8> = self.keys().into_iter().collect();
        let (later, earlier): (Vec<u8>, Vec<u8>) =
            keys.iter().partition(|k| self.hand.is_none_or(|hand| **k > hand));
        let round: Vec<u8> = later.into_iter().chain(earlier).take(EVICTION_STEPS).collect();
        let of_key = |k: u8| -> Option<(u32, u8)> {
            let all: Vec<_> = self.of_key(k).into_iter().map(|(p, e)| (yields(p, e), p)).collect();
            let some: Vec<(u32, u8)> = all.iter().filter_map(|(y, p)| Some(((*y)?, *p))).collect();
            let worst = some.iter().map(|(y, _)| *y).max()?;
            let first = some.iter().copied().min_by_key(|(y, _)| *y)?;
            if k == key || (lacks_key && some.len() < all.len()) {
                None
            } else {
                Some(if lacks_key { (worst, first.1) } else { first })
            }
        };
        let at_once = round.iter().find(|k| of_key(**k).is_some_and(|(y, _)| y == 1));
        let found = at_once.or_else(|| round.iter().find(|k| of_key(**k).is_some())).copied();
        let found = found.and_then(|k| Some((k, of_key(k)?.1)));
        let hand = at_once.or(round.last()).copied();
        self.hand = hand;
        let Some((k, p)) = found else { return false };
        self.records.retain(|(rk, rp, _)| *rk != k || (!lacks_key && *rp != p));
        true
    }

    fn providers(&self, key: u8, now: u32) -> BTreeSet<PeerId> {
        let told = self.of_key(key).into_iter().filter(|(p, _)| !self.away.contains(p));
        told.filter(|(_, e)| e.is_none_or(|e| e > now)).map(|(p, _)| peer(p)).collect()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Add { key: u8, provider: u8, ttl: u32 },
    Remove { key: u8, provider: u8 },
    Up { provider: u8 },
    Down { provider: u8 },
    Wait(u32),
    SweepAll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        16 => (0..12u8, 0..8u8, 1..50u32).prop_map(|(key, provider, ttl)| Step::Add { key, provider, ttl }),
        2 => (0..12u8, 0..8u8).prop_map(|(key, provider)| Step::Remove { key, provider }),
        1 => (1..8u8).prop_map(|provider| Step::Up { provider }),
        1 => (1..8u8).prop_map(|provider| Step::Down { provider }),
        2 => (1..20u32).prop_map(Step::Wait),
        1 => Just(Step::SweepAll),
    ]
}

proptest! {
    #[test]
    fn behaves_like_the_naive_model(steps in prop::collection::vec(step(), 1..200)) {
        let mut store = Records::with_bounds(peer(ME_PEER), BOUNDS);
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
                    prop_assert_eq!(accepted, model.add(now, (k, provider, expires)));
                }
                Step::Remove { key: k, provider } => {
                    store.remove_provider(&key(k), &peer(provider));
                    model.records.retain(|(mk, mp, _)| (*mk, *mp) != (k, provider));
                }
                Step::Up { provider } => {
                    store.member_up(peer(provider), true);
                    model.away.remove(&provider);
                    model.here.insert(provider);
                    model.trusted.insert(provider);
                }
                Step::Down { provider } => {
                    store.member_down(peer(provider));
                    model.here.remove(&provider);
                    model.away.insert(provider);
                }
                Step::Wait(seconds) => now += seconds,
                Step::SweepAll => {
                    while !store.sweep(after(start, now), 3).round_done {}
                    model.records.retain(|(.., e)| e.is_none_or(|e| e > now));
                }
            }
            model.forget_names();
            prop_assert_eq!(store.len(), model.records.len());
            prop_assert_eq!(store.keys(), model.keys().len());
            prop_assert_eq!(store.peers(), model.named().len());
            prop_assert_eq!(store.own_keys(), model.of_peer(ME_PEER));
            for k in 0..12 {
                let found = store.providers_at(&key(k), after(start, now));
                let found: BTreeSet<PeerId> = found.into_iter().map(|r| r.provider).collect();
                prop_assert_eq!(found, model.providers(k, now));
            }
        }
    }
}
