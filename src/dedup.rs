//! Which contents stay and which may go: keeper selection.
//!
//! **Greedy, from best to worst, never through a chain.** A content goes only for a kept
//! one that it matches itself: with A~B, B~C and A≁C, the best first, A and C stay. (Taking
//! the connected groups instead would drop C for A, which is another picture.) Every
//! content has one place in the order of quality, so the outcome does not depend on the
//! order in which they were found.
//!
//! **No drift** (promise P5b). Today's keeper may be tomorrow's loser: B went for K, and
//! now K goes for K2, which B would not have matched. So a keeper carries *witnesses*, the
//! planes of everything that went for it and of what those carried, and goes only for one
//! that matches them all. A keeper that carries more than [`MAX_WITNESSES`] never goes, and
//! needs to remember no more.
//!
//! Not decided here: whether a file may be touched. A [`Drop`] is a wish.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::limits::MAX_WITNESSES;
use crate::picture::quality::Quality;
use crate::types::ContentId;

mod adopt;
pub mod alike;
pub mod finding;
pub mod grouping;
pub mod looks;
pub mod nearby;
pub mod nearest;
pub mod wishing;

pub use wishing::keep_path;

pub use adopt::adopted_name;

/// What a keeper has seen go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Witnesses {
    /// Nothing.
    #[default]
    None,
    /// These contents.
    Some(BTreeSet<ContentId>),
    /// More than are remembered: it can't be dropped any more.
    TooMany,
}

impl Witnesses {
    /// These, without repetitions.
    #[must_use]
    pub fn of(contents: impl IntoIterator<Item = ContentId>) -> Self {
        let set: BTreeSet<ContentId> = contents.into_iter().collect();
        match set.len() {
            0 => Self::None,
            1..=MAX_WITNESSES => Self::Some(set),
            _ => Self::TooMany,
        }
    }

    /// The remembered ones.
    pub fn iter(&self) -> impl Iterator<Item = &ContentId> {
        let set = if let Self::Some(set) = self { Some(set) } else { None };
        set.into_iter().flatten()
    }

    /// After `loser` has gone for this keeper.
    #[must_use]
    pub fn after(&self, loser: &Version) -> Self {
        match (self, &loser.witnesses) {
            // A loser never carries too many; if it did, so does whoever it went for.
            (Self::TooMany, _) | (_, Self::TooMany) => Self::TooMany,
            (own, theirs) => Self::of(own.iter().chain(theirs.iter()).copied().chain([loser.content()])),
        }
    }
}

/// A content as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its place in the order, and which content it is.
    pub quality: Quality,
    /// Put back or marked by somebody: a keeper whatever else there is.
    pub pinned: bool,
    /// What has gone for it.
    pub witnesses: Witnesses,
}

impl Version {
    /// A content that nobody has said anything about.
    #[must_use]
    pub fn new(quality: Quality) -> Self {
        Self { quality, pinned: false, witnesses: Witnesses::None }
    }

    /// Which content.
    #[must_use]
    pub fn content(&self) -> ContentId {
        self.quality.content
    }

    /// Whether it may go at all.
    #[must_use]
    pub fn may_go(&self) -> bool {
        !self.pinned && self.witnesses != Witnesses::TooMany
    }
}

/// Who knows which contents show the same picture. Asked about a pair at most once by
/// one [`select`].
pub trait Judge {
    /// Whether `loser` is the same picture as the better `keeper` and nothing is lost with
    /// it.
    fn same(&mut self, keeper: &ContentId, loser: &ContentId) -> bool;
    /// Whether `keeper` matches the signature and pixels that were kept of `witness`,
    /// which is gone.
    fn matches(&mut self, keeper: &ContentId, witness: &ContentId) -> bool;
    /// The contents that may be the same picture as `content`, in any order, by their
    /// hashes: [`nearby`]. What is not among them is not asked about.
    fn nearby(&self, content: &ContentId) -> BTreeSet<ContentId>;
}

/// A content that may go, and for which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drop {
    /// What may go.
    pub loser: ContentId,
    /// What stays for it: matched directly, and better.
    pub keeper: ContentId,
}

/// What is to be done with some contents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// What stays, from the best on, with the witnesses that it will carry.
    pub keepers: Vec<Version>,
    /// What may go, from the best on.
    pub drops: Vec<Drop>,
}

/// Chooses the keepers among `versions`. Contents that appear twice count once.
#[must_use]
pub fn select(versions: &[Version], judge: &mut impl Judge) -> Selection {
    let mut order: Vec<&Version> = versions.iter().collect();
    order.sort_by_key(|version| Reverse(version.quality));
    order.dedup_by_key(|version| version.content());
    let mut selection = Selection::default();
    let mut places = BTreeMap::new();
    for version in order {
        if let Some(at) = keeper_for(version, &places, judge) {
            let keeper = &mut selection.keepers[at];
            keeper.witnesses = keeper.witnesses.after(version);
            selection.drops.push(Drop { loser: version.content(), keeper: keeper.content() });
        } else {
            places.insert(version.content(), selection.keepers.len());
            selection.keepers.push(version.clone());
        }
    }
    selection
}

/// The best keeper that stands for `version` and for everything that went for it.
/// `places` are the keepers, numbered from the best on.
fn keeper_for<J: Judge>(
    version: &Version,
    places: &BTreeMap<ContentId, usize>,
    judge: &mut J,
) -> Option<usize> {
    if !version.may_go() {
        return None;
    }
    let content = version.content();
    let nearby = judge.nearby(&content);
    let mut candidates: Vec<_> =
        nearby.into_iter().filter_map(|keeper| Some((*places.get(&keeper)?, keeper))).collect();
    candidates.sort_unstable();
    let fits = |keeper: &ContentId, judge: &mut J| {
        judge.same(keeper, &content)
            && version.witnesses.iter().all(|witness| witness == keeper || judge.matches(keeper, witness))
    };
    candidates.into_iter().find(|(_, keeper)| fits(keeper, judge)).map(|(at, _)| at)
}

#[cfg(test)]
mod tests;
