//! What passes between memory and the file.
//!
//! Expiry times in the file are on a clock of its own, which runs while the node runs and takes
//! the wall clock's word only for the time in between, and not for more than the life of a
//! record. So a wall clock that is set while the node runs does nothing; one that went back
//! meanwhile makes a record live as if no time had passed, once, and never longer than
//! [`RECORD_TTL`] from the start; and one that went far ahead looks like a long
//! absence: the records end, and come again with their providers' next round.

use std::collections::HashMap;
use std::time::Instant;

use libp2p::{Multiaddr, PeerId};

use super::names::{ME, PeerIndex};
use super::slot::{Provider, Seconds, Slot};
use super::{Digest, Records};
use crate::limits::{MAX_AWAY_PROVIDERS, MAX_RECORD_MEMBERS, RECORD_CHUNK, RECORD_TTL};

/// Seconds of the file's own clock.
pub(super) type FileSeconds = u32;

/// Bytes of one provider of a key: its serial and when its record ends, both big-endian.
const PROVIDER_BYTES: usize = 12;

/// When the file was written, on both clocks; and the first serial that it never had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Clock {
    pub(super) file: FileSeconds,
    /// Seconds since 1970, by the wall clock.
    pub(super) unix: u64,
    pub(super) next_serial: u64,
}

/// A peer that records name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PeerRow {
    pub(super) serial: u64,
    pub(super) id: PeerId,
    pub(super) addresses: Vec<Multiaddr>,
    pub(super) trusted: bool,
    pub(super) away: bool,
    pub(super) settles: FileSeconds,
}

/// A key, and its providers as the file keeps them.
pub(super) type Row = (Digest, Box<[u8]>);

/// What a file has beside its rows.
#[derive(Debug, Default)]
pub(super) struct Opened {
    pub(super) clock: Clock,
    pub(super) peers: Vec<PeerRow>,
}

/// All rows of the keys from the first to the last, both included.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) first: Digest,
    pub(super) last: Digest,
    pub(super) rows: Vec<Row>,
}

/// Something to write.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) clock: Clock,
    /// All of them, when any has changed.
    pub(super) peers: Option<Vec<PeerRow>>,
    pub(super) spans: Vec<Span>,
    /// Nothing else has changed.
    pub(super) last: bool,
}

/// How memory's seconds and the file's go together.
#[derive(Debug, Default)]
pub(super) struct FileTime {
    /// What the file's clock is ahead.
    ahead: i64,
    /// Where the serials of the file are in memory, while it is read.
    reading: Option<HashMap<u64, PeerIndex>>,
    /// The file has been read: it may be written.
    ready: bool,
}

impl FileTime {
    fn to_file(&self, seconds: Seconds) -> FileSeconds {
        (i64::from(seconds) + self.ahead).clamp(0, i64::from(u32::MAX)) as u32
    }

    fn to_memory(&self, seconds: FileSeconds) -> Seconds {
        // One below the value that means "never".
        (i64::from(seconds) - self.ahead).clamp(0, i64::from(u32::MAX - 1)) as u32
    }
}

impl Records {
    /// Something has changed that the file, once it has been read, is to be told.
    pub(super) fn has_changes(&self) -> bool {
        self.file.ready && (self.names.is_changed() || !self.changed.is_empty())
    }

    /// The file has nothing of what it had.
    pub(super) fn all_changed(&mut self) {
        self.changed.mark_all();
        self.names.set_changed();
    }

    /// What changed, up to [`RECORD_CHUNK`] keys; it counts as written from now on. The wall clock
    /// says `unix`.
    pub(super) fn take_changes(&mut self, now: Instant, unix: u64) -> Batch {
        let peers = self.names.take_changed();
        let peers = peers.then(|| self.names.rows(&self.away, |seconds| self.file.to_file(seconds)));
        let mut spans = Vec::new();
        let mut left = RECORD_CHUNK;
        while left > 0
            && spans.len() < RECORD_CHUNK
            && let Some((first, last)) = self.changed.take()
        {
            let (mut rows, mut end) = (Vec::new(), first);
            let mut whole = true;
            for (digest, slot) in self.keys.range(first..=last) {
                if left == 0 {
                    // From the next digest that there could be: also what lies between has to go.
                    self.changed.put_back((next(end), last));
                    whole = false;
                    break;
                }
                left -= 1;
                end = *digest;
                rows.extend(self.packed(slot).map(|packed| (*digest, packed)));
            }
            spans.push(Span { first, last: if whole { last } else { end }, rows });
        }
        let file = self.file.to_file(self.elapsed(now));
        let clock = Clock { file, unix, next_serial: self.names.next_serial() };
        Batch { clock, peers, spans, last: !self.has_changes() }
    }

    /// Nothing when only this node provides the key.
    fn packed(&self, slot: &Slot) -> Option<Box<[u8]>> {
        let mut packed = Vec::with_capacity(slot.iter().count() * PROVIDER_BYTES);
        for provider in slot.iter().filter(|provider| provider.peer != ME) {
            packed.extend(self.names.serial(provider.peer)?.to_be_bytes());
            packed.extend(self.file.to_file(provider.expires).to_be_bytes());
        }
        (!packed.is_empty()).then(|| packed.into_boxed_slice())
    }

    /// A file has been opened; its rows come next. What was added since the start stays.
    pub(super) fn begin_restore(&mut self, opened: &Opened, now: Instant, unix: u64) {
        let Opened { clock, peers } = opened;
        // A year that has not come does not make more of it than all records ended.
        let away = unix.saturating_sub(clock.unix).min(RECORD_TTL.as_secs() + 1) as u32;
        let file_now = clock.file.saturating_add(if clock.unix == 0 { 0 } else { away });
        self.file.ahead = i64::from(file_now) - i64::from(self.elapsed(now));
        let limit = self.bounds.peers + MAX_RECORD_MEMBERS;
        let file = &self.file;
        let places = self.names.restore(clock.next_serial, peers, limit, |seconds| file.to_memory(seconds));
        self.file.reading = Some(places);
        for row in peers.iter().filter(|row| row.away) {
            // Who is here already has said so.
            if !self.here.contains_key(&row.id) && self.away.len() < MAX_AWAY_PROVIDERS {
                self.away.insert(row.id);
            }
        }
    }

    /// Rows of the file, in their order.
    pub(super) fn restore(&mut self, mut rows: Vec<Row>, now: Instant) {
        let Some(places) = self.file.reading.take() else { return };
        // Put in as they come, keys leave half of each of the tree's nodes empty.
        rows.sort_unstable_by_key(|(digest, _)| (digest[31], digest[30]));
        for (digest, packed) in &rows {
            if !self.restore_row(digest, packed, &places, now) {
                self.changed.mark(digest);
            }
        }
        self.file.reading = Some(places);
    }

    /// `false` when memory is not as the file is.
    fn restore_row(
        &mut self,
        digest: &Digest,
        packed: &[u8],
        places: &HashMap<u64, PeerIndex>,
        now: Instant,
    ) -> bool {
        let (providers, rest) = packed.as_chunks::<PROVIDER_BYTES>();
        let mut as_it_is = rest.is_empty();
        let now = self.elapsed(now);
        let latest = now.saturating_add(RECORD_TTL.as_secs() as u32);
        for provider in providers {
            // Eight bytes and four.
            let (Some(serial), Some(expires)) = (provider.first_chunk(), provider.last_chunk()) else {
                continue;
            };
            let serial = u64::from_be_bytes(*serial);
            let expires = self.file.to_memory(u32::from_be_bytes(*expires)).min(latest);
            let place = places.get(&serial).filter(|_| expires > now);
            let restored =
                place.is_some_and(|peer| self.restore_one(digest, Provider { peer: *peer, expires }));
            as_it_is &= restored;
        }
        as_it_is
    }

    fn restore_one(&mut self, digest: &Digest, provider: Provider) -> bool {
        let slot = self.keys.get(digest);
        let known = slot.is_some_and(|slot| slot.iter().any(|held| held.peer == provider.peer));
        let full = slot.is_some_and(|slot| slot.iter().count() >= self.bounds.providers_per_key);
        let share = self.names.records(provider.peer) >= self.bounds.records_per_peer;
        if known || full || share || !self.has_space(digest) {
            return false;
        }
        self.insert(*digest, provider);
        true
    }

    /// All has been read that there was. When that was not all of it (`anew`: the file is another
    /// one), everything is written again.
    pub(super) fn end_restore(&mut self, anew: bool) {
        self.file.reading = None;
        self.file.ready = true;
        self.names.drop_unused();
        if anew {
            self.all_changed();
        }
    }
}

/// The digest after one that is not the last.
fn next(mut digest: Digest) -> Digest {
    for byte in digest.iter_mut().rev() {
        let carry;
        (*byte, carry) = byte.overflowing_add(1);
        if !carry {
            break;
        }
    }
    digest
}
