//! The bands that a node keeps for all nodes: entries of pictures, found by 16 of their bits.
//!
//! In memory, and renewed by the holders three times in the life of an entry; who starts again is
//! told everything by all that see it come. 175 bytes a picture, whatever the number of its bands
//! here: a slot has the hash, the content, up to [`MAX_BAND_HOLDERS`] holders, and a link for each
//! band. A *bucket* is a chain through the slots that have the same bits in a band; it has its
//! beginning and its length in two flat tables (6 MiB, in the system's zero pages until used).
//!
//! Not guaranteed: a bucket takes [`MAX_BUCKET`] pictures; it is *hot* as long as one that was
//! refused may still be there, and every answer says so. A picture whose bands here are all hot is
//! found by none of them.

use std::collections::BTreeMap;
use std::time::Instant;

use libp2p::PeerId;

use crate::dht_index::band_plan::Shown;
use crate::dht_index::bands::{BANDS, Bands, bits};
use crate::limits::{
    BAND_QUOTA_DIVISOR, MAX_BAND_HOLDERS, MAX_BAND_PICTURES, MAX_BAND_SENDERS, MAX_BUCKET, RECORD_TTL,
};
use crate::picture::distance;
use crate::types::ContentId;

/// Seconds since the store was made.
type Seconds = u32;
/// Place of a slot.
type Place = u32;

const NOWHERE: Place = Place::MAX;
const BUCKETS: usize = BANDS as usize * (1 << 16);

/// The bounds of a store.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// See [`MAX_BAND_PICTURES`].
    pub pictures: usize,
    /// Of one sender.
    pub pictures_per_sender: usize,
    /// See [`MAX_BUCKET`].
    pub bucket: u16,
    /// See [`MAX_BAND_SENDERS`].
    pub senders: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            pictures: MAX_BAND_PICTURES,
            pictures_per_sender: MAX_BAND_PICTURES / BAND_QUOTA_DIVISOR,
            bucket: MAX_BUCKET,
            senders: MAX_BAND_SENDERS,
        }
    }
}

/// A holder of a slot's picture, and for which bands this node was told so.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// Number of the sender.
    sender: u16,
    /// None: the place is free.
    bands: Bands,
    expires: Seconds,
}

#[derive(Debug, Clone)]
struct Slot {
    shown: Shown,
    held: [Held; MAX_BAND_HOLDERS],
    /// The next slot of each band's chain; means something for the bands of `held` only.
    next: [Place; BANDS as usize],
}

impl Slot {
    /// The bands whose chains it is in.
    fn bands(&self) -> Bands {
        self.held.iter().fold(Bands::default(), |all, held| all.with(held.bands))
    }
}

#[derive(Debug, Clone, Copy)]
struct Sender {
    peer: PeerId,
    pictures: u32,
}

/// What came of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is kept; so many of its bands are not, because they are hot. That may be all of them.
    Kept {
        /// Bands.
        hot: u32,
    },
    /// The sender's share or the store is full.
    Refused,
}

/// A picture found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Near {
    /// Its hash and content.
    pub shown: Shown,
    /// Who holds it, as they said.
    pub holders: Vec<PeerId>,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Search {
    /// The nearest first.
    pub near: Vec<Near>,
    /// Entries compared.
    pub looked: usize,
    /// Bands that are hot, of those asked about.
    pub hot: u32,
    /// There is more.
    pub cut: bool,
}

/// See the module.
#[derive(Debug)]
pub struct BandStore {
    bounds: Bounds,
    origin: Instant,
    slots: Vec<Slot>,
    free: Vec<Place>,
    /// By the first half of the content's id. Two contents that have it in common don't occur; if
    /// they did, the second would be refused.
    by_content: BTreeMap<u64, Place>,
    /// The first slot of each bucket, and how many there are.
    first: Vec<Place>,
    filled: Vec<u16>,
    /// Buckets that had to refuse, and until when that matters.
    hot: BTreeMap<u32, Seconds>,
    senders: Vec<Sender>,
    by_peer: BTreeMap<PeerId, u16>,
    swept_to: usize,
}

impl BandStore {
    /// Empty, with the usual bounds.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self::bounded(now, Bounds::default())
    }

    /// Empty, with other bounds.
    #[must_use]
    pub fn bounded(now: Instant, bounds: Bounds) -> Self {
        Self {
            bounds,
            origin: now,
            slots: Vec::new(),
            free: Vec::new(),
            by_content: BTreeMap::new(),
            // Zero means none: the pages of an empty table are never touched.
            first: vec![0; BUCKETS],
            filled: vec![0; BUCKETS],
            hot: BTreeMap::new(),
            senders: Vec::new(),
            by_peer: BTreeMap::new(),
            swept_to: 0,
        }
    }

    /// Pictures kept.
    #[must_use]
    pub fn pictures(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Keeps what `sender` says it holds; replaces what it said of the content. No bands at all
    /// take it back.
    pub fn store(&mut self, now: Instant, sender: &PeerId, shown: Shown, bands: Bands) -> Stored {
        let now = self.seconds(now);
        let known = self.by_content.get(&short(&shown.content)).copied();
        if bands.is_empty() {
            if let (Some(place), Some(sender)) = (known, self.by_peer.get(sender).copied()) {
                self.take_back(place, sender, &shown);
            }
            return Stored::Kept { hot: 0 };
        }
        let same = |slot: &Slot| slot.shown == shown;
        let place = match known {
            Some(place) if self.slots.get(place as usize).is_some_and(same) => place,
            // Another hash of the same bytes: somebody computes hashes in another way.
            Some(_) => return Stored::Refused,
            None => NOWHERE,
        };
        let Some(number) = self.sender(sender) else { return Stored::Refused };
        let renewal = self.held(place, number).is_some();
        let share = self.senders.get(usize::from(number)).map_or(0, |sender| sender.pictures as usize);
        if !renewal && share >= self.bounds.pictures_per_sender {
            return Stored::Refused;
        }
        let place = if place == NOWHERE {
            match self.new_slot(shown) {
                Some(place) => place,
                None => return Stored::Refused,
            }
        } else {
            place
        };
        self.hold(place, number, bands, now)
    }

    /// What is within `most` bits of `hash`, by `bands`. At most `pictures` of them are told, and
    /// `steps` compared.
    #[must_use]
    pub fn near(
        &self,
        now: Instant,
        hash: &[u8; 32],
        bands: Bands,
        most: u32,
        (pictures, steps): (usize, usize),
    ) -> Search {
        let now = self.seconds(now);
        let mut search = Search::default();
        let mut found: Vec<(u32, Place)> = Vec::new();
        for band in bands.iter() {
            let bucket = bucket(hash, band);
            search.hot += u32::from(self.hot.get(&bucket).is_some_and(|until| *until > now));
            let mut place = self.head(bucket);
            while let Some(slot) = self.slots.get(place as usize) {
                if search.looked >= steps {
                    search.cut = true;
                    break;
                }
                search.looked += 1;
                let far = distance(hash, &slot.shown.hash);
                if far <= most
                    && !found.contains(&(far, place))
                    && slot.held.iter().any(|held| live(*held, now))
                {
                    found.push((far, place));
                }
                place = slot.next.get(usize::from(band)).copied().unwrap_or(NOWHERE);
            }
        }
        found.sort_by_key(|(far, place)| (*far, self.slots.get(*place as usize).map(|slot| slot.shown)));
        search.cut |= found.len() > pictures;
        let near = found.into_iter().take(pictures).filter_map(|(_, place)| {
            let slot = self.slots.get(place as usize)?;
            let holders = slot.held.iter().filter(|held| live(**held, now));
            let holders =
                holders.filter_map(|held| Some(self.senders.get(usize::from(held.sender))?.peer)).collect();
            Some(Near { shown: slot.shown, holders })
        });
        search.near = near.collect();
        search
    }

    /// Looks at up to `steps` slots, going on after the last one looked at, and removes what has
    /// expired.
    pub fn sweep(&mut self, now: Instant, steps: usize) {
        let now = self.seconds(now);
        self.hot.retain(|_, until| *until > now);
        let end = self.slots.len().min(self.swept_to + steps);
        for place in self.swept_to..end {
            let place = place as Place;
            for at in 0..MAX_BAND_HOLDERS {
                let held = self.slots.get(place as usize).and_then(|slot| slot.held.get(at)).copied();
                if held.is_some_and(|held| !held.bands.is_empty() && !live(held, now)) {
                    self.let_go(place, at);
                }
            }
        }
        self.swept_to = if end == self.slots.len() { 0 } else { end };
    }

    fn seconds(&self, at: Instant) -> Seconds {
        at.saturating_duration_since(self.origin).as_secs().min(u64::from(Seconds::MAX / 2)) as Seconds
    }

    /// The number of a sender, which it gets now if it has none.
    fn sender(&mut self, peer: &PeerId) -> Option<u16> {
        if let Some(number) = self.by_peer.get(peer) {
            return Some(*number);
        }
        let new = Sender { peer: *peer, pictures: 0 };
        let number = match self.senders.iter().position(|sender| sender.pictures == 0) {
            Some(number) => {
                let old = self.senders.get_mut(number)?;
                self.by_peer.remove(&old.peer);
                *old = new;
                number
            }
            None if self.senders.len() < self.bounds.senders => {
                self.senders.push(new);
                self.senders.len() - 1
            }
            None => return None,
        };
        let number = u16::try_from(number).ok()?;
        self.by_peer.insert(*peer, number);
        Some(number)
    }

    /// Where in its slot the sender is.
    fn held(&self, place: Place, sender: u16) -> Option<usize> {
        let slot = self.slots.get(place as usize)?;
        slot.held.iter().position(|held| !held.bands.is_empty() && held.sender == sender)
    }

    fn new_slot(&mut self, shown: Shown) -> Option<Place> {
        let slot = Slot { shown, held: [Held::default(); MAX_BAND_HOLDERS], next: [NOWHERE; BANDS as usize] };
        let place = match self.free.pop() {
            Some(place) => {
                *self.slots.get_mut(place as usize)? = slot;
                place
            }
            None if self.slots.len() < self.bounds.pictures => {
                if self.slots.len() == self.slots.capacity() {
                    // Doubling would take up to twice the bound.
                    self.slots.reserve_exact((self.slots.len() / 8).max(1024));
                }
                self.slots.push(slot);
                (self.slots.len() - 1) as Place
            }
            None => return None,
        };
        self.by_content.insert(short(&shown.content), place);
        Some(place)
    }

    /// Notes the sender as a holder, in a place of its own, a free one, or that of who expires
    /// first.
    fn hold(&mut self, place: Place, sender: u16, bands: Bands, now: Seconds) -> Stored {
        let Some(slot) = self.slots.get(place as usize) else { return Stored::Refused };
        let (before, shown) = (slot.bands(), slot.shown);
        let mine = |held: &Held| !held.bands.is_empty() && held.sender == sender;
        let order = |held: &Held| (!mine(held), !held.bands.is_empty(), held.expires);
        let Some(at) = (0..MAX_BAND_HOLDERS).min_by_key(|at| slot.held.get(*at).map(order)) else {
            return Stored::Refused;
        };
        let old = slot.held.get(at).copied().unwrap_or_default();
        let mut kept = bands.and(before);
        let mut hot = 0;
        for band in bands.without(before).iter() {
            if self.link(place, &shown.hash, band, now) {
                kept = kept.with(Bands::one(band));
            } else {
                hot += 1;
            }
        }
        let ttl = RECORD_TTL.as_secs() as Seconds;
        if !old.bands.is_empty() {
            self.count(old.sender, -1);
        }
        if !kept.is_empty() {
            self.count(sender, 1);
        }
        if let Some(held) = self.slots.get_mut(place as usize).and_then(|slot| slot.held.get_mut(at)) {
            *held = Held { sender, bands: kept, expires: now + ttl };
        }
        self.unlink_unheld(place, before);
        Stored::Kept { hot }
    }

    fn take_back(&mut self, place: Place, sender: u16, shown: &Shown) {
        if self.slots.get(place as usize).is_some_and(|slot| slot.shown == *shown)
            && let Some(at) = self.held(place, sender)
        {
            self.let_go(place, at);
        }
    }

    /// Empties a holder's place in a slot.
    fn let_go(&mut self, place: Place, at: usize) {
        let Some(slot) = self.slots.get_mut(place as usize) else { return };
        let before = slot.bands();
        let Some(held) = slot.held.get_mut(at) else { return };
        let sender = held.sender;
        *held = Held::default();
        self.count(sender, -1);
        self.unlink_unheld(place, before);
    }

    /// Takes a slot out of the chains that no holder keeps it in any more, and frees it with the
    /// last one.
    fn unlink_unheld(&mut self, place: Place, before: Bands) {
        let Some(slot) = self.slots.get(place as usize) else { return };
        let (after, shown) = (slot.bands(), slot.shown);
        for band in before.without(after).iter() {
            self.unlink(place, &shown.hash, band);
        }
        if after.is_empty() {
            self.by_content.remove(&short(&shown.content));
            self.free.push(place);
        }
    }

    /// Puts a slot into a chain; false when that is full.
    fn link(&mut self, place: Place, hash: &[u8; 32], band: u8, now: Seconds) -> bool {
        let bucket = bucket(hash, band);
        let head = self.head(bucket);
        let Some(filled) = self.filled.get_mut(bucket as usize) else { return false };
        if *filled >= self.bounds.bucket {
            self.hot.insert(bucket, now + RECORD_TTL.as_secs() as Seconds);
            return false;
        }
        *filled += 1;
        if let Some(next) =
            self.slots.get_mut(place as usize).and_then(|slot| slot.next.get_mut(usize::from(band)))
        {
            *next = head;
        }
        self.set_head(bucket, place);
        true
    }

    fn unlink(&mut self, place: Place, hash: &[u8; 32], band: u8) {
        let bucket = bucket(hash, band);
        let after = self.next(place, band);
        let mut at = self.head(bucket);
        if at == place {
            self.set_head(bucket, after);
        } else {
            while at != NOWHERE && self.next(at, band) != place {
                at = self.next(at, band);
            }
            if let Some(next) =
                self.slots.get_mut(at as usize).and_then(|slot| slot.next.get_mut(usize::from(band)))
            {
                *next = after;
            }
        }
        if let Some(filled) = self.filled.get_mut(bucket as usize) {
            *filled = filled.saturating_sub(1);
        }
    }

    fn next(&self, place: Place, band: u8) -> Place {
        let slot = self.slots.get(place as usize);
        slot.and_then(|slot| slot.next.get(usize::from(band))).copied().unwrap_or(NOWHERE)
    }

    fn head(&self, bucket: u32) -> Place {
        // Stored with one added: see `bounded`.
        self.first.get(bucket as usize).map_or(NOWHERE, |first| first.wrapping_sub(1))
    }

    fn set_head(&mut self, bucket: u32, place: Place) {
        if let Some(first) = self.first.get_mut(bucket as usize) {
            *first = place.wrapping_add(1);
        }
    }

    fn count(&mut self, sender: u16, by: i32) {
        if let Some(sender) = self.senders.get_mut(usize::from(sender)) {
            sender.pictures = sender.pictures.saturating_add_signed(by);
        }
    }
}

fn live(held: Held, now: Seconds) -> bool {
    !held.bands.is_empty() && held.expires > now
}

fn bucket(hash: &[u8; 32], band: u8) -> u32 {
    u32::from(band) << 16 | u32::from(bits(hash, band))
}

fn short(content: &ContentId) -> u64 {
    content.0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests;
