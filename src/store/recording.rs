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
//! Not guaranteed: edits of a run without a ledger. Nothing is dropped in such a run either.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::index::{Applied, Change, FileKind, FileRecord, Found, Index, IndexError};
use super::ledger::Ledger;
use super::scan::Shelf;
use crate::types::{ContentId, RelPath};

/// The index of a folder, and the ledger where it can be used.
#[derive(Debug)]
pub struct RecordingShelf {
    index: Arc<Index>,
    ledger: Option<Arc<Ledger>>,
}

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

    /// The paths of `changes` at which another picture was known. The index is asked what
    /// was there before the batch; within it, the changes before.
    fn in_place(&self, changes: &[Change]) -> Result<Vec<InPlace>, IndexError> {
        let mut latest: BTreeMap<&RelPath, Option<ContentId>> = BTreeMap::new();
        let mut found = Vec::new();
        for change in changes {
            let Some(path) = path_of(change) else { continue };
            let before = match latest.get(path) {
                Some(before) => *before,
                None => self.index.file(path)?.and_then(|record| picture(&record.kind)),
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

fn picture(kind: &FileKind) -> Option<ContentId> {
    match kind {
        FileKind::Picture { content, .. } => Some(*content),
        FileKind::Unprotected { .. } | FileKind::NotPicture { .. } => None,
    }
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
