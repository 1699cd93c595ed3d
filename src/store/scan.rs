//! Finding out what changed in the folder, and telling the index.
//!
//! A pass merges two sorted streams, the folder (`walk`) and the index (`known`): a
//! file in both with the same fingerprint is unchanged, other files are inspected on all
//! cores (`pool`) once they have settled (`settle`), and a path only in the index is
//! gone. Memory does not grow with the number of files.
//!
//! **Fingerprint.** Size, mtime, ctime and inode must all be the same. A ctime that moved
//! alone (`chmod`, a hard link, a restored mtime) means reading the file again: anything
//! that sets the mtime back after changing the bytes looks exactly like that. The device
//! is *not* compared: its number changes when a drive is plugged in anew, and a million
//! files would be read again for nothing. It serves to notice a drive that is mounted
//! *inside* the folder and is away: an empty folder whose files were on another device
//! keeps them in the index. (File systems without stable inodes, FAT and exFAT, are read
//! again after each mount: slow, never wrong.)
//!
//! **Nothing is withdrawn because of an error.** What is below an unreadable folder stays,
//! every path that seems gone is looked at once more before it is withdrawn, and the
//! folder's marker is checked before every write to the index.
//!
//! Links to folders are not followed. A link to a file in the folder needs no attention,
//! as the file is seen itself; one that leads out is counted and skipped. A folder with a
//! marker of its own belongs to another node and is left to it: counted here too, one file
//! would be two copies.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::decode::{Inspection, Inspector};
use super::folder::{FolderError, Root};
use super::index::{Applied, Change, FileRecord, Index, IndexError};
use crate::limits::{MAX_DIRTY_PATHS, SETTLE, SETTLE_TRUNCATED};
use crate::types::RelPath;

mod each_file;
mod known;
mod pass;
mod pool;
mod settle;
mod standing;
mod walk;

pub(super) use each_file::each_file;
use pass::Pass;
use pool::{Pool, Shared};
use settle::{Now, Settling};
use standing::Standing;
pub(in crate::store) use walk::fingerprint;

/// What a scan needs of the index.
pub trait Shelf: Send + Sync {
    /// See [`Index::file`].
    ///
    /// # Errors
    /// The index's.
    fn file(&self, path: &RelPath) -> Result<Option<FileRecord>, IndexError>;
    /// See [`Index::files`]: in byte order of the paths.
    ///
    /// # Errors
    /// The index's.
    fn files(&self, after: Option<&RelPath>, limit: usize) -> Result<Vec<(RelPath, FileRecord)>, IndexError>;
    /// See [`Index::apply`].
    ///
    /// # Errors
    /// The index's.
    fn apply(&self, changes: Vec<Change>) -> Result<Applied, IndexError>;
}

impl Shelf for Index {
    fn file(&self, path: &RelPath) -> Result<Option<FileRecord>, IndexError> {
        Self::file(self, path)
    }
    fn files(&self, after: Option<&RelPath>, limit: usize) -> Result<Vec<(RelPath, FileRecord)>, IndexError> {
        Self::files(self, after, limit)
    }
    fn apply(&self, changes: Vec<Change>) -> Result<Applied, IndexError> {
        Self::apply(self, changes)
    }
}

/// What a scan needs of the decoders.
pub trait Inspect: Send + Sync {
    /// See [`Inspector::inspect`].
    ///
    /// # Errors
    /// When the file can't be read.
    fn inspect(&self, file: &File, name: &[u8]) -> io::Result<Inspection>;
}

impl Inspect for Inspector {
    fn inspect(&self, file: &File, name: &[u8]) -> io::Result<Inspection> {
        Self::inspect(self, file, name)
    }
}

/// Who is told while a scan goes on. Called on the scanning thread.
pub trait Observer {
    /// This folder is about to be listed: the moment to watch it.
    fn directory(&self, _dir: &Path) {}
    /// At most every [`PROGRESS_EVERY`](crate::limits::PROGRESS_EVERY), and at the end.
    fn progress(&self, _progress: &Progress) {}
    /// The index has taken a batch of changes.
    fn applied(&self, _applied: Applied) {}
    /// A path that can't be used, wholly or partly.
    fn problem(&self, _path: &RelPath, _reason: &str) {}
}

/// Nobody watches.
impl Observer for () {}

/// How far a scan is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files looked at: unchanged, inspected, or left for later.
    pub looked_at: u64,
    /// Files found so far. During a scan of the whole folder a second, faster walk counts
    /// them, so that this is the total soon after the start.
    pub found: u64,
    /// Files inspected.
    pub inspected: u64,
    /// Bytes of the inspected files.
    pub bytes: u64,
}

/// What a scan counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files looked at.
    pub looked_at: u64,
    /// The same as in the index.
    pub unchanged: u64,
    /// Inspected and given to the index.
    pub inspected: u64,
    /// Their bytes.
    pub inspected_bytes: u64,
    /// Withdrawn from the index.
    pub gone: u64,
    /// Left for a later look.
    pub unsettled: u64,
    /// Not found, and kept in the index because their folder can't be read or their drive
    /// is away.
    pub held: u64,
    /// Links that lead out of the folder.
    pub links: u64,
    /// Folders left to other nodes.
    pub other_folders: u64,
    /// Photos and videos of types that are not handled, by type.
    pub unprotected: BTreeMap<String, u64>,
}

/// What a scan did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Numbers.
    pub counts: Counts,
    /// The first [`MAX_REPORTED_PROBLEMS`](crate::limits::MAX_REPORTED_PROBLEMS) paths
    /// that could not be read when they were last looked at, now or by an earlier scan.
    /// (What could be read and not decoded is in the index.)
    pub problems: Vec<(RelPath, String)>,
    /// How many there are.
    pub problem_count: u64,
    /// When [`Scanner::look_at_waiting`] has something to do next.
    pub next_look: Option<Instant>,
    /// More files wait than are remembered: the whole folder needs another scan.
    pub rescan: bool,
}

/// Why a scan ended early. What it gave to the index until then stands; nothing was
/// withdrawn.
#[derive(Debug, Error)]
pub enum ScanError {
    /// Told to.
    #[error("the scan was stopped")]
    Cancelled,
    /// The folder is gone or another.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The folder can't be listed.
    #[error("can't list the folder {}: {source}", path.display())]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Waiting times and width of a scan.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// See [`SETTLE`].
    pub settle: Duration,
    /// See [`SETTLE_TRUNCATED`].
    pub settle_truncated: Duration,
    /// Files inspected at once.
    pub threads: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Self { settle: SETTLE, settle_truncated: SETTLE_TRUNCATED, threads }
    }
}

/// Keeps an index true to a folder. One for each folder, driven by one thread.
pub struct Scanner<S, I> {
    root: Root,
    shelf: Arc<S>,
    inspector: Arc<I>,
    settings: Settings,
    cancel: Arc<AtomicBool>,
    settling: Settling,
    /// Their bytes were found to differ from what the index says: their fingerprints
    /// prove nothing.
    distrusted: HashSet<RelPath>,
    standing: Standing,
    clock: Box<dyn Fn() -> Now + Send>,
    list: walk::List,
}

impl<S: Shelf, I: Inspect> Scanner<S, I> {
    /// A scanner that stops, between two files, once `cancel` is true.
    pub fn new(
        root: Root,
        shelf: Arc<S>,
        inspector: Arc<I>,
        settings: Settings,
        cancel: Arc<AtomicBool>,
    ) -> Self {
        Self {
            root,
            shelf,
            inspector,
            settings,
            cancel,
            settling: Settling::default(),
            distrusted: HashSet::new(),
            standing: Standing::default(),
            clock: Box::new(Now::get),
            list: walk::list,
        }
    }

    /// Looks at the whole folder. Does not wait for unsettled files: see
    /// [`Report::next_look`].
    ///
    /// # Errors
    /// See [`ScanError`].
    pub fn full_scan(&mut self, observer: &dyn Observer) -> Result<Report, ScanError> {
        self.settling.overflow = false;
        self.run(None, observer)
    }

    /// Looks at some paths, folders with all that is in them.
    ///
    /// # Errors
    /// See [`ScanError`].
    pub fn look_at(&mut self, paths: &[RelPath], observer: &dyn Observer) -> Result<Report, ScanError> {
        self.run(Some(paths), observer)
    }

    /// Looks at the paths whose waiting time is over.
    ///
    /// # Errors
    /// See [`ScanError`].
    pub fn look_at_waiting(&mut self, observer: &dyn Observer) -> Result<Report, ScanError> {
        let now = (self.clock)().steady;
        let due = self.settling.due(now);
        let mut report = self.run(Some(&due), observer)?;
        // Whatever was not made to wait anew has been dealt with.
        for path in &due {
            self.settling.done_if_due(path, now);
        }
        report.next_look = self.settling.next_due();
        Ok(report)
    }

    /// When [`Scanner::look_at_waiting`] has something to do next.
    #[must_use]
    pub fn next_look(&self) -> Option<Instant> {
        self.settling.next_due()
    }

    /// Makes the next look at `path` read its bytes, whatever its fingerprint says.
    pub fn distrust(&mut self, path: RelPath) {
        if self.distrusted.len() < MAX_DIRTY_PATHS {
            self.distrusted.insert(path);
        }
    }

    fn run(&mut self, paths: Option<&[RelPath]>, observer: &dyn Observer) -> Result<Report, ScanError> {
        self.root.check_marker()?;
        let (over, found) = (AtomicBool::new(false), AtomicU64::new(0));
        let (root, list, cancel) = (&self.root, self.list, &*self.cancel);
        let shared = Shared { inspector: &*self.inspector, dir: root.dir(), cancel, over: &over };
        thread::scope(|scope| {
            if paths.is_none() {
                let stop = || cancel.load(Relaxed) || over.load(Relaxed);
                scope.spawn({
                    let found = &found;
                    move || walk::count(root, list, found, &stop)
                });
            }
            let mut pass = Pass::new(
                (root, list, cancel, observer, &found),
                (&*self.shelf, Pool::new(scope, shared, self.settings.threads)),
                (&mut self.settling, &mut self.distrusted, &*self.clock, self.settings),
            );
            let result = pass.run(paths);
            over.store(true, Relaxed);
            result.map(|()| pass.into_report())
        })
        .map(|mut report| {
            self.standing.complete(paths, &mut report);
            report
        })
    }
}

/// Whether `path` is p2pimg's own, so that a change there is nothing to look at.
pub(super) fn is_ours(root: &Root, path: &RelPath) -> bool {
    path.in_folder(root.dir()).starts_with(root.state()) || has_own_name(path)
}

/// Whether a part of the path is a name that a scan leaves out wherever it is.
pub(super) fn has_own_name(path: &RelPath) -> bool {
    let own = |part: &[u8]| walk::is_skipped(part, true) || walk::is_skipped(part, false);
    path.as_bytes().split(|b| *b == b'/').any(own)
}

#[cfg(test)]
pub(in crate::store) mod fakes;
#[cfg(test)]
mod tests;
