//! The files of an entry: writing its description, removing it, reading all of them.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Disk, Kind, Look};
use super::entry::{ENTRY_NAME, ENTRY_TEMP, Entry, EntryId, TAKEN_NAME};
use super::error::{DiskError, TrashError};
use super::{Inner, Problem};
use crate::limits::MAX_ENTRY_BYTES;
use crate::types::RelPath;

pub(super) fn is_absent(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Looks at a name; `None` when nothing has it.
pub(super) fn look(disk: &dyn Disk, path: &Path) -> Result<Option<Look>, DiskError> {
    match disk.look(path) {
        Ok(look) => Ok(Some(look)),
        Err(e) if is_absent(&e) => Ok(None),
        Err(e) => Err(DiskError::at("look at", path)(e)),
    }
}

/// Removes a name that may be gone already.
pub(super) fn unlink(disk: &dyn Disk, path: &Path) -> Result<(), DiskError> {
    match disk.unlink(path) {
        Err(e) if !is_absent(&e) => Err(DiskError::at("remove", path)(e)),
        _ => Ok(()),
    }
}

pub(super) fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<(), DiskError> {
    disk.sync_dir(dir).map_err(DiskError::at("make durable what is in", dir))
}

/// The names of the entries, sorted, and what else is in the trash.
fn names(disk: &dyn Disk, trash: &Path) -> Result<(BTreeSet<EntryId>, Vec<PathBuf>), TrashError> {
    let names = disk.list(trash).map_err(DiskError::at("list the trash", trash))?;
    let (mut ids, mut others) = (BTreeSet::new(), Vec::new());
    for name in names {
        match name.to_str().map(str::parse) {
            Some(Ok(id)) => drop(ids.insert(id)),
            _ => others.push(trash.join(name)),
        }
    }
    Ok((ids, others))
}

pub(super) fn read_all(
    disk: &dyn Disk,
    trash: &Path,
    after: Option<&EntryId>,
    limit: usize,
) -> Result<(Vec<Entry>, Vec<Problem>), TrashError> {
    let (ids, others) = names(disk, trash)?;
    let foreign = |path| Problem { path, problem: "is not of the trash, and was left alone".into() };
    let first = after.is_none();
    let mut problems: Vec<_> = others.into_iter().filter(|_| first).map(foreign).collect();
    let mut entries = Vec::new();
    for id in ids.into_iter().filter(|id| after.is_none_or(|after| id > after)).take(limit) {
        let path = trash.join(id.as_str());
        match disk.read(&path.join(ENTRY_NAME), MAX_ENTRY_BYTES).map(|data| Entry::decode(&id, &data)) {
            Ok(Ok(entry)) => entries.push(entry),
            Ok(Err(problem)) => problems.push(Problem { path, problem }),
            Err(e) => problems.push(Problem { path, problem: format!("its description can't be read: {e}") }),
        }
    }
    Ok((entries, problems))
}

impl Inner {
    pub(super) fn ids(&self) -> Result<(BTreeSet<EntryId>, Vec<PathBuf>), TrashError> {
        names(&*self.disk, &self.trash)
    }

    /// Writes the description, new or in place of the old one: whole and durable, or as
    /// it was before. After an error it may be either.
    pub(super) fn write_entry(&self, entry: &Entry) -> Result<(), TrashError> {
        let data = entry.encode()?;
        let dir = entry.dir(&self.trash);
        let (temp, path) = (dir.join(ENTRY_TEMP), dir.join(ENTRY_NAME));
        let written = self
            .disk
            .write(&temp, &data)
            .and_then(|()| self.disk.sync_file(&temp))
            .and_then(|()| self.disk.rename(&temp, &path))
            .and_then(|()| self.disk.sync_dir(&dir));
        Ok(written.map_err(DiskError::at("write", &path))?)
    }

    /// Removes an entry's description and folder. The file itself must be gone from it
    /// already; whatever else is there stays.
    pub(super) fn remove_entry(&self, id: &EntryId) -> Result<(), TrashError> {
        let dir = self.trash.join(id.as_str());
        if look(&*self.disk, &dir)?.is_none() {
            return Ok(());
        }
        // The file's leaving must be durable before the last word about it goes.
        sync_dir(&*self.disk, &dir)?;
        for name in [ENTRY_TEMP, ENTRY_NAME] {
            unlink(&*self.disk, &dir.join(name))?;
        }
        match self.disk.remove_dir(&dir) {
            Ok(()) => {}
            Err(e) if is_absent(&e) || e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(e) => return Err(DiskError::at("remove", &dir)(e).into()),
        }
        Ok(sync_dir(&*self.disk, &self.trash)?)
    }

    /// The file of an entry, and what was taken from its place; as far as they are there.
    pub(super) fn looks(&self, entry: &Entry) -> Result<(Option<Look>, Option<Look>), DiskError> {
        let taken = entry.dir(&self.trash).join(TAKEN_NAME);
        Ok((look(&*self.disk, &entry.file(&self.trash))?, look(&*self.disk, &taken)?))
    }

    /// Makes the names on the way to `path` durable, up to the user's folder.
    pub(super) fn sync_way(&self, path: &RelPath) -> Result<(), DiskError> {
        let full = path.in_folder(&self.dir);
        full.ancestors()
            .skip(1)
            .take_while(|dir| dir.starts_with(&self.dir))
            .try_for_each(|dir| sync_dir(&*self.disk, dir))
    }

    /// Whether all folders on the way to `path` are real ones of the trash's drive. `None`
    /// when one is missing.
    pub(super) fn is_plain_way(&self, path: &RelPath) -> Result<Option<bool>, DiskError> {
        let full = path.in_folder(&self.dir);
        for dir in full.ancestors().skip(1).take_while(|dir| dir.starts_with(&self.dir)) {
            match look(&*self.disk, dir)? {
                Some(look) if look.kind == Kind::Dir && look.fingerprint.device == self.device => {}
                Some(_) => return Ok(Some(false)),
                None => return Ok(None),
            }
        }
        Ok(Some(true))
    }
}
