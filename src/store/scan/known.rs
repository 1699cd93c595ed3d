//! The index's files in the order of their paths, a page at a time.

use std::collections::VecDeque;

use super::{ScanError, Shelf};
use crate::store::index::FileRecord;
use crate::types::RelPath;

/// A page of the index: a few hundred KiB.
const PAGE: usize = 1024;

/// All files of the index, or one path and what is below it.
pub(super) struct Known<'a, S> {
    shelf: &'a S,
    below: Option<Vec<u8>>,
    after: Option<RelPath>,
    page: VecDeque<(RelPath, FileRecord)>,
    /// Of the next page: begins small because most parts are single files.
    size: usize,
    ended: bool,
}

impl<'a, S: Shelf> Known<'a, S> {
    pub(super) fn all(shelf: &'a S) -> Self {
        Self { shelf, below: None, after: None, page: VecDeque::new(), size: PAGE, ended: false }
    }

    pub(super) fn part(shelf: &'a S, path: &RelPath) -> Result<Self, ScanError> {
        let record = shelf.file(path)?;
        let page = record.map(|record| (path.clone(), record)).into_iter().collect();
        let below = [path.as_bytes(), b"/"].concat();
        // The last path before all that start with `below`, as `.` is the byte before `/`.
        let after = RelPath::from_bytes([path.as_bytes(), b"."].concat());
        let ended = after.is_none();
        Ok(Self { shelf, below: Some(below), after, page, size: 4, ended })
    }

    fn fill(&mut self) -> Result<(), ScanError> {
        while self.page.is_empty() && !self.ended {
            let page = self.shelf.files(self.after.as_ref(), self.size)?;
            self.ended = page.len() < self.size;
            self.size = (self.size * 8).min(PAGE);
            let Some((last, _)) = page.last() else { return Ok(()) };
            self.after = Some(last.clone());
            let below = self.below.as_deref().unwrap_or_default();
            self.ended |= last.as_bytes() > below && !last.as_bytes().starts_with(below);
            self.page.extend(page.into_iter().filter(|(path, _)| path.as_bytes().starts_with(below)));
        }
        Ok(())
    }

    /// The next file when its path is less than `limit` (`None`: whatever it is).
    pub(super) fn next_before(
        &mut self,
        limit: Option<&[u8]>,
    ) -> Result<Option<(RelPath, FileRecord)>, ScanError> {
        self.fill()?;
        let comes = |(path, _): &(RelPath, FileRecord)| limit.is_none_or(|limit| path.as_bytes() < limit);
        Ok(if self.page.front().is_some_and(comes) { self.page.pop_front() } else { None })
    }

    /// The next file when it is `path`.
    pub(super) fn take(&mut self, path: &RelPath) -> Result<Option<FileRecord>, ScanError> {
        self.fill()?;
        let is_it = self.page.front().is_some_and(|(next, _)| next == path);
        Ok(if is_it { self.page.pop_front().map(|(_, record)| record) } else { None })
    }
}
