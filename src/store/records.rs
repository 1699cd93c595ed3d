//! The provider records this node holds for the DHT.
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
//!   publishes by itself.
//! - **Memory is the truth, a file is its copy** ([`Lasting`]): the store is called within
//!   the swarm's poll, where nothing may wait for a disk. A thread reads the file at the
//!   start and writes what has changed, once a minute. A record is a hint, so a file that
//!   can't be read or written costs some lookups and never stops the node. Own records are
//!   not in it: the node puts them again from its index.
//! - What is expired, or names a peer that is known to be gone, is not told.
//! - Who gives way when there is no room: `room`.
//!
//! `RecordStore` has no clock parameter, so reading through the trait looks at
//! `Instant::now()`; the methods with `_at` take the time instead.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{ProviderRecord, Record, RecordKey};

use crate::limits::{
    MAX_AWAY_PROVIDERS, MAX_MEMBERS, MAX_PROVIDERS_PER_KEY, MAX_RECORD_KEYS, MAX_RECORD_PEERS, MAX_RECORDS,
    RECORD_QUOTA_DIVISOR, RECORD_RENEWAL_STEP, RECORD_SETTLES, RECORD_TTL,
};

mod changed;
mod file;
mod keeper;
mod lasting;
mod names;
mod passing;
mod room;
mod slot;

use changed::Changed;
pub use keeper::News;
pub use lasting::{Lasting, Said};
use names::{ME, Names, PeerIndex};
use passing::FileTime;
use slot::{Provider, Seconds, Slot};

/// The digest inside a key.
type Digest = [u8; 32];

/// How much a store holds at most. [`Bounds::default`] is that of `limits.rs`; tests use
/// smaller ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Keys in all. Own keys are kept beyond it.
    pub keys: usize,
    /// Records in all: pairs of a key and a provider. Own ones are kept beyond it.
    pub records: usize,
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
            records: MAX_RECORDS,
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
    /// The search for who gives way goes on after this key.
    hand: Option<Digest>,
    /// Members that are there, and whether they are trusted.
    here: HashMap<PeerId, bool>,
    /// Members that are gone, until they come back.
    away: HashSet<PeerId>,
    /// What the file does not have.
    changed: Changed,
    file: FileTime,
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
            hand: None,
            here: HashMap::new(),
            away: HashSet::new(),
            changed: Changed::new(),
            file: FileTime::default(),
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

    /// A member is there: its records are told again, and come before those of others when
    /// it is trusted.
    pub fn member_up(&mut self, peer: PeerId, trusted: bool) {
        self.back(&peer);
        if self.here.len() < MAX_MEMBERS {
            self.here.insert(peer, trusted);
        }
        if trusted {
            self.names.trust(&peer);
        }
    }

    /// A member is gone: its records are kept, and told to nobody until it comes back.
    pub fn member_down(&mut self, peer: PeerId) {
        self.here.remove(&peer);
        if self.away.len() >= MAX_AWAY_PROVIDERS {
            self.away.retain(|peer| self.names.find(peer).is_some());
        }
        if self.away.len() < MAX_AWAY_PROVIDERS && self.away.insert(peer) {
            self.names.set_changed();
        }
    }

    /// Whether this is a member that was here, and is gone.
    #[must_use]
    pub fn is_away(&self, peer: &PeerId) -> bool {
        self.away.contains(peer)
    }

    /// The providers of `key` that are not told because they are gone.
    #[must_use]
    pub fn away_providers(&self, key: &RecordKey) -> Vec<PeerId> {
        let slot = digest(key).and_then(|digest| self.keys.get(&digest));
        let ids = slot.into_iter().flat_map(Slot::iter).filter_map(|held| self.names.get(held.peer));
        ids.map(|(id, _)| id).filter(|id| self.away.contains(id)).collect()
    }

    fn is_trusted(&self, peer: &PeerId) -> bool {
        self.here.get(peer).is_some_and(|trusted| *trusted)
    }

    fn back(&mut self, peer: &PeerId) {
        if self.away.remove(peer) {
            self.names.set_changed();
        }
    }

    /// Keeps `record`, or renews it.
    ///
    /// Renewals and this node's own records are always accepted. When the key has all the
    /// providers it may have, those closest to the key stay (Kademlia's rule, and
    /// every node chooses alike); own records are never pushed out. When the store is full,
    /// another's record may give way (`room`).
    ///
    /// # Errors
    /// `ValueTooLarge` for a key that is not a sha2-256 multihash, `MaxProvidedKeys` when a
    /// bound (keys, records, peers, share of this peer) is reached and nobody gives way.
    pub fn add_provider_at(&mut self, record: &ProviderRecord, now: Instant) -> Result<()> {
        let digest = digest(&record.key).ok_or(Error::ValueTooLarge)?;
        let own = record.provider == self.names.me();
        let expires = match record.expires {
            Some(at) if own => self.seconds(at),
            None if own => Seconds::MAX,
            // A record of another without an end would never be swept.
            at => self.seconds(at.map_or(now + RECORD_TTL, |at| at.min(now + RECORD_TTL))),
        };
        // It is here to say so.
        self.back(&record.provider);
        if let Some(index) = self.names.find(&record.provider) {
            let known = self.keys.get_mut(&digest).and_then(|slot| slot.find_mut(index));
            if let Some(known) = known {
                let step = |expires: Seconds| u64::from(expires) / RECORD_RENEWAL_STEP.as_secs();
                if step(known.expires) != step(expires) && !own {
                    self.changed.mark(&digest);
                }
                known.expires = expires;
                self.names.set_addresses(index, &record.addresses);
                return Ok(());
            }
        }
        if !own && !self.within_share(&record.provider) {
            return Err(Error::MaxProvidedKeys);
        }
        self.prune(&digest, now);
        if !self.make_place(&digest, &record.provider) {
            return Ok(());
        }
        if !own && !self.make_space(&digest, &record.provider, now) {
            return Err(Error::MaxProvidedKeys);
        }
        let settles = self.seconds(now + RECORD_SETTLES);
        let index = self.names.intern(record.provider, settles, self.is_trusted(&record.provider));
        self.names.set_addresses(index, &record.addresses);
        self.insert(digest, Provider { peer: index, expires });
        if !own {
            self.changed.mark(&digest);
        }
        Ok(())
    }

    fn insert(&mut self, digest: Digest, provider: Provider) {
        self.names.count(provider.peer);
        self.records += 1;
        self.keys.entry(digest).or_default().push(provider);
    }

    /// The providers of `key` whose records have not expired, without those that are gone.
    #[must_use]
    pub fn providers_at(&self, key: &RecordKey, now: Instant) -> Vec<ProviderRecord> {
        let Some(slot) = digest(key).and_then(|digest| self.keys.get(&digest)) else { return Vec::new() };
        let now = self.elapsed(now);
        let live = slot.iter().filter(|provider| provider.expires > now);
        live.filter_map(|provider| {
            let (id, addresses) = self.names.get(provider.peer)?;
            (!self.away.contains(&id)).then(|| ProviderRecord {
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

    /// Removes the expired providers of one key, and the key with its last one.
    fn prune(&mut self, digest: &Digest, now: Instant) {
        let now = self.elapsed(now);
        self.retain(digest, |provider| provider.expires > now);
    }

    fn retain(&mut self, digest: &Digest, keep: impl Fn(&Provider) -> bool) {
        let Some(slot) = self.keys.get_mut(digest) else { return };
        // Nearly always: no copy of the list for nothing.
        if slot.iter().all(&keep) {
            return;
        }
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
        self.changed.mark(digest);
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
