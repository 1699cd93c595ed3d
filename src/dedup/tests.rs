use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::picture::quality::Fidelity;

/// Pictures are numbers, and those at most `REACH` apart look the same: not transitive,
/// like the real thing.
const REACH: u8 = 10;

fn id(name: u8) -> ContentId {
    ContentId([name; 32])
}

#[derive(Clone, Default)]
struct Looks {
    at: BTreeMap<ContentId, u8>,
    asked: BTreeMap<(ContentId, ContentId), u32>,
}

impl Looks {
    fn alike(&self, a: &ContentId, b: &ContentId) -> bool {
        self.at[a].abs_diff(self.at[b]) <= REACH
    }
}

impl Judge for Looks {
    fn same(&mut self, keeper: &ContentId, loser: &ContentId) -> bool {
        *self.asked.entry((*keeper, *loser)).or_default() += 1;
        self.alike(keeper, loser)
    }
    fn matches(&mut self, keeper: &ContentId, witness: &ContentId) -> bool {
        self.alike(keeper, witness)
    }
    fn nearby(&self, content: &ContentId) -> BTreeSet<ContentId> {
        // More than match, as the hash is.
        let near = self.at.iter().filter(|(_, at)| at.abs_diff(self.at[content]) <= 2 * REACH);
        near.map(|(other, _)| *other).filter(|other| other != content).collect()
    }
}

fn version(name: u8, pixels: u64) -> Version {
    Version::new(Quality {
        sound: true,
        pixels,
        fidelity: Fidelity::UNKNOWN,
        bytes: 0,
        metadata: 0,
        content: id(name),
    })
}

fn looks(at: &[(u8, u8)]) -> Looks {
    Looks { at: at.iter().map(|(name, at)| (id(*name), *at)).collect(), ..Looks::default() }
}

#[test]
fn a_chain_is_not_a_group() {
    // A~B, B~C, A≁C.
    let mut judge = looks(&[(1, 0), (2, 8), (3, 16)]);
    let selection = select(&[version(1, 30), version(2, 20), version(3, 10)], &mut judge);
    assert_eq!(selection.drops, [Drop { loser: id(2), keeper: id(1) }]);
    let kept: Vec<_> = selection.keepers.iter().map(Version::content).collect();
    assert_eq!(kept, [id(1), id(3)]);
}

#[test]
fn a_pin_keeps_a_content_and_supersedes_nothing_better() {
    let mut judge = looks(&[(1, 0), (2, 1), (3, 2)]);
    let pinned = Version { pinned: true, ..version(2, 20) };
    let selection = select(&[version(1, 30), pinned, version(3, 10)], &mut judge);
    assert_eq!(selection.drops, [Drop { loser: id(3), keeper: id(1) }]);
    assert_eq!(selection.keepers.len(), 2);
}

/// B went for K; K2 is like K, but not like B. Dropping K would leave B with nobody.
#[test]
fn a_keeper_does_not_drift_away_from_what_went_for_it() {
    let mut judge = looks(&[(1, 0), (2, 8), (3, 16)]);
    let first = select(&[version(2, 20), version(1, 10)], &mut judge);
    assert_eq!(first.drops, [Drop { loser: id(1), keeper: id(2) }]);
    let mut living = first.keepers;
    living.push(version(3, 30));
    assert_eq!(select(&living, &mut judge).drops, []);
    // One that is like both may take over, and carries both from then on.
    judge.at.insert(id(4), 5);
    living.push(version(4, 40));
    let last = select(&living, &mut judge);
    assert!(last.drops.contains(&Drop { loser: id(2), keeper: id(4) }), "{last:?}");
    assert!(last.keepers[0].witnesses.iter().any(|witness| *witness == id(1)));
}

#[test]
fn with_too_many_witnesses_a_keeper_stays_for_ever() {
    let many = MAX_WITNESSES as u8 + 1;
    let mut judge = looks(&[(200, 0), (201, 0)]);
    let mut all = vec![version(200, 100)];
    for name in 0..many {
        judge.at.insert(id(name), 1);
        all.push(version(name, u64::from(name)));
    }
    let selection = select(&all, &mut judge);
    assert_eq!(selection.drops.len(), usize::from(many), "it still takes more");
    assert_eq!(selection.keepers[0].witnesses, Witnesses::TooMany);
    let better = [selection.keepers[0].clone(), version(201, 500)];
    assert_eq!(select(&better, &mut judge).drops, []);
}

fn pictures() -> impl Strategy<Value = Vec<(u8, u64, bool)>> {
    // Where it looks, how good it is, whether it is pinned.
    prop::collection::vec((0u8..60, 0u64..8, prop::bool::weighted(0.1)), 1..24)
}

fn world(pictures: &[(u8, u64, bool)]) -> (Looks, Vec<Version>) {
    let mut judge = Looks::default();
    let mut all = Vec::new();
    for ((at, pixels, pinned), name) in pictures.iter().zip(0u8..) {
        judge.at.insert(id(name), *at);
        all.push(Version { pinned: *pinned, ..version(name, *pixels) });
    }
    (judge, all)
}

proptest! {
    #[test]
    fn the_outcome_does_not_depend_on_the_order_and_is_final(
        pictures in pictures(), order in any::<prop::sample::Index>(), reverse: bool
    ) {
        let (mut judge, mut all) = world(&pictures);
        let first = select(&all, &mut judge);
        prop_assert!(judge.asked.values().all(|times| *times == 1), "each pair once");
        let turn = order.index(all.len());
        all.rotate_left(turn);
        if reverse {
            all.reverse();
        }
        all.push(all[0].clone());
        prop_assert_eq!(&select(&all, &mut judge), &first);
        let again = select(&first.keepers, &mut judge);
        prop_assert_eq!(again.drops, vec![], "idempotent");
        prop_assert_eq!(again.keepers, first.keepers);
    }

    #[test]
    fn a_drop_is_always_for_a_better_keeper_that_matches_directly(pictures in pictures()) {
        let (mut judge, all) = world(&pictures);
        let selection = select(&all, &mut judge);
        let find = |content| all.iter().find(|version| version.content() == content).unwrap();
        for drop in &selection.drops {
            prop_assert!(judge.alike(&drop.keeper, &drop.loser));
            prop_assert!(find(drop.keeper).quality > find(drop.loser).quality);
            prop_assert!(!find(drop.loser).pinned);
            prop_assert!(selection.keepers.iter().any(|keeper| keeper.content() == drop.keeper));
        }
        prop_assert_eq!(selection.keepers.len() + selection.drops.len(), all.len());
    }

    /// Contents arrive one by one, and each step knows only some of those that live.
    #[test]
    fn whatever_went_is_matched_directly_by_one_that_lives(
        pictures in pictures(), views in prop::collection::vec(any::<u32>(), 30)
    ) {
        let (mut judge, all) = world(&pictures);
        let mut living: Vec<Version> = Vec::new();
        let mut gone: Vec<ContentId> = Vec::new();
        for (step, view) in views.iter().enumerate() {
            living.extend(all.get(step).cloned());
            let seen = |at: usize| view >> (at % 32) & 1 == 1;
            let (known, mut unknown): (Vec<_>, Vec<_>) =
                living.drain(..).enumerate().partition(|(at, _)| seen(*at));
            let known: Vec<Version> = known.into_iter().map(|(_, version)| version).collect();
            let selection = select(&known, &mut judge);
            gone.extend(selection.drops.iter().map(|drop| drop.loser));
            living = selection.keepers;
            living.extend(unknown.drain(..).map(|(_, version)| version));
            for lost in &gone {
                prop_assert!(
                    living.iter().any(|keeper| judge.alike(&keeper.content(), lost)),
                    "step {}: nobody is like {:?}", step, lost
                );
            }
        }
        prop_assert!(living.len() + gone.len() == all.len());
    }
}
