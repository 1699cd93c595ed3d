//! The removal itself: look at the files once more, move them to the trash, commit, or put
//! everything back.
//!
//! The trash's own order of writes is what makes this safe against a crash (`store::trash`); the
//! replica's is `store::replicas`'. What is not committed when the process ends comes back
//! at the next start. When several files go with one content, each is committed by itself:
//! a crash between two leaves one of them in its place, and the content is still here.

use std::sync::Arc;
use std::time::SystemTime;

use super::super::NodeEvent;
use super::super::serve::{Services, blocking};
use super::job::{Job, Kept};
use super::lease::seconds;
use crate::dedup;
use crate::replication::drop::{Renamed, Why};
use crate::store::index::{Applied, Change, ContentRecord, FileKind, IndexError};
use crate::store::ledger::DropRecord;
use crate::store::replicas::Aside;
use crate::store::trash::{
    Cause, DropError, DropPlan, Entry, EntryId, Keeper, KeptAt, Reason, State, Trash, TrashError,
};
use crate::types::{ContentId, RelPath};

impl Services {
    /// Runs a step that needs the trash, where blocking is allowed. `None` without a trash.
    pub(super) async fn in_trash<T: Send + 'static>(
        self: &Arc<Self>,
        job: Arc<Job>,
        step: fn(&Self, &Trash, &Job) -> T,
    ) -> Option<T> {
        let services = Arc::clone(self);
        blocking(move || services.drops.trash.as_ref().map(|trash| step(&services, trash, &job)))
            .await
            .ok()?
    }

    /// See [`crate::replication::drop::Action::Recheck`]. What is checked here is moved later
    /// only in the same state.
    pub(super) fn check_files(&self, trash: &Trash, job: &Job) -> bool {
        let files = match self.files_of(job) {
            Ok(files) => files,
            Err(reason) => {
                tracing::info!(content = %job.plan.subject, reason, "kept");
                return false;
            }
        };
        let refused = files.iter().find_map(|file| trash.check(file).err());
        if let Some(error) = refused {
            tracing::info!(content = %job.plan.subject, %error, "kept");
            return false;
        }
        let mut state = job.state();
        state.files = files;
        state.first_round = state.proofs.len();
        true
    }

    /// The files of the subject that are to go, each as the index knows it.
    fn files_of(&self, job: &Job) -> Result<Vec<DropPlan>, String> {
        let subject = job.plan.subject;
        let record = self.index.content(&subject).map_err(|e| e.to_string())?.ok_or("it is here no more")?;
        let paths = self.paths_that_go(job, &record)?;
        let (reason, keeper, proofs) = {
            let state = job.state();
            let reason = Reason { cause: cause(job.plan.why), numbers: state.numbers.clone() };
            let at = match (&state.keeper, job.plan.why) {
                (Some(Kept::Own { at: Some(path), .. }), Why::Local) => KeptAt::Here(path.clone()),
                (_, Why::Local) => return Err("the keeper is not in the folder".to_owned()),
                _ => KeptAt::Holders(state.holders.iter().map(ToString::to_string).collect()),
            };
            (reason, Keeper { content: job.plan.keeper, at }, state.proofs.clone())
        };
        let mut files = Vec::new();
        for path in paths {
            let file = self.index.file(&path).map_err(|e| e.to_string())?.ok_or("it is here no more")?;
            if !matches!(file.kind, FileKind::Picture { content, .. } if content == subject) {
                return Err(format!("{path} is another picture now"));
            }
            files.push(DropPlan {
                path,
                content: subject,
                fingerprint: file.fingerprint,
                facts: Some(record.facts.clone()),
                reason: reason.clone(),
                keeper: Some(keeper.clone()),
                proofs: proofs.clone(),
                at: SystemTime::now(),
            });
        }
        Ok(files)
    }

    fn paths_that_go(&self, job: &Job, record: &ContentRecord) -> Result<Vec<RelPath>, String> {
        let kept = |path: &RelPath| self.drops.keep.has(path);
        if job.plan.why == Why::Excess || job.plan.subject != job.plan.keeper {
            return match record.paths.iter().find(|path| kept(path)) {
                Some(path) => Err(format!("{path} is one of --keep")),
                None => Ok(record.paths.clone()),
            };
        }
        // The same bytes several times: one file stays, and all that are to be kept.
        let stays = dedup::keep_path(&record.paths, kept);
        let go = record.paths.iter().enumerate().filter(|(at, path)| *at != stays && !kept(path));
        Ok(go.map(|(_, path)| path.clone()).collect())
    }

    /// See [`crate::replication::drop::Action::Rename`].
    pub(super) fn rename(&self, trash: &Trash, job: &Job) -> Renamed {
        let files = std::mem::take(&mut job.state().files);
        for file in files {
            let path = file.path.clone();
            match trash.begin(file) {
                Ok(dropping) => job.state().moved.push(dropping),
                Err(error) => {
                    tracing::info!(%path, %error, "not moved");
                    job.state().stuck.extend(stuck_entry(error));
                    return Renamed::Unsure;
                }
            }
        }
        let whole = job.plan.why == Why::Excess || job.plan.subject != job.plan.keeper;
        if whole && self.replicas.path(&job.plan.subject).exists() {
            match self.replicas.set_aside(job.plan.subject) {
                Ok(aside) if aside.is_intact() => job.state().aside = Some(aside),
                Ok(_) => return Renamed::Changed,
                Err(error) => {
                    tracing::info!(content = %job.plan.subject, %error, "the replica was not set aside");
                    return Renamed::Unsure;
                }
            }
        }
        let mut state = job.state();
        if job.plan.why == Why::Excess {
            // The bytes that the proofs are checked against are on their way out themselves.
            let trashed = state.moved.first().map(|dropping| dropping.entry().file(trash.path()));
            let aside = || state.aside.as_ref().map(Aside::path);
            let Some(file) = trashed.or_else(aside) else { return Renamed::Unsure };
            state.keeper = Some(Kept::Own { file, at: None });
        }
        // Nothing to move is nothing proved.
        if state.moved.is_empty() && state.aside.is_none() { Renamed::Unsure } else { Renamed::Intact }
    }

    /// The commit. A pin that came meanwhile stops it.
    pub(super) fn confirm(_: &Self, trash: &Trash, job: &Job) -> bool {
        if trash.pinned(&job.plan.subject).is_some() {
            return false;
        }
        let (moved, proofs) = {
            let mut state = job.state();
            // Those of the first round are in the description already.
            let again = state.proofs.get(state.first_round..).unwrap_or_default().to_vec();
            (std::mem::take(&mut state.moved), again)
        };
        let mut moved = moved.into_iter();
        while let Some(dropping) = moved.next() {
            let path = dropping.entry().path.clone();
            match dropping.confirm(proofs.clone()) {
                Ok(entry) => job.state().dropped.push(entry),
                Err(error) => {
                    tracing::info!(%path, %error, "not dropped");
                    let mut state = job.state();
                    state.stuck.extend(stuck_entry(error));
                    // Those that are not committed go back; one that is, is in the trash, and the
                    // content is still here.
                    state.moved = moved.collect();
                    return false;
                }
            }
        }
        let Some(aside) = job.state().aside.take() else { return true };
        match aside.remove() {
            Ok(()) => {
                job.state().replica_gone = true;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "a replica was not removed");
                false
            }
        }
    }

    /// See [`crate::replication::drop::Action::PutBack`].
    pub(super) async fn put_back(self: &Arc<Self>, job: Arc<Job>) -> bool {
        let step: fn(&Self, &Trash, &Job) -> (bool, Vec<RelPath>) =
            if job.trashed.is_some() { Self::bring_back } else { Self::roll_back };
        let (ok, paths) = self.in_trash(Arc::clone(&job), step).await.unwrap_or((false, Vec::new()));
        if !paths.is_empty() {
            self.net.look_again(paths).await;
        }
        // Of several files one may have been committed before another could not: that one went.
        if !job.state().dropped.is_empty() {
            self.tell_dropped(&job).await;
            job.state().dropped.clear();
        }
        ok
    }

    fn roll_back(_: &Self, trash: &Trash, job: &Job) -> (bool, Vec<RelPath>) {
        let (moved, aside, mut stuck) = {
            let mut state = job.state();
            (std::mem::take(&mut state.moved), state.aside.take(), std::mem::take(&mut state.stuck))
        };
        let mut paths = Vec::new();
        for dropping in moved {
            let id = dropping.entry().id.clone();
            match dropping.roll_back() {
                Ok(path) => paths.push(path),
                Err(error) => {
                    tracing::error!(%error, "a file could not be put back yet");
                    stuck.push(id);
                }
            }
        }
        if let Some(Err(error)) = aside.map(Aside::put_back) {
            // The next start tries again; the other copies are untouched.
            tracing::error!(%error, "a replica could not be put back yet");
        }
        // The next attempt finds the bytes where they are then.
        if job.plan.why == Why::Excess {
            job.state().keeper = None;
        }
        if !stuck.is_empty() {
            match trash.recover() {
                Ok(recovery) => paths.extend(recovery.returned.into_iter().map(|returned| returned.to)),
                Err(error) => tracing::error!(%error, "the trash could not be settled yet"),
            }
            // What is wrong with one entry is no error of the whole: each is looked at.
            stuck.retain(|id| is_unsettled(trash, id));
        }
        let ok = stuck.is_empty();
        job.state().stuck = stuck;
        (ok, paths)
    }

    /// See [`crate::replication::drop::Action::Withdraw`].
    pub(super) async fn withdraw(self: &Arc<Self>, job: &Arc<Job>) {
        self.tell_dropped(job).await;
        if self.drops.adopt {
            let entries = job.state().dropped.clone();
            self.adopt(job, &entries).await;
        }
    }

    /// Index, DHT, history and people hear of what is in the trash for good.
    async fn tell_dropped(self: &Arc<Self>, job: &Arc<Job>) {
        let (services, of) = (Arc::clone(self), Arc::clone(job));
        let done = blocking(move || services.forget(&of)).await;
        match done {
            Ok(Ok(applied)) => self.net.applied(applied).await,
            // The next look at the folder finds that the files are gone.
            Ok(Err(error)) => tracing::error!(%error, "index"),
            Err(refusal) => tracing::error!(refusal.message),
        }
        let (entries, keeper, numbers) = {
            let state = job.state();
            let keeper = match (&state.keeper, job.plan.why) {
                (Some(Kept::Own { at: Some(path), .. }), Why::Local) => path.to_string(),
                _ => format!("c:{}", job.plan.keeper),
            };
            (state.dropped.clone(), keeper, state.numbers.clone())
        };
        let reason = reason_text(job.plan.why, &numbers);
        for entry in &entries {
            self.net
                .tell(NodeEvent::Dropped {
                    path: entry.path.to_string(),
                    reason: reason.clone(),
                    keeper: keeper.clone(),
                    entry: Some(entry.id.to_string()),
                })
                .await;
        }
    }

    fn forget(&self, job: &Job) -> Result<Applied, IndexError> {
        let (dropped, replica_gone) = {
            let state = job.state();
            (state.dropped.clone(), state.replica_gone)
        };
        self.record(job);
        let is_gone = |path: &RelPath| {
            let there = std::fs::symlink_metadata(path.in_folder(&self.folder));
            there.is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
        };
        // Something new may have the name by now: the folder's own look takes care of that.
        let gone = dropped.iter().map(|entry| &entry.path).filter(|path| is_gone(path));
        let mut changes: Vec<Change> = gone.map(|path| Change::Gone { path: path.clone() }).collect();
        if replica_gone {
            changes.push(Change::ReplicaGone { content: job.plan.subject });
        }
        self.index.apply(changes)
    }

    /// For `why`. The drop is done whether or not this can be written.
    fn record(&self, job: &Job) {
        let Some(ledger) = &self.drops.ledger else { return };
        let state = job.state();
        let Some(loser_image) = state.image else { return };
        for entry in &state.dropped {
            let record = DropRecord {
                loser: job.plan.subject,
                loser_image,
                keeper: job.plan.keeper,
                cause: cause(job.plan.why),
                numbers: state.numbers.clone(),
                path: entry.path.clone(),
                at: seconds(SystemTime::now()),
                trash: Some(entry.id.clone()),
                holders: state.holders.iter().copied().collect(),
            };
            if let Err(error) = ledger.record_drop(&record) {
                tracing::warn!(%error, "the history misses a drop");
            }
        }
    }

    /// Gives the better version, kept as a replica here, a name in the folder beside the place
    /// of the one that went: its old name with the right extension. Never over another file.
    async fn adopt(self: &Arc<Self>, job: &Arc<Job>, entries: &[Entry]) {
        let Some(entry) = entries.first() else { return };
        let (services, keeper, place) = (Arc::clone(self), job.plan.keeper, entry.path.clone());
        match blocking(move || services.move_replica(keeper, &place)).await {
            Ok(Ok(Some((path, applied)))) => {
                self.net.applied(applied).await;
                self.net.look_again(vec![path]).await;
            }
            Ok(Ok(None)) => {}
            Ok(Err(reason)) => tracing::warn!(reason, %keeper, "not adopted: it stays a replica"),
            Err(refusal) => tracing::error!(refusal.message),
        }
    }

    fn move_replica(&self, keeper: ContentId, place: &RelPath) -> Result<Option<(RelPath, Applied)>, String> {
        let record = self.index.content(&keeper).map_err(|e| e.to_string())?;
        let Some(record) = record.filter(|record| record.replica && record.paths.is_empty()) else {
            return Ok(None);
        };
        for number in 0..crate::limits::MAX_FREE_NAMES {
            let Some(name) = dedup::adopted_name(place, record.facts.format, number) else { break };
            let moved = self.replicas.give_away(keeper, &name.in_folder(&self.folder));
            if moved.map_err(|e| e.to_string())? {
                // Until the folder's look has found the file, this node doesn't say that it has it.
                let gone = self.index.apply(vec![Change::ReplicaGone { content: keeper }]);
                return Ok(Some((name, gone.map_err(|e| e.to_string())?)));
            }
        }
        Ok(None)
    }
}

/// The entry of a file that is in neither of its places for good.
fn stuck_entry(error: DropError) -> Option<EntryId> {
    if let DropError::Stuck { id, .. } = error { Some(id) } else { None }
}

/// Whether an entry is still on its way. What can't be read may be.
fn is_unsettled(trash: &Trash, id: &EntryId) -> bool {
    match trash.show(id) {
        Ok(entry) => entry.state != State::Dropped,
        Err(TrashError::NoEntry { .. }) => false,
        Err(_) => true,
    }
}

fn cause(why: Why) -> Cause {
    match why {
        Why::Superseded | Why::Purge => Cause::Superseded,
        Why::Excess => Cause::Excess,
        Why::Local => Cause::LocalDuplicate,
    }
}

fn reason_text(why: Why, numbers: &std::collections::BTreeMap<String, String>) -> String {
    let what = match why {
        Why::Local => "the same picture is in this folder",
        Why::Superseded | Why::Purge => "a better version is in the swarm",
        Why::Excess => "there are enough copies",
    };
    let numbers: Vec<String> = numbers.iter().map(|(name, value)| format!("{name} {value}")).collect();
    if numbers.is_empty() { what.to_owned() } else { format!("{what} ({})", numbers.join(", ")) }
}
