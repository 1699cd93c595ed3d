//! A replica on its way out. Until it is removed it can be put back, and is, by whatever
//! ends first: the caller, a dropped value, or the next start.

use std::io;
use std::path::{Path, PathBuf};

use super::error::at;
use super::{ASIDE, Claim, ReplicaError, Replicas, SIDECAR, beside, sync_shard};
use crate::store::files::sync_folder;
use crate::store::trash::{Disk as _, RealDisk};
use crate::types::ContentId;

/// A replica that is set aside: not served, not counted, not lost. Dropped, it is put back.
#[derive(Debug)]
pub struct Aside {
    replicas: Replicas,
    claim: Claim,
    path: PathBuf,
    intact: bool,
    done: bool,
}

impl Replicas {
    /// Takes a replica out of its place, durably, and reads it again there.
    ///
    /// # Errors
    /// [`ReplicaError::Missing`], [`ReplicaError::Busy`], or the disk's; then it is in its
    /// place.
    pub fn set_aside(&self, content: ContentId) -> Result<Aside, ReplicaError> {
        let claim = self.claim(content)?;
        let path = self.path(&content);
        let aside = beside(&path, ASIDE);
        RealDisk.rename_new(&path, &aside).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => ReplicaError::Missing { content },
            _ => at("set aside", &path)(e),
        })?;
        // From here on an error puts it back.
        let mut set = Aside { replicas: self.clone(), claim, path, intact: false, done: false };
        sync_shard(&set.path)?;
        let (found, _) = RealDisk.hash(&aside).map_err(at("read", &aside))?;
        set.intact = found == content;
        Ok(set)
    }
}

impl Replicas {
    /// Moves a replica to `to` in the user's folder, durably, unless that name is taken: it is
    /// an ordinary file from then on, and no replica. False when the name was taken.
    ///
    /// A move and no second name: two names of one file would change together, and a file with
    /// two names is never dropped.
    ///
    /// # Errors
    /// [`ReplicaError::Missing`], [`ReplicaError::Busy`], or the disk's, also when the folder
    /// is on another drive; then it is in its place.
    pub fn give_away(&self, content: ContentId, to: &Path) -> Result<bool, ReplicaError> {
        let _claim = self.claim(content)?;
        let path = self.path(&content);
        match RealDisk.rename_new(&path, to) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(ReplicaError::Missing { content }),
            Err(e) => return Err(at("move to the folder", to)(e)),
        }
        let mut book = self.inner.book();
        book.held = book.held.saturating_sub(1);
        drop(book);
        // Its new name first: the old one may be forgotten, the new one not.
        if let Some(folder) = to.parent() {
            sync_folder(folder).map_err(at("sync the folder", folder))?;
        }
        sync_shard(&path)?;
        // What stays of it goes at the next start.
        let _ = RealDisk.unlink(&beside(&path, SIDECAR));
        Ok(true)
    }
}

impl Aside {
    /// Which content it is to be.
    #[must_use]
    pub fn content(&self) -> ContentId {
        self.claim.content
    }

    /// Where its bytes are as long as it is set aside.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        beside(&self.path, ASIDE)
    }

    /// Whether its bytes were the content's when it was set aside.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.intact
    }

    /// Gives it its place again, durably.
    ///
    /// # Errors
    /// The disk's; the next start tries again.
    pub fn put_back(mut self) -> Result<(), ReplicaError> {
        self.done = true;
        self.replicas.bring_back(&self.claim.content)
    }

    /// Removes it for good, durably.
    ///
    /// # Errors
    /// [`ReplicaError::Damaged`] when it is not the content: then nobody has proved that
    /// these bytes are elsewhere, and they are put back. Else the disk's.
    pub fn remove(mut self) -> Result<(), ReplicaError> {
        if !self.intact {
            return Err(ReplicaError::Damaged { path: self.path.clone() });
        }
        let aside = beside(&self.path, ASIDE);
        RealDisk.unlink(&aside).map_err(at("remove", &aside))?;
        self.done = true;
        let mut book = self.replicas.inner.book();
        book.held = book.held.saturating_sub(1);
        drop(book);
        sync_shard(&self.path)?;
        // Last: a replica that a power cut brings back still has it.
        let sidecar = beside(&self.path, SIDECAR);
        match RealDisk.unlink(&sidecar) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(at("remove", &sidecar)(e)),
            _ => Ok(()),
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.done
            && let Err(error) = self.replicas.bring_back(&self.claim.content)
        {
            tracing::error!(%error, "a replica is still set aside; the next start puts it back");
        }
    }
}
