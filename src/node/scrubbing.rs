//! The event loop's part of scrubbing and healing, and the reading itself.
//!
//! `replication::scrub` says what is read when. One content at a time is read, all its files and its
//! replica. What is found damaged is told and healed (`heal`) before the next is read, so a pass that
//! has ended has healed what could be healed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::task::{JoinError, JoinSet};

use super::NodeEvent;
use super::event_loop::EventLoop;
use super::serve::{Services, blocking};
use crate::limits::{HEAL_EVERY, HEAL_REST, SCRUB_PAGE};
use crate::protocol::ScrubStatus;
use crate::replication::scrub::{Action, Event, Now, Position, Scrub};
use crate::store::folder::Root;
use crate::store::index::Applied;
use crate::store::replicas::settle;
use crate::store::scrub;
use crate::types::{ContentId, RelPath};

/// What a task ended with.
#[derive(Debug)]
pub(super) enum Step {
    /// For the planner.
    Scrub(Event),
    /// All that is damaged was tried.
    Healed,
}

/// The planner, and what is under way.
#[derive(Debug)]
pub(super) struct Scrubbing {
    planner: Scrub,
    days: u32,
    file: PathBuf,
    steps: JoinSet<Step>,
    stop: Arc<AtomicBool>,
    healing: bool,
    heal_at: Instant,
}

/// What reading a content again gave.
#[derive(Debug, Default)]
struct Reread {
    damaged: Vec<(RelPath, Applied)>,
    /// Files that somebody changed, or that can't be read.
    suspects: Vec<RelPath>,
    lost_replica: Option<Applied>,
}

impl Scrubbing {
    /// Goes on where the last run of the node ended.
    pub(super) fn new(period: Duration, root: &Root) -> Self {
        let now = now();
        let file = scrub::position_file(root);
        Self {
            planner: Scrub::new(now, period, scrub::load_position(&file)),
            days: u32::try_from(period.as_secs() / 86_400).unwrap_or(u32::MAX),
            file,
            steps: JoinSet::new(),
            stop: Arc::default(),
            healing: false,
            // What was damaged when the node ended is still.
            heal_at: now.steady + HEAL_REST,
        }
    }

    pub(super) async fn next_step(&mut self) -> Option<Result<Step, JoinError>> {
        self.steps.join_next().await
    }

    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        let heal = Some(self.heal_at).filter(|_| !self.healing);
        [self.planner.next_wakeup(), heal].into_iter().flatten().min()
    }

    /// Ends what is under way, without waiting for it.
    pub(super) fn stop(&mut self) {
        self.stop.store(true, Relaxed);
        self.steps.abort_all();
    }
}

impl EventLoop {
    pub(super) fn act_on_scrub(&mut self) {
        let now = now();
        if now.steady >= self.scrubbing.heal_at && !self.scrubbing.healing {
            self.scrubbing.healing = true;
            // Earlier, when something is heard meanwhile.
            self.scrubbing.heal_at = now.steady + HEAL_EVERY;
            let services = Arc::clone(&self.services);
            self.scrubbing.steps.spawn(async move {
                services.heal_all().await;
                Step::Healed
            });
        }
        while let Some(action) = self.scrubbing.planner.next_action(now) {
            let services = Arc::clone(&self.services);
            let steps = &mut self.scrubbing.steps;
            match action {
                Action::Page { after } => drop(steps.spawn(async move { services.scrub_page(after).await })),
                Action::Read { content, gently } => {
                    let stop = Arc::clone(&self.scrubbing.stop);
                    steps.spawn(async move {
                        services.scrub_content(content, gently, stop).await;
                        Step::Scrub(Event::Read)
                    });
                }
                Action::Save(position) => {
                    let file = self.scrubbing.file.clone();
                    steps.spawn(async move {
                        let saved = blocking(move || scrub::save_position(&file, &position)).await;
                        if let Ok(Err(error)) = saved {
                            tracing::warn!(%error, "how far the scrub is");
                        }
                        Step::Scrub(Event::Saved)
                    });
                }
            }
        }
    }

    pub(super) fn on_scrubbed(&mut self, step: Result<Step, JoinError>) {
        match step {
            Ok(Step::Scrub(event)) => {
                let Position { contents, bytes, last_full_ms, .. } = *self.scrubbing.planner.position();
                self.scrubbing.planner.on_event(now(), event);
                if self.scrubbing.planner.position().last_full_ms != last_full_ms && contents > 0 {
                    self.emit(NodeEvent::Scrubbed { contents, bytes });
                }
            }
            Ok(Step::Healed) => self.scrubbing.healing = false,
            // Only when the node ends: what may fail in them has its own answer.
            Err(error) => tracing::debug!(%error, "scrubbing"),
        }
    }

    /// Begins a pass if that is wanted, and tells how far it is.
    pub(super) fn scrub(&mut self, begin: bool) -> ScrubStatus {
        if begin {
            self.scrubbing.planner.on_event(now(), Event::Asked);
        }
        let planner = &self.scrubbing.planner;
        let position = planner.position();
        ScrubStatus {
            days: self.scrubbing.days,
            asked: position.asked,
            contents: position.contents,
            bytes: position.bytes,
            last_full: position.last_full_ms.map(|ms| ms / 1000),
            ..ScrubStatus::default()
        }
    }

    /// The index has heard of damaged files.
    pub(super) fn note_damage(&mut self, applied: &Applied) {
        for (path, content) in &applied.damaged {
            self.services.damage.note_found();
            let (path, content) = (path.to_string(), content.to_string());
            self.emit(NodeEvent::Damaged { path, content, replica: false });
        }
        if !applied.damaged.is_empty() {
            self.scrubbing.heal_at = Instant::now();
        }
    }

    /// Somebody may have what is damaged here.
    pub(super) fn heal_soon(&mut self) {
        let soon = Instant::now() + HEAL_REST;
        self.scrubbing.heal_at = self.scrubbing.heal_at.min(soon);
    }
}

impl Services {
    async fn scrub_page(self: Arc<Self>, after: Option<ContentId>) -> Step {
        let page = self.on_disk(move |index| {
            let totals = index.totals()?;
            let contents = index.contents(after.as_ref(), SCRUB_PAGE)?;
            Ok(Event::Found { contents, total: totals.bytes.saturating_add(totals.replica_bytes) })
        });
        Step::Scrub(page.await.unwrap_or(Event::Failed))
    }

    async fn scrub_content(self: Arc<Self>, content: ContentId, gently: bool, stop: Arc<AtomicBool>) {
        let services = Arc::clone(&self);
        let read = blocking(move || services.reread(content, gently, &stop)).await;
        let Reread { damaged, suspects, lost_replica } = match read {
            Ok(Ok(read)) => read,
            Ok(Err(reason)) => return tracing::warn!(%content, reason, "not scrubbed"),
            Err(refusal) => return tracing::error!(refusal.message),
        };
        if !suspects.is_empty() {
            self.net.look_again(suspects).await;
        }
        if let Some(applied) = lost_replica {
            self.lost_replica(content, applied).await;
        }
        for (path, applied) in damaged {
            self.net.applied(applied).await;
            self.try_to_heal(&path, content).await;
        }
    }

    /// Blocks on the disk.
    fn reread(&self, content: ContentId, gently: bool, stop: &AtomicBool) -> Result<Reread, String> {
        let mut read = Reread::default();
        let Some(record) = self.index.content(&content).map_err(|e| e.to_string())? else { return Ok(read) };
        let stop = || stop.load(Relaxed);
        for path in record.paths {
            match scrub::reread(&path.in_folder(&self.folder), gently, &stop) {
                Ok((found, _)) if found == content => {}
                Ok((found, print)) => {
                    let damaged = self.shelf.damaged(&path, print, content, found);
                    match damaged.map_err(|e| e.to_string())? {
                        Some(applied) => read.damaged.push((path, applied)),
                        None => read.suspects.push(path),
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => return Ok(read),
                // The folder's own looks tell a file that went from a drive that is away.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(_) => read.suspects.push(path),
            }
        }
        if record.replica {
            match scrub::reread(&self.replicas.path(&content), gently, &stop) {
                Ok((found, _)) if found != content => {
                    let checked = settle::recheck(&self.replicas, &self.index, content);
                    read.lost_replica = checked.map_err(|e| e.to_string())?;
                }
                Ok(_) => {}
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => tracing::warn!(%error, %content, "a replica can't be read"),
            }
        }
        Ok(read)
    }
}

fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { steady: Instant::now(), wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
}
