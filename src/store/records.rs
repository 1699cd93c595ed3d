//! The provider records this node holds for the DHT, in memory.
//!
//! libp2p's own `MemoryStore` takes 4.8 KB a key at a million keys, stalls for seconds when
//! it is flooded, and forgets expired records only when somebody asks for them. This
//! store names each peer once and keeps 8 bytes a record beside the key.
//!
//! - The map is a B-tree, not a hash table: its memory grows smoothly (a hash table
//!   doubles, and rehashes a million keys within one poll of the swarm), the sweep can go
//!   on where it stopped, and nobody can make keys collide.
//! - Only provider records under sha2-256 multihashes (34 bytes: `0x12 0x20` and the
//!   digest) are kept, the form of every key of p2pimg. Value records and other keys are
//!   refused: nothing of p2pimg writes them, so they can only be noise.
//! - [`RecordStore::provided`] and [`RecordStore::records`] are empty on purpose: kad's
//!   periodic jobs clone all that they yield and run one query for each. The node
//!   publishes by itself (`replication/republish.rs`).
//! - Nothing is persisted. Records are renewed by their providers, and a restarted node
//!   gets them again within one round of republishing.
//!
//! `RecordStore` has no clock parameter, so reading through the trait looks at
//! `Instant::now()`; the methods with `_at` take the time instead.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{KBucketKey, ProviderRecord, Record, RecordKey};

use crate::limits::{
    MAX_PROVIDERS_PER_KEY, MAX_RECORD_KEYS, MAX_RECORD_PEERS, RECORD_QUOTA_DIVISOR, RECORD_TTL,
};

mod names;
mod slot;

use names::{ME, Names, PeerIndex};
use slot::{Provider, Seconds, Slot};

/// The digest inside a key.
type Digest = [u8; 32];

/// How much a store holds at most. [`Bounds::default`] is that of `limits.rs`; tests use
/// smaller ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Keys in all. Own keys are kept beyond it.
    pub keys: usize,
    /// Providers of one key.
    pub providers_per_key: usize,
    /// Other peers named.
    pub peers: usize,
    /// Records of one other peer.
    pub records_per_peer: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            keys: MAX_RECORD_KEYS,
            providers_per_key: MAX_PROVIDERS_PER_KEY,
            peers: MAX_RECORD_PEERS,
            records_per_peer: MAX_RECORD_KEYS / RECORD_QUOTA_DIVISOR,
        }
    }
}

/// What a step of [`Records::sweep`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Expired records removed.
    pub removed: usize,
    /// The end of the keys was reached: the next step starts from the first.
    pub round_done: bool,
}

/// The store. See the module's documentation.
#[derive(Debug)]
pub struct Records {
    bounds: Bounds,
    /// Expiry times are whole seconds after this moment: 4 bytes last 136 years.
    origin: Instant,
    keys: BTreeMap<Digest, Slot>,
    names: Names,
    records: usize,
    /// The sweep goes on after this key.
    swept_to: Option<Digest>,
}

impl Records {
    /// An empty store of node `me`.
    #[must_use]
    pub fn new(me: PeerId) -> Self {
        Self::with_bounds(me, Bounds::default())
    }

    /// Like [`Records::new`] with other bounds.
    #[must_use]
    pub fn with_bounds(me: PeerId, bounds: Bounds) -> Self {
        Self {
            bounds,
            origin: Instant::now(),
            keys: BTreeMap::new(),
            names: Names::new(me),
            records: 0,
            swept_to: None,
        }
    }

    /// Keys held, for others and for this node. Expired ones count until they are swept.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Records held: pairs of a key and a provider.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Keys that this node itself provides.
    #[must_use]
    pub fn own_keys(&self) -> usize {
        self.names.records(ME)
    }

    /// Other peers named by at least one record.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.names.others()
    }

    /// Keeps `record`, or renews it.
    ///
    /// Renewals and this node's own records are always accepted. When the key has all the
    /// providers it may have, those closest to the key stay (Kademlia's rule, and
    /// every node chooses alike); own records are never pushed out.
    ///
    /// # Errors
    /// `ValueTooLarge` for a key that is not a sha2-256 multihash, `MaxProvidedKeys` when a
    /// bound (keys, peers, share of this peer) is reached.
    pub fn add_provider_at(&mut self, record: &ProviderRecord, now: Instant) -> Result<()> {
        let digest = digest(&record.key).ok_or(Error::ValueTooLarge)?;
        let own = record.provider == self.names.me();
        let expires = match record.expires {
            Some(at) => self.seconds(at),
            None if own => Seconds::MAX,
            // A record of another without an end would never be swept.
            None => self.seconds(now + RECORD_TTL),
        };
        if let Some(index) = self.names.find(&record.provider) {
            let known = self.keys.get_mut(&digest).and_then(|slot| slot.find_mut(index));
            if let Some(known) = known {
                known.expires = expires;
                self.names.set_addresses(index, &record.addresses);
                return Ok(());
            }
        }
        if !own {
            self.check_bounds(&digest, &record.provider)?;
        }
        self.prune(&digest, now);
        if !self.make_room(&digest, &record.provider) {
            return Ok(());
        }
        let index = self.names.intern(record.provider);
        self.names.set_addresses(index, &record.addresses);
        self.names.count(index);
        self.records += 1;
        self.keys.entry(digest).or_default().push(Provider { peer: index, expires });
        Ok(())
    }

    /// The providers of `key` whose records have not expired.
    #[must_use]
    pub fn providers_at(&self, key: &RecordKey, now: Instant) -> Vec<ProviderRecord> {
        let Some(slot) = digest(key).and_then(|digest| self.keys.get(&digest)) else { return Vec::new() };
        let now = self.elapsed(now);
        let live = slot.iter().filter(|provider| provider.expires > now);
        live.filter_map(|provider| {
            let (id, addresses) = self.names.get(provider.peer)?;
            Some(ProviderRecord {
                key: key.clone(),
                provider: id,
                expires: self.instant(provider.expires),
                addresses: addresses.to_vec(),
            })
        })
        .collect()
    }

    /// Looks at up to `max_steps` keys, going on after the last one looked at, and removes
    /// what has expired. The node calls it on a timer, so that no single call takes long.
    pub fn sweep(&mut self, now: Instant, max_steps: usize) -> Swept {
        let from = self.swept_to.map_or(Bound::Unbounded, Bound::Excluded);
        let at = self.elapsed(now);
        let mut looked_at = 0;
        let mut last = None;
        let mut stale = Vec::new();
        for (digest, slot) in self.keys.range((from, Bound::Unbounded)).take(max_steps) {
            looked_at += 1;
            last = Some(*digest);
            if slot.iter().any(|provider| provider.expires <= at) {
                stale.push(*digest);
            }
        }
        let before = self.records;
        for digest in stale {
            self.prune(&digest, now);
        }
        let round_done = looked_at < max_steps;
        self.swept_to = if round_done { None } else { last.or(self.swept_to) };
        Swept { removed: before - self.records, round_done }
    }

    fn check_bounds(&self, digest: &Digest, provider: &PeerId) -> Result<()> {
        let share_used = match self.names.find(provider) {
            Some(index) => self.names.records(index) >= self.bounds.records_per_peer,
            None => self.names.others() >= self.bounds.peers,
        };
        let full = self.keys.len() >= self.bounds.keys && !self.keys.contains_key(digest);
        if share_used || full { Err(Error::MaxProvidedKeys) } else { Ok(()) }
    }

    /// Removes the expired providers of one key, and the key with its last one.
    fn prune(&mut self, digest: &Digest, now: Instant) {
        let now = self.elapsed(now);
        self.retain(digest, |provider| provider.expires > now);
    }

    /// Frees a place at a full key by removing the provider farthest from it; `false` when
    /// the candidate is the farthest itself.
    fn make_room(&mut self, digest: &Digest, candidate: &PeerId) -> bool {
        let Some(slot) = self.keys.get(digest) else { return true };
        let others = slot.iter().filter(|provider| provider.peer != ME);
        if slot.iter().count() < self.bounds.providers_per_key {
            return true;
        }
        let target = KBucketKey::new(record_key(digest));
        let farthest = others
            .filter_map(|provider| {
                let key = self.names.kad_key(provider.peer)?;
                Some((target.distance(key), provider.peer))
            })
            .max();
        let Some((distance, peer)) = farthest else { return *candidate == self.names.me() };
        let closer = target.distance(&KBucketKey::from(*candidate)) < distance;
        if !closer && *candidate != self.names.me() {
            return false;
        }
        self.retain(digest, |provider| provider.peer != peer);
        true
    }

    fn retain(&mut self, digest: &Digest, keep: impl Fn(&Provider) -> bool) {
        let Some(slot) = self.keys.get_mut(digest) else { return };
        let names = &mut self.names;
        let mut removed = 0;
        slot.retain(|provider| {
            let keep = keep(provider);
            if !keep {
                names.uncount(provider.peer);
                removed += 1;
            }
            keep
        });
        self.records -= removed;
        if slot.is_empty() {
            self.keys.remove(digest);
        }
    }

    /// Whole seconds from the origin to `now`, rounded down.
    fn elapsed(&self, now: Instant) -> Seconds {
        let seconds = now.saturating_duration_since(self.origin).as_secs();
        // One below the value that means "never".
        seconds.min(u64::from(Seconds::MAX - 1)) as Seconds
    }

    /// Like [`Records::elapsed`], rounded up, so that no record ends early.
    fn seconds(&self, at: Instant) -> Seconds {
        self.elapsed(at + Duration::from_nanos(999_999_999))
    }

    fn instant(&self, expires: Seconds) -> Option<Instant> {
        if expires == Seconds::MAX {
            return None;
        }
        self.origin.checked_add(Duration::from_secs(u64::from(expires)))
    }
}

fn digest(key: &RecordKey) -> Option<Digest> {
    key.as_ref().strip_prefix(&[0x12, 0x20])?.try_into().ok()
}

fn record_key(digest: &Digest) -> RecordKey {
    let mut bytes = vec![0x12, 0x20];
    bytes.extend_from_slice(digest);
    RecordKey::from(bytes)
}

impl RecordStore for Records {
    type RecordsIter<'a> = std::iter::Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = std::iter::Empty<Cow<'a, ProviderRecord>>;

    fn get(&self, _: &RecordKey) -> Option<Cow<'_, Record>> {
        None
    }

    fn put(&mut self, _: Record) -> Result<()> {
        Err(Error::MaxRecords)
    }

    fn remove(&mut self, _: &RecordKey) {}

    fn records(&self) -> Self::RecordsIter<'_> {
        std::iter::empty()
    }

    fn add_provider(&mut self, record: ProviderRecord) -> Result<()> {
        self.add_provider_at(&record, Instant::now())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        self.providers_at(key, Instant::now())
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        std::iter::empty()
    }

    fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        let (Some(digest), Some(peer)) = (digest(key), self.names.find(provider)) else { return };
        self.retain(&digest, |held| held.peer != peer);
    }
}

/// Both halves of a record are 4 bytes.
const _: () = assert!(size_of::<PeerIndex>() == 4 && size_of::<Provider>() == 8);

#[cfg(test)]
mod tests;
