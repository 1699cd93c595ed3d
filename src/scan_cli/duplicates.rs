//! Finds the duplicates among a folder's pictures: the same rule, order and selection as
//! a node's.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use crate::dedup::nearby::Nearby;
use crate::dedup::{self, Judge};
use crate::picture::same::{DECISION, Doubt, Evidence, Verdict};
use crate::store::compare::{Version, compare};
use crate::store::decode::Inspector;
use crate::store::survey::{Survey, Surveyed};
use crate::types::{ContentId, ImageId};

/// Why a file is not needed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Why {
    /// The same bytes.
    Identical,
    /// The same picture.
    Same(Evidence),
}

/// A picture that is there more than once.
pub(super) struct Group<'a> {
    pub(super) keeper: &'a Surveyed,
    pub(super) losers: Vec<(&'a Surveyed, Why)>,
}

/// Two pictures that may be the same.
pub(super) struct Probable<'a> {
    pub(super) better: &'a Surveyed,
    pub(super) other: &'a Surveyed,
    pub(super) doubt: Doubt,
}

/// What was found.
pub(super) struct Duplicates<'a> {
    /// By the path of the keeper.
    pub(super) groups: Vec<Group<'a>>,
    pub(super) probable: Vec<Probable<'a>>,
}

impl Duplicates<'_> {
    /// Bytes of the files that are not needed.
    pub(super) fn freed(&self, survey: &Survey) -> u64 {
        let losers = self.groups.iter().flat_map(|group| &group.losers);
        losers.map(|(loser, _)| survey.facts(loser).facts.bytes).sum()
    }
}

struct Looking<'a, 'p> {
    survey: &'a Survey,
    inspector: &'p Inspector,
    /// The files of each content, by path; names of one file only once.
    files: BTreeMap<ContentId, Vec<&'a Surveyed>>,
    nearby: Nearby,
    /// Contents in the order of their hashes' numbers.
    hashed: Vec<ContentId>,
    verdicts: BTreeMap<(ContentId, ContentId), Verdict>,
    compared: Cell<u64>,
    progress: &'p dyn Fn(u64, u64),
}

impl<'a> Looking<'a, '_> {
    fn first(&self, content: &ContentId) -> Option<&'a Surveyed> {
        self.files.get(content).and_then(|files| files.first()).copied()
    }
}

impl Judge for Looking<'_, '_> {
    fn same(&mut self, keeper: &ContentId, loser: &ContentId) -> bool {
        let (Some(a), Some(b)) = (self.first(keeper), self.first(loser)) else { return false };
        let [a_known, b_known] = [a, b].map(|picture| self.survey.known(picture));
        let [a_path, b_path] = [a, b].map(|picture| picture.path.in_folder(self.survey.dir()));
        let keeper_version = Version { known: &a_known, path: &a_path };
        let verdict = compare(self.inspector, keeper_version, Version { known: &b_known, path: &b_path });
        self.verdicts.insert((*keeper, *loser), verdict);
        matches!(verdict, Verdict::Same(_))
    }

    /// Nothing has gone before: there are no witnesses.
    fn matches(&mut self, _keeper: &ContentId, _witness: &ContentId) -> bool {
        false
    }

    fn nearby(&self, content: &ContentId) -> BTreeSet<ContentId> {
        self.compared.set(self.compared.get() + 1);
        (self.progress)(self.compared.get(), self.files.len() as u64);
        let Some(ImageId::Hash(hash)) = self.first(content).map(|p| self.survey.facts(p).facts.image) else {
            return BTreeSet::new();
        };
        let numbers = self.nearby.within(&hash, DECISION.max_distance);
        let found = numbers.into_iter().filter_map(|number| self.hashed.get(number as usize).copied());
        found.filter(|other| other != content).collect()
    }
}

/// Finds them. `progress` is told how many of how many contents have been compared.
pub(super) fn find<'a>(
    survey: &'a Survey,
    inspector: &Inspector,
    progress: &dyn Fn(u64, u64),
) -> Duplicates<'a> {
    let mut looking = Looking {
        survey,
        inspector,
        files: BTreeMap::new(),
        nearby: Nearby::default(),
        hashed: Vec::new(),
        verdicts: BTreeMap::new(),
        compared: Cell::new(0),
        progress,
    };
    let mut links = BTreeSet::new();
    let mut versions = Vec::new();
    for picture in &survey.pictures {
        if !links.insert(picture.file) {
            continue;
        }
        let known = survey.facts(picture);
        let files = looking.files.entry(known.content).or_default();
        files.push(picture);
        if files.len() > 1 {
            continue;
        }
        versions.push(dedup::Version::new(known.quality()));
        if let ImageId::Hash(hash) = known.facts.image {
            looking.nearby.insert(hash);
            looking.hashed.push(known.content);
        }
    }
    let selection = dedup::select(&versions, &mut looking);
    collect(&looking, &selection)
}

fn collect<'a>(looking: &Looking<'a, '_>, selection: &dedup::Selection) -> Duplicates<'a> {
    let mut losers: BTreeMap<ContentId, Vec<(&Surveyed, Why)>> = BTreeMap::new();
    for drop in &selection.drops {
        if let Some(Verdict::Same(evidence)) = looking.verdicts.get(&(drop.keeper, drop.loser)) {
            let files = looking.files.get(&drop.loser).into_iter().flatten();
            losers.entry(drop.keeper).or_default().extend(files.map(|file| (*file, Why::Same(*evidence))));
        }
    }
    let mut groups = Vec::new();
    for keeper in &selection.keepers {
        let files = looking.files.get(&keeper.content()).map(Vec::as_slice).unwrap_or_default();
        let Some((first, others)) = files.split_first() else { continue };
        let identical = others.iter().map(|file| (*file, Why::Identical));
        let all: Vec<_> = identical.chain(losers.remove(&keeper.content()).into_iter().flatten()).collect();
        if !all.is_empty() {
            groups.push(Group { keeper: first, losers: all });
        }
    }
    groups.sort_by(|a, b| a.keeper.path.cmp(&b.keeper.path));
    let gone: BTreeSet<ContentId> = selection.drops.iter().map(|drop| drop.loser).collect();
    let mut probable: Vec<Probable> = Vec::new();
    for ((better, other), verdict) in &looking.verdicts {
        if let Verdict::Probable(doubt) = verdict
            && !gone.contains(other)
            && let (Some(better), Some(other)) = (looking.first(better), looking.first(other))
        {
            probable.push(Probable { better, other, doubt: *doubt });
        }
    }
    probable.sort_by(|a, b| (&a.better.path, &a.other.path).cmp(&(&b.better.path, &b.other.path)));
    Duplicates { groups, probable }
}
