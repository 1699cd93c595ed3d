//! Having the keeper's bytes here and looking at them, and making them a replica.
//!
//! Nothing that another node says of a picture is used: hash, quality and pixels of both
//! sides are computed from bytes that were verified against their content ids.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use futures::StreamExt as _;
use libp2p::PeerId;

use super::super::NodeEvent;
use super::super::copies::Pace;
use super::super::network::AskError;
use super::super::serve::{Services, blocking};
use super::job::{Job, Kept};
use crate::dedup;
use crate::limits;
use crate::picture::PixelPlanes;
use crate::picture::same::{self, Doubt, Known, Verdict};
use crate::picture::witness::Witness;
use crate::protocol::{PeerRequest, PeerResponse};
use crate::replication::drop::{Comparison, Why};
use crate::store::compare::{Version, see};
use crate::store::decode::{Inspected, Inspection};
use crate::store::files;
use crate::store::index::ContentRecord;
use crate::store::ledger::Ledger;
use crate::store::replicas::{Received, settle};
use crate::store::trash::PinCause;
use crate::transfer::outline::{Outline, Run};
use crate::types::{ContentId, RelPath};

/// One side of a comparison: what its bytes say, and where they are.
struct Side {
    known: Known,
    file: PathBuf,
}

impl Side {
    fn version(&self) -> Version<'_> {
        Version { known: &self.known, path: &self.file }
    }
}

impl Services {
    /// See [`crate::replication::drop::Action::Compare`].
    pub(super) async fn compare(self: &Arc<Self>, job: &Arc<Job>) -> Comparison {
        {
            let mut state = job.state();
            state.attempt += 1;
            state.first_round = 0;
            state.proofs.clear();
            state.holders.clear();
        }
        if let Err(reason) = self.have_keeper(job).await {
            tracing::debug!(keeper = %job.plan.keeper, reason, "its bytes are not here");
            return Comparison::Failed;
        }
        let (services, of) = (Arc::clone(self), Arc::clone(job));
        let seen = blocking(move || services.look_at_both(&of)).await;
        if job.state().put_back {
            self.tell_pinned(job.plan.subject).await;
        }
        match seen {
            Ok(Ok(comparison)) => comparison,
            Ok(Err(reason)) => {
                tracing::debug!(reason, "comparing a duplicate with its keeper");
                Comparison::Failed
            }
            Err(_) => Comparison::Failed,
        }
    }

    /// Puts the keeper's bytes into the job, unless they are there.
    async fn have_keeper(self: &Arc<Self>, job: &Arc<Job>) -> Result<(), String> {
        let keeper = job.plan.keeper;
        let record = self.on_disk(move |index| index.content(&keeper)).await.map_err(|e| e.message)?;
        if let Some(own) = record.and_then(|record| self.own_copy(job, &record)) {
            job.state().keeper = Some(own);
            return Ok(());
        }
        if matches!(job.state().keeper, Some(Kept::Fetched(_))) {
            return Ok(());
        }
        let sources = job.state().sources.clone();
        let received = self.fetch(keeper, &sources, None).await?;
        job.state().keeper = Some(Kept::Fetched(received));
        Ok(())
    }

    /// The own file or replica of the keeper. Where the keeper is the subject's own content,
    /// it is the file that stays.
    fn own_copy(&self, job: &Job, record: &ContentRecord) -> Option<Kept> {
        let stays = match job.plan.why {
            Why::Local => record.paths.get(dedup::keep_path(&record.paths, |path| self.drops.keep.has(path))),
            _ => record.paths.first(),
        };
        match stays {
            Some(path) => Some(Kept::Own { file: path.in_folder(&self.folder), at: Some(path.clone()) }),
            None if record.replica => {
                Some(Kept::Own { file: self.replicas.path(&job.plan.keeper), at: None })
            }
            None => None,
        }
    }

    /// Fetches a content, every chunk verified, into a temporary file; no faster than `pace`.
    pub(in crate::node) async fn fetch(
        self: &Arc<Self>,
        content: ContentId,
        holders: &[PeerId],
        pace: Option<&Pace>,
    ) -> Result<Received, String> {
        let live = self.net.live();
        let holders: Vec<PeerId> = holders.iter().copied().filter(|h| live.contains_key(h)).collect();
        let asked = Instant::now();
        let (outline, holders) = self.outline_among(content, &holders).await?;
        let at_once = if asked.elapsed() < limits::NEAR { limits::RUN_CHUNKS } else { 1 };
        let replicas = self.replicas.clone();
        let bytes = outline.bytes();
        let receiving = blocking(move || replicas.receive(content, bytes)).await.map_err(|e| e.message)?;
        let receiving = Arc::new(receiving.map_err(|e| e.to_string())?);
        let outline = Arc::new(outline);
        let holders = Arc::new(Mutex::new(holders));
        let runs = futures::stream::iter(outline.runs(at_once)).map(|run| {
            let (services, outline, receiving) =
                (Arc::clone(self), Arc::clone(&outline), Arc::clone(&receiving));
            let holders = Arc::clone(&holders);
            async move {
                let (offset, bytes) = outline.span(run).ok_or("no such chunk")?;
                if let Some(pace) = pace {
                    pace.wait(bytes as u64).await;
                }
                let data = services.chunks_among(&outline, &holders, run).await?;
                let written = blocking(move || receiving.write_at(offset, &data)).await;
                written.map_err(|e| e.message)?.map_err(|e| e.to_string())
            }
        });
        let mut runs = runs.buffer_unordered(limits::CHUNK_WINDOW / at_once as usize);
        while let Some(done) = runs.next().await {
            done?;
        }
        drop(runs);
        let receiving = Arc::into_inner(receiving).ok_or("still being written")?;
        blocking(move || receiving.verify()).await.map_err(|e| e.message)?.map_err(|e| e.to_string())
    }

    /// The blocking half of [`Services::compare`].
    fn look_at_both(&self, job: &Job) -> Result<Comparison, String> {
        let ledger = self.drops.ledger.as_deref().ok_or("there is no ledger")?;
        let (subject, keeper) = (job.plan.subject, job.plan.keeper);
        if self.was_put_back(subject)? {
            job.state().put_back = true;
            return Err("it was put back by somebody, and is kept from now on".to_owned());
        }
        let carried = ledger.witnesses(subject).map_err(|e| e.to_string())?;
        let witnesses: BTreeSet<ContentId> = carried.iter().map(|witness| witness.content).collect();
        let file = job.keeper_file().ok_or("the keeper is gone")?;
        let committed = matches!(job.state().keeper, Some(Kept::Own { .. }));
        if subject == keeper && job.trashed.is_none() {
            // The same bytes: all that the content carries is carried by it.
            let (found, _) = files::prove(&file, &[0; 32]).map_err(|e| e.to_string())?;
            if found != keeper {
                return Err("the file that stays has other bytes".to_owned());
            }
            let image = self.index.content(&subject).map_err(|e| e.to_string())?.map(|r| r.facts.image);
            let mut state = job.state();
            state.image = image;
            state.witnesses = carried;
            state.numbers = [("bytes".to_owned(), "the same".to_owned())].into();
            let matched = witnesses.iter().copied().chain([subject]).collect();
            return Ok(Comparison::Seen { matched, witnesses, committed });
        }
        let keeper = self.side(ledger, keeper, file)?;
        let loser = self.subject_side(ledger, job)?;
        self.judge(job, (&keeper, &loser), carried, committed)
    }

    fn judge(
        &self,
        job: &Job,
        (keeper, loser): (&Side, &Side),
        mut carried: Vec<Witness>,
        committed: bool,
    ) -> Result<Comparison, String> {
        let witnesses: BTreeSet<ContentId> = carried.iter().map(|witness| witness.content).collect();
        let mut matched = BTreeSet::new();
        let better = keeper.known.quality() > loser.known.quality();
        match see(&self.drops.inspector, keeper.version(), loser.version()) {
            Ok(seen) if better => {
                matched.insert(loser.known.content);
                matched.extend(standing_for(&keeper.known, &seen.keeper, &carried));
                carried.extend(witness_of(&loser.known, seen.loser));
                let mut state = job.state();
                state.image = Some(loser.known.facts.image);
                state.numbers = numbers(&seen.evidence);
            }
            Ok(_) => tracing::info!(content = %loser.known.content, "is the better version itself: kept"),
            // A disk that fails now may work the next time.
            Err(Verdict::Probable(Doubt::Unreadable)) => return Err(Doubt::Unreadable.to_string()),
            Err(verdict) => tracing::info!(content = %loser.known.content, ?verdict, "kept"),
        }
        job.state().witnesses = carried;
        Ok(Comparison::Seen { matched, witnesses, committed })
    }

    /// What a file says of itself now.
    fn side(&self, ledger: &Ledger, content: ContentId, file: PathBuf) -> Result<Side, String> {
        let inspected = self.inspect(&file)?;
        if inspected.outline.content() != content {
            return Err(format!("{} has other bytes now", file.display()));
        }
        let Inspected { facts, encoding, signature, .. } = inspected;
        let edits = ledger.edits_of(content).map_err(|e| e.to_string())?;
        Ok(Side { known: Known { content, facts, encoding, signature, edits }, file })
    }

    fn subject_side(&self, ledger: &Ledger, job: &Job) -> Result<Side, String> {
        let subject = job.plan.subject;
        if let Some(entry) = &job.trashed {
            let trash = self.drops.trash.as_ref().ok_or("there is no trash")?;
            let entry = trash.show(entry).map_err(|e| e.to_string())?;
            return self.side(ledger, subject, entry.file(trash.path()));
        }
        let record = self.index.content(&subject).map_err(|e| e.to_string())?.ok_or("it is here no more")?;
        let file = match record.paths.first() {
            Some(path) => path.in_folder(&self.folder),
            None => self.replicas.path(&subject),
        };
        self.side(ledger, subject, file)
    }

    pub(in crate::node) fn inspect(&self, file: &Path) -> Result<Inspected, String> {
        let name = file.file_name().unwrap_or_default().as_encoded_bytes();
        let opened = File::open(file).map_err(|e| format!("can't read {}: {e}", file.display()))?;
        match self.drops.inspector.inspect(&opened, name) {
            Ok(Inspection::Picture(inspected)) => Ok(*inspected),
            Ok(_) => Err(format!("{} is no picture now", file.display())),
            Err(e) => Err(format!("can't read {}: {e}", file.display())),
        }
    }

    /// A file that was dropped and is at its place again was put back by somebody: its
    /// content is pinned before anything else is thought of.
    fn was_put_back(&self, subject: ContentId) -> Result<bool, String> {
        let Some(trash) = &self.drops.trash else { return Ok(false) };
        let record = self.index.content(&subject).map_err(|e| e.to_string())?;
        let paths = record.map(|record| record.paths).unwrap_or_default();
        if !paths.iter().any(|path| trash.reappeared(path, &subject).is_some()) {
            return Ok(trash.pinned(&subject).is_some());
        }
        trash.pin(subject, PinCause::Reappeared, SystemTime::now()).map_err(|e| e.to_string())?;
        Ok(true)
    }

    /// See [`crate::replication::drop::Action::Commit`].
    pub(super) async fn commit(self: &Arc<Self>, job: &Arc<Job>) -> bool {
        match self.try_commit(job).await {
            Ok(()) => true,
            Err(reason) => {
                tracing::info!(keeper = %job.plan.keeper, reason, "no second copy");
                false
            }
        }
    }

    async fn try_commit(self: &Arc<Self>, job: &Arc<Job>) -> Result<(), String> {
        let keeper = job.plan.keeper;
        let sources = job.state().sources.clone();
        self.fetch_witnesses(keeper, &sources).await?;
        let rows = self.on_disk(move |index| index.holders(&keeper)).await.map_err(|e| e.message)?;
        let listed = rows.into_iter().next().map(|(_, path)| path);
        let once_at =
            listed.or_else(|| self.memory.beyond().path(keeper)).ok_or("nobody says where it was")?;
        let (services, job) = (Arc::clone(self), Arc::clone(job));
        let (applied, path) =
            blocking(move || services.commit_replica(&job, once_at)).await.map_err(|e| e.message)??;
        self.net.applied(applied).await;
        self.net.tell(NodeEvent::Replicated { content: keeper.to_string(), path: path.to_string() }).await;
        Ok(())
    }

    fn commit_replica(
        &self,
        job: &Job,
        once_at: RelPath,
    ) -> Result<(crate::store::index::Applied, RelPath), String> {
        let Some(Kept::Fetched(received)) = job.state().keeper.take() else {
            return Err("its bytes are not here".to_owned());
        };
        let inspected = self.inspect(received.path())?;
        let file = self.replicas.commit(received, &once_at).map_err(|e| e.to_string())?;
        job.state().keeper = Some(Kept::Own { file, at: None });
        let change = settle::arrived(inspected, once_at.clone());
        let applied = self.index.apply(vec![change]).map_err(|e| e.to_string())?;
        Ok((applied, once_at))
    }

    /// Who fetches a content fetches what it carries: from every holder that answers, and
    /// from one at least.
    pub(in crate::node) async fn fetch_witnesses(
        self: &Arc<Self>,
        content: ContentId,
        holders: &[PeerId],
    ) -> Result<(), String> {
        let live = self.net.live();
        let mut heard = false;
        for holder in holders.iter().filter(|holder| live.contains_key(holder)) {
            let Ok(answer) = self.net.ask(*holder, PeerRequest::Witnesses { content }).await else {
                continue;
            };
            let PeerResponse::Witnesses(facts) = answer.header else { continue };
            let Some(witnesses) = super::lease::unpack(&facts, &answer.payload) else { continue };
            let ledger = self.drops.ledger.clone().ok_or("there is no ledger")?;
            let stored = blocking(move || ledger.add_witnesses(content, &witnesses, SystemTime::now())).await;
            stored.map_err(|e| e.message)?.map_err(|e| e.to_string())?;
            heard = true;
        }
        if heard { Ok(()) } else { Err("no holder told what it carries".to_owned()) }
    }

    pub(in crate::node) async fn outline_among(
        self: &Arc<Self>,
        content: ContentId,
        holders: &[PeerId],
    ) -> Result<(Outline, Vec<PeerId>), String> {
        let mut last = "nobody holds it now".to_owned();
        for (at, holder) in holders.iter().enumerate() {
            match self.outline_of(content, *holder).await {
                Ok((outline, _)) => {
                    let rest = holders.iter().skip(at).chain(holders.iter().take(at)).copied().collect();
                    return Ok((outline, rest));
                }
                Err(error) => last = self.note_failure(*holder, content, &error).await,
            }
        }
        Err(last)
    }

    pub(in crate::node) async fn chunks_among(
        &self,
        outline: &Outline,
        holders: &Mutex<Vec<PeerId>>,
        run: Run,
    ) -> Result<Vec<u8>, String> {
        let known = || holders.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = "nobody holds it now".to_owned();
        let order = known().clone();
        for holder in order {
            match self.chunks_of(outline, holder, run).await {
                Ok(data) => return Ok(data),
                Err(error) => {
                    after_failure(&mut known(), holder, matches!(error, AskError::WrongBytes));
                    last = self.note_failure(holder, outline.content(), &error).await;
                }
            }
        }
        Err(last)
    }

    /// Who sends wrong bytes is named (promise P7), outlines and the chunks that prove them
    /// included.
    async fn note_failure(&self, holder: PeerId, content: ContentId, error: &AskError) -> String {
        if matches!(error, AskError::WrongBytes) {
            self.net.wrong_bytes(holder, content).await;
        }
        format!("{holder}: {error}")
    }
}

/// The next chunks ask the others first, and never one that sent wrong bytes.
fn after_failure(holders: &mut Vec<PeerId>, failed: PeerId, lied: bool) {
    if let Some(at) = holders.iter().position(|holder| *holder == failed) {
        holders.remove(at);
        holders.extend((!lied).then_some(failed));
    }
}

/// Those of `carried` that the keeper stands for.
fn standing_for<'a>(
    keeper: &'a Known,
    planes: &'a PixelPlanes,
    carried: &'a [Witness],
) -> impl Iterator<Item = ContentId> + 'a {
    let stands = |witness: &&Witness| same::matches_witness(keeper, planes, witness).is_ok();
    carried.iter().filter(stands).map(|witness| witness.content)
}

fn witness_of(loser: &Known, planes: PixelPlanes) -> Option<Witness> {
    let signature = loser.signature.clone()?;
    let Known { content, facts, encoding, .. } = loser.clone();
    Some(Witness { content, facts, encoding, signature, planes })
}

fn numbers(evidence: &same::Evidence) -> std::collections::BTreeMap<String, String> {
    [
        ("hash distance".to_owned(), format!("{} of 256", evidence.distance)),
        ("structure".to_owned(), format!("{:.2}", evidence.pixels.structure)),
        ("closely".to_owned(), format!("{:.2}", evidence.closely.structure)),
        ("sharpness".to_owned(), format!("{:.2}", evidence.sharpness)),
    ]
    .into()
}
