//! A person had a content removed: this node's own files of it go to the trash.
//!
//! No keeper has to be proved, because nothing is to stay. All else holds as for a drop: a lease
//! blocks it, a node that has just started waits, the brake counts it, the trash's order of
//! writes makes it safe against a crash. Pinned contents and those of `--keep` stay.
//!
//! A replica goes to the trash too, through the folder: the trash takes only what is there. A crash in
//! the moment between leaves it in the folder, as a file like any other: kept, not lost.

use std::sync::Arc;
use std::time::SystemTime;

use super::super::NodeEvent;
use super::super::serve::{Services, blocking};
use super::desk::{Hindrance, Removing};
use super::lease::seconds;
use crate::dedup;
use crate::limits::MAX_FREE_NAMES;
use crate::protocol::{Removal, RemovalAnswer, RemovalEnd, shortened};
use crate::replication::removal;
use crate::store::index::{Applied, Change, ContentRecord, FileKind};
use crate::store::ledger::DropRecord;
use crate::store::replicas::ReplicaError;
use crate::store::trash::{Cause, Disk as _, DropError, DropPlan, Entry, RealDisk, Trash};
use crate::types::{RelPath, safe_file_name};

/// What a look at the own copy found.
enum Found {
    /// There is no such copy any more.
    Nothing,
    /// It stays; why, for people.
    Spared(String),
    /// It may go.
    Copy(Box<ContentRecord>, Trash),
}

/// What became of a copy, and why it was no more.
struct Done {
    end: RemovalEnd,
    entries: Vec<Entry>,
    why: Option<String>,
    applied: Option<Applied>,
}

impl Done {
    fn nothing(end: RemovalEnd, why: impl Into<Option<String>>) -> Self {
        Self { end, entries: Vec::new(), why: why.into(), applied: None }
    }
}

impl Services {
    /// Carries out a removal that names this node, if nothing stands in the way.
    pub(in crate::node) async fn carry_out_removal(self: &Arc<Self>, removal: Removal) -> RemovalAnswer {
        let done = self.remove_own(&removal).await;
        if let Some(applied) = done.applied {
            self.net.applied(applied).await;
        }
        for entry in &done.entries {
            let (path, entry) = (entry.path.to_string(), entry.id.to_string());
            self.net.tell(NodeEvent::Removed { path, entry }).await;
        }
        let files = u32::try_from(done.entries.len()).unwrap_or(u32::MAX);
        tracing::info!(content = %removal.content, end = ?done.end, files, why = done.why, "to be removed");
        let why = done.why.map(shortened);
        RemovalAnswer { content: removal.content, peer: removal.peer, end: done.end, files, why }
    }

    async fn remove_own(self: &Arc<Self>, removal: &Removal) -> Done {
        let (services, of) = (Arc::clone(self), removal.clone());
        let found = blocking(move || services.find_copy(&of)).await;
        let (record, trash) = match found.map_err(|refusal| refusal.message).and_then(|found| found) {
            Ok(Found::Copy(record, trash)) => (record, trash),
            Ok(Found::Nothing) => return Done::nothing(RemovalEnd::NotHere, None),
            Ok(Found::Spared(why)) => return Done::nothing(RemovalEnd::Spared, why),
            Err(why) => return Done::nothing(RemovalEnd::Later, why),
        };
        let files = record.paths.len().max(1) as u64;
        let removing = match self.net.begin_removal(removal.content, files).await {
            Ok(removing) => removing,
            Err(Hindrance::Wait(why)) => return Done::nothing(RemovalEnd::Later, why),
            Err(braked @ Hindrance::Braked { .. }) => {
                return Done::nothing(RemovalEnd::Spared, braked.to_string());
            }
        };
        let (services, of) = (Arc::clone(self), removal.clone());
        let done = blocking(move || services.remove_copy(&trash, &of, &record, &removing)).await;
        let done = done.unwrap_or_else(|refusal| Done::nothing(RemovalEnd::Later, refusal.message));
        self.net.removed(removal.content, done.entries.len() as u64).await;
        done
    }

    /// Blocks on the disk.
    fn find_copy(&self, removal: &Removal) -> Result<Found, String> {
        let content = removal.content;
        let fail = |error: crate::store::index::IndexError| error.to_string();
        let before = self.index.head().map_err(fail)?;
        let Some(record) = self.index.content(&content).map_err(fail)? else { return Ok(Found::Nothing) };
        let held = self.index.held(&record.facts.image).map_err(fail)?;
        let entry = held.into_iter().find(|entry| entry.content == content);
        let entry = entry.ok_or("its place in the catalog is not known at this moment")?;
        // The number is of the same catalog only when that did not begin anew in between.
        if before.epoch != self.index.head().map_err(fail)?.epoch {
            return Err("the catalog begins anew at this moment".to_owned());
        }
        if !removal::is_meant(removal, before.epoch, entry.seq) {
            return Ok(Found::Nothing);
        }
        if let Some(path) = record.paths.iter().find(|path| self.drops.keep.has(path)) {
            return Ok(Found::Spared(format!("{path} is one of --keep")));
        }
        let Some(trash) = self.drops.trash.clone() else {
            return Ok(Found::Spared("the node has no trash: its folder allows none".to_owned()));
        };
        if trash.pinned(&content).is_some() {
            return Ok(Found::Spared("it is pinned: somebody took it out of the trash again".to_owned()));
        }
        Ok(Found::Copy(Box::new(record), trash))
    }

    /// Blocks on the disk.
    fn remove_copy(
        &self,
        trash: &Trash,
        removal: &Removal,
        record: &ContentRecord,
        _removing: &Removing,
    ) -> Done {
        let mut done = Done::nothing(RemovalEnd::Removed, None);
        for path in &record.paths {
            match self.file_to_trash(trash, removal, record, path) {
                Ok(entry) => done.entries.push(entry),
                Err((end, why)) => (done.end, done.why) = (end, Some(why)),
            }
        }
        let mut replica_gone = false;
        if record.replica && done.end == RemovalEnd::Removed {
            match self.replica_to_trash(trash, removal, record, !done.entries.is_empty()) {
                Ok(entry) => {
                    replica_gone = true;
                    done.entries.extend(entry);
                }
                Err((end, why)) => (done.end, done.why) = (end, Some(why)),
            }
        }
        self.record_removal(removal, record, &done.entries);
        match self.forget_removed(removal, &done.entries, replica_gone) {
            Ok(applied) => done.applied = Some(applied),
            // The next look at the folder finds that the files are gone.
            Err(error) => tracing::error!(error, "index"),
        }
        if done.end == RemovalEnd::Later && !done.entries.is_empty() {
            self.order_the_rest(removal);
        }
        done
    }

    fn file_to_trash(
        &self,
        trash: &Trash,
        removal: &Removal,
        record: &ContentRecord,
        path: &RelPath,
    ) -> Result<Entry, (RemovalEnd, String)> {
        let later = |why: String| (RemovalEnd::Later, why);
        let file = self.index.file(path).map_err(|error| later(error.to_string()))?;
        let fingerprint = match file.map(|file| (file.kind, file.fingerprint)) {
            Some((FileKind::Picture { content, .. }, fingerprint)) if content == removal.content => {
                fingerprint
            }
            _ => return Err(later(format!("{path} has just changed"))),
        };
        let plan = DropPlan::removal(path.clone(), removal.content, fingerprint, SystemTime::now());
        let plan = DropPlan { facts: Some(record.facts.clone()), ..plan };
        trash.begin(plan).and_then(|dropping| dropping.confirm(Vec::new())).map_err(|error| match &error {
            // These stay as they are, however often they are tried.
            DropError::NotDroppable { .. } | DropError::TooLarge(_) => {
                (RemovalEnd::Spared, error.to_string())
            }
            _ => later(error.to_string()),
        })
    }

    /// With a file of the same bytes in the trash, the replica just goes.
    fn replica_to_trash(
        &self,
        trash: &Trash,
        removal: &Removal,
        record: &ContentRecord,
        in_trash: bool,
    ) -> Result<Option<Entry>, (RemovalEnd, String)> {
        fn later(error: &dyn std::fmt::Display) -> (RemovalEnd, String) {
            (RemovalEnd::Later, error.to_string())
        }
        let content = removal.content;
        if in_trash {
            let aside = self.replicas.set_aside(content).map_err(|e| later(&e))?;
            aside.remove().map_err(|e| later(&e))?;
            return Ok(None);
        }
        self.root.check_marker().map_err(|e| later(&e))?;
        let format = record.facts.format;
        let name = safe_file_name(record.path.file_name(), format.extension());
        let wish = RelPath::from_bytes(name.into_bytes());
        let names =
            (0..MAX_FREE_NAMES).map_while(|number| dedup::adopted_name(wish.as_ref()?, format, number));
        for path in names {
            let full = path.in_folder(&self.folder);
            if !self.replicas.give_away(content, &full).map_err(|e| no_gift(&e))? {
                continue;
            }
            let look = RealDisk.look(&full).map_err(|e| later(&e))?;
            let plan = DropPlan::removal(path, content, look.fingerprint, SystemTime::now());
            let plan = DropPlan { facts: Some(record.facts.clone()), ..plan };
            let entry = trash.begin(plan).and_then(|dropping| dropping.confirm(Vec::new()));
            return entry.map(Some).map_err(|e| later(&e));
        }
        Err((RemovalEnd::Spared, "no name is free for its replica in the folder".to_owned()))
    }

    fn forget_removed(
        &self,
        removal: &Removal,
        entries: &[Entry],
        replica_gone: bool,
    ) -> Result<Applied, String> {
        let is_gone = |path: &RelPath| {
            let there = std::fs::symlink_metadata(path.in_folder(&self.folder));
            there.is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
        };
        // Something new may have the name by now: the folder's own look takes care of that.
        let gone = entries.iter().map(|entry| &entry.path).filter(|path| is_gone(path));
        let mut changes: Vec<Change> = gone.map(|path| Change::Gone { path: path.clone() }).collect();
        if replica_gone {
            changes.push(Change::ReplicaGone { content: removal.content });
        }
        self.index.apply(changes).map_err(|error| error.to_string())
    }

    /// What is left of a copy of which some files have gone has another place in the catalog, which
    /// the order does not mean: it is ordered anew, up to that place.
    fn order_the_rest(&self, removal: &Removal) {
        let (Ok(head), Some(ledger)) = (self.index.head(), &self.drops.ledger) else { return };
        let rest =
            Removal { epoch: head.epoch, seq: head.seq, at: removal.at.saturating_add(1), ..removal.clone() };
        if let Err(error) = ledger.note_removals(&[rest], super::super::removal::now_ms()) {
            tracing::warn!(%error, "what is left of a removed picture stays");
        }
    }

    /// For `why`. It is done whether or not this can be written.
    fn record_removal(&self, removal: &Removal, record: &ContentRecord, entries: &[Entry]) {
        let Some(ledger) = &self.drops.ledger else { return };
        for entry in entries {
            let written = ledger.record_drop(&DropRecord {
                loser: removal.content,
                loser_image: record.facts.image,
                // It went for nothing; the ledger has no other way to say so.
                keeper: removal.content,
                cause: Cause::Removed,
                numbers: std::collections::BTreeMap::new(),
                path: entry.path.clone(),
                at: seconds(SystemTime::now()),
                trash: Some(entry.id.clone()),
                holders: Vec::new(),
            });
            if let Err(error) = written {
                tracing::warn!(%error, "the history misses a removal");
            }
        }
    }
}

/// A replica that could not be moved into the folder. One on another drive never can: it would have
/// to be copied to go.
fn no_gift(error: &ReplicaError) -> (RemovalEnd, String) {
    match error {
        ReplicaError::Disk { source, .. } if source.kind() == std::io::ErrorKind::CrossesDevices => {
            let why = "its replica is on another drive than the folder, and can't go to the trash";
            (RemovalEnd::Spared, why.to_owned())
        }
        error => (RemovalEnd::Later, error.to_string()),
    }
}
