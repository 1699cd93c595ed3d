//! Giving a file of the trash its place in the folder again, never over another file.

use std::io;
use std::path::Path;

use super::Inner;
use super::disk::Kind;
use super::entry::{Entry, TAKEN_NAME};
use super::error::{DiskError, TrashError};
use super::files::{is_absent, look, sync_dir, unlink};
use crate::limits::MAX_FREE_NAMES;
use crate::types::RelPath;

/// Bytes of a file name that every file system takes.
const MAX_NAME: usize = 255;

impl Inner {
    /// Moves everything of an entry's folder to `want` or beside it, and removes the entry.
    /// The answer is where the file is now; `None` when it had never left.
    ///
    /// Safe to repeat after an error or a crash at any point.
    pub(super) fn put_back(&self, entry: &Entry, want: &RelPath) -> Result<Option<RelPath>, TrashError> {
        let dir = entry.dir(&self.trash);
        let (file, taken) = self.looks(entry)?;
        let taken_path = dir.join(TAKEN_NAME);
        match (file, taken) {
            // One more name of the file.
            (Some(file), Some(taken)) if file.is_same_file(&taken) => unlink(&*self.disk, &taken_path)?,
            // Somebody saved another file at the place while ours was being dropped.
            (_, Some(_)) => drop(self.place(&taken_path, &entry.path)?),
            (_, None) => {}
        }
        let to = match file {
            Some(_) => Some(self.place(&entry.file(&self.trash), want)?),
            None => None,
        };
        self.remove_entry(&entry.id)?;
        Ok(to)
    }

    /// Gives the file at `from` the name `want`, or a free one beside it, durably; then it
    /// has `from` no more.
    fn place(&self, from: &Path, want: &RelPath) -> Result<RelPath, TrashError> {
        let fail = DiskError::at("put back", from);
        let own = self.disk.look(from).map_err(&fail)?;
        let want = self.reachable(want)?;
        for number in 0..MAX_FREE_NAMES {
            let Some(name) = free_name(&want, number) else { break };
            let full = name.in_folder(&self.dir);
            let there = look(&*self.disk, &full)?;
            if there.is_some_and(|there| !there.is_same_file(&own)) {
                continue;
            }
            let linked = match there {
                Some(_) => Ok(()),
                None => self.disk.link(from, &full),
            };
            match linked {
                Ok(()) => {
                    self.sync_way(&name)?;
                    unlink(&*self.disk, from)?;
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(e) if e.kind() == io::ErrorKind::Unsupported => match self.disk.rename_new(from, &full) {
                    Ok(()) => self.sync_way(&name)?,
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                    Err(e) => return Err(fail(e).into()),
                },
                Err(e) => return Err(fail(e).into()),
            }
            sync_dir(&*self.disk, from.parent().unwrap_or(&self.trash))?;
            return Ok(name);
        }
        Err(fail(io::Error::new(io::ErrorKind::AlreadyExists, "no name is free")).into())
    }

    /// `want` when its folders are there or can be made; else its file name at the top of
    /// the folder.
    fn reachable(&self, want: &RelPath) -> Result<RelPath, TrashError> {
        if self.make_way(want)? {
            return Ok(want.clone());
        }
        Ok(RelPath::from_bytes(want.file_name().to_vec()).unwrap_or_else(|| want.clone()))
    }

    /// Makes the missing folders on the way to `path`. False when something else has the
    /// name of one of them: a file, a link, another drive.
    fn make_way(&self, path: &RelPath) -> Result<bool, TrashError> {
        let ends = path.as_bytes().iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        for end in ends {
            let part = path.as_bytes().get(..end).and_then(|part| RelPath::from_bytes(part.to_vec()));
            let Some(part) = part else { return Ok(false) };
            let full = part.in_folder(&self.dir);
            match self.disk.look(&full) {
                Ok(look) if look.kind == Kind::Dir && look.fingerprint.device == self.device => {}
                Ok(_) => return Ok(false),
                Err(e) if is_absent(&e) => match self.disk.make_dir(&full) {
                    Ok(()) => {}
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(e) => return Err(DiskError::at("make the folder", &full)(e).into()),
                },
                Err(e) => return Err(DiskError::at("look at", &full)(e).into()),
            }
        }
        Ok(true)
    }
}

/// `a/b.jpg`, `a/b (restored).jpg`, `a/b (restored 2).jpg`, ... `None` when the path would
/// be too long.
pub(super) fn free_name(path: &RelPath, number: u32) -> Option<RelPath> {
    let tag = match number {
        0 => return Some(path.clone()),
        1 => " (restored)".to_owned(),
        n => format!(" (restored {n})"),
    };
    let name = path.file_name();
    let parent = path.as_bytes().strip_suffix(name).unwrap_or_default();
    // A name that begins with its only dot has no extension.
    let dot = name.iter().rposition(|b| *b == b'.').filter(|at| *at > 0 && name.len() - at <= 16);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let mut room = MAX_NAME.saturating_sub(tag.len() + extension.len()).min(stem.len());
    // Not through the middle of a character.
    while room > 0 && room < stem.len() && stem.get(room).is_some_and(|b| b & 0xc0 == 0x80) {
        room -= 1;
    }
    let stem = stem.get(..room).unwrap_or_default();
    RelPath::from_bytes([parent, stem, tag.as_bytes(), extension].concat())
}
