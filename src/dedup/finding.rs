//! What is found in one clump of contents that may be one picture: who may go for whom, and
//! which pairs are for people to judge.
//!
//! From descriptions only, which are claims of the holders. So all of it is a wish: who
//! drops looks at the bytes itself.

use std::collections::{BTreeMap, BTreeSet};

use super::nearby::Nearby;
use super::{Drop, Judge, Selection, Version, Witnesses, select};
use crate::limits::MAX_WITNESSES;
use crate::picture::same::{DECISION, Known, Verdict, screen};
use crate::types::{ContentId, ImageId};

/// A content and what a holder says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What is known without its bytes, its edits included.
    pub known: Known,
    /// Somebody wants it kept.
    pub pinned: bool,
    /// How many contents have gone for it.
    pub witnesses: usize,
}

impl Member {
    fn version(&self) -> Version {
        let many = self.witnesses > MAX_WITNESSES;
        Version {
            quality: self.known.quality(),
            pinned: self.pinned,
            witnesses: if many { Witnesses::TooMany } else { Witnesses::None },
        }
    }
}

/// Pairs of (loser, keeper) that were looked at and are not the same picture.
pub type Refused = BTreeSet<(ContentId, ContentId)>;

/// Two contents, and for people what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The better one.
    pub keeper: ContentId,
    /// The other.
    pub loser: ContentId,
    /// What was found, or what speaks against it.
    pub reason: String,
}

/// What a clump holds, each content at most once as a loser.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// May go, from the best on.
    pub same: Vec<Pair>,
    /// For people to judge, from the best on: the hash takes them for the same.
    pub probable: Vec<Pair>,
}

/// Looks at a clump. The order of `members` changes nothing.
#[must_use]
pub fn find(members: &[Member], refused: &Refused) -> Found {
    let mut clump = Clump::new(members, refused);
    let versions: Vec<Version> = clump.members.values().map(|member| member.version()).collect();
    let Selection { keepers, drops } = select(&versions, &mut clump);
    let same = drops.iter().filter_map(|drop| clump.same_pair(drop)).collect();
    let places: BTreeMap<ContentId, usize> =
        keepers.iter().enumerate().map(|(at, keeper)| (keeper.content(), at)).collect();
    let probable = keepers.iter().filter_map(|loser| clump.doubtful(loser, &places)).collect();
    Found { same, probable }
}

struct Clump<'a> {
    members: BTreeMap<ContentId, &'a Member>,
    nearby: Nearby,
    /// Contents in the order of their hashes' numbers.
    order: Vec<ContentId>,
    refused: &'a Refused,
}

impl<'a> Clump<'a> {
    fn new(members: &'a [Member], refused: &'a Refused) -> Self {
        let members: BTreeMap<_, _> = members.iter().map(|member| (member.known.content, member)).collect();
        let (mut nearby, mut order) = (Nearby::default(), Vec::new());
        for (content, member) in &members {
            if let ImageId::Hash(hash) = member.known.facts.image {
                nearby.insert(hash);
                order.push(*content);
            }
        }
        Self { members, nearby, order, refused }
    }

    /// What is found of two members; `None` for others.
    fn verdict(&self, keeper: &ContentId, loser: &ContentId) -> Option<Result<u32, Verdict>> {
        Some(screen(&self.members.get(keeper)?.known, &self.members.get(loser)?.known))
    }

    fn same_pair(&self, drop: &Drop) -> Option<Pair> {
        let bits = self.verdict(&drop.keeper, &drop.loser)?.ok()?;
        let reason = format!("hash distance {bits} of 256, proportions, tones and colours agree");
        Some(Pair { keeper: drop.keeper, loser: drop.loser, reason })
    }

    /// The best keeper that `loser`, which stays, may be the same picture as.
    fn doubtful(&self, loser: &Version, places: &BTreeMap<ContentId, usize>) -> Option<Pair> {
        let content = loser.content();
        let own = *places.get(&content)?;
        let nearby = self.nearby(&content);
        let mut better: Vec<(usize, ContentId)> = nearby
            .into_iter()
            .filter_map(|other| Some((*places.get(&other)?, other)))
            .filter(|(place, _)| *place < own)
            .collect();
        better.sort_unstable();
        let reason = |keeper: &ContentId| match self.verdict(keeper, &content)? {
            Ok(_) if self.refused.contains(&(content, *keeper)) => {
                Some("looked at closely, and found to differ".to_owned())
            }
            Ok(_) if loser.pinned => Some("pinned: somebody wants it kept".to_owned()),
            Ok(_) => Some("it stands for too many that have gone".to_owned()),
            Err(Verdict::Probable(doubt)) => Some(doubt.to_string()),
            Err(_) => None,
        };
        better
            .into_iter()
            .find_map(|(_, keeper)| Some(Pair { keeper, loser: content, reason: reason(&keeper)? }))
    }
}

impl Judge for Clump<'_> {
    fn same(&mut self, keeper: &ContentId, loser: &ContentId) -> bool {
        !self.refused.contains(&(*loser, *keeper))
            && self.verdict(keeper, loser).is_some_and(|verdict| verdict.is_ok())
    }

    fn matches(&mut self, _: &ContentId, _: &ContentId) -> bool {
        // Who drops has the witnesses, and looks.
        true
    }

    fn nearby(&self, content: &ContentId) -> BTreeSet<ContentId> {
        let Some(ImageId::Hash(hash)) = self.members.get(content).map(|member| member.known.facts.image)
        else {
            return BTreeSet::new();
        };
        let numbers = self.nearby.within(&hash, DECISION.max_distance);
        let near = numbers.into_iter().filter_map(|number| self.order.get(number as usize));
        near.copied().filter(|other| other != content).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::picture::quality::{Encoding, Fidelity, Metadata};
    use crate::picture::same::Edits;
    use crate::picture::{Signature, distance};
    use crate::types::{Facts, Format, Traits};

    pub(in crate::dedup) fn id(name: u8) -> ContentId {
        ContentId([name; 32])
    }

    /// A picture whose hash has `bits` bits set, all tones at `tone`.
    pub(in crate::dedup) fn member(name: u8, bits: usize, tone: u8, width: u32) -> Member {
        let mut hash = [0; 32];
        for bit in 0..bits {
            hash[bit / 8] |= 1 << (bit % 8);
        }
        Member {
            known: Known {
                content: id(name),
                facts: Facts {
                    image: ImageId::Hash(hash),
                    bytes: 1000,
                    width,
                    height: width,
                    format: Format::Jpeg,
                    taken_at: None,
                    guard: 50,
                    traits: Traits::default(),
                },
                encoding: Encoding { fidelity: Fidelity(900), metadata: Metadata::default() },
                signature: Some(Signature::from_array([tone; Signature::LEN])),
                edits: Edits::default(),
            },
            pinned: false,
            witnesses: 0,
        }
    }

    fn drops(members: &[Member]) -> Vec<(ContentId, ContentId)> {
        find(members, &Refused::new()).same.iter().map(|pair| (pair.loser, pair.keeper)).collect()
    }

    #[test]
    fn the_better_one_stays_and_what_differs_is_for_people() {
        let all = [member(1, 0, 100, 800), member(2, 3, 100, 400), member(3, 6, 120, 200)];
        let found = find(&all, &Refused::new());
        assert_eq!(found.same.len(), 1);
        assert_eq!((found.same[0].loser, found.same[0].keeper), (id(2), id(1)));
        assert_eq!(found.probable.len(), 1);
        assert_eq!((found.probable[0].loser, found.probable[0].keeper), (id(3), id(1)));
        assert!(found.probable[0].reason.contains("tones"), "{}", found.probable[0].reason);
    }

    #[test]
    fn a_pin_too_many_witnesses_and_edits_keep_a_content() {
        let (best, other) = (member(1, 0, 100, 800), member(2, 3, 100, 400));
        let pinned = Member { pinned: true, ..other.clone() };
        assert_eq!(drops(&[best.clone(), pinned]), []);
        let heavy = Member { witnesses: MAX_WITNESSES + 1, ..other.clone() };
        let found = find(&[best.clone(), heavy], &Refused::new());
        assert!(found.same.is_empty() && found.probable[0].reason.contains("too many"), "{found:?}");
        let full = Member { witnesses: MAX_WITNESSES, ..other.clone() };
        assert_eq!(drops(&[best.clone(), full]), [(id(2), id(1))]);
        let mut edited = other.clone();
        edited.known.edits.contents.insert(id(1));
        assert_eq!(drops(&[best.clone(), edited]), []);
        let mut often = other;
        often.known.edits.more = true;
        assert_eq!(drops(&[best, often]), []);
    }

    #[test]
    fn a_refused_pair_is_not_asked_for_again_and_another_keeper_is_found() {
        let all = [member(1, 0, 100, 800), member(2, 3, 100, 400), member(3, 6, 100, 200)];
        assert_eq!(drops(&all), [(id(2), id(1)), (id(3), id(1))]);
        let refused = Refused::from([(id(2), id(1)), (id(3), id(1))]);
        let found = find(&all, &refused);
        assert_eq!(found.same.len(), 1);
        assert_eq!((found.same[0].loser, found.same[0].keeper), (id(3), id(2)));
        assert!(found.probable[0].reason.contains("looked at closely"), "{found:?}");
    }

    /// The greedy rule, with nothing that makes it fast.
    fn oracle(members: &[Member], refused: &Refused) -> Vec<(ContentId, ContentId)> {
        let mut order: Vec<&Member> = members.iter().collect();
        order.sort_by_key(|member| std::cmp::Reverse(member.known.quality()));
        let (mut kept, mut gone): (Vec<&Member>, Vec<_>) = (Vec::new(), Vec::new());
        for loser in order {
            let stays = loser.pinned || loser.witnesses > MAX_WITNESSES;
            let keeper = kept.iter().find(|keeper| {
                let (a, b) = (&keeper.known, &loser.known);
                !refused.contains(&(b.content, a.content)) && screen(a, b).is_ok()
            });
            match keeper.filter(|_| !stays) {
                Some(keeper) => gone.push((loser.known.content, keeper.known.content)),
                None => kept.push(loser),
            }
        }
        gone
    }

    fn clump() -> impl Strategy<Value = (Vec<Member>, Refused)> {
        // Hashes in a row, so that near is not transitive; tones that agree or not.
        let one = (0usize..60, 0u8..5, 1u32..4, prop::bool::weighted(0.1), 0usize..20);
        (prop::collection::vec(one, 1..20), prop::collection::btree_set((0u8..20, 0u8..20), 0..12)).prop_map(
            |(members, refused)| {
                let made = members.iter().zip(0u8..).map(|((bits, tone, width, pinned, witnesses), name)| {
                    let member = member(name, *bits, 100 + tone, width * 100);
                    Member { pinned: *pinned, witnesses: *witnesses, ..member }
                });
                (made.collect(), refused.into_iter().map(|(a, b)| (id(a), id(b))).collect())
            },
        )
    }

    proptest! {
        #[test]
        fn a_clump_gives_what_comparing_all_pairs_gives((members, refused) in clump(), turn in 0usize..20) {
            let found = find(&members, &refused);
            let pairs: Vec<_> = found.same.iter().map(|pair| (pair.loser, pair.keeper)).collect();
            prop_assert_eq!(pairs, oracle(&members, &refused));
            let mut turned = members.clone();
            turned.rotate_left(turn % members.len());
            prop_assert_eq!(&find(&turned, &refused), &found, "the order changes nothing");
            let of = |id: &ContentId| members.iter().find(|m| m.known.content == *id).unwrap();
            let mut losers = BTreeSet::new();
            for pair in found.same.iter().chain(&found.probable) {
                prop_assert!(losers.insert(pair.loser), "once");
                let (keeper, loser) = (of(&pair.keeper), of(&pair.loser));
                prop_assert!(keeper.known.quality() > loser.known.quality());
                let (ImageId::Hash(a), ImageId::Hash(b)) = (keeper.known.facts.image, loser.known.facts.image)
                else { panic!() };
                prop_assert!(distance(&a, &b) <= DECISION.max_distance);
            }
            prop_assert!(found.same.iter().all(|pair| of(&pair.loser).version().may_go()));
        }
    }
}
