//! Drops on floor 4: carries out what the drop planner decides, and tells it what came of it.
//!
//! - `desk` is the event loop's part: the planners, and which lease waits for which answer.
//! - `job` is what a drop has in its hands: the keeper's bytes, proofs, files that were moved.
//! - `compare`, `lease` and `remove` are the work, each step in a task of its own: it may take
//!   seconds, and the loop never waits.
//!
//! The rules are in `replication::drop`. What this floor owes it is the truth about this node's disk:
//! what is claimed to be compared was computed here from bytes that are here, what is claimed
//! to be moved was read again in the trash.

mod compare;
mod desk;
mod job;
mod lease;
mod look;
mod purge;
mod removal;
mod remove;
mod setup;
mod trash;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::brake::Keep;
use crate::replication::drop::{Action, Answer, Comparison, Entry, Event, Plan, Renamed};
use crate::store::decode::Inspector;
use crate::store::ledger::Ledger;
use crate::store::trash::Trash;
use crate::types::ContentId;

use super::serve::Services;
pub(super) use desk::{Desk, DeskSettings, Hindrance, LeaseDecision, Removing};
use job::Job;
pub(super) use lease::{Asked, fill_random};
pub(super) use look::Looked;
pub(super) use setup::{Setup, set_up};

/// What drops work with.
#[derive(Debug)]
pub(super) struct Tools {
    /// `None`: nothing can be dropped here, only reported.
    pub(super) trash: Option<Trash>,
    /// `None`: nothing can be dropped here, and no lease be granted.
    pub(super) ledger: Option<Arc<Ledger>>,
    pub(super) inspector: Arc<Inspector>,
    /// Files that are never dropped.
    pub(super) keep: Keep,
    /// A better version takes the place of the dropped one in the folder.
    pub(super) adopt: bool,
    jobs: Mutex<HashMap<ContentId, Arc<Job>>>,
}

impl Tools {
    pub(super) fn new(
        trash: Option<Trash>,
        ledger: Option<Arc<Ledger>>,
        inspector: Arc<Inspector>,
        keep: Keep,
        adopt: bool,
    ) -> Self {
        Self { trash, ledger, inspector, keep, adopt, jobs: Mutex::default() }
    }

    fn jobs(&self) -> std::sync::MutexGuard<'_, HashMap<ContentId, Arc<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before the planner hears of the plan.
    fn begin(&self, plan: &Plan, trashed: Option<crate::store::trash::EntryId>) {
        self.jobs().entry(plan.subject).or_insert_with(|| Arc::new(Job::new(plan.clone(), trashed)));
    }

    /// Other nodes hold the keeper now.
    fn replan(&self, plan: &Plan) {
        if let Some(job) = self.job(plan.subject) {
            job.state().sources.clone_from(&plan.holders);
        }
    }

    fn job(&self, subject: ContentId) -> Option<Arc<Job>> {
        self.jobs().get(&subject).map(Arc::clone)
    }

    /// The drop is over; what it had fetched goes with the last who holds it.
    fn end(&self, subject: ContentId) -> Option<Arc<Job>> {
        self.jobs().remove(&subject)
    }
}

impl Services {
    /// Carries out one action of a drop. The answer is what the planner is to hear.
    async fn carry_out(self: Arc<Self>, action: Action) -> Option<Event> {
        let subject = subject_of(&action)?;
        let job = self.drops.job(subject);
        Some(match action {
            Action::Compare { subject, .. } => {
                let outcome = match job {
                    Some(job) => self.compare(&job).await,
                    None => Comparison::Failed,
                };
                Event::Compared { subject, outcome }
            }
            Action::Commit { subject, .. } => {
                let ok = match job {
                    Some(job) => self.commit(&job).await,
                    None => false,
                };
                Event::Committed { subject, ok }
            }
            Action::Ask { ask, to, asker_keeps, .. } => {
                let answer = match job {
                    Some(job) => self.ask_for_lease(&job, to, asker_keeps).await,
                    None => Answer::Denied,
                };
                Event::Answered { ask, from: to, answer }
            }
            Action::Journal { subject, entry } => {
                let ok = match (entry, job) {
                    // The trash writes the intent as the first step of the move itself: its
                    // description, with the proofs, is on the disk before the file's name goes.
                    (Entry::Intent, Some(_)) => true,
                    (Entry::Final, Some(job)) => self.in_trash(job, Self::confirm).await.unwrap_or(false),
                    (_, None) => false,
                };
                Event::Journaled { subject, entry, ok }
            }
            Action::Recheck { subject } => {
                let ok = match job {
                    Some(job) => self.in_trash(job, Self::check_files).await.unwrap_or(false),
                    None => false,
                };
                Event::Rechecked { subject, ok }
            }
            Action::Rename { subject } => {
                let outcome = match job {
                    Some(job) => self.in_trash(job, Self::rename).await.unwrap_or(Renamed::Unsure),
                    None => Renamed::Unsure,
                };
                Event::Renamed { subject, outcome }
            }
            Action::PutBack { subject } => {
                let ok = match job {
                    Some(job) => self.put_back(job).await,
                    None => true,
                };
                Event::PutBack { subject, ok }
            }
            Action::Purge { subject } => {
                let ok = match job {
                    Some(job) => self.in_trash(job, Self::purge).await.unwrap_or(false),
                    None => false,
                };
                Event::Purged { subject, ok }
            }
            Action::Withdraw { subject } => {
                if let Some(job) = job {
                    self.withdraw(&job).await;
                }
                Event::Withdrawn(subject)
            }
            Action::Discard { .. } | Action::Grant { .. } | Action::Deny { .. } | Action::Ended { .. } => {
                return None;
            }
        })
    }
}

/// The drop that an action belongs to; `None` for those that the desk does itself.
fn subject_of(action: &Action) -> Option<ContentId> {
    match action {
        Action::Compare { subject, .. }
        | Action::Commit { subject, .. }
        | Action::Ask { subject, .. }
        | Action::Journal { subject, .. }
        | Action::Recheck { subject }
        | Action::Rename { subject }
        | Action::PutBack { subject }
        | Action::Purge { subject }
        | Action::Withdraw { subject } => Some(*subject),
        Action::Discard { .. } | Action::Grant { .. } | Action::Deny { .. } | Action::Ended { .. } => None,
    }
}
