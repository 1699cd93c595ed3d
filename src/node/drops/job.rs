//! What one drop has in its hands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use libp2p::PeerId;

use crate::picture::witness::Witness;
use crate::replication::drop::Plan;
use crate::store::replicas::{Aside, Received};
use crate::store::trash::{DropPlan, Dropping, Entry, EntryId, Proof};
use crate::types::{ImageId, RelPath};

/// A drop from its beginning to its end, attempts and pauses included.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) plan: Plan,
    /// What is to be purged from the trash; `None`: a drop.
    pub(super) trashed: Option<EntryId>,
    state: Mutex<State>,
}

/// What is here of it now. Held only for moments: the work takes out what it works on.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Who may have the keeper, as the last look saw it.
    pub(super) sources: Vec<PeerId>,
    /// The keeper's bytes.
    pub(super) keeper: Option<Kept>,
    /// The subject's picture.
    pub(super) image: Option<ImageId>,
    /// What the keeper has to carry: the subject, and what the subject carries.
    pub(super) witnesses: Vec<Witness>,
    /// Who has recorded the witnesses: they need not travel twice.
    pub(super) recorded: BTreeSet<PeerId>,
    /// What was measured, for people.
    pub(super) numbers: BTreeMap<String, String>,
    /// What the holders answered, in this attempt.
    pub(super) proofs: Vec<Proof>,
    /// How many of them came before the files were moved.
    pub(super) first_round: usize,
    /// Which attempt this is: an answer to an earlier one is late.
    pub(super) attempt: u64,
    /// Who granted in this attempt.
    pub(super) holders: BTreeSet<PeerId>,
    /// The files that are to go, as they were when they were last looked at.
    pub(super) files: Vec<DropPlan>,
    /// Files on their way into the trash.
    pub(super) moved: Vec<Dropping>,
    /// Files in the trash for good.
    pub(super) dropped: Vec<Entry>,
    /// The replica on its way out.
    pub(super) aside: Option<Aside>,
    /// A replica has gone for good.
    pub(super) replica_gone: bool,
    /// The file was dropped once, and somebody put it back: it is pinned.
    pub(super) put_back: bool,
    /// What could not be put back: the trash is asked to try again.
    pub(super) stuck: Vec<EntryId>,
}

/// Where the keeper's bytes are.
#[derive(Debug)]
pub(super) enum Kept {
    /// In a committed file or replica of this node; with its place, when it is in the folder.
    Own { file: PathBuf, at: Option<RelPath> },
    /// In a temporary file.
    Fetched(Received),
}

impl Kept {
    pub(super) fn file(&self) -> &Path {
        match self {
            Self::Own { file, .. } => file,
            Self::Fetched(received) => received.path(),
        }
    }
}

impl Job {
    pub(super) fn new(plan: Plan, trashed: Option<EntryId>) -> Self {
        let state = State { sources: plan.holders.clone(), ..State::default() };
        Self { plan, trashed, state: Mutex::new(state) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the keeper's bytes are now.
    pub(super) fn keeper_file(&self) -> Option<PathBuf> {
        self.state().keeper.as_ref().map(|kept| kept.file().to_path_buf())
    }
}
