//! What a restart makes of entries that an operation left half-way.

use super::entry::{Cause, Entry, EntryId, State, TAKEN_NAME};
use super::error::TrashError;
use super::{Inner, Problem, Trash};
use crate::types::RelPath;

/// A file that is in the folder again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// Where it was.
    pub path: RelPath,
    /// Where it is now: another name when its place was taken meanwhile.
    pub to: RelPath,
}

/// What was settled.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Files of unfinished drops and restores that are in the folder again.
    pub returned: Vec<Returned>,
    /// Entries that can't be used. They were left as they are.
    pub problems: Vec<Problem>,
}

impl Trash {
    /// Settles entries that nobody works on: at the start, and after drops that could not
    /// be rolled back.
    ///
    /// # Errors
    /// When the folder is away or the trash can't be listed. What is wrong with one entry
    /// is among [`Recovery::problems`].
    pub fn recover(&self) -> Result<Recovery, TrashError> {
        let inner = &self.inner;
        (inner.marker)()?;
        let (ids, others) = inner.ids()?;
        let mut recovery = Recovery::default();
        let problem = |path, problem: String| Problem { path, problem };
        for path in others {
            recovery.problems.push(problem(path, "is not of the trash, and was left alone".into()));
        }
        if inner.pins().damaged() > 0 {
            let text = format!("{} damaged lines were left out", inner.pins().damaged());
            recovery.problems.push(problem(inner.state.join(super::PINS_NAME), text));
        }
        let mut found = Vec::new();
        for id in ids {
            let Ok(claim) = inner.claim(&id) else { continue };
            match inner.settle(&id) {
                Ok(Settled::Dropped(entry)) => found.push(*entry),
                Ok(Settled::Returned(returned)) => recovery.returned.push(returned),
                Ok(Settled::Nothing) => {}
                Err(e) => recovery.problems.push(problem(inner.trash.join(id.as_str()), e.to_string())),
            }
            drop(claim);
        }
        for entry in &found {
            inner.enter(entry);
        }
        Ok(recovery)
    }
}

enum Settled {
    Dropped(Box<Entry>),
    Returned(Returned),
    Nothing,
}

impl Inner {
    fn settle(&self, id: &EntryId) -> Result<Settled, TrashError> {
        let entry = match self.read(id) {
            Ok(entry) => entry,
            // It was finished since it was listed.
            Err(TrashError::NoEntry { .. }) => return Ok(Settled::Nothing),
            Err(e) => return if self.is_bare(id)? { self.remove_bare(id) } else { Err(e) },
        };
        let returned = |to: Option<RelPath>| match to {
            Some(to) => Settled::Returned(Returned { path: entry.path.clone(), to }),
            None => Settled::Nothing,
        };
        match &entry.state {
            State::Dropping if self.has_made_room(&entry)? => {
                let entry = Entry { state: State::Dropped, ..entry };
                self.write_entry(&entry)?;
                Ok(Settled::Dropped(Box::new(entry)))
            }
            State::Dropping => {
                self.must_be_somewhere(&entry, &entry.path)?;
                self.put_back(&entry, &entry.path).map(returned)
            }
            State::Restoring { to } => {
                self.must_be_somewhere(&entry, to)?;
                self.put_back(&entry, to).map(returned)
            }
            State::Dropped => match self.looks(&entry)?.0 {
                Some(_) => Ok(Settled::Dropped(Box::new(entry))),
                // A rollback after the commit had failed half-way.
                None if self.is_at(&entry, &entry.path)? => self.remove_entry(id).map(|()| Settled::Nothing),
                None => Err(gone(&entry)),
            },
            State::Purging => match self.looks(&entry)?.0 {
                Some(_) => {
                    let entry = Entry { state: State::Dropped, ..entry };
                    self.write_entry(&entry)?;
                    Ok(Settled::Dropped(Box::new(entry)))
                }
                None => self.remove_entry(id).map(|()| Settled::Nothing),
            },
        }
    }

    /// Whether a damaged file is whole in the trash, and the good bytes have its place: putting it
    /// back beside them would make a picture of it.
    pub(super) fn has_made_room(&self, entry: &Entry) -> Result<bool, TrashError> {
        let Some(keeper) = entry.keeper.as_ref().filter(|_| entry.reason.cause == Cause::Damaged) else {
            return Ok(false);
        };
        let (Some(file), taken) = self.looks(entry)? else { return Ok(false) };
        let good = self.disk.hash(&entry.path.in_folder(&self.dir)).is_ok_and(|(c, _)| c == keeper.content);
        match taken {
            Some(taken) if good && taken.is_same_file(&file) => {
                let taken = entry.dir(&self.trash).join(TAKEN_NAME);
                super::files::unlink(&*self.disk, &taken)?;
                Ok(true)
            }
            Some(_) => Ok(false),
            None => Ok(good),
        }
    }

    /// An unfinished operation whose file is neither in the trash nor where it came from is
    /// not forgotten: the description is all that tells of it.
    fn must_be_somewhere(&self, entry: &Entry, place: &RelPath) -> Result<(), TrashError> {
        let (file, taken) = self.looks(entry)?;
        let here = file.is_some() || taken.is_some();
        let there = || super::files::look(&*self.disk, &place.in_folder(&self.dir));
        if here || there()?.is_some() { Ok(()) } else { Err(gone(entry)) }
    }

    /// Whether the file itself has the name `path`.
    fn is_at(&self, entry: &Entry, path: &RelPath) -> Result<bool, TrashError> {
        let there = super::files::look(&*self.disk, &path.in_folder(&self.dir))?;
        let own = entry.fingerprint;
        Ok(there.is_some_and(|there| {
            (there.fingerprint.inode, there.fingerprint.bytes, there.fingerprint.mtime_ns)
                == (own.inode, own.bytes, own.mtime_ns)
        }))
    }

    /// A drop that ended before its description was there: nothing had been moved yet.
    fn is_bare(&self, id: &EntryId) -> Result<bool, TrashError> {
        let dir = self.trash.join(id.as_str());
        let names = self.disk.list(&dir).map_err(super::DiskError::at("list", &dir))?;
        Ok(names.iter().all(|name| name == super::entry::ENTRY_TEMP))
    }

    fn remove_bare(&self, id: &EntryId) -> Result<Settled, TrashError> {
        self.remove_entry(id).map(|()| Settled::Nothing)
    }
}

/// The file is in neither place.
pub(super) fn gone(entry: &Entry) -> TrashError {
    let problem =
        format!("its file ({}) is not in the trash any more; `p2pimg trash empty` forgets it", entry.path);
    TrashError::Damaged { id: entry.id.clone(), problem }
}
