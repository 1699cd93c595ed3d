//! Contents that this node keeps for the swarm (replicas), under the state and not in the
//! user's folder: nothing that the swarm decides ever adds a file there.
//!
//! ```text
//! STATE/replicas/ab/ab12..           the bytes, named by their content
//! STATE/replicas/ab/ab12...json      where a node once had them (`sidecar`)
//! STATE/replicas/ab/ab12...aside     about to be removed
//! STATE/replicas/ab/ab12...damaged   found to be other bytes: no copy, left for people
//! STATE/replicas/incoming/           unfinished
//! ```
//!
//! - A name with 64 digits alone stands for bytes that were verified and synced before they
//!   got it. Nothing ever replaces it.
//! - A replica that goes is *set aside* first, read again there, and only then removed; a
//!   restart brings it back. It stays in its folder for that: a rename within one folder is
//!   one change of a disk, one between two folders is two, and a disk that keeps only the
//!   removal loses the file.
//! - A reserve of the disk is never filled. The unfinished files lie here and not in `tmp/`,
//!   so that `replicas` can be a link to another drive.
//!
//! Two calls never work on one content at a time: the second is told [`ReplicaError::Busy`].
//!
//! Not guaranteed: that bytes stay what they were. Whoever reads a chunk verifies it, and
//! [`settle::recheck`] takes a damaged replica out of the count. Calls block on the disk.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::files::{TEMP_PREFIX, sync_folder};
use super::folder::Root;
use super::trash::{Disk as _, RealDisk};
use crate::limits::{MAX_REPLICAS, MIN_FREE_BYTES, MIN_FREE_PERCENT};
use crate::types::{ContentId, RelPath};

mod aside;
mod commit;
mod error;
mod place;
mod receive;
pub mod settle;
mod sidecar;

pub use aside::Aside;
pub use commit::Committed;
pub use error::ReplicaError;
use error::at;
pub use receive::{Received, Receiving};

/// Name of the folder in the state.
pub const REPLICAS_NAME: &str = "replicas";
const INCOMING: &str = "incoming";
const ASIDE: &str = "aside";
const DAMAGED: &str = "damaged";
const SIDECAR: &str = "json";

/// Damaged replicas of one content that are kept.
const MAX_DAMAGED: u32 = 100;

/// Room that is left on the disk whatever happens: the larger of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserve {
    /// Bytes.
    pub bytes: u64,
    /// Part of the whole disk.
    pub percent: u8,
}

impl Default for Reserve {
    fn default() -> Self {
        Self { bytes: MIN_FREE_BYTES, percent: MIN_FREE_PERCENT }
    }
}

/// What reading a replica again gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Intact,
    /// It was, and is not there any more.
    Damaged,
    Missing,
}

/// The replicas of one node. Clones are the same.
#[derive(Debug, Clone)]
pub struct Replicas {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    reserve: Reserve,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// Somebody works on these.
    claimed: HashSet<ContentId>,
    /// Bytes that are still to be written.
    promised: u64,
    /// Replicas there are.
    held: usize,
}

impl Replicas {
    /// Opens the replicas of a node, and finishes what a crash left: what was set aside
    /// comes back, unfinished files go. With what a person should know.
    ///
    /// # Errors
    /// When the folders can't be made or listed.
    pub fn open(root: &Root) -> Result<(Self, Vec<String>), ReplicaError> {
        Self::open_in(root.state(), Reserve::default())
    }

    /// Like [`Replicas::open`], for any state folder and reserve.
    ///
    /// # Errors
    /// Like [`Replicas::open`].
    pub fn open_in(state: &Path, reserve: Reserve) -> Result<(Self, Vec<String>), ReplicaError> {
        let dir = state.join(REPLICAS_NAME);
        let incoming = dir.join(INCOMING);
        make_private(&incoming).map_err(at("make the folder", &incoming))?;
        for folder in [&dir, state] {
            sync_folder(folder).map_err(at("sync the folder", folder))?;
        }
        let replicas = Self { inner: Arc::new(Inner { dir, reserve, book: Mutex::default() }) };
        let warnings = replicas.recover()?;
        Ok((replicas, warnings))
    }

    /// Where the bytes of a content are, if they are here.
    #[must_use]
    pub fn path(&self, content: &ContentId) -> PathBuf {
        let name = content.to_string();
        self.inner.dir.join(name.get(..2).unwrap_or_default()).join(name)
    }

    /// All replicas, in the order of their contents.
    ///
    /// # Errors
    /// The disk's, and when there are more than [`MAX_REPLICAS`]: half a list would make the
    /// rest look gone.
    pub fn list(&self) -> io::Result<Vec<ContentId>> {
        let mut all = Vec::new();
        for shard in self.shards()? {
            for entry in fs::read_dir(&shard)? {
                let entry = entry?;
                let name = entry.file_name();
                if let Some((content, None)) = parse(&shard, &name.to_string_lossy())
                    && entry.file_type()?.is_file()
                {
                    all.push(content);
                }
                if all.len() > MAX_REPLICAS {
                    return Err(io::Error::other(format!("more than {MAX_REPLICAS} replicas")));
                }
            }
        }
        all.sort_unstable();
        Ok(all)
    }

    /// The path at which the node that it came from had a replica; `None` when that is not
    /// known any more.
    #[must_use]
    pub fn once_at(&self, content: &ContentId) -> Option<RelPath> {
        sidecar::read(&beside(&self.path(content), SIDECAR))
    }

    /// Bytes that a new replica may have.
    ///
    /// # Errors
    /// The disk's.
    pub fn room(&self) -> Result<u64, ReplicaError> {
        let promised = self.inner.book().promised;
        Ok(self.free()?.saturating_sub(promised))
    }

    /// Free bytes above the reserve.
    fn free(&self) -> Result<u64, ReplicaError> {
        self.free_in(&self.inner.dir)
    }

    /// The same of any folder's disk.
    fn free_in(&self, dir: &Path) -> Result<u64, ReplicaError> {
        let reserve = self.inner.reserve;
        let disk = rustix::fs::statvfs(dir).map_err(io::Error::from).map_err(at("look for room in", dir))?;
        let bytes = |blocks: u64| u128::from(blocks) * u128::from(disk.f_frsize);
        let kept = u128::from(reserve.bytes).max(bytes(disk.f_blocks) * u128::from(reserve.percent) / 100);
        Ok(u64::try_from(bytes(disk.f_bavail).saturating_sub(kept)).unwrap_or(u64::MAX))
    }

    /// Reads a replica again. A damaged one is set apart: it is a replica no more, and a
    /// person still finds its file. One that can't be read stays what it is: an error of a
    /// disk is no reason to give anything up.
    fn examine(&self, claim: &Claim) -> Result<Health, ReplicaError> {
        let path = self.path(&claim.content);
        match RealDisk.hash(&path) {
            Ok((found, _)) if found == claim.content => Ok(Health::Intact),
            Ok(_) => self.take_apart(&path).map(|()| Health::Damaged),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Health::Missing),
            Err(e) => Err(at("read the replica", &path)(e)),
        }
    }

    /// Keeps everybody else from the content.
    fn claim(&self, content: ContentId) -> Result<Claim, ReplicaError> {
        if self.inner.book().claimed.insert(content) {
            Ok(Claim { inner: Arc::clone(&self.inner), content })
        } else {
            Err(ReplicaError::Busy { content })
        }
    }

    /// The folders that hold replicas, as far as they are there.
    fn shards(&self) -> io::Result<Vec<PathBuf>> {
        let is_shard = |name: &str| {
            name.len() == 2 && name.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
        };
        let mut shards = Vec::new();
        for entry in fs::read_dir(&self.inner.dir)? {
            let entry = entry?;
            if is_shard(&entry.file_name().to_string_lossy()) && entry.file_type()?.is_dir() {
                shards.push(entry.path());
            }
        }
        Ok(shards)
    }

    fn recover(&self) -> Result<Vec<String>, ReplicaError> {
        let incoming = self.inner.dir.join(INCOMING);
        for entry in fs::read_dir(&incoming).map_err(at("list", &incoming))?.flatten() {
            // What stays does no harm but its space.
            let _ = fs::remove_file(entry.path());
        }
        let mut warnings = Vec::new();
        for shard in self.shards().map_err(at("list", &self.inner.dir))? {
            self.recover_shard(&shard, &mut warnings).map_err(at("list", &shard))?;
        }
        Ok(warnings)
    }

    fn recover_shard(&self, shard: &Path, warnings: &mut Vec<String>) -> io::Result<()> {
        let (mut held, mut damaged) = (BTreeSet::new(), BTreeSet::new());
        let (mut aside, mut sidecars) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(shard)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            match parse(shard, &name) {
                Some((content, None)) => drop(held.insert(content)),
                Some((content, Some(ASIDE))) => aside.push(content),
                Some((content, Some(SIDECAR))) => sidecars.push(content),
                Some((content, Some(other))) if other.starts_with(DAMAGED) => {
                    damaged.insert(content);
                    let path = shard.join(&name);
                    warnings.push(format!("a damaged replica was set apart: {}", path.display()));
                }
                _ if name.starts_with(TEMP_PREFIX) => drop(fs::remove_file(shard.join(&name))),
                _ => {}
            }
        }
        for content in aside {
            match self.bring_back(&content) {
                Ok(()) => drop(held.insert(content)),
                Err(error) => warnings.push(error.to_string()),
            }
            // Also when it failed: its description stays with it.
            damaged.insert(content);
        }
        for content in sidecars {
            if !held.contains(&content) && !damaged.contains(&content) {
                let _ = fs::remove_file(beside(&self.path(&content), SIDECAR));
            }
        }
        self.inner.book().held += held.len();
        Ok(())
    }

    /// Gives a replica that was set aside its place again. Should another file have the
    /// place, which nothing here does, that one is set apart, whatever it is.
    fn bring_back(&self, content: &ContentId) -> Result<(), ReplicaError> {
        let path = self.path(content);
        let aside = beside(&path, ASIDE);
        match RealDisk.rename_new(&aside, &path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                move_apart(&path)?;
                RealDisk.rename_new(&aside, &path).map_err(at("put back", &path))?;
            }
            result => result.map_err(at("put back", &path))?,
        }
        sync_shard(&path)
    }
}

impl Inner {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A content that nobody else works on meanwhile.
#[derive(Debug)]
struct Claim {
    inner: Arc<Inner>,
    content: ContentId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.inner.book().claimed.remove(&self.content);
    }
}

/// Takes the name from a file that is not what it says, and keeps the file.
fn move_apart(path: &Path) -> Result<PathBuf, ReplicaError> {
    for number in 0..MAX_DAMAGED {
        let to = beside(path, &if number == 0 { DAMAGED.to_owned() } else { format!("{DAMAGED}-{number}") });
        match RealDisk.rename_new(path, &to) {
            Ok(()) => {
                sync_shard(path)?;
                tracing::error!("a replica is damaged, and was set apart: {}", to.display());
                return Ok(to);
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(at("set apart the damaged", path)(e)),
        }
    }
    Err(at("set apart the damaged", path)(io::ErrorKind::AlreadyExists.into()))
}

/// The name of a file in `shard`: its content and what comes after it.
fn parse<'a>(shard: &Path, name: &'a str) -> Option<(ContentId, Option<&'a str>)> {
    let (digits, rest) = name.split_once('.').map_or((name, None), |(digits, rest)| (digits, Some(rest)));
    let content: ContentId = digits.parse().ok()?;
    // As it is written, and in its own folder: another name would not be found again.
    let right = content.to_string() == digits && shard.file_name()?.to_str()? == digits.get(..2)?;
    right.then_some((content, rest))
}

/// `path` with an ending.
fn beside(path: &Path, ending: &str) -> PathBuf {
    // Names of contents have no dot.
    path.with_extension(ending)
}

fn shard_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn sync_shard(path: &Path) -> Result<(), ReplicaError> {
    let shard = shard_of(path);
    sync_folder(shard).map_err(at("sync the folder", shard))
}

/// Makes a folder and those above it that are missing, for this user only.
fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests;
