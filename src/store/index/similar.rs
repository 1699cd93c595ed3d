//! The pictures that look most like one: hashes in memory, and who has them from the disk.
//!
//! The hashes are read at the first question (70 ms for 100,000), told of
//! everything that is taken in afterwards, and let go when nobody asks any more. They may have
//! one that is of nobody any more, and never lack one: so each that is near is looked up, in
//! the same way as for a list, and what is listed is found.
//!
//! *Never lack one* needs an order. Who writes tells the hashes after the commit; who reads
//! them all says so before the read begins, and adds what was told meanwhile. A commit that the
//! read does not see is told after it has begun.

use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};
use std::time::{Duration, Instant};

use redb::ReadTransaction;

use super::error::Fault;
use super::list::{self, Known};
use super::schema::BY_CONTENT;
use super::{Index, IndexError, PeerId};
use crate::dedup::nearest::{Hash, Hashes, Near, Nearest};
use crate::limits::{MAX_HASHES, MAX_SIMILAR_LOOKED, MAX_STALE_HASHES, PAGE_BYTES};
use crate::protocol::{CatalogPage, ImageRow};
use crate::types::{ContentId, ImageId, Standing};

/// Bytes of a content's id, the first part of a key.
const CONTENT: usize = 32;

/// What is done with a content and its hash.
type Visit<'a> = dyn FnMut(ContentId, Hash) + 'a;

/// The nearest pictures, and what finding them took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Similar {
    /// With the distance of their hashes, the nearest first; of equally near ones the one with
    /// more pixels, then the one with more bytes.
    pub rows: Vec<(u32, ImageRow)>,
    /// Hashes compared.
    pub compared: u64,
    /// Of these, those within the distance.
    pub within: u64,
    /// There are more than `rows`, or may be.
    pub more: bool,
}

/// The hashes of all contents, while they are in memory.
#[derive(Debug, Default)]
pub(super) struct InMemory {
    held: RwLock<Held>,
    /// Held while all are read: one thread does it, and others wait for its work.
    reading: Mutex<()>,
    /// The last question.
    asked: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
enum Held {
    #[default]
    Nothing,
    /// They are being read; what came since the beginning.
    Reading(Hashes),
    All(Hashes),
}

impl InMemory {
    /// To be told after each commit that may have brought pictures.
    pub(super) fn add(&self, pairs: impl Iterator<Item = (ImageId, ContentId)>) {
        let mut held = self.write();
        let (Held::Reading(hashes) | Held::All(hashes)) = &mut *held else { return };
        for (image, content) in pairs {
            if let ImageId::Hash(hash) = image
                && !hashes.add(content, hash)
            {
                *held = Held::Nothing;
                return;
            }
        }
    }

    /// Lets go of what nobody has asked for since `idle`. Never waits: it is in use if it would.
    pub(super) fn rest(&self, idle: Duration) {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.is_some_and(|asked| asked.elapsed() < idle) {
            return;
        }
        match self.held.try_write() {
            Ok(mut held) => forget(&mut held),
            Err(TryLockError::Poisoned(held)) => forget(&mut held.into_inner()),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// Shows all hashes to `nearest`, from memory when they fit in there. `read` reads them from
    /// the disk, in the order of contents.
    fn show(
        &self,
        nearest: &mut Nearest,
        read: &dyn Fn(&mut Visit<'_>) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        if self.show_held(nearest) {
            return Ok(());
        }
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have done it meanwhile.
        if self.show_held(nearest) {
            return Ok(());
        }
        *self.write() = Held::Reading(Hashes::default());
        let (mut all, mut too_many) = (Hashes::default(), false);
        let done = read(&mut |content, hash| {
            if too_many {
                return nearest.look(&content, &hash);
            }
            all.read(content, hash);
            if all.len() > MAX_HASHES {
                too_many = true;
                std::mem::take(&mut all).show(nearest);
            }
        });
        if done.is_err() || too_many {
            *self.write() = Held::Nothing;
            return done;
        }
        all.finish();
        all.show(nearest);
        let mut held = self.write();
        // Else more came meanwhile than is kept: the next question reads again.
        if let Held::Reading(since) = std::mem::take(&mut *held)
            && since.new_ones().all(|(content, hash)| all.add(content, hash))
        {
            *held = Held::All(all);
        }
        Ok(())
    }

    fn show_held(&self, nearest: &mut Nearest) -> bool {
        let held = self.read();
        let Held::All(hashes) = &*held else { return false };
        hashes.show(nearest);
        true
    }

    fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Not while they are being read: whoever reads them has just been asked.
fn forget(held: &mut Held) {
    if matches!(held, Held::All(_)) {
        *held = Held::Nothing;
    }
}

impl Index {
    /// The pictures whose hashes are within `most` bits of `hash`, at most `limit`: of those
    /// that [`Index::list`] lists all, unless thousands are near. The first question after a
    /// while reads all hashes; the next ones have them in memory.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn similar(
        &self,
        hash: &[u8; 32],
        most: u32,
        limit: usize,
        standing: &dyn Fn(&PeerId) -> Standing,
    ) -> Result<Similar, IndexError> {
        let mut again = true;
        loop {
            let mut nearest = Nearest::of(hash, most, MAX_SIMILAR_LOOKED);
            self.hashes
                .show(&mut nearest, &|visit| self.read("reading all hashes", |txn| each_hash(txn, visit)))?;
            let (compared, within) = (nearest.compared, nearest.within);
            let found = Found { limit, ..Found::default() };
            let mut near = nearest.finish();
            // Read from the disk, a pair comes twice when a third holder says something else.
            near.dedup();
            let found = self
                .read("looking up similar pictures", |txn| found.look_up(txn, &self.view(standing), &near))?;
            if found.stale > MAX_STALE_HASHES && again {
                *self.hashes.write() = Held::Nothing;
                again = false;
                continue;
            }
            let (rows, more) = found.finish();
            return Ok(Similar { rows, compared, within, more: more || within > MAX_SIMILAR_LOOKED as u64 });
        }
    }

    /// Gives back the memory of [`Index::similar`] when nobody has asked for so long.
    pub fn rest(&self, idle: Duration) {
        self.hashes.rest(idle);
    }

    /// The pictures of a page of a catalog may be new.
    pub(super) fn note_page(&self, page: &CatalogPage) {
        let held = page.entries.iter().filter_map(|entry| Some((entry, entry.held.as_ref()?)));
        self.hashes.add(held.map(|(entry, held)| (held.facts.image, entry.content)));
    }
}

/// What looking up near hashes has brought so far.
#[derive(Debug, Default)]
struct Found {
    limit: usize,
    rows: Vec<(u32, ImageRow)>,
    /// Hashes of nobody.
    stale: usize,
    more: bool,
}

impl Found {
    /// Looks up who has them, the nearest first, until there are enough.
    fn look_up(mut self, txn: &ReadTransaction, view: &list::View<'_>, near: &[Near]) -> Result<Self, Fault> {
        let keys = near.iter().map(|near| (ImageId::Hash(near.hash), near.content));
        let mut near = near.iter();
        list::known(txn, view, keys, &mut |known| {
            let Some(near) = near.next() else { return false };
            let last = self.rows.last().map_or(0, |(distance, _)| *distance);
            if self.rows.len() >= self.limit && near.distance > last {
                self.more = true;
                return false;
            }
            match known {
                Known::Nobody => self.stale += 1,
                Known::Away => {}
                Known::There(row) => self.rows.push((near.distance, row)),
            }
            if self.rows.len() > 2 * self.limit + 64 {
                self.shorten();
            }
            true
        })?;
        self.shorten();
        Ok(self)
    }

    /// Keeps the best.
    fn shorten(&mut self) {
        self.rows.sort_by_cached_key(|(distance, row)| {
            let facts = &row.facts;
            let pixels = u64::from(facts.width) * u64::from(facts.height);
            (*distance, std::cmp::Reverse((pixels, facts.bytes)), facts.image, row.content)
        });
        self.more |= self.rows.len() > self.limit;
        self.rows.truncate(self.limit);
    }

    /// As many as one answer can hold.
    fn finish(mut self) -> (Vec<(u32, ImageRow)>, bool) {
        let mut bytes = 0;
        let fit = self.rows.iter().take_while(|(_, row)| {
            bytes += list::row_bytes(row);
            bytes <= PAGE_BYTES
        });
        let fit = fit.count();
        let more = self.more || fit < self.rows.len();
        self.rows.truncate(fit);
        (self.rows, more)
    }
}

/// Every content with each hash that a known node gives it, in the order of contents. From the
/// smallest table that has both: a pair comes once for each holder.
fn each_hash(txn: &ReadTransaction, visit: &mut Visit<'_>) -> Result<(), Fault> {
    let mut last = None;
    for entry in txn.open_table(BY_CONTENT)?.range::<&[u8]>(..)? {
        let (key, image) = entry?;
        let content = key.value().first_chunk::<CONTENT>().ok_or(Fault::Value("by_content"))?;
        let content = ContentId(*content);
        let image = ImageId::from_bytes(image.value()).ok_or(Fault::Value("by_content"))?;
        // Nearly always the holders agree.
        if let ImageId::Hash(hash) = image
            && last != Some((content, hash))
        {
            last = Some((content, hash));
            visit(content, hash);
        }
    }
    Ok(())
}
