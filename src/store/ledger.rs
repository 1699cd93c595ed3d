//! What a node did and saw, and can't find out anew: what went for which keeper, which
//! content replaced which in place, and the history of its drops.
//!
//! One redb file beside the index, and apart from it: the index can be removed at any time
//! and a scan makes it anew, this file can't. So the program never removes or replaces it.
//! Where it can't be used, nothing is dropped.
//!
//! - Every write is on the disk before it returns, all of it or nothing. A crash at any
//!   instruction leaves a file that opens at once (redb's quick repair: without it the whole
//!   file is read first), and a new file appears whole, under its name, or not at all.
//! - After a write that failed (a full disk) everything is refused until the file can be opened again, which
//!   is tried every few seconds; after a page that makes no sense, until the node starts again. Nothing is
//!   dropped meanwhile.
//! - **Witnesses** (`witnesses`) are only ever added. One that several keepers
//!   carry has its planes kept once.
//! - **Edits** (`edits`) are symmetric and followed through chains.
//! - **History** (`history`) is for people: nothing is decided by it.
//! - **Removals** (`removals`) name copies that a person had removed: who was away is told.
//!
//! Not guaranteed: a ledger that somebody removes is a new one, and what it knew is gone.
//! That can't be told from a first start. Bit rot is found in planes when they are read (a
//! checksum), elsewhere only where redb notices.
//!
//! Calls block on the disk.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use libp2p::PeerId;
use redb::backends::InMemoryBackend;
use redb::{Builder, Database, ReadTransaction, ReadableDatabase as _, WriteTransaction};

use super::database::{Lasting, Migration};
use super::files::{TEMP_PREFIX, sync_folder};
use crate::limits::{LEDGER_CACHE_BYTES, MAX_EDIT_RECORDS, MAX_HISTORY};
use crate::picture::Witness;
use crate::picture::same::Edits;
use crate::protocol::Removal;
use crate::replication::removal;
use crate::types::{CatalogHead, ContentId, Prefix};

mod edits;
mod error;
mod history;
mod pack;
mod removals;
mod schema;
mod witnesses;

use error::Fault;
pub use error::LedgerError;
pub use history::DropRecord;

/// How much is remembered; the tests remember less.
#[derive(Debug, Clone, Copy)]
struct Limits {
    edits: u64,
    history: u64,
}

/// The ledger. See the module's documentation. Reads and writes may come from any thread;
/// writes take turns.
#[derive(Debug)]
pub struct Ledger {
    db: Lasting<LedgerError>,
    file: PathBuf,
    limits: Limits,
    /// redb panicked: what it would do next is not known.
    rotten: AtomicBool,
}

impl Ledger {
    /// Opens the ledger, and makes it if there is none.
    ///
    /// # Errors
    /// When another process has it open, when it was made by a newer program, when it is
    /// damaged or not a ledger, and when the disk fails. The file stays as it is.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let open = || made_if_missing(path).and_then(|()| Ok(builder().open(path)?));
        let mut ledger = Self::prepared(caught(open), path, schema::MIGRATIONS)?;
        ledger.db.reopen_with(path.to_owned(), |path| caught(|| Ok(builder().open(path)?)));
        Ok(ledger)
    }

    /// A ledger that is gone when it is dropped. The same code on redb's backend in memory.
    ///
    /// # Errors
    /// As [`Ledger::open`]; in practice none.
    pub fn in_memory() -> Result<Self, LedgerError> {
        let opened = builder().create_with_backend(InMemoryBackend::new()).map_err(Fault::from);
        Self::prepared(opened, Path::new("in memory"), schema::MIGRATIONS)
    }

    fn prepared(
        opened: Result<Database, Fault>,
        file: &Path,
        migrations: &[Migration<LedgerError>],
    ) -> Result<Self, LedgerError> {
        let prepared = opened.and_then(|db| caught(|| schema::prepare(&db, migrations)).map(|()| db));
        let db = Lasting::new(prepared.map_err(|fault| fault.at(file, "opening"))?);
        let limits = Limits { edits: MAX_EDIT_RECORDS, history: MAX_HISTORY };
        Ok(Self { db, file: file.to_owned(), limits, rotten: AtomicBool::new(false) })
    }

    /// Makes `keeper` carry these as well, durably. What it carries already stays as it was,
    /// and it never carries itself. Returns how many it carries now.
    ///
    /// # Errors
    /// [`LedgerError::TooMany`], and nothing has changed, when these would be more than
    /// [`MAX_WITNESSES`](crate::limits::MAX_WITNESSES); else when the ledger can't be read
    /// or written.
    pub fn add_witnesses(
        &self,
        keeper: ContentId,
        witnesses: &[Witness],
        at: SystemTime,
    ) -> Result<usize, LedgerError> {
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // Packing takes milliseconds each, and writers take turns.
        let news = self.read("reading witnesses", |txn| witnesses::missing(txn, keeper, witnesses))?;
        let Some(news) = news else {
            return self.witness_ids(keeper).map(|ids| ids.len());
        };
        self.write("storing witnesses", |txn| witnesses::add(txn, keeper, &news, at))
    }

    /// What `keeper` carries, in the order of the contents' ids.
    ///
    /// # Errors
    /// When the ledger can't be read; so for all methods below that have no other section.
    pub fn witnesses(&self, keeper: ContentId) -> Result<Vec<Witness>, LedgerError> {
        self.read("reading witnesses", |txn| witnesses::of(txn, keeper))
    }

    /// The contents of what `keeper` carries, without reading their planes.
    ///
    /// # Errors
    /// When the ledger can't be read.
    pub fn witness_ids(&self, keeper: ContentId) -> Result<BTreeSet<ContentId>, LedgerError> {
        self.read("reading witnesses", |txn| witnesses::ids(txn, keeper))
    }

    /// Remembers, durably, that the one replaced the other in place, for each pair. In which
    /// order is not remembered. A pair that is known changes nothing.
    ///
    /// # Errors
    /// When the ledger can't be read or written.
    pub fn record_edits(&self, edits: &[(ContentId, ContentId)]) -> Result<(), LedgerError> {
        let known = self.read("reading edits", |txn| edits::are_known(txn, edits))?;
        if known {
            return Ok(());
        }
        self.write("storing edits", |txn| edits::record(txn, edits, self.limits.edits))
    }

    /// The contents that `content` is related to by edits, through chains of them: at most
    /// [`MAX_EDITS`](crate::limits::MAX_EDITS), the nearest.
    ///
    /// # Errors
    /// When the ledger can't be read.
    pub fn edits_of(&self, content: ContentId) -> Result<Edits, LedgerError> {
        self.read("reading edits", |txn| edits::of(txn, content))
    }

    /// Adds a drop to the history, durably. The same file in the trash is recorded once,
    /// so that a restart may record its drop again. Texts and lists that are too long for
    /// the trash's own description are cut.
    ///
    /// # Errors
    /// When the ledger can't be read or written.
    pub fn record_drop(&self, record: &DropRecord) -> Result<(), LedgerError> {
        self.write("storing a drop", |txn| history::record(txn, record, self.limits.history))
    }

    /// The last drops, the newest first, at most `limit`, in which what went has a picture
    /// or content that begins with `prefix`, or what it went for such a content.
    ///
    /// # Errors
    /// When the ledger can't be read.
    pub fn drops_of(&self, prefix: &Prefix, limit: usize) -> Result<Vec<DropRecord>, LedgerError> {
        self.read("reading the history", |txn| history::of(txn, prefix, limit))
    }

    /// Remembers, durably, that a person had these copies removed: at most
    /// [`MAX_REMOVALS`](crate::limits::MAX_REMOVALS). What of it is news, as it is remembered.
    ///
    /// # Errors
    /// When the ledger can't be read or written.
    pub fn note_removals(&self, told: &[Removal], now_ms: u64) -> Result<Vec<Removal>, LedgerError> {
        // Each member that comes up tells all it knows, and a write waits for the disk.
        if !self.read("reading removals", |txn| removals::are_news(txn, told, now_ms))? {
            return Ok(Vec::new());
        }
        let most = crate::limits::MAX_REMOVALS;
        self.write("storing removals", |txn| removals::note(txn, told, now_ms, most))
    }

    /// What is remembered of one copy.
    ///
    /// # Errors
    /// When the ledger can't be read.
    pub fn removal(&self, content: ContentId, peer: PeerId) -> Result<Option<Removal>, LedgerError> {
        self.read("reading removals", |txn| removals::get(txn, &peer, &content))
    }

    /// Whether a person had the copy removed that `peer` has at (or before, when only that is
    /// known) this position of its catalog: then it is none, and none is made of it, until the
    /// peer has removed it.
    ///
    /// # Errors
    /// When the ledger can't be read.
    pub fn is_removed(&self, content: ContentId, peer: PeerId, at: CatalogHead) -> Result<bool, LedgerError> {
        let removal = self.removal(content, peer)?;
        Ok(removal.is_some_and(|removal| removal::is_meant(&removal, at.epoch, at.seq)))
    }

    /// What `peer` has still to remove, as far as this node knows.
    ///
    /// # Errors
    /// When the ledger can't be read.
    pub fn open_removals(&self, peer: PeerId) -> Result<Vec<Removal>, LedgerError> {
        self.read("reading removals", |txn| removals::open_of(txn, &peer))
    }

    /// All that are remembered.
    ///
    /// # Errors
    /// When the ledger can't be read.
    pub fn removals(&self) -> Result<Vec<Removal>, LedgerError> {
        self.read("reading removals", removals::all)
    }

    /// This node has carried one out, or need not: it is not among [`Ledger::open_removals`] any
    /// more.
    ///
    /// # Errors
    /// When the ledger can't be read or written.
    pub fn removal_done(&self, removal: &Removal) -> Result<(), LedgerError> {
        self.write("storing removals", |txn| removals::done(txn, removal))
    }

    fn read<T>(
        &self,
        doing: &'static str,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Fault>,
    ) -> Result<T, LedgerError> {
        self.run(doing, |db| read(&db.begin_read()?))
    }

    /// An error anywhere drops the transaction, and with it all that it did.
    fn write<T>(
        &self,
        doing: &'static str,
        write: impl FnOnce(&WriteTransaction) -> Result<T, Fault>,
    ) -> Result<T, LedgerError> {
        self.run(doing, |db| {
            let mut txn = db.begin_write()?;
            // What is committed is on the disk by redb's default, `Durability::Immediate`.
            txn.set_quick_repair(true);
            let result = write(&txn)?;
            txn.commit()?;
            Ok(result)
        })
    }

    fn run<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Database) -> Result<T, Fault>,
    ) -> Result<T, LedgerError> {
        let work = || self.db.with(|db| caught(|| work(db)));
        let outcome = if self.rotten.load(Ordering::Relaxed) { Err(Fault::Value(ROTTEN)) } else { work() };
        if matches!(outcome, Err(Fault::Value(ROTTEN))) {
            self.rotten.store(true, Ordering::Relaxed);
        }
        outcome.map_err(|fault| fault.at(&self.file, doing))
    }
}

/// redb met a page that makes no sense to it.
const ROTTEN: &str = "a page";

/// redb panics at some pages that have rotted, and reports others. A panic would end the
/// thread that watches the folder.
fn caught<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Fault::Value(ROTTEN)))
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(LEDGER_CACHE_BYTES);
    builder
}

/// Puts a new ledger at `path` if nothing is there. Not made in its place: redb takes what a
/// crash leaves of a file in the making for a damaged one, and so would we, for ever.
fn made_if_missing(path: &Path) -> Result<(), Fault> {
    if path.try_exists().map_err(io)? {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let temp = tempfile::Builder::new().prefix(TEMP_PREFIX).suffix(".tmp").tempfile_in(folder).map_err(io)?;
    let db = builder().create(temp.path())?;
    schema::prepare(&db, schema::MIGRATIONS)?;
    db.close()?;
    temp.as_file().sync_all().map_err(io)?;
    match temp.persist_noclobber(path) {
        Err(error) if error.error.kind() != std::io::ErrorKind::AlreadyExists => Err(io(error.error)),
        // Somebody else made it at this moment.
        _ => sync_folder(folder).map_err(io),
    }
}

fn io(error: std::io::Error) -> Fault {
    Fault::Database(Box::new(redb::Error::Io(error)))
}

#[cfg(test)]
pub(in crate::store) mod tests;
