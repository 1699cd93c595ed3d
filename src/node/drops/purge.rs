//! The end of a file's time in the trash: proved once more, and only then deleted.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::super::serve::{Services, blocking};
use super::job::Job;
use crate::limits::MAX_EXPIRED;
use crate::replication::drop::{Plan, Why};
use crate::store::trash::{Evidence, Expired, KeptAt, Purged, Trash};
use crate::types::{ContentId, RelPath, Standing};

/// What a look at the trash's calendar found.
#[derive(Debug, Default)]
pub(in crate::node) struct Due {
    /// To be proved by the keeper's holders.
    pub(in crate::node) plans: Vec<(Plan, crate::store::trash::EntryId)>,
    /// Files that came back, because their keeper is not in the folder any more.
    pub(in crate::node) returned: Vec<RelPath>,
}

impl Services {
    /// Deals with files whose time is over, a few at a time: what a person removed, and what
    /// has its keeper in the same folder, at once; of the rest, plans. With `all` false only what
    /// a person removed.
    pub(in crate::node) async fn purge_due(
        self: &Arc<Self>,
        keep_for: Duration,
        copies: u16,
        all: bool,
    ) -> Due {
        let services = Arc::clone(self);
        let due = blocking(move || {
            let Some(trash) = services.drops.trash.as_ref() else { return Ok(Due::default()) };
            let expired = trash.expired(SystemTime::now(), keep_for, MAX_EXPIRED)?;
            let mut due = Due::default();
            for file in expired.into_iter().filter(|file| all || file.entry().keeper.is_none()) {
                let id = file.entry().id.clone();
                // One that is damaged must not keep the others.
                if let Err(error) = services.purge_one(trash, file, copies, &mut due) {
                    tracing::warn!(entry = %id, %error, "its time in the trash is over, and it stays");
                }
            }
            Ok::<_, crate::store::trash::TrashError>(due)
        });
        let due = match due.await {
            Ok(Ok(due)) => due,
            Ok(Err(error)) => {
                tracing::warn!(%error, "looking for files whose time in the trash is over");
                Due::default()
            }
            Err(refusal) => {
                tracing::error!(refusal.message);
                Due::default()
            }
        };
        if !due.returned.is_empty() {
            self.net.look_again(due.returned.clone()).await;
        }
        due
    }

    fn purge_one(
        &self,
        trash: &Trash,
        file: Expired,
        copies: u16,
        due: &mut Due,
    ) -> Result<(), crate::store::trash::TrashError> {
        let entry = file.entry();
        let evidence = match &entry.keeper {
            None => Evidence::Unprovable,
            Some(keeper) if matches!(keeper.at, KeptAt::Here(_)) => Evidence::Here,
            Some(keeper) => {
                due.plans.push((self.purge_plan(entry.content, keeper.content, copies), entry.id.clone()));
                return Ok(());
            }
        };
        if let Purged::Returned { to } = trash.purge(file, evidence)? {
            due.returned.push(to);
        }
        Ok(())
    }

    fn purge_plan(&self, subject: ContentId, keeper: ContentId, copies: u16) -> Plan {
        let standing = self.net.standing();
        let me = self.net.me();
        let holders = self.index.holders(&keeper).unwrap_or_default().into_iter().map(|(peer, _)| peer);
        let holders = holders.filter(|peer| *peer != me && standing(peer) == Standing::Trusted).collect();
        let rank = crate::replication::rank(subject, &me);
        Plan { subject, keeper, why: Why::Purge, copies, holders, rank, pinned: false }
    }

    /// See [`crate::replication::drop::Action::Purge`].
    pub(super) fn purge(_: &Self, trash: &Trash, job: &Job) -> bool {
        let proofs = job.state().proofs.clone();
        matches!(end_of(trash, job, Evidence::Proved(proofs)), Some(Purged::Deleted))
    }

    /// The keeper could not be proved: the file is in the folder again. Whether it is, and what
    /// is to be looked at.
    pub(super) fn bring_back(_: &Self, trash: &Trash, job: &Job) -> (bool, Vec<RelPath>) {
        match end_of(trash, job, Evidence::Unprovable) {
            Some(Purged::Returned { to }) => (true, vec![to]),
            Some(Purged::Deleted) => (true, Vec::new()),
            None => (false, Vec::new()),
        }
    }
}

fn end_of(trash: &Trash, job: &Job, evidence: Evidence) -> Option<Purged> {
    let id = job.trashed.as_ref()?;
    let expired = match trash.expired(SystemTime::now(), Duration::ZERO, usize::MAX) {
        Ok(expired) => expired,
        Err(error) => {
            tracing::warn!(%error, "the trash can't be listed");
            return None;
        }
    };
    // Gone already: a person emptied the trash.
    let Some(file) = expired.into_iter().find(|file| file.entry().id == *id) else {
        return Some(Purged::Deleted);
    };
    trash.purge(file, evidence).map_err(|error| tracing::warn!(%error, "not purged")).ok()
}
