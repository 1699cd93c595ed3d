//! Dropping a file: what is checked, in which order it moves, and what must still be true
//! at the commit. The order and its reasons are in the module above.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::disk::{Kind, Look};
use super::entry::{Cause, Entry, EntryId, Keeper, KeptAt, Proof, Reason, State, TAKEN_NAME};
use super::error::{DiskError, DropError, TrashError};
use super::files::{look, sync_dir, unlink};
use super::{Claim, Inner, Trash};
use crate::store::index::Fingerprint;
use crate::store::scan::has_own_name;
use crate::types::{ContentId, Facts, RelPath};

/// Drops begun in one second that get different names.
const MAX_SAME_SECOND: u32 = 1_000_000;

/// A drop that was decided, with all it was decided on. Nothing happens before
/// [`Trash::begin`]; [`Trash::check`] is the dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropPlan {
    /// The file.
    pub path: RelPath,
    /// Its bytes.
    pub content: ContentId,
    /// The state of the file that was decided on.
    pub fingerprint: Fingerprint,
    /// What the picture is.
    pub facts: Option<Facts>,
    /// Why it goes.
    pub reason: Reason,
    /// What stays. `None` only for [`Cause::Removed`].
    pub keeper: Option<Keeper>,
    /// What the keeper's holders said.
    pub proofs: Vec<Proof>,
    /// When.
    pub at: SystemTime,
}

impl DropPlan {
    /// A person's wish to remove a file.
    #[must_use]
    pub fn removal(path: RelPath, content: ContentId, fingerprint: Fingerprint, at: SystemTime) -> Self {
        let reason = Reason { cause: Cause::Removed, numbers: BTreeMap::new() };
        Self { path, content, fingerprint, facts: None, reason, keeper: None, proofs: Vec::new(), at }
    }
}

/// A file on its way into the trash, which [`Dropping::confirm`] or [`Dropping::roll_back`]
/// ends. When neither is called, the next [`Trash::recover`] (each start does it) puts the
/// file back.
#[derive(Debug)]
#[must_use = "the next start puts the file back when the drop is not confirmed"]
pub struct Dropping {
    claim: Claim,
    entry: Entry,
    /// The file after it was moved.
    moved: Look,
    /// The keeper in the same folder.
    keeper: Option<Look>,
}

struct Checked {
    file: Look,
    keeper: Option<Look>,
}

impl Trash {
    /// Finds out whether the drop would be done, by reading the file and a keeper in the
    /// same folder. Changes nothing.
    ///
    /// # Errors
    /// Like [`Trash::begin`].
    pub fn check(&self, plan: &DropPlan) -> Result<(), DropError> {
        self.inner.check(plan).map(drop)
    }

    /// Moves a file into the trash, to be confirmed.
    ///
    /// # Errors
    /// See [`DropError`]; the file is where it was, unless the error says otherwise.
    pub fn begin(&self, plan: DropPlan) -> Result<Dropping, DropError> {
        let inner = &self.inner;
        let checked = inner.check(&plan)?;
        let fail = DiskError::at("make durable", &inner.dir);
        // What stays must not be lost with the power, and neither what goes.
        inner.disk.sync_file(&plan.path.in_folder(&inner.dir)).map_err(&fail)?;
        if let Some(Keeper { at: KeptAt::Here(path), .. }) = &plan.keeper {
            inner.disk.sync_file(&path.in_folder(&inner.dir)).map_err(&fail)?;
            inner.sync_way(path)?;
        }
        let (claim, entry) = inner.make_entry(plan)?;
        match inner.move_in(&entry, &checked) {
            Ok(moved) => Ok(Dropping { claim, entry, moved, keeper: checked.keeper }),
            Err(cause) => Err(inner.undo(&entry, cause)),
        }
    }
}

impl Dropping {
    /// The entry, as far as it is known.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Commits the drop, with what the keeper's holders said after the move.
    ///
    /// # Errors
    /// When the folder, the file or a keeper in the same folder is not what it was, or the
    /// commit can't be written. The file is back in its place, unless the error is
    /// [`DropError::Stuck`].
    pub fn confirm(self, proofs: Vec<Proof>) -> Result<Entry, DropError> {
        let Self { claim, mut entry, moved, keeper } = self;
        let inner = &claim.inner;
        let still = inner.is_still(&entry, &moved, keeper.as_ref());
        let committed = still.and_then(|()| {
            entry.proofs.extend(proofs);
            entry.state = State::Dropped;
            inner.write_entry(&entry).map_err(|e| match e {
                TrashError::TooLarge(e) => DropError::TooLarge(e),
                TrashError::Disk(e) => DropError::Disk(e),
                // `write_entry` has no other errors.
                other => {
                    let source = io::Error::other(other.to_string());
                    DropError::Disk(DiskError { what: "commit", path: inner.trash.clone(), source })
                }
            })
        });
        match committed {
            Ok(()) => {
                inner.enter(&entry);
                Ok(entry)
            }
            Err(cause) => Err(inner.undo(&entry, cause)),
        }
    }

    /// Puts the file back. The answer is its path: another one when its place was taken
    /// meanwhile.
    ///
    /// # Errors
    /// When that fails; [`Trash::recover`] tries again.
    pub fn roll_back(self) -> Result<RelPath, TrashError> {
        let to = self.claim.inner.put_back(&self.entry, &self.entry.path)?;
        Ok(to.unwrap_or_else(|| self.entry.path.clone()))
    }
}

impl Inner {
    fn check(&self, plan: &DropPlan) -> Result<Checked, DropError> {
        let path = &plan.path;
        let not_droppable = |problem| DropError::NotDroppable { path: path.clone(), problem };
        (self.marker)()?;
        if !self.is_of_user(path) {
            return Err(not_droppable("it belongs to p2pimg or to the system"));
        }
        if plan.keeper.is_none() && plan.reason.cause != Cause::Removed {
            return Err(DropError::NoKeeper { path: path.clone() });
        }
        // No drop frees room here, and what is wanted kept is not this: the bytes that a disk made.
        let as_it_is = matches!(plan.reason.cause, Cause::Removed | Cause::Damaged);
        if !as_it_is && self.pins().get(&plan.content).is_some() {
            return Err(DropError::Pinned { path: path.clone(), content: plan.content });
        }
        let full = path.in_folder(&self.dir);
        let changed = || DropError::Changed { path: path.clone() };
        if self.is_plain_way(path)?.ok_or_else(changed)? {
            // A file can be another drive's for all that (a mount of one file).
        } else {
            return Err(not_droppable("a link or another drive is on the way to it"));
        }
        let seen = look(&*self.disk, &full)?.ok_or_else(changed)?;
        if seen.kind != Kind::File || seen.fingerprint.device != self.device {
            return Err(not_droppable("it is not a regular file on the drive of its folder"));
        }
        if !is_as_decided(&seen.fingerprint, &plan.fingerprint) {
            return Err(changed());
        }
        if seen.links > 1 && !as_it_is {
            return Err(DropError::Linked { path: path.clone(), links: seen.links });
        }
        let (content, file) = self.disk.hash(&full).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ResourceBusy | io::ErrorKind::InvalidInput => changed(),
            _ => DropError::Disk(DiskError::at("read", &full)(e)),
        })?;
        if content != plan.content || file != seen {
            return Err(changed());
        }
        let keeper = match &plan.keeper {
            Some(Keeper { content, at: KeptAt::Here(keeper) }) => {
                let found = self.check_keeper(keeper, content, Some(&file));
                Some(found.map_err(|problem| DropError::Keeper {
                    path: path.clone(),
                    keeper: keeper.clone(),
                    problem,
                })?)
            }
            _ => None,
        };
        Ok(Checked { file, keeper })
    }

    /// Reads a keeper in the same folder. The error is for people.
    pub(super) fn check_keeper(
        &self,
        keeper: &RelPath,
        content: &ContentId,
        loser: Option<&Look>,
    ) -> Result<Look, String> {
        let error = |e: &dyn std::fmt::Display| format!("can't be read: {e}");
        if !self.is_of_user(keeper) {
            return Err("is not a file of the folder".into());
        }
        if self.is_plain_way(keeper).map_err(|e| error(&e))? != Some(true) {
            return Err("is not in a plain folder on the same drive".into());
        }
        let (found, look) = self.disk.hash(&keeper.in_folder(&self.dir)).map_err(|e| error(&e))?;
        if found != *content {
            return Err("has other bytes now".into());
        }
        if loser.is_some_and(|loser| loser.is_same_file(&look)) {
            return Err("is the same file".into());
        }
        if look.fingerprint.device != self.device {
            return Err("is on another drive".into());
        }
        Ok(look)
    }

    fn is_of_user(&self, path: &RelPath) -> bool {
        let full = path.in_folder(&self.dir);
        !has_own_name(path) && !full.starts_with(&self.state) && !full.starts_with(&self.trash)
    }

    /// Makes the folder and the description of a new entry: the intent.
    fn make_entry(self: &Arc<Self>, plan: DropPlan) -> Result<(Claim, Entry), DropError> {
        let mut entry = Entry {
            id: EntryId::new(plan.at, 0),
            state: State::Dropping,
            path: plan.path,
            content: plan.content,
            dropped_at: plan.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            reason: plan.reason,
            keeper: plan.keeper,
            facts: plan.facts,
            fingerprint: plan.fingerprint,
            proofs: plan.proofs,
        };
        // Before anything is on the disk.
        entry.encode()?;
        for number in 0..MAX_SAME_SECOND {
            entry.id = EntryId::new(plan.at, number);
            let Ok(claim) = self.claim(&entry.id) else { continue };
            let dir = entry.dir(&self.trash);
            match self.disk.make_dir(&dir) {
                Ok(()) => return Ok((claim, entry)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(DiskError::at("make an entry in the trash", &dir)(e).into()),
            }
        }
        let source = io::Error::from(io::ErrorKind::AlreadyExists);
        Err(DiskError::at("make an entry in", &self.trash)(source).into())
    }

    /// Moves the file. The answer is how it looks in the trash.
    fn move_in(&self, entry: &Entry, checked: &Checked) -> Result<Look, DropError> {
        let changed = || DropError::Changed { path: entry.path.clone() };
        let disk = &*self.disk;
        let (from, to) = (entry.path.in_folder(&self.dir), entry.file(&self.trash));
        let dir = entry.dir(&self.trash);
        let taken = dir.join(TAKEN_NAME);
        let fail = DiskError::at("move into the trash", &from);

        self.write_entry(entry).map_err(|e| match e {
            TrashError::TooLarge(e) => DropError::TooLarge(e),
            TrashError::Disk(e) => DropError::Disk(e),
            other => DropError::Disk(fail(io::Error::other(other.to_string()))),
        })?;
        let linked = match disk.link(&from, &to) {
            Ok(()) => true,
            Err(e) if e.kind() == io::ErrorKind::Unsupported => false,
            Err(e) => return Err(fail(e).into()),
        };
        if linked && !disk.look(&to).map_err(&fail)?.is_same_state(&checked.file) {
            return Err(changed());
        }
        sync_dir(disk, &dir)?;
        sync_dir(disk, &self.trash)?;
        // The last moment: what is taken away now is compared below.
        (self.marker)()?;
        let target = if linked { &taken } else { &to };
        disk.rename(&from, target).map_err(&fail)?;
        if !disk.look(target).map_err(&fail)?.is_same_state(&checked.file) {
            return Err(changed());
        }
        // In the trash first: the place it left may be forgotten, the place it has not.
        sync_dir(disk, &dir)?;
        sync_dir(disk, from.parent().unwrap_or(&self.dir))?;
        if linked {
            unlink(disk, &taken)?;
            sync_dir(disk, &dir)?;
        }
        let (content, moved) = disk.hash(&to).map_err(|e| match e.kind() {
            io::ErrorKind::ResourceBusy => changed(),
            _ => fail(e).into(),
        })?;
        if content == entry.content && moved.is_same_state(&checked.file) {
            Ok(moved)
        } else {
            Err(changed())
        }
    }

    /// Whether everything is as it was when the file had been moved.
    fn is_still(&self, entry: &Entry, moved: &Look, keeper: Option<&Look>) -> Result<(), DropError> {
        (self.marker)()?;
        if look(&*self.disk, &entry.file(&self.trash))? != Some(*moved) {
            return Err(DropError::Changed { path: entry.path.clone() });
        }
        let Some(before) = keeper else { return Ok(()) };
        let Some(Keeper { at: KeptAt::Here(keeper), .. }) = &entry.keeper else { return Ok(()) };
        // Every change of it, of its names too, moves its ctime.
        if look(&*self.disk, &keeper.in_folder(&self.dir))? == Some(*before) {
            return Ok(());
        }
        let problem = "changed while the file was being dropped".into();
        Err(DropError::Keeper { path: entry.path.clone(), keeper: keeper.clone(), problem })
    }

    /// Puts everything back after a failure. What has made room for good bytes stays where it is.
    fn undo(&self, entry: &Entry, cause: DropError) -> DropError {
        let undone = match self.has_made_room(entry) {
            Ok(false) => self.put_back(entry, &entry.path),
            Ok(true) => Err(TrashError::Busy { id: entry.id.clone() }),
            Err(error) => Err(error),
        };
        match undone {
            Ok(_) => cause,
            Err(problem) => DropError::Stuck {
                path: entry.path.clone(),
                id: entry.id.clone(),
                cause: cause.to_string(),
                problem: Box::new(problem),
            },
        }
    }
}

/// Like the scan: the device's number may change between two mounts.
fn is_as_decided(now: &Fingerprint, then: &Fingerprint) -> bool {
    let id = |f: &Fingerprint| (f.bytes, f.mtime_ns, f.ctime_ns, f.inode);
    id(now) == id(then)
}
