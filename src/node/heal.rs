//! Giving a file that its disk has damaged its good bytes again.
//!
//! In this order, so that a crash between any two leaves the good bytes here or elsewhere, and the
//! damaged ones where a person finds them:
//!
//! 1. The good bytes become a replica: from another file of the folder, or fetched, and verified.
//!    From here on this node holds the content again, whatever becomes of the rest.
//! 2. The damaged file goes to the trash, not committed: a restart puts it back, and heals again.
//! 3. The replica moves to its place, unless something is there.
//! 4. The trash commits. A restart that finds the good bytes in place does that itself.
//! 5. The index hears of it.
//!
//! Nothing is ever deleted. Without another holder the file stays where it is: the index says what it
//! was (`store::recording`), `status` tells of it, and each member that comes is a new hope.

use std::fs::{self, File, FileTimes};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use libp2p::PeerId;

use super::NodeEvent;
use super::serve::{Services, blocking, index_refusal};
use crate::limits::MAX_HEALED;
use crate::protocol::{Refusal, ScrubStatus};
use crate::store::decode::Inspected;
use crate::store::files::{self, AtomicFile, Overwrite, WriteError};
use crate::store::index::{Applied, Change, ContentRecord, FileKind, Fingerprint, Found, Totals};
use crate::store::recording::is_untouched;
use crate::store::replicas::{Received, settle};
use crate::store::scrub::reread;
use crate::store::trash::{Cause, Disk as _, DropPlan, Keeper, KeptAt, RealDisk, Reason};
use crate::types::{ContentId, RelPath};

/// Bytes copied at a time.
const PIECE_BYTES: usize = 1024 * 1024;

/// What was found damaged since the start, and the turn to heal: two healers of one file would
/// each take the other's work for somebody's.
#[derive(Debug, Default)]
pub(super) struct Damage {
    found: AtomicU64,
    healed: AtomicU64,
    turn: tokio::sync::Mutex<()>,
}

impl Damage {
    pub(super) fn note_found(&self) {
        self.found.fetch_add(1, Relaxed);
    }

    /// Completes what the loop tells.
    pub(super) fn tell(&self, status: &mut ScrubStatus, totals: &Totals) {
        status.total = totals.bytes.saturating_add(totals.replica_bytes);
        status.found = self.found.load(Relaxed);
        status.healed = self.healed.load(Relaxed);
        status.damaged = totals.damaged;
    }
}

/// How a damaged file made room.
enum Healed {
    /// It did not have to: it is another file now, or good.
    NotNeeded,
    /// The good bytes are in its place, it is in the trash under this name; with what the index
    /// did.
    Done { entry: String, applied: Option<Applied> },
}

/// How the good bytes got their place.
enum Placed {
    Moved,
    Copied,
    /// Somebody else has it: the good bytes stay a replica.
    Taken,
}

impl Services {
    pub(super) async fn tell_damage(&self, status: &mut ScrubStatus) -> Result<(), Refusal> {
        let totals = self.on_disk(crate::store::index::Index::totals).await?;
        self.damage.tell(status, &totals);
        Ok(())
    }

    /// A replica was found damaged, and is none any more. Another node makes a new copy of it, as
    /// of any content that has too few.
    pub(super) async fn lost_replica(&self, content: ContentId, applied: Applied) {
        self.damage.note_found();
        self.net.applied(applied).await;
        let path = self.replicas.path(&content).display().to_string();
        self.net.tell(NodeEvent::Damaged { path, content: content.to_string(), replica: true }).await;
    }

    /// Heals what can be healed, one file after the other.
    pub(super) async fn heal_all(self: &Arc<Self>) {
        let mut after: Option<RelPath> = None;
        loop {
            let from = after.clone();
            let page = self.on_disk(move |index| index.damaged(from.as_ref(), MAX_HEALED)).await;
            let page = page.unwrap_or_default();
            let Some((last, _)) = page.last() else { return };
            after = Some(last.clone());
            for (path, content) in page {
                self.try_to_heal(&path, content).await;
            }
        }
    }

    pub(super) async fn try_to_heal(self: &Arc<Self>, path: &RelPath, content: ContentId) {
        if let Err(reason) = self.heal(path, content).await {
            tracing::info!(%path, %content, reason, "not healed yet");
        }
    }

    async fn heal(self: &Arc<Self>, path: &RelPath, content: ContentId) -> Result<(), String> {
        let _turn = self.damage.turn.lock().await;
        let (services, at) = (Arc::clone(self), path.clone());
        let ill = blocking(move || services.is_ill(&at, content)).await.map_err(|e| e.message)??;
        if !ill {
            self.net.look_again(vec![path.clone()]).await;
            return Ok(());
        }
        self.have_good_bytes(content, path).await?;
        let (services, at) = (Arc::clone(self), path.clone());
        let healed = blocking(move || services.change_places(&at, content)).await.map_err(|e| e.message)?;
        let look_again = || self.net.look_again(vec![path.clone()]);
        match healed {
            Ok(Healed::Done { entry, applied }) => {
                match applied {
                    Some(applied) => self.net.applied(applied).await,
                    None => look_again().await,
                }
                self.damage.healed.fetch_add(1, Relaxed);
                let (path, content) = (path.to_string(), content.to_string());
                self.net.tell(NodeEvent::Healed { path, content, entry }).await;
                Ok(())
            }
            Ok(Healed::NotNeeded) => {
                look_again().await;
                Ok(())
            }
            Err(reason) => {
                look_again().await;
                Err(reason)
            }
        }
    }

    /// Whether a file is still the one that was found damaged, as far as can be told without reading
    /// it.
    fn is_ill(&self, path: &RelPath, content: ContentId) -> Result<bool, String> {
        let Some(print) = self.damaged_state(path, content)? else { return Ok(false) };
        match RealDisk.look(&path.in_folder(&self.folder)) {
            Ok(look) => Ok(is_untouched(&print, &look.fingerprint)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e.to_string()),
        }
    }

    fn damaged_state(&self, path: &RelPath, content: ContentId) -> Result<Option<Fingerprint>, String> {
        let record = self.index.file(path).map_err(|e| e.to_string())?;
        Ok(record.and_then(|record| match record.kind {
            FileKind::Damaged { content: wanted, .. } if wanted == content => Some(record.fingerprint),
            _ => None,
        }))
    }

    /// Makes the content a replica of this node, unless it is one.
    async fn have_good_bytes(self: &Arc<Self>, content: ContentId, path: &RelPath) -> Result<(), String> {
        let known = || self.on_disk(move |index| index.content(&content));
        let mut record = known().await.map_err(|e| e.message)?;
        if record.as_ref().is_some_and(|record| record.replica) {
            if self.drops.trash.is_none() {
                // There is no more to be done: not read anew with every try.
                return Ok(());
            }
            let services = Arc::clone(self);
            let check = move || settle::recheck(&services.replicas, &services.index, content);
            match blocking(check).await.map_err(|e| e.message)?.map_err(|e| e.to_string())? {
                None => return Ok(()),
                Some(applied) => self.lost_replica(content, applied).await,
            }
            record = known().await.map_err(|e| e.message)?;
        }
        let received = match record.filter(|record| !record.paths.is_empty()) {
            Some(record) => {
                let services = Arc::clone(self);
                blocking(move || services.copy_own(&record)).await.map_err(|e| e.message)?
            }
            None => Err("no other file here".to_owned()),
        };
        let received = match received {
            Ok(received) => received,
            Err(_) => self.fetch_good_bytes(content).await?,
        };
        let (services, once_at) = (Arc::clone(self), path.clone());
        let committed = blocking(move || {
            let inspected = services.inspect(received.path())?;
            services.replicas.commit(received, &once_at).map_err(|e| e.to_string())?;
            let change = settle::arrived(inspected, once_at);
            services.index.apply(vec![change]).map_err(|e| e.to_string())
        });
        let applied = committed.await.map_err(|e| e.message)??;
        self.net.applied(applied).await;
        Ok(())
    }

    async fn fetch_good_bytes(self: &Arc<Self>, content: ContentId) -> Result<Received, String> {
        let standing = self.net.standing();
        let copies = self.on_disk(move |index| index.copies(&content, &standing));
        let copies = copies.await.map_err(|e| e.message)?;
        let others = copies.holders.into_iter().map(|(peer, _)| peer).filter(|peer| *peer != self.net.me());
        let holders: Vec<PeerId> = others.collect();
        if holders.is_empty() {
            return Err("no node that is here has it".to_owned());
        }
        let received = self.fetch(content, &holders, None).await?;
        // This node held the content before, with what it knew to be carried. More is better, none
        // is no reason to leave the file as it is.
        if let Err(reason) = self.fetch_witnesses(content, &holders).await {
            tracing::debug!(%content, reason, "what it carries");
        }
        Ok(received)
    }

    /// Blocks on the disk: another file of the folder with the same bytes, every chunk verified.
    fn copy_own(&self, record: &ContentRecord) -> Result<Received, String> {
        let outline = &record.outline;
        let receiving =
            self.replicas.receive(outline.content(), outline.bytes()).map_err(|e| e.to_string())?;
        for index in 0..outline.chunks() {
            let read = files::read_chunk(&self.folder, &record.paths, outline, index);
            let read = read.map_err(|e| e.to_string())?;
            let (offset, _) = outline.range(index).ok_or("no such chunk")?;
            receiving.write_at(offset, &read.data).map_err(|e| e.to_string())?;
        }
        receiving.verify().map_err(|e| e.to_string())
    }

    /// Blocks on the disk: steps 2 to 5 of the module above.
    fn change_places(&self, path: &RelPath, content: ContentId) -> Result<Healed, String> {
        let trash = self.drops.trash.as_ref().ok_or("nothing can be moved to the trash here")?;
        let (full, good) = (path.in_folder(&self.folder), self.replicas.path(&content));
        let (found, print) = reread(&full, false, &|| false).map_err(|e| e.to_string())?;
        let before = self.damaged_state(path, content)?;
        if found == content || !before.is_some_and(|before| is_untouched(&before, &print)) {
            return Ok(Healed::NotNeeded);
        }
        let inspected = self.inspect(&good)?;
        if inspected.outline.content() != content {
            return Err("the replica has other bytes now".to_owned());
        }
        make_alike(&full, &good);
        // Of the replica: should somebody take the place right after it moved, the index does not say
        // of their file what it is not. Its ctime is about to change, so the folder's look reads it.
        let new_print = RealDisk.look(&good).map_err(|e| e.to_string())?.fingerprint;
        let dropping = trash.begin(self.plan(path, content, found, print)).map_err(|e| e.to_string())?;
        let placed = match self.replicas.give_away(content, &full) {
            Ok(true) => Ok(Placed::Moved),
            Ok(false) => Ok(Placed::Taken),
            // The state may be on another drive than the folder.
            Err(_) => copy_to(content, &good, &full),
        };
        let placed = match placed {
            Ok(placed) => placed,
            Err(reason) => {
                dropping.roll_back().map_err(|e| format!("{reason}; {e}"))?;
                return Err(reason);
            }
        };
        let entry = dropping.entry().id.to_string();
        let confirmed = dropping.confirm(Vec::new()).map(drop).map_err(|e| e.to_string());
        let applied = match placed {
            Placed::Moved => Some(self.tell_moved(path, content, new_print, inspected)?),
            Placed::Copied => None,
            Placed::Taken => return confirmed.map(|()| Healed::Done { entry, applied: None }),
        };
        if let Err(reason) = confirmed {
            // The good bytes are in their place: the next start commits.
            tracing::warn!(%path, reason, "the damaged file is in the trash, not committed");
        }
        Ok(Healed::Done { entry, applied })
    }

    fn plan(&self, path: &RelPath, content: ContentId, found: ContentId, print: Fingerprint) -> DropPlan {
        let numbers = [("good bytes".to_owned(), format!("c:{content}"))].into();
        DropPlan {
            path: path.clone(),
            content: found,
            fingerprint: print,
            facts: None,
            reason: Reason { cause: Cause::Damaged, numbers },
            keeper: Some(Keeper { content, at: KeptAt::Holders(vec![self.net.me().to_string()]) }),
            proofs: Vec::new(),
            at: SystemTime::now(),
        }
    }

    /// The replica is a file now: one write, so that nobody hears in between that it is neither.
    fn tell_moved(
        &self,
        path: &RelPath,
        content: ContentId,
        fingerprint: Fingerprint,
        inspected: Inspected,
    ) -> Result<Applied, String> {
        let Inspected { facts, encoding, outline, signature, problem } = inspected;
        let found = Found::Picture { facts, encoding, outline, signature, problem };
        let seen = Change::Seen { path: path.clone(), fingerprint, found };
        let applied = self.index.apply(vec![seen, Change::ReplicaGone { content }]);
        applied.map_err(|e| index_refusal(&e).message)
    }
}

/// Gives the good file the permissions and the time of the damaged one. Where that fails, the
/// bytes are still the good ones.
fn make_alike(old: &Path, new: &Path) {
    let alike = || -> io::Result<()> {
        let meta = fs::metadata(old)?;
        let file = File::options().write(true).open(new)?;
        file.set_times(FileTimes::new().set_modified(meta.modified()?))?;
        file.set_permissions(meta.permissions())
    };
    if let Err(error) = alike() {
        tracing::debug!(%error, "the healed file has another time");
    }
}

/// Copies verified bytes to a name that is free.
fn copy_to(content: ContentId, from: &Path, to: &Path) -> Result<Placed, String> {
    let copy = || -> Result<Placed, WriteError> {
        let io = |source| WriteError::Io { path: to.to_path_buf(), source };
        let mut source = File::open(from).map_err(io)?;
        let meta = source.metadata().map_err(io)?;
        let mut target = AtomicFile::create(to, meta.permissions().mode())?;
        let mut hasher = blake3::Hasher::new();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = source.read(&mut piece).map_err(io)?;
            let data = piece.get(..read).unwrap_or_default();
            if data.is_empty() {
                break;
            }
            hasher.update(data);
            target.write_all(data).map_err(io)?;
        }
        if hasher.finalize() != content.0 {
            return Err(io(io::Error::new(io::ErrorKind::InvalidData, "the replica has other bytes")));
        }
        let times = FileTimes::new().set_modified(meta.modified().map_err(io)?);
        target.file().set_times(times).map_err(io)?;
        match target.commit(Overwrite::Never) {
            Ok(()) => Ok(Placed::Copied),
            Err(WriteError::Exists { .. }) => Ok(Placed::Taken),
            Err(error) => Err(error),
        }
    };
    copy().map_err(|e| e.to_string())
}
