//! How far a drop is, and the evidence that each step needs from the one before.
//!
//! [`Proven`] can only be made from a [`Round`] in which everybody granted and proved, and
//! every stage from the journal on carries one: a rename without proof does not compile.

use std::collections::BTreeSet;

use libp2p::PeerId;

use super::words::{Answer, AskId, End, Plan, Rules};
use crate::replication::lease::{BootTime, Terms};
use crate::types::ContentId;

/// `copies` failure domains proved that they hold the keeper, and promised to keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Proven {
    until: BootTime,
}

impl Proven {
    /// Whether the promises still hold.
    pub(super) fn holds(self, now: BootTime) -> bool {
        now < self.until
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Asked {
    holder: PeerId,
    ask: AskId,
    granted: bool,
}

/// One round of requests for leases.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Round {
    sent: BootTime,
    asked: Vec<Asked>,
}

/// What an answer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not an answer to this round.
    Unrelated,
    /// Others are to come.
    More,
    /// All have granted.
    All(Proven),
    /// It failed.
    Failed(PeerId),
}

impl Round {
    pub(super) fn new(sent: BootTime, asked: impl IntoIterator<Item = (PeerId, AskId)>) -> Self {
        let asked = asked.into_iter().map(|(holder, ask)| Asked { holder, ask, granted: false });
        Self { sent, asked: asked.collect() }
    }

    pub(super) fn deadline(&self, terms: &Terms) -> BootTime {
        self.sent.after(terms.answer)
    }

    /// Whom no answer came from.
    pub(super) fn silent(&self) -> Option<PeerId> {
        self.asked.iter().find(|asked| !asked.granted).map(|asked| asked.holder)
    }

    /// The holders whose promise is relied on at `now`.
    pub(super) fn relied_on(&self, now: BootTime, terms: &Terms, rules: &Rules) -> Vec<PeerId> {
        if now >= self.until(terms, rules) {
            return Vec::new();
        }
        self.asked.iter().filter(|asked| asked.granted).map(|asked| asked.holder).collect()
    }

    fn until(&self, terms: &Terms, rules: &Rules) -> BootTime {
        if rules.margin { terms.relied_on_until(self.sent) } else { self.sent.after(terms.lease) }
    }

    pub(super) fn answer(
        &mut self,
        now: BootTime,
        (ask, from, answer): (AskId, PeerId, Answer),
        terms: &Terms,
        rules: &Rules,
    ) -> Progress {
        let open = |asked: &&mut Asked| asked.holder == from && (asked.ask == ask || !rules.fresh_answers);
        let Some(asked) = self.asked.iter_mut().find(open) else { return Progress::Unrelated };
        match answer {
            Answer::Granted { proof_matches } if proof_matches || !rules.proof => asked.granted = true,
            Answer::Granted { .. } | Answer::Denied => return Progress::Failed(from),
        }
        let proven = Proven { until: self.until(terms, rules) };
        if !proven.holds(now) {
            return Progress::Failed(from);
        }
        if self.asked.iter().all(|asked| asked.granted) { Progress::All(proven) } else { Progress::More }
    }
}

/// How far a drop is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// Nothing is going on before this time.
    Waiting(BootTime),
    /// The keeper is being fetched and looked at.
    Comparing,
    /// It is being made a replica.
    Committing,
    /// From here on the node *intends* to drop the subject. First round.
    Asking(Round),
    /// The intent is being written.
    Journaling(Proven, Round),
    /// The file is being looked at.
    Rechecking(Proven, Round),
    /// It is being moved.
    Renaming(Proven, Round),
    /// It is in the trash; second round.
    AskingAgain(Round),
    /// The end is being written.
    Finishing(Round),
    /// It is final: index and DHT forget the subject.
    Withdrawing,
    /// It is being put back.
    PuttingBack,
    /// It could not be put back; again at this time.
    Stuck(BootTime),
    /// The trash entry is being removed.
    Purging(Round),
}

/// A drop.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Drop {
    pub(super) plan: Plan,
    /// What is wanted since this attempt began.
    pub(super) newer: Option<Plan>,
    pub(super) stage: Stage,
    /// Failed attempts in a row.
    pub(super) failures: u8,
    /// The own copy of the keeper counts, and must not be removed meanwhile.
    pub(super) own: bool,
    /// What the subject carries, as last read.
    pub(super) witnesses: BTreeSet<ContentId>,
    /// Since the last comparison the subject was promised to somebody, perhaps with new
    /// witnesses: compare again.
    pub(super) stale: bool,
    /// Something happened (pin, suspend) after which this attempt must not go on.
    pub(super) doubt: bool,
    /// Not to be tried again once the file is in its place, and how it then ends.
    pub(super) last: Option<End>,
}

impl Drop {
    pub(super) fn new(plan: Plan, start: BootTime) -> Self {
        let (witnesses, stage) = (BTreeSet::new(), Stage::Waiting(start));
        Self {
            plan,
            newer: None,
            stage,
            failures: 0,
            own: false,
            witnesses,
            stale: false,
            doubt: false,
            last: None,
        }
    }

    /// Whether the subject is as good as removed: nobody gets a lease on it.
    pub(super) fn intends(&self) -> bool {
        !matches!(self.stage, Stage::Waiting(_) | Stage::Comparing | Stage::Committing)
    }

    /// Whether nothing has been written yet, so that giving up costs nothing.
    pub(super) fn can_yield(&self) -> bool {
        matches!(self.stage, Stage::Waiting(_) | Stage::Comparing | Stage::Committing | Stage::Asking(_))
    }

    /// Whether this drop relies on the own copy of its keeper.
    pub(super) fn relies_on_own(&self) -> bool {
        self.own
            && self.intends()
            && !matches!(self.stage, Stage::Withdrawing | Stage::PuttingBack | Stage::Stuck(_))
    }

    pub(super) fn round(&self) -> Option<&Round> {
        match &self.stage {
            Stage::Asking(round)
            | Stage::Journaling(_, round)
            | Stage::Rechecking(_, round)
            | Stage::Renaming(_, round)
            | Stage::AskingAgain(round)
            | Stage::Finishing(round)
            | Stage::Purging(round) => Some(round),
            _ => None,
        }
    }

    /// When to look at it again without an event.
    pub(super) fn due(&self, terms: &Terms) -> Option<BootTime> {
        match &self.stage {
            Stage::Waiting(at) | Stage::Stuck(at) => Some(*at),
            Stage::Asking(round) | Stage::AskingAgain(round) => Some(round.deadline(terms)),
            _ => None,
        }
    }
}
