//! The trash: where dropped files go, and how they come back (promises P2, P2b, P3, P8).
//!
//! **Where.** `STATE/trash` when the state is on the folder's file system, as it is by
//! default; else `FOLDER/.p2pimg-trash`. A file is moved by its name and never copied, so
//! one that is on yet another drive (mounted inside the folder) can't be dropped at all.
//! One process at a time, held by a lock on the folder's marker: two nodes on one folder
//! could each drop the other's keeper.
//!
//! **Dropping** a file, in this order, with everything synced before the next step:
//!
//! 1. check the file (and a keeper in the same folder: read, hashed, synced);
//! 2. a folder `TRASH/ID` with the description, whose state is *dropping*: the intent;
//! 3. a second name for the file in there (a hard link);
//! 4. the file's own name is renamed to `TRASH/ID/.p2pimg-taken`; what was taken is compared
//!    with what was checked, and read once more; that third name goes;
//! 5. the caller asks the keeper's holders again ([`Dropping`]);
//! 6. the description's state becomes *dropped*: the commit.
//!
//! A plain rename in place of 3 and 4 would do on most file systems, and is done where
//! there are no hard links (FAT). But a rename between two folders is two changes, and
//! a disk that keeps the removal and loses the addition loses the file; and *link, then
//! unlink* instead of 4 would delete what somebody saves there between the two.
//!
//! **Restart.** An entry in the state *dropping* is put back: to its place, or under a free
//! name beside it when that is taken. *Restoring* goes on to be restored; *purging* with
//! the file still there is in the trash as before, because its proof is no longer fresh.
//!
//! **Hard links.** A file with several names is not dropped, only reported: it would free
//! nothing, and writing to the other name would change the trash. One that a person
//! removes (`Cause::Removed`), or a disk has damaged, loses the one name.
//!
//! **Damaged files** (`Cause::Damaged`) make room for the good bytes, which get the name before
//! the commit. A restart that finds them there commits; one that doesn't puts the damaged file back.
//!
//! Not guaranteed: anything against a program that has the file open and writes to it after
//! the commit (its bytes go to the trash with it; restoring shows them), and anything on
//! FAT when power fails during the rename. Opening reads every description: a trash of
//! 100,000 files costs as many small reads at the start.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::folder::{FolderError, MARKER_NAME, Root, TRASH_NAME};
use crate::limits::MAX_ENTRY_BYTES;
use crate::types::{ContentId, RelPath};

mod back;
mod disk;
mod dropping;
mod entry;
mod error;
mod files;
mod pins;
mod purge;
mod recover;

pub use disk::{Disk, Kind, Look, RealDisk};
pub use dropping::{DropPlan, Dropping};
pub(in crate::store) use entry::path_form;
pub use entry::{
    Cause, ENTRY_NAME, Entry, EntryId, Keeper, KeptAt, NotAnEntry, Proof, Reason, State, TooLarge,
};
pub use error::{DiskError, DropError, TrashError};
pub use pins::{PINS_NAME, Pin, PinCause};
pub use purge::{Emptied, EmptyPlan, Evidence, Expired, Purged, RestorePlan};
pub use recover::{Recovery, Returned};

/// Name of the trash in the state.
const IN_STATE: &str = "trash";

type Marker = dyn Fn() -> Result<(), FolderError> + Send + Sync;

/// The trash of one folder. Clones are the same trash. Calls block on the disk.
#[derive(Debug, Clone)]
pub struct Trash {
    inner: Arc<Inner>,
}

struct Inner {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    state: PathBuf,
    trash: PathBuf,
    device: u64,
    marker: Box<Marker>,
    book: Mutex<Book>,
    pins: Mutex<pins::Pins>,
    /// Held for its lock.
    _lock: Option<File>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trash").field("trash", &self.trash).finish_non_exhaustive()
    }
}

/// What is known without reading descriptions.
#[derive(Debug, Default)]
struct Book {
    /// Somebody works on these.
    claimed: HashSet<EntryId>,
    /// Counted in `usage`.
    known: HashSet<EntryId>,
    /// Dropped files by path and content.
    dropped: HashMap<[u8; 32], EntryId>,
    usage: Usage,
}

/// What the trash costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Files in it.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
}

/// An entry that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its place.
    pub path: PathBuf,
    /// What is wrong, for people.
    pub problem: String,
}

/// Where the pieces are: what [`Trash::open`] finds out by itself.
pub struct Place {
    /// The user's folder.
    pub dir: PathBuf,
    /// The state folder.
    pub state: PathBuf,
    /// The folder's marker, checked before anything is moved.
    pub marker: Box<Marker>,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("dir", &self.dir).field("state", &self.state).finish_non_exhaustive()
    }
}

impl Trash {
    /// Opens the trash of a folder, makes it when there is none, and settles what a crash
    /// left.
    ///
    /// # Errors
    /// [`TrashError::is_report_only`] when the folder allows no drops; else see
    /// [`TrashError`].
    pub fn open(root: &Root) -> Result<(Self, Recovery), TrashError> {
        let marker = root.clone();
        let lock = lock(root.dir())?;
        let place = Place {
            dir: root.dir().to_path_buf(),
            state: root.state().to_path_buf(),
            marker: Box::new(move || marker.check_marker()),
        };
        Self::open_on(Arc::new(RealDisk), place, Some(lock))
    }

    /// Opens a trash on any disk.
    ///
    /// # Errors
    /// Like [`Trash::open`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        place: Place,
        lock: Option<File>,
    ) -> Result<(Self, Recovery), TrashError> {
        let Place { dir, state, marker } = place;
        marker()?;
        let (trash, device) = settle_place(&*disk, &dir, &state)?;
        let pins = Mutex::new(pins::Pins::open(&*disk, &state)?);
        let book = Mutex::default();
        let inner = Inner { disk, dir, state, trash, device, marker, book, pins, _lock: lock };
        let trash = Self { inner: Arc::new(inner) };
        let recovery = trash.recover()?;
        Ok((trash, recovery))
    }

    /// The folder that is the trash.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.trash
    }

    /// What it costs.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.inner.book().usage
    }

    /// At most `limit` entries after `after`, the oldest first, and those among them that
    /// can't be read.
    ///
    /// # Errors
    /// When the trash can't be listed.
    pub fn list(
        &self,
        after: Option<&EntryId>,
        limit: usize,
    ) -> Result<(Vec<Entry>, Vec<Problem>), TrashError> {
        self.inner.list(after, limit)
    }

    /// One entry.
    ///
    /// # Errors
    /// [`TrashError::NoEntry`] or [`TrashError::Damaged`].
    pub fn show(&self, id: &EntryId) -> Result<Entry, TrashError> {
        self.inner.read(id)
    }

    /// The entry of the file that was dropped from `path` with these bytes: when the scan
    /// finds it there, somebody has put it back, and its content is to be pinned.
    #[must_use]
    pub fn reappeared(&self, path: &RelPath, content: &ContentId) -> Option<EntryId> {
        self.inner.book().dropped.get(&key(path, content)).cloned()
    }

    /// Keeps a content from being dropped, durably.
    ///
    /// # Errors
    /// When the pins can't be written; then nothing changed.
    pub fn pin(&self, content: ContentId, cause: PinCause, now: SystemTime) -> Result<(), TrashError> {
        let inner = &self.inner;
        Ok(inner.pins().add(&*inner.disk, content, cause, now)?)
    }

    /// The opposite of [`Trash::pin`].
    ///
    /// # Errors
    /// When the pins can't be written; then nothing changed.
    pub fn unpin(&self, content: ContentId) -> Result<(), TrashError> {
        let inner = &self.inner;
        Ok(inner.pins().remove(&*inner.disk, content)?)
    }

    /// The pin of a content.
    #[must_use]
    pub fn pinned(&self, content: &ContentId) -> Option<Pin> {
        self.inner.pins().get(content)
    }

    /// All pins.
    #[must_use]
    pub fn pins(&self) -> Vec<(ContentId, Pin)> {
        self.inner.pins().all()
    }
}

/// Reads a trash that no process needs to have open, for people: nothing is settled and
/// nothing changes.
///
/// # Errors
/// When the trash can't be listed.
pub fn read_trash(trash: &Path) -> Result<(Vec<Entry>, Vec<Problem>), TrashError> {
    files::read_all(&RealDisk, trash, None, usize::MAX)
}

/// The trash of a folder, where [`Trash::open`] would find it; `None` when there is none yet.
/// Takes no lock and changes nothing.
///
/// # Errors
/// When folder or state can't be looked at.
pub fn find_trash(dir: &Path, state: &Path) -> Result<Option<PathBuf>, TrashError> {
    let disk = &RealDisk;
    let trash = match files::look(disk, state)? {
        Some(_) => choose_place(disk, dir, state)?.0,
        None => dir.join(TRASH_NAME),
    };
    let found = files::look(disk, &trash)?;
    Ok(found.filter(|look| look.kind == Kind::Dir).map(|_| trash))
}

impl Inner {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pins(&self) -> MutexGuard<'_, pins::Pins> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self, after: Option<&EntryId>, limit: usize) -> Result<(Vec<Entry>, Vec<Problem>), TrashError> {
        files::read_all(&*self.disk, &self.trash, after, limit)
    }

    fn read(&self, id: &EntryId) -> Result<Entry, TrashError> {
        let path = self.trash.join(id.as_str());
        match self.disk.look(&path) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(TrashError::NoEntry { id: id.clone() });
            }
            Err(e) => return Err(DiskError::at("look into the trash", &path)(e).into()),
        }
        let damaged = |problem| TrashError::Damaged { id: id.clone(), problem };
        let data = self.disk.read(&path.join(ENTRY_NAME), MAX_ENTRY_BYTES);
        let data = data.map_err(|e| damaged(format!("its description can't be read: {e}")))?;
        Entry::decode(id, &data).map_err(damaged)
    }

    /// Keeps everybody else from the entry.
    fn claim(self: &Arc<Self>, id: &EntryId) -> Result<Claim, TrashError> {
        if self.book().claimed.insert(id.clone()) {
            Ok(Claim { inner: Arc::clone(self), id: id.clone() })
        } else {
            Err(TrashError::Busy { id: id.clone() })
        }
    }

    fn enter(&self, entry: &Entry) {
        let mut book = self.book();
        if !book.known.insert(entry.id.clone()) {
            return;
        }
        book.usage.files += 1;
        book.usage.bytes += entry.fingerprint.bytes;
        book.dropped.insert(key(&entry.path, &entry.content), entry.id.clone());
    }

    fn leave(&self, entry: &Entry) {
        let mut book = self.book();
        if !book.known.remove(&entry.id) {
            return;
        }
        book.usage.files = book.usage.files.saturating_sub(1);
        book.usage.bytes = book.usage.bytes.saturating_sub(entry.fingerprint.bytes);
        let key = key(&entry.path, &entry.content);
        if book.dropped.get(&key) == Some(&entry.id) {
            book.dropped.remove(&key);
        }
    }
}

/// An entry that nobody else works on meanwhile.
#[derive(Debug)]
struct Claim {
    inner: Arc<Inner>,
    id: EntryId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.inner.book().claimed.remove(&self.id);
    }
}

fn key(path: &RelPath, content: &ContentId) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&content.0).update(path.as_bytes());
    *hasher.finalize().as_bytes()
}

/// The place for the trash, and the device that it has to be on.
fn choose_place(disk: &dyn Disk, dir: &Path, state: &Path) -> Result<(PathBuf, u64), TrashError> {
    let look = |path: &Path| disk.look(path).map_err(DiskError::at("look at the folder", path));
    let device = look(dir)?.fingerprint.device;
    // A trash that is there already stays where it is, also when a state comes nearer.
    let beside = dir.join(TRASH_NAME);
    let near = look(state)?.fingerprint.device == device && disk.look(&beside).is_err();
    Ok((if near { state.join(IN_STATE) } else { beside }, device))
}

/// Finds the place of the trash, and makes it. The second value is its device.
fn settle_place(disk: &dyn Disk, dir: &Path, state: &Path) -> Result<(PathBuf, u64), TrashError> {
    let (trash, device) = choose_place(disk, dir, state)?;
    match disk.make_dir(&trash) {
        Ok(()) => {
            let parent = trash.parent().unwrap_or(dir);
            disk.sync_dir(parent).map_err(DiskError::at("make the trash", &trash))?;
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(DiskError::at("make the trash", &trash)(e).into()),
    }
    let found = disk.look(&trash).map_err(DiskError::at("look at the folder", &trash))?;
    if found.kind != Kind::Dir || found.fingerprint.device != device {
        return Err(TrashError::OtherDevice { folder: dir.to_path_buf(), trash });
    }
    Ok((trash, device))
}

/// Makes this process the only one that drops files of the folder.
fn lock(dir: &Path) -> Result<File, TrashError> {
    let path = dir.join(MARKER_NAME);
    let fail = DiskError::at("lock the folder", &path);
    let file = File::open(&path).map_err(&fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(TrashError::InUse { path: dir.to_path_buf() }),
        Err(std::fs::TryLockError::Error(e)) => Err(fail(e).into()),
    }
}

#[cfg(test)]
mod fakes;
#[cfg(test)]
mod tests;
