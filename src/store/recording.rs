//! An index whose changes in place are written down in the ledger first.
//!
//! A file had one content and now has another: somebody edited it, and the two are never
//! each other's duplicate, however alike they look. The index forgets the old content with the same
//! write that brings the new one, so the ledger has to know before: a crash between the two
//! costs nothing, because the next scan finds the change again.
//!
//! **What can't be written down is held back.** Its file keeps its old record in the index,
//! and the next look at the folder tries again. The rest of the batch is not held up.
//!
//! **Names that moved are no edit.** Where pictures are renumbered (`2.jpg` gets the name of
//! `3.jpg`, that of `4.jpg`, ...) every path has another content, and none was edited. So a change
//! does not count when both contents are elsewhere in the folder: the new one before the
//! change, the old one after it.
//!
//! **A disk that changes bytes is no edit either.** Whoever writes to a file moves its mtime. A file
//! with other bytes, the same length, mtime and inode is *damaged*: it is not taken up as a new
//! picture, which would be listed, copied, and perhaps take the good one's place. What it was stays
//! remembered with it, and the node fetches that again (`node::heal`). The ctime is left out:
//! a `chmod` after the damage moves it, and the damage would pass for an edit. So a program that
//! writes in place, to the same length, and sets the mtime back looks like damage; what it wrote
//! goes to the trash, and is found there.
//!
//! Not guaranteed: edits of a run without a ledger. Nothing is dropped in such a run either. And
//! damage on file systems without stable inodes (FAT) that came while the drive was away: it passes
//! for an edit, and the good version stays safe where it also is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::index::{Applied, Change, FileKind, FileRecord, Fingerprint, Found, Index, IndexError};
use super::ledger::Ledger;
use super::scan::Shelf;
use crate::types::{ContentId, RelPath};

/// The index of a folder, and the ledger where it can be used.
#[derive(Debug)]
pub struct RecordingShelf {
    index: Arc<Index>,
    ledger: Option<Arc<Ledger>>,
}

/// File systems that count an mtime in whole seconds, or in two of them: what is written twice
/// within that looks untouched.
const COARSE: Duration = Duration::from_secs(4);

/// A path whose picture has changed.
struct InPlace {
    path: RelPath,
    before: ContentId,
    now: ContentId,
}

impl RecordingShelf {
    /// Both. Without a ledger it is the index alone.
    #[must_use]
    pub fn new(index: Arc<Index>, ledger: Option<Arc<Ledger>>) -> Self {
        Self { index, ledger }
    }

    /// Takes in that a file which ought to be `content` was read as `now`. `None`, and nothing
    /// changes, when somebody has written to it since it was indexed: the next look at the folder takes
    /// that up.
    ///
    /// # Errors
    /// The index's.
    pub fn damaged(
        &self,
        path: &RelPath,
        fingerprint: Fingerprint,
        content: ContentId,
        now: ContentId,
    ) -> Result<Option<Applied>, IndexError> {
        let Some(before) = self.index.file(path)? else { return Ok(None) };
        if wanted(&before.kind) != Some(content) || !is_untouched(&before.fingerprint, &fingerprint) {
            return Ok(None);
        }
        self.never_alike(content, now);
        let found = damage(content);
        self.index.apply(vec![Change::Seen { path: path.clone(), fingerprint, found }]).map(Some)
    }

    /// Makes of files that were damaged what they are, in place of what was found in them.
    fn note_damage(&self, changes: &mut [Change]) -> Result<(), IndexError> {
        let mut seen = BTreeSet::new();
        for change in changes {
            let found_now = now(change);
            let Change::Seen { path, fingerprint, found } = change else { continue };
            // Of a path that comes twice, what the index says is not what was before.
            if !seen.insert(path.clone()) {
                continue;
            }
            let Some(before) = self.index.file(path)? else { continue };
            let Some(content) = wanted(&before.kind) else { continue };
            if found_now == Some(content) || !is_untouched(&before.fingerprint, fingerprint) {
                continue;
            }
            if let Some(found_now) = found_now {
                self.never_alike(content, found_now);
            }
            *found = damage(content);
        }
        Ok(())
    }

    /// Should the index be lost, the damaged bytes are a picture like any other: one that is never
    /// taken for the good one.
    fn never_alike(&self, content: ContentId, now: ContentId) {
        let Some(ledger) = &self.ledger else { return };
        if let Err(error) = ledger.record_edits(&[(content, now)]) {
            tracing::error!(%error, %content, "what a damaged file became is not written down");
        }
    }

    /// The paths of `changes` at which another picture was known. The index is asked what
    /// was there before the batch; within it, the changes before.
    fn in_place(&self, changes: &[Change]) -> Result<Vec<InPlace>, IndexError> {
        let mut latest: BTreeMap<&RelPath, Option<ContentId>> = BTreeMap::new();
        let mut found = Vec::new();
        for change in changes {
            let Some(path) = path_of(change) else { continue };
            let before = match latest.get(path) {
                Some(before) => *before,
                None => self.index.file(path)?.and_then(|record| wanted(&record.kind)),
            };
            // A file that is replaced may be gone for a moment: what it was is remembered.
            let now = now(change).or(before);
            latest.insert(path, now);
            if let (Some(before), Some(now)) = (before, now)
                && before != now
            {
                found.push(InPlace { path: path.clone(), before, now });
            }
        }
        Ok(found)
    }

    /// Whether a path got another content because names moved.
    fn is_move(&self, change: &InPlace, changes: &[Change]) -> Result<bool, IndexError> {
        let elsewhere = |content: &ContentId| -> Result<Vec<RelPath>, IndexError> {
            let paths = self.index.content(content)?.map(|record| record.paths).unwrap_or_default();
            Ok(paths.into_iter().filter(|path| *path != change.path).collect())
        };
        if elsewhere(&change.now)?.is_empty() {
            return Ok(false);
        }
        let touched: BTreeSet<&RelPath> = changes.iter().filter_map(path_of).collect();
        let stays = elsewhere(&change.before)?.iter().any(|path| !touched.contains(path));
        let comes = changes.iter().any(|c| path_of(c) != Some(&change.path) && now(c) == Some(change.before));
        Ok(stays || comes)
    }

    /// Writes the edits down. Returns the paths for which that failed.
    fn record(&self, ledger: &Ledger, changes: &[Change]) -> Result<BTreeSet<RelPath>, IndexError> {
        let mut edits = Vec::new();
        for change in self.in_place(changes)? {
            if !self.is_move(&change, changes)? {
                edits.push(change);
            }
        }
        let pairs: Vec<_> = edits.iter().map(|edit| (edit.before, edit.now)).collect();
        match ledger.record_edits(&pairs) {
            Ok(()) => Ok(BTreeSet::new()),
            Err(error) => {
                tracing::error!(%error, files = pairs.len(), "edited pictures are not taken up");
                Ok(edits.into_iter().map(|edit| edit.path).collect())
            }
        }
    }
}

impl Shelf for RecordingShelf {
    fn file(&self, path: &RelPath) -> Result<Option<FileRecord>, IndexError> {
        self.index.file(path)
    }

    fn files(&self, after: Option<&RelPath>, limit: usize) -> Result<Vec<(RelPath, FileRecord)>, IndexError> {
        self.index.files(after, limit)
    }

    fn apply(&self, mut changes: Vec<Change>) -> Result<Applied, IndexError> {
        self.note_damage(&mut changes)?;
        if let Some(ledger) = &self.ledger {
            let held_back = self.record(ledger, &changes)?;
            changes.retain(|change| !path_of(change).is_some_and(|path| held_back.contains(path)));
        }
        self.index.apply(changes)
    }
}

/// The file that a change is about; `None`: a replica, which nobody edits.
fn path_of(change: &Change) -> Option<&RelPath> {
    match change {
        Change::Seen { path, .. } | Change::Gone { path } => Some(path),
        Change::Replica { .. } | Change::ReplicaGone { .. } => None,
    }
}

/// What a file ought to be.
fn wanted(kind: &FileKind) -> Option<ContentId> {
    match kind {
        FileKind::Picture { content, .. } | FileKind::Damaged { content, .. } => Some(*content),
        FileKind::Unprotected { .. } | FileKind::NotPicture { .. } => None,
    }
}

/// Whether nobody has written to a file between two looks at it. The ctime is left out: see above.
#[must_use]
pub fn is_untouched(before: &Fingerprint, now: &Fingerprint) -> bool {
    let state = |f: &Fingerprint| (f.bytes, f.mtime_ns, f.inode);
    if state(before) != state(now) {
        return false;
    }
    if now.mtime_ns % 1_000_000_000 != 0 {
        return true;
    }
    let mtime = Duration::from_secs(u64::try_from(now.mtime_ns / 1_000_000_000).unwrap_or(0));
    let age = SystemTime::now().duration_since(UNIX_EPOCH + mtime);
    age.is_ok_and(|age| age > COARSE)
}

fn damage(content: ContentId) -> Found {
    let problem = format!(
        "is damaged: its bytes changed, and its time and length did not. They are fetched again as soon as a \
         node is here that has c:{content}; to keep the file as it is, change its time (touch)"
    );
    Found::Damaged { content, problem }
}

/// The picture that a change brings.
fn now(change: &Change) -> Option<ContentId> {
    match change {
        Change::Seen { found: Found::Picture { outline, .. }, .. } => Some(outline.content()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
