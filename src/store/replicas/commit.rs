//! Received contents get their names, one or a group of them.
//!
//! A group costs the disk little more than one: the first file that is synced makes the journal
//! write down what all of them changed, and a folder that several lie in is synced once. The
//! steps are those of one, each done for all before the next, so that what holds of one holds of
//! each: **a name stands for bytes that were synced before**, and who is answered has a name that
//! lasts. Killed anywhere, some of the group have their names and the others are unfinished files.
//!
//! What a file is to be told of beside its bytes (`sidecar`) is written before it has its name, whole, and
//! not synced by itself, which would cost as much as the picture: the index has the same. A power cut within
//! half a minute may take it, and then it is missed only if the index is lost as well.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::error::at;
use super::receive::Received;
use super::{
    Claim, Health, INCOMING, ReplicaError, Replicas, SIDECAR, beside, make_private, shard_of, sidecar,
    sync_shard,
};
use crate::store::files::sync_folder;
use crate::store::trash::{Disk as _, RealDisk};
use crate::types::RelPath;

/// A replica that is one now. Nobody else works on it as long as this is kept: until the index knows.
#[derive(Debug)]
pub struct Committed {
    path: PathBuf,
    _claim: Claim,
}

impl Committed {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// One on its way.
struct Staged {
    path: PathBuf,
    claim: Claim,
    /// Its file, as long as it has no name. `None` too when the replica was there already.
    received: Option<Received>,
}

type Step = Result<Staged, ReplicaError>;

impl Replicas {
    /// Makes a received content a replica, durably, and returns its path. One that is there
    /// already is verified and stays.
    ///
    /// # Errors
    /// [`ReplicaError::Busy`], or the disk's.
    pub fn commit(&self, received: Received, once_at: &RelPath) -> Result<PathBuf, ReplicaError> {
        let one = self.commit_all(vec![(received, once_at.clone())]).pop();
        one.expect("an answer for each").map(|committed| committed.path)
    }

    /// The same for a group, each with the path it once had; the answers are in its order. What
    /// goes wrong with one costs only that one.
    #[must_use]
    pub fn commit_all(&self, group: Vec<(Received, RelPath)>) -> Vec<Result<Committed, ReplicaError>> {
        let mut all: Vec<Step> =
            group.into_iter().map(|(received, once_at)| self.stage(received, &once_at)).collect();
        // Folders that were made for them, by this call or by another one at this moment.
        sync_for_all(&self.inner.dir, &mut all);
        each(&mut all, |staged| match &staged.received {
            Some(received) => RealDisk.sync_file(received.path()).map_err(at("sync", received.path())),
            None => Ok(()),
        });
        each(&mut all, |staged| self.name(staged));
        self.sync_names(&mut all);
        let done = |staged: Staged| Committed { path: staged.path, _claim: staged.claim };
        all.into_iter().map(|step| step.map(done)).collect()
    }

    /// All that comes before the bytes are synced.
    fn stage(&self, received: Received, once_at: &RelPath) -> Step {
        let content = received.content();
        let claim = self.claim(content)?;
        let path = self.path(&content);
        make_shard(&path)?;
        let there = self.examine(&claim)? == Health::Intact;
        let sidecar = beside(&path, SIDECAR);
        if !there || sidecar::read(&sidecar).is_none() {
            // First, so that no replica is ever without. One without a replica goes at the
            // next start.
            sidecar::write(&sidecar, once_at)?;
        }
        Ok(Staged { path, claim, received: (!there).then_some(received) })
    }

    /// Its bytes are synced.
    fn name(&self, staged: &mut Staged) -> Result<(), ReplicaError> {
        let Some(received) = staged.received.take() else { return Ok(()) };
        RealDisk.rename_new(received.path(), &staged.path).map_err(at("give its name to", &staged.path))?;
        self.inner.book().held += 1;
        received.moved();
        Ok(())
    }

    /// Makes the names last, also of those that were there: whoever renamed them may have failed
    /// here.
    fn sync_names(&self, all: &mut [Step]) {
        let mut synced = BTreeSet::new();
        each(all, |staged| {
            let shard = shard_of(&staged.path).to_path_buf();
            if !synced.contains(&shard) {
                sync_shard(&staged.path)?;
                synced.insert(shard);
            }
            Ok(())
        });
        sync_for_all(&self.inner.dir.join(INCOMING), all);
    }
}

/// A folder that all of them need.
fn sync_for_all(folder: &Path, all: &mut [Step]) {
    if let Err(error) = sync_folder(folder) {
        each(all, |_| Err(at("sync the folder", folder)(io::Error::new(error.kind(), error.to_string()))));
    }
}

/// Does a step for each that is still well.
fn each(all: &mut [Step], mut step: impl FnMut(&mut Staged) -> Result<(), ReplicaError>) {
    for one in all {
        if let Ok(staged) = one
            && let Err(error) = step(staged)
        {
            *one = Err(error);
        }
    }
}

fn make_shard(path: &Path) -> Result<(), ReplicaError> {
    let shard = shard_of(path);
    if shard.is_dir() {
        return Ok(());
    }
    make_private(shard).map_err(at("make the folder", shard))
}
