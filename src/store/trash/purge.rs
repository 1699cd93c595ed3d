//! Taking files out of the trash: back into the folder, or away for good.

use std::time::{Duration, SystemTime};

use super::disk::Kind;
use super::entry::{Cause, Entry, EntryId, Keeper, KeptAt, Proof, State};
use super::error::{DiskError, TrashError};
use super::files::{look, sync_dir, unlink};
use super::recover::gone;
use super::{Inner, PinCause, Trash};
use crate::types::RelPath;

/// A restore that was not done yet.
#[derive(Debug)]
pub struct RestorePlan {
    entry: Entry,
    place_is_free: bool,
}

impl RestorePlan {
    /// The file.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Whether it gets its own name back; else one beside it.
    #[must_use]
    pub fn place_is_free(&self) -> bool {
        self.place_is_free
    }
}

/// A file whose time in the trash is over.
#[derive(Debug)]
pub struct Expired {
    entry: Entry,
}

impl Expired {
    /// The file.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }
}

/// Why an expired file may be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// Fresh proofs of the keeper's holders, checked by the caller as for a drop.
    Proved(Vec<Proof>),
    /// The keeper is in the same folder: it is read now.
    Here,
    /// The keeper can't be proved.
    Unprovable,
}

/// What became of an expired file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purged {
    /// It is deleted.
    Deleted,
    /// It is in the folder again, because its keeper can't be proved.
    Returned {
        /// Here.
        to: RelPath,
    },
}

/// What a person is about to delete.
#[derive(Debug)]
pub struct EmptyPlan {
    ids: Vec<EntryId>,
    bytes: u64,
}

impl EmptyPlan {
    /// Files to be deleted.
    #[must_use]
    pub fn files(&self) -> usize {
        self.ids.len()
    }

    /// Their bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What was deleted.
#[derive(Debug, Default)]
pub struct Emptied {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Entries that are still there.
    pub problems: Vec<TrashError>,
}

impl Trash {
    /// What restoring an entry would do.
    ///
    /// # Errors
    /// When there is no such entry, or its file is gone.
    pub fn plan_restore(&self, id: &EntryId) -> Result<RestorePlan, TrashError> {
        let entry = self.inner.dropped(id)?;
        let there = look(&*self.inner.disk, &entry.path.in_folder(&self.inner.dir))?;
        Ok(RestorePlan { place_is_free: there.is_none(), entry })
    }

    /// Puts a file back to its place, or beside it when that is taken, and pins its
    /// content. The answer is its path.
    ///
    /// # Errors
    /// When the file is gone or the disk fails. After an error the file is in the trash,
    /// in the folder or in both; the next [`Trash::recover`] finishes what was begun.
    // A plan is done once.
    #[allow(clippy::needless_pass_by_value)]
    pub fn restore(&self, plan: RestorePlan, now: SystemTime) -> Result<RelPath, TrashError> {
        let inner = &self.inner;
        (inner.marker)()?;
        let _claim = inner.claim(&plan.entry.id)?;
        // It may have been deleted since the plan.
        let entry = inner.dropped(&plan.entry.id)?;
        // First, so that the file can't be dropped again in between.
        self.pin(entry.content, PinCause::Restored, now)?;
        inner.give_back(entry)
    }

    /// The files that were dropped at least `keep_for` ago, the oldest first; no damaged ones.
    ///
    /// # Errors
    /// When the trash can't be listed.
    pub fn expired(
        &self,
        now: SystemTime,
        keep_for: Duration,
        limit: usize,
    ) -> Result<Vec<Expired>, TrashError> {
        let (entries, _) = self.inner.list(None, usize::MAX)?;
        // A clock that went back makes nothing expire.
        let is_over = |entry: &Entry| now.duration_since(entry.at()).is_ok_and(|age| age >= keep_for);
        // Nothing can prove that a damaged file is worth nothing: that is for people.
        let may_go = |entry: &Entry| entry.state == State::Dropped && entry.reason.cause != Cause::Damaged;
        let expired = entries.into_iter().filter(|entry| may_go(entry) && is_over(entry));
        Ok(expired.take(limit).map(|entry| Expired { entry }).collect())
    }

    /// Deletes an expired file, if its keeper is proved to be there; else the file comes
    /// back to the folder. (It is not pinned by that: nobody asked for it.)
    ///
    /// # Errors
    /// When the file is not the one that was dropped, which is then left alone, or the
    /// disk fails.
    // A plan is done once.
    #[allow(clippy::needless_pass_by_value)]
    pub fn purge(&self, expired: Expired, evidence: Evidence) -> Result<Purged, TrashError> {
        let inner = &self.inner;
        (inner.marker)()?;
        let _claim = inner.claim(&expired.entry.id)?;
        let mut entry = inner.dropped(&expired.entry.id)?;
        let proved = match (evidence, &entry.keeper) {
            (Evidence::Proved(proofs), Some(_)) if !proofs.is_empty() => {
                entry.proofs = proofs;
                true
            }
            (Evidence::Here, Some(Keeper { content, at: KeptAt::Here(keeper) })) => {
                inner.is_kept_here(keeper, content)
            }
            // A person wanted it gone, and had the time to think better of it.
            (_, None) => entry.reason.cause == Cause::Removed,
            _ => false,
        };
        if !proved {
            return inner.give_back(entry).map(|to| Purged::Returned { to });
        }
        let file = entry.file(&inner.trash);
        let (content, _) = inner.disk.hash(&file).map_err(DiskError::at("read", &file))?;
        if content != entry.content {
            let problem =
                "its file has other bytes than the one that was dropped; restore it or delete it by \
                           hand"
                    .into();
            return Err(TrashError::Damaged { id: entry.id, problem });
        }
        inner.delete(entry).map(|()| Purged::Deleted)
    }

    /// What emptying the trash would delete: what was dropped up to `until`.
    ///
    /// # Errors
    /// When the trash can't be listed.
    pub fn plan_empty(&self, until: SystemTime) -> Result<EmptyPlan, TrashError> {
        let (entries, _) = self.inner.list(None, usize::MAX)?;
        let mut plan = EmptyPlan { ids: Vec::new(), bytes: 0 };
        for entry in entries.into_iter().filter(|entry| entry.at() <= until) {
            plan.bytes += entry.fingerprint.bytes;
            plan.ids.push(entry.id);
        }
        Ok(plan)
    }

    /// Deletes for good, because a person says so: no keeper is asked for. Entries that
    /// can't be read, and what else lies in the trash, stay.
    ///
    /// # Errors
    /// When the folder is away. Troubles with single entries are in the answer.
    pub fn empty(&self, plan: EmptyPlan) -> Result<Emptied, TrashError> {
        let inner = &self.inner;
        (inner.marker)()?;
        let mut emptied = Emptied::default();
        for id in plan.ids {
            let deleted = inner.claim(&id).and_then(|_claim| {
                let entry = inner.read(&id)?;
                let bytes = entry.fingerprint.bytes;
                inner.must_be_settled(&entry)?;
                inner.delete(entry).map(|()| bytes)
            });
            match deleted {
                Ok(bytes) => {
                    emptied.files += 1;
                    emptied.bytes += bytes;
                }
                Err(TrashError::NoEntry { .. }) => {}
                Err(e) => emptied.problems.push(e),
            }
        }
        Ok(emptied)
    }
}

impl Inner {
    /// An entry that is in the trash for good, with its file.
    fn dropped(&self, id: &EntryId) -> Result<Entry, TrashError> {
        let entry = self.read(id)?;
        if entry.state != State::Dropped {
            return Err(TrashError::Busy { id: id.clone() });
        }
        match look(&*self.disk, &entry.file(&self.trash))? {
            Some(look) if look.kind == Kind::File => Ok(entry),
            Some(_) => {
                let problem = "what lies there is not a file".into();
                Err(TrashError::Damaged { id: id.clone(), problem })
            }
            None => Err(gone(&entry)),
        }
    }

    /// A file that is on its way back is not to be deleted by the way: only what is in the
    /// trash, or is nowhere.
    fn must_be_settled(&self, entry: &Entry) -> Result<(), TrashError> {
        let (file, taken) = self.looks(entry)?;
        let is_settled = taken.is_none() && (entry.state == State::Dropped || file.is_none());
        if is_settled { Ok(()) } else { Err(TrashError::Busy { id: entry.id.clone() }) }
    }

    fn is_kept_here(&self, keeper: &RelPath, content: &crate::types::ContentId) -> bool {
        let durable =
            || self.disk.sync_file(&keeper.in_folder(&self.dir)).is_ok() && self.sync_way(keeper).is_ok();
        self.check_keeper(keeper, content, None).is_ok() && durable()
    }

    fn give_back(&self, mut entry: Entry) -> Result<RelPath, TrashError> {
        let to = entry.path.clone();
        entry.state = State::Restoring { to: to.clone() };
        self.write_entry(&entry)?;
        let back = self.put_back(&entry, &to)?;
        self.leave(&entry);
        back.ok_or_else(|| gone(&entry))
    }

    fn delete(&self, mut entry: Entry) -> Result<(), TrashError> {
        entry.state = State::Purging;
        self.write_entry(&entry)?;
        unlink(&*self.disk, &entry.file(&self.trash))?;
        sync_dir(&*self.disk, &entry.dir(&self.trash))?;
        self.remove_entry(&entry.id)?;
        self.leave(&entry);
        Ok(())
    }
}
