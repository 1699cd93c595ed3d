//! Making the index and the folder of replicas agree: the folder is right. The index may have
//! been made anew, or a crash came between the two.
//!
//! A content is claimed from the look at its file until the index knows: whoever adds or
//! removes a replica meanwhile does it before or after, and tells the index itself.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use thiserror::Error;

use super::{Claim, Health, ReplicaError, Replicas};
use crate::limits::{BATCH_AGE, BATCH_BYTES, INDEX_BATCH};
use crate::store::decode::{Inspected, Inspection};
use crate::store::index::{Applied, Change, Index, IndexError};
use crate::store::scan::Inspect;
use crate::types::{ContentId, RelPath};

/// Replicas read from the index at once.
const PAGE: usize = 1024;
/// Problems that are told.
const MAX_PROBLEMS: usize = 16;

/// What settling did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Replicas that the index did not know.
    pub found: u64,
    /// Replicas that it knew and that are not there.
    pub gone: u64,
    /// What a person should know, the first of it.
    pub problems: Vec<String>,
}

/// Why settling ended early. What the index heard until then stands.
#[derive(Debug, Error)]
pub enum SettleError {
    /// Told to.
    #[error("stopped")]
    Stopped,
    /// The folder of replicas can't be listed: nothing is withdrawn because of that.
    #[error("can't list the replicas: {0}")]
    List(#[source] io::Error),
    /// The replica can't be read, or somebody is at it.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// What the index has to hear of a replica that was inspected and committed.
#[must_use]
pub fn arrived(inspected: Inspected, once_at: RelPath) -> Change {
    let Inspected { facts, encoding, outline, signature, .. } = inspected;
    Change::Replica { facts, encoding, outline, signature, path: once_at }
}

/// Tells the index of replicas that it does not know, after inspecting each, and of those
/// that are gone; `told` hears what that changed. Reads every replica when the index is new:
/// not for the time before a node answers.
///
/// # Errors
/// See [`SettleError`].
pub fn settle<I: Inspect>(
    replicas: &Replicas,
    index: &Index,
    inspector: &I,
    stop: &AtomicBool,
    told: &mut dyn FnMut(Applied),
) -> Result<Settled, SettleError> {
    let mut on_disk = replicas.list().map_err(SettleError::List)?.into_iter().peekable();
    let batch =
        Batch { index, told, changes: Vec::new(), claims: Vec::new(), bytes: 0, since: Instant::now() };
    let mut run = Run { replicas, inspector, stop, batch, settled: Settled::default() };
    let mut after = None;
    loop {
        let page = index.replicas(after.as_ref(), PAGE)?;
        let Some(last) = page.last() else { break };
        after = Some(*last);
        for known in page {
            while let Some(new) = on_disk.next_if(|content| *content < known) {
                run.found(new)?;
            }
            if on_disk.next_if_eq(&known).is_none() {
                run.missing(known)?;
            }
        }
    }
    for new in on_disk {
        run.found(new)?;
    }
    run.batch.flush()?;
    Ok(run.settled)
}

/// Reads a replica that somebody found wrong, and takes it out of the index when it is. With
/// what that changed.
///
/// # Errors
/// See [`SettleError`].
pub fn recheck(
    replicas: &Replicas,
    index: &Index,
    content: ContentId,
) -> Result<Option<Applied>, SettleError> {
    let claim = replicas.claim(content)?;
    match replicas.examine(&claim)? {
        Health::Intact => Ok(None),
        Health::Damaged | Health::Missing => Ok(Some(index.apply(vec![Change::ReplicaGone { content }])?)),
    }
}

struct Run<'a, I> {
    replicas: &'a Replicas,
    inspector: &'a I,
    stop: &'a AtomicBool,
    batch: Batch<'a>,
    settled: Settled,
}

impl<I: Inspect> Run<'_, I> {
    /// A file that the index does not know.
    fn found(&mut self, content: ContentId) -> Result<(), SettleError> {
        let Some(claim) = self.claim(content)? else { return Ok(()) };
        let path = self.replicas.path(&content);
        let once_at = self.replicas.once_at(&content);
        let name = once_at.as_ref().map_or(&b""[..], RelPath::file_name);
        match self.inspect(&path, name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => {
                self.problem(format!("can't read the replica {}: {e}", path.display()));
                Ok(())
            }
            Ok(Inspection::Picture(picture)) if picture.outline.content() == content => {
                let once_at = once_at.or_else(|| {
                    let name = format!("{content}.{}", picture.facts.format.extension());
                    RelPath::from_bytes(name.into_bytes())
                });
                let Some(once_at) = once_at else { return Ok(()) };
                self.settled.found += 1;
                self.batch.push(arrived(*picture, once_at), claim)
            }
            Ok(_) => {
                let problem = match self.replicas.examine(&claim)? {
                    Health::Intact => "is no picture that this p2pimg knows, and was left as it is",
                    Health::Damaged | Health::Missing => "was damaged, and is set apart",
                };
                self.problem(format!("the replica {} {problem}", path.display()));
                Ok(())
            }
        }
    }

    /// A replica that the list did not have.
    fn missing(&mut self, content: ContentId) -> Result<(), SettleError> {
        let Some(claim) = self.claim(content)? else { return Ok(()) };
        let path = self.replicas.path(&content);
        match fs::symlink_metadata(&path) {
            // It came, or came back, after the list.
            Ok(_) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.settled.gone += 1;
                self.batch.push(Change::ReplicaGone { content }, claim)
            }
            Err(e) => {
                self.problem(format!("can't look at the replica {}: {e}", path.display()));
                Ok(())
            }
        }
    }

    /// `None` when somebody else works on it: they tell the index themselves.
    fn claim(&self, content: ContentId) -> Result<Option<Claim>, SettleError> {
        if self.stop.load(Relaxed) {
            return Err(SettleError::Stopped);
        }
        Ok(self.replicas.claim(content).ok())
    }

    /// A decoder that panics costs one file.
    fn inspect(&self, path: &Path, name: &[u8]) -> io::Result<Inspection> {
        let look = || self.inspector.inspect(&File::open(path)?, name);
        catch_unwind(AssertUnwindSafe(look))
            .unwrap_or_else(|_| Err(io::Error::other("reading it failed in an unforeseen way")))
    }

    fn problem(&mut self, problem: String) {
        tracing::warn!("{problem}");
        if self.settled.problems.len() < MAX_PROBLEMS {
            self.settled.problems.push(problem);
        }
    }
}

/// Changes that the index has not heard yet.
struct Batch<'a> {
    index: &'a Index,
    told: &'a mut dyn FnMut(Applied),
    changes: Vec<Change>,
    claims: Vec<Claim>,
    bytes: usize,
    since: Instant,
}

impl Batch<'_> {
    fn push(&mut self, change: Change, claim: Claim) -> Result<(), SettleError> {
        if self.changes.is_empty() {
            self.since = Instant::now();
        }
        if let Change::Replica { outline, .. } = &change {
            self.bytes += outline.values().len();
        }
        self.changes.push(change);
        self.claims.push(claim);
        let full = self.changes.len() >= INDEX_BATCH || self.bytes >= BATCH_BYTES;
        // Whoever waits for one of these waits no longer than that and one more look.
        if full || self.since.elapsed() >= BATCH_AGE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), SettleError> {
        let applied = self.index.apply(std::mem::take(&mut self.changes))?;
        self.claims.clear();
        self.bytes = 0;
        if applied != Applied::default() {
            (self.told)(applied);
        }
        Ok(())
    }
}
