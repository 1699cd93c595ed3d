//! The embedded index: what this node's files and replicas are, its catalog, and what the
//! other nodes' catalogs say.
//!
//! One redb file. Everything in it can be made anew: own contents by a scan, peers'
//! catalogs by asking them. So a damaged file is removed, not repaired, and nothing that
//! can't be recomputed may ever be kept here.
//!
//! - [`Index::apply`] is one durable transaction: after a crash the index knows a batch of
//!   changes completely or not at all, and the next scan does the rest.
//! - Pages of peers' catalogs are committed without waiting for the disk (they are a cache).
//!   redb rolls a crashed file back to the last durable commit as a whole, so rows and
//!   positions always agree; the worst case is to pull some pages again.
//! - Own contents are rows of the merged table like everybody's, so that a list has one
//!   source. Their holder is written as nothing instead of the peer id: own rows sort first,
//!   and a new identity invalidates none.
//!
//! - After a write that failed (a full disk) the file is opened again, as it was last stored.
//!
//! Not guaranteed: a page of a list is one snapshot, a sequence of pages is not. A content
//! that comes or goes meanwhile may be missed; one that stays is listed exactly once.
//!
//! Calls block on the disk. The node calls them from a worker, never within the swarm's poll.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};

use libp2p::PeerId;
use redb::backends::InMemoryBackend;
use redb::{Builder, Database, Durability, ReadTransaction, ReadableDatabase as _, WriteTransaction};

use super::database::Lasting;
use crate::limits::{INDEX_CACHE_BYTES, MAX_LAZY_COMMITS, MAX_LIST_STEPS, MAX_PAGE_ENTRIES, PAGE_BYTES};
use crate::protocol::{CatalogEntry, CatalogPage, ImageRow};
use crate::types::{CatalogHead, ContentId, Epoch, FolderId, ImageId, RelPath, Seq, Standing};

mod catalog;
mod digest;
mod error;
mod list;
mod look;
mod migrate;
mod own;
mod own_page;
mod peers;
mod pictures;
mod repeated;
mod schema;
mod similar;
mod survey;
mod swarm;
mod words;

pub use crate::types::{Prefix, PrefixError};
use error::Fault;
pub use error::IndexError;
pub use similar::Similar;
pub use words::{
    Applied, Change, ContentRecord, Copies, FileKind, FileRecord, Fingerprint, Found, PageOutcome, Totals,
};

/// Rows with whether a filter matches them, and where the next page starts.
pub type MarkedPage = (Vec<(ImageRow, bool)>, Option<Vec<u8>>);

/// What one page may hold and cost; the tests use smaller ones.
#[derive(Debug, Clone, Copy)]
struct PageLimits {
    entries: usize,
    bytes: usize,
    /// Entries looked at for a page of the list.
    steps: usize,
}

/// The index. See the module's documentation. Reads and writes may come from any thread;
/// writes take turns.
#[derive(Debug)]
pub struct Index {
    db: Lasting<IndexError>,
    file: PathBuf,
    me: PeerId,
    folder: RwLock<FolderId>,
    /// Commits since the last durable one.
    lazy_commits: AtomicU32,
    limits: PageLimits,
    /// All hashes, while somebody asks for similar pictures.
    hashes: similar::InMemory,
}

impl Index {
    /// Opens the index of node `me`, and makes it if there is none. After a crash redb
    /// first checks the whole file, about a second for 100,000 pictures.
    ///
    /// # Errors
    /// When another process has it open, when it was made by a newer program (it stays
    /// untouched), when it is damaged or not an index, and when the disk fails.
    pub fn open(path: &Path, me: PeerId) -> Result<Self, IndexError> {
        let opened = builder().create(path).map_err(Fault::from);
        // Not made anew when it is gone: a scan would have to follow.
        let mut index = Self::prepared(opened, path, me, migrate::MIGRATIONS)?;
        index.db.reopen_with(path.to_owned(), |path| Ok(builder().open(path)?));
        Ok(index)
    }

    /// An index that is gone when it is dropped. The same code on redb's backend in memory.
    ///
    /// # Errors
    /// As [`Index::open`]; in practice none.
    pub fn in_memory(me: PeerId) -> Result<Self, IndexError> {
        let opened = builder().create_with_backend(InMemoryBackend::new()).map_err(Fault::from);
        Self::prepared(opened, Path::new("in memory"), me, migrate::MIGRATIONS)
    }

    fn prepared(
        opened: Result<Database, Fault>,
        file: &Path,
        me: PeerId,
        migrations: &[migrate::Migration],
    ) -> Result<Self, IndexError> {
        let prepared = opened.and_then(|db| schema::prepare(&db, migrations).map(|()| db));
        let db = Lasting::new(prepared.map_err(|fault| fault.at(file, "opening"))?);
        let folder = RwLock::new(FolderId(0));
        let limits = PageLimits { entries: MAX_PAGE_ENTRIES, bytes: PAGE_BYTES, steps: MAX_LIST_STEPS };
        let (lazy_commits, hashes) = (AtomicU32::new(0), similar::InMemory::default());
        Ok(Self { db, file: file.to_owned(), me, folder, lazy_commits, limits, hashes })
    }

    /// Tells which folder the own files are in; counts in [`ImageRow::copies`]. To be called
    /// once after opening. Not stored: the folder's marker is the source.
    pub fn set_folder(&self, folder: FolderId) {
        *self.folder.write().unwrap_or_else(PoisonError::into_inner) = folder;
    }

    /// What is known of a file.
    ///
    /// # Errors
    /// When the index can't be read; so for all methods below that have no other section.
    pub fn file(&self, path: &RelPath) -> Result<Option<FileRecord>, IndexError> {
        self.read("looking up a file", |txn| look::file(txn, path))
    }

    /// The known files after a path, in byte order, at most `limit`.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn files(
        &self,
        after: Option<&RelPath>,
        limit: usize,
    ) -> Result<Vec<(RelPath, FileRecord)>, IndexError> {
        self.read("reading the files", |txn| look::files(txn, after, limit))
    }

    /// Takes in changes of the folder and of the replicas, all or none, durably. Applying the same changes
    /// again changes nothing.
    ///
    /// # Errors
    /// When the index can't be read or written.
    pub fn apply(&self, changes: Vec<Change>) -> Result<Applied, IndexError> {
        if changes.is_empty() {
            return Ok(Applied::default());
        }
        let applied = self.write("storing changes", Durability::Immediate, |txn| own::apply(txn, changes))?;
        self.hashes.add(applied.added.iter().copied());
        Ok(applied)
    }

    /// The [`Applied::edited`] that applying these changes would give: for whoever has to
    /// write it down *before*, because a crash right after applying them would lose it.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn would_edit(&self, changes: &[Change]) -> Result<Vec<(ContentId, ContentId)>, IndexError> {
        self.read("looking for edits", |txn| look::would_edit(txn, changes))
    }

    /// Remembers whether somebody wants a content kept, durably. Only a mirror of what the
    /// trash knows, so that the catalog tells it; a content that comes later is told as
    /// pinned from the start.
    ///
    /// # Errors
    /// When the index can't be read or written.
    pub fn set_pinned(&self, content: ContentId, pinned: bool) -> Result<Applied, IndexError> {
        let pin = |txn: &_| own::set_pinned(txn, content, pinned);
        self.write("storing a pin", Durability::Immediate, pin)
    }

    /// Remembers that these contents are pinned, and no others: what is pinned and what the
    /// index says may have parted while the node was off, or when the index was made anew.
    ///
    /// # Errors
    /// When the index can't be read or written.
    pub fn set_pins(&self, all: &BTreeSet<ContentId>) -> Result<Applied, IndexError> {
        self.write("storing the pins", Durability::Immediate, |txn| own::set_pins(txn, all))
    }

    /// What is known of a content of this node.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn content(&self, content: &ContentId) -> Result<Option<ContentRecord>, IndexError> {
        self.read("looking up a content", |txn| look::content(txn, content))
    }

    /// The contents of a picture that this node holds, as catalog entries: at most one page.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn held(&self, image: &ImageId) -> Result<Vec<CatalogEntry>, IndexError> {
        self.read("looking up an image", |txn| look::held(txn, image))
    }

    /// The contents after one, in their order, that are here as replicas, at most `limit`.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn replicas(&self, after: Option<&ContentId>, limit: usize) -> Result<Vec<ContentId>, IndexError> {
        self.read("reading the replicas", |txn| look::replicas(txn, after, limit))
    }

    /// Own contents after one, in their order, that are in more than one file of the folder.
    /// With them (maybe none) comes what to pass as `after` for the next page; nothing at
    /// the end. At least `steps` files are looked at for a page.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn repeated(
        &self,
        after: Option<&ContentId>,
        steps: usize,
    ) -> Result<(Vec<ContentId>, Option<ContentId>), IndexError> {
        self.read("looking for equal files", |txn| repeated::page(txn, after, steps))
    }

    /// What this node holds, in constant time.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn totals(&self) -> Result<Totals, IndexError> {
        self.read("counting", look::totals)
    }

    /// The first files with a problem, and the problem.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn problems(&self, limit: usize) -> Result<Vec<(RelPath, String)>, IndexError> {
        self.read("reading the problems", |txn| look::problems(txn, limit))
    }

    /// The contents after one, in their order, that are here as files or as replicas, at most
    /// `limit`, each with its length.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn contents(
        &self,
        after: Option<&ContentId>,
        limit: usize,
    ) -> Result<Vec<(ContentId, u64)>, IndexError> {
        self.read("reading the contents", |txn| look::contents(txn, after, limit))
    }

    /// The files after a path, in byte order, that their disk has damaged, with the contents that
    /// they ought to be; at most `limit`.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn damaged(
        &self,
        after: Option<&RelPath>,
        limit: usize,
    ) -> Result<Vec<(RelPath, ContentId)>, IndexError> {
        self.read("reading the damaged files", |txn| look::damaged(txn, after, limit))
    }

    /// How far this node's catalog goes.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn head(&self) -> Result<CatalogHead, IndexError> {
        self.read("reading the catalog's head", schema::head)
    }

    /// This node's catalog after a position, at most one page; from the beginning
    /// (`from` is 0) when the position is not of this catalog's life.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn catalog_page(&self, epoch: Epoch, after: Seq) -> Result<CatalogPage, IndexError> {
        self.read("reading the catalog", |txn| catalog::page(txn, self.limits, epoch, after))
    }

    /// How far a peer's catalog is known; `None` when nothing is.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn peer_position(&self, peer: &PeerId) -> Result<Option<CatalogHead>, IndexError> {
        self.read("reading a peer's position", |txn| peers::position(txn, peer))
    }

    /// How many entries of each peer's catalog are here.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn cached(&self) -> Result<Vec<(PeerId, u64)>, IndexError> {
        self.read("counting the peers' entries", peers::cached)
    }

    /// How far a peer's catalog is known, and how many entries of it are here.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn peer_progress(&self, peer: &PeerId) -> Result<Option<(CatalogHead, u64)>, IndexError> {
        self.read("reading a peer's position", |txn| peers::progress(txn, peer))
    }

    /// The peers of whose catalogs something is known.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn peers(&self) -> Result<Vec<PeerId>, IndexError> {
        self.read("reading the peers", peers::all)
    }

    /// Takes in a page of a peer's catalog, all or nothing. A page that comes twice changes
    /// nothing the second time.
    ///
    /// When the catalog began anew (another epoch, or a head behind the known position),
    /// what was known stays until the new one is complete, then the rest of the old rows goes
    /// in the transaction of the last page.
    ///
    /// # Errors
    /// [`IndexError::BadPage`] and [`IndexError::CatalogTooLong`] are the peer's fault; else
    /// when the index can't be read or written.
    pub fn apply_peer_page(
        &self,
        peer: &PeerId,
        folder: FolderId,
        page: &CatalogPage,
    ) -> Result<PageOutcome, IndexError> {
        if *peer == self.me {
            return Ok(PageOutcome::Ignored);
        }
        peers::check(peer, page)?;
        let lazy = self.lazy_commits.fetch_add(1, Ordering::Relaxed) < MAX_LAZY_COMMITS;
        let durability = if lazy { Durability::None } else { Durability::Immediate };
        let outcome =
            self.write("storing a peer's catalog", durability, |txn| peers::apply(txn, peer, folder, page))?;
        self.note_page(page);
        Ok(outcome)
    }

    /// Removes all that is known of a peer's catalog, in one transaction.
    ///
    /// # Errors
    /// When the index can't be read or written.
    pub fn forget_peer(&self, peer: &PeerId) -> Result<(), IndexError> {
        self.write("forgetting a peer", Durability::Immediate, |txn| peers::forget(txn, peer))
    }

    /// Waits until all that was taken in so far is on the disk.
    ///
    /// # Errors
    /// When the index can't be written.
    pub fn flush(&self) -> Result<(), IndexError> {
        self.write("writing to the disk", Durability::Immediate, |_| Ok(()))
    }

    /// A page of all images, in the order of (image, content): those that this node or a
    /// peer that is there holds (`standing` tells), and whose path at one of these contains
    /// `filter`, ignoring ASCII case. Copies are counted at trusted ones. With the rows (maybe none) comes what to pass as
    /// `after` for the next page; nothing at the end.
    ///
    /// # Errors
    /// [`IndexError::BadCursor`] when `after` is not what a page came with; else when the
    /// index can't be read.
    pub fn list(
        &self,
        after: Option<&[u8]>,
        filter: Option<&str>,
        standing: &dyn Fn(&PeerId) -> Standing,
    ) -> Result<(Vec<ImageRow>, Option<Vec<u8>>), IndexError> {
        let (rows, next) = self.list_marked(after, filter, false, standing)?;
        Ok((rows.into_iter().map(|(row, _)| row).collect(), next))
    }

    /// Like [`Index::list`]; each row with whether the filter matches, and, when `all`, the others
    /// too: for whoever knows of further holders.
    ///
    /// # Errors
    /// As [`Index::list`].
    pub fn list_marked(
        &self,
        after: Option<&[u8]>,
        filter: Option<&str>,
        all: bool,
        standing: &dyn Fn(&PeerId) -> Standing,
    ) -> Result<MarkedPage, IndexError> {
        self.read("listing", |txn| list::list(txn, &self.view(standing), after, filter, all))
    }

    /// The rows that a prefix means, at most [`MAX_MATCHES`](crate::limits::MAX_MATCHES),
    /// and whether there may be more.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn resolve(
        &self,
        prefix: &Prefix,
        standing: &dyn Fn(&PeerId) -> Standing,
    ) -> Result<(Vec<ImageRow>, bool), IndexError> {
        self.read("looking up a prefix", |txn| list::resolve(txn, &self.view(standing), prefix))
    }

    /// All nodes whose catalogs name a content, live or not, with their paths; this node
    /// first when it is one of them.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn holders(&self, content: &ContentId) -> Result<Vec<(PeerId, RelPath)>, IndexError> {
        self.read("looking up holders", |txn| list::holders(txn, self.me, content))
    }

    /// The trusted nodes that are there (`standing` tells) and whose catalogs name a content,
    /// this one first, with their folders; and whether one of them has it pinned.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn copies(
        &self,
        content: &ContentId,
        standing: &dyn Fn(&PeerId) -> Standing,
    ) -> Result<Copies, IndexError> {
        self.read("looking up copies", |txn| list::copies(txn, &self.view(standing), content))
    }

    /// Distinct contents of all known nodes, live or not, in constant time. Counting only
    /// the live ones would read the whole table; the node forgets peers that stay away.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn swarm_images(&self) -> Result<u64, IndexError> {
        self.read("counting", |txn| schema::number(txn, schema::SWARM_CONTENTS))
    }

    fn view<'a>(&self, standing: &'a dyn Fn(&PeerId) -> Standing) -> list::View<'a> {
        let folder = *self.folder.read().unwrap_or_else(PoisonError::into_inner);
        list::View { me: self.me, folder, standing, limits: self.limits }
    }

    fn read<T>(
        &self,
        doing: &'static str,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Fault>,
    ) -> Result<T, IndexError> {
        self.db.with(|db| read(&db.begin_read()?)).map_err(|fault| fault.at(&self.file, doing))
    }

    /// An error anywhere drops the transaction, and with it all that it did.
    fn write<T>(
        &self,
        doing: &'static str,
        durability: Durability,
        write: impl FnOnce(&WriteTransaction) -> Result<T, Fault>,
    ) -> Result<T, IndexError> {
        let run = |db: &Database| {
            let mut txn = db.begin_write()?;
            txn.set_durability(durability)?;
            let result = write(&txn)?;
            txn.commit()?;
            if matches!(durability, Durability::Immediate) {
                self.lazy_commits.store(0, Ordering::Relaxed);
            }
            Ok(result)
        };
        self.db.with(run).map_err(|fault: Fault| fault.at(&self.file, doing))
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(INDEX_CACHE_BYTES);
    builder
}

#[cfg(test)]
mod tests;
