//! Who gives way when there is no room.
//!
//! A quota for each peer alone does not do: a few peers, or one that gives itself many names,
//! fill what others need, and a small quota refuses the family's large folder while the store
//! is empty. So room is free for all as long as there is some. Then a newcomer's record takes
//! the place of
//!
//! 1. one that has expired,
//! 2. one of a peer of lower rank: who is trusted before who has been here for a day before
//!    all others. Any number of fresh names costs a member nothing;
//! 3. one of a peer of the same rank that has more records than the newcomer. So equals come
//!    to have equal parts, whoever came first, and none pushes a smaller one out.
//!
//! Else it is refused. Renewals need no room. Who gives way is found by a hand that goes round
//! the keys, some steps for each newcomer, so that no record costs a long walk.
//!
//! Not guaranteed: in a swarm without a key somebody who keeps many names alive for a day has
//! as many parts; and when strangers have taken all names, a stranger finds none.

use std::ops::Bound;
use std::time::Instant;

use libp2p::PeerId;
use libp2p::kad::KBucketKey;

use super::names::{ME, Rank};
use super::slot::{Provider, Seconds, Slot};
use super::{Digest, Records, record_key};
use crate::limits::{EVICTION_STEPS, MAX_RECORD_MEMBERS};

/// When a record goes for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Yields {
    /// Its time is over, or its peer's rank is lower.
    First,
    /// Its peer has more than others, and there is nothing better to take.
    Last,
}

/// Who wants room.
#[derive(Debug, Clone, Copy)]
struct Newcomer {
    rank: Rank,
    records: usize,
}

impl Records {
    /// Whether a peer may have one record more, if there is room.
    pub(super) fn within_share(&self, provider: &PeerId) -> bool {
        match self.names.find(provider) {
            Some(index) => self.names.records(index) < self.bounds.records_per_peer,
            None if self.is_trusted(provider) => self.names.others() < self.bounds.peers + MAX_RECORD_MEMBERS,
            None => self.names.others() < self.bounds.peers,
        }
    }

    /// Makes room for one more record of `provider`; `false` when nobody has to give way.
    pub(super) fn make_space(&mut self, digest: &Digest, provider: &PeerId, now: Instant) -> bool {
        if self.has_space(digest) {
            return true;
        }
        let key_too_many = self.lacks_key(digest);
        let now = self.elapsed(now);
        let newcomer = match self.names.find(provider) {
            Some(index) => Newcomer { rank: self.names.rank(index, now), records: self.names.records(index) },
            None if self.is_trusted(provider) => Newcomer { rank: Rank::Trusted, records: 0 },
            None => Newcomer { rank: Rank::Fresh, records: 0 },
        };
        let from = self.hand.map_or(Bound::Unbounded, Bound::Excluded);
        let to = self.hand.map_or(Bound::Unbounded, Bound::Included);
        let round = self.keys.range((from, Bound::Unbounded)).chain(self.keys.range((Bound::Unbounded, to)));
        let (mut last, mut found) = (None, None);
        for (key, slot) in round.take(EVICTION_STEPS.min(self.keys.len())) {
            last = Some(*key);
            match self.slot_yields(slot, key_too_many, newcomer, now).filter(|_| key != digest) {
                Some(Yields::First) => {
                    found = Some(*key);
                    break;
                }
                Some(Yields::Last) => found = found.or(last),
                None => {}
            }
        }
        self.hand = last;
        let Some(victim) = found else { return false };
        self.evict(&victim, key_too_many, newcomer, now);
        true
    }

    /// Whether one more record of another, under this key, fits.
    pub(super) fn has_space(&self, digest: &Digest) -> bool {
        !self.lacks_key(digest) && self.foreign_records() < self.bounds.records
    }

    fn lacks_key(&self, digest: &Digest) -> bool {
        self.foreign_keys() >= self.bounds.keys && !self.keys.contains_key(digest)
    }

    /// Keys that this node does not provide itself.
    fn foreign_keys(&self) -> usize {
        self.keys.len().saturating_sub(self.names.records(ME))
    }

    fn foreign_records(&self) -> usize {
        self.records.saturating_sub(self.names.records(ME))
    }

    /// Whether a key goes for a newcomer, as a whole or one record of it.
    fn slot_yields(&self, slot: &Slot, whole: bool, newcomer: Newcomer, now: Seconds) -> Option<Yields> {
        let mut all = slot.iter().map(|provider| self.yields(*provider, newcomer, now));
        if whole {
            all.try_fold(Yields::First, |most, one| Some(most.max(one?)))
        } else {
            all.flatten().min()
        }
    }

    fn yields(&self, provider: Provider, newcomer: Newcomer, now: Seconds) -> Option<Yields> {
        if provider.peer == ME {
            return None;
        }
        let rank = self.names.rank(provider.peer, now);
        if provider.expires <= now || rank < newcomer.rank {
            return Some(Yields::First);
        }
        let larger = rank == newcomer.rank && self.names.records(provider.peer) > newcomer.records + 1;
        larger.then_some(Yields::Last)
    }

    fn evict(&mut self, digest: &Digest, whole: bool, newcomer: Newcomer, now: Seconds) {
        let Some(slot) = self.keys.get(digest) else { return };
        let yields = |held: &Provider| Some((self.yields(*held, newcomer, now)?, held.peer));
        // The first of equals.
        let victim = slot.iter().filter_map(yields).min_by_key(|(yields, _)| *yields);
        let Some((_, victim)) = victim else { return };
        self.retain(digest, |provider| !whole && provider.peer != victim);
    }

    /// Frees a place at a full key: the one of a provider that is gone, else of the one farthest
    /// from the key; `false` when the candidate is the farthest itself.
    pub(super) fn make_place(&mut self, digest: &Digest, candidate: &PeerId) -> bool {
        let Some(slot) = self.keys.get(digest) else { return true };
        let others = slot.iter().filter(|provider| provider.peer != ME);
        if slot.iter().count() < self.bounds.providers_per_key {
            return true;
        }
        let target = KBucketKey::new(record_key(digest));
        let last = others
            .filter_map(|provider| {
                let (id, _) = self.names.get(provider.peer)?;
                let key = self.names.kad_key(provider.peer)?;
                Some((self.away.contains(&id), target.distance(key), provider.peer))
            })
            .max();
        let own = *candidate == self.names.me();
        let Some((away, distance, peer)) = last else { return own };
        let closer = target.distance(&KBucketKey::from(*candidate)) < distance;
        if !away && !closer && !own {
            return false;
        }
        self.retain(digest, |provider| provider.peer != peer);
        true
    }
}
