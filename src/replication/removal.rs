//! What a removal is about, and which of two counts. A removal is a person's word, and the only one
//! that lets a content go without a keeper; so it is read narrowly. It names one copy: what its
//! holder had up to a position of its catalog. Whatever came after that position, or into
//! a catalog that began anew, is not meant.
//!
//! The rejected alternative, a tombstone for the content, could not tell a copy that comes back
//! with a node that was away from one that somebody adds again.

use crate::limits::REMOVAL_KEPT;
use crate::protocol::Removal;
use crate::types::{Epoch, Seq};

/// A clock that is ahead by more than this is wrong: what it orders would be remembered for ever.
const CLOCKS_APART_MS: u64 = 24 * 3600 * 1000;

/// Whether the copy at this position of the holder's catalog is the one that is meant, and is to
/// go.
#[must_use]
pub fn is_meant(removal: &Removal, epoch: Epoch, seq: Seq) -> bool {
    !removal.spared && removal.epoch == epoch && seq <= removal.seq
}

/// What is to be remembered of a copy when `told` comes to what is `known` of it; `None` when
/// nothing changes. A later order replaces an earlier one, and of one order that the copy was
/// spared is the last word.
#[must_use]
pub fn merged(known: Option<&Removal>, told: &Removal, now_ms: u64) -> Option<Removal> {
    let mut told = told.clone();
    told.at = told.at.min(now_ms.saturating_add(CLOCKS_APART_MS));
    let news = match known {
        None => true,
        Some(known) if known.at == told.at => told.spared && !known.spared,
        Some(known) => told.at > known.at,
    };
    (news && !is_over(&told, now_ms)).then_some(told)
}

/// Whether it is too old to be remembered.
#[must_use]
pub fn is_over(removal: &Removal, now_ms: u64) -> bool {
    let kept = u64::try_from(REMOVAL_KEPT.as_millis()).unwrap_or(u64::MAX);
    removal.at.saturating_add(kept) <= now_ms
}

/// The time of a new order: later than what is known, whatever the clocks say.
#[must_use]
pub fn order_time(known: Option<&Removal>, now_ms: u64) -> u64 {
    known.map_or(now_ms, |known| now_ms.max(known.at.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;
    use proptest::prelude::*;

    use super::*;
    use crate::types::ContentId;

    fn removal(at: u64, seq: u64, spared: bool) -> Removal {
        let (content, peer) = (ContentId([1; 32]), PeerId::random());
        Removal { content, peer, epoch: Epoch(7), seq: Seq(seq), at, by: peer, spared }
    }

    #[test]
    fn only_the_copy_that_was_there_is_meant() {
        let order = removal(1, 40, false);
        assert!(is_meant(&order, Epoch(7), Seq(40)) && is_meant(&order, Epoch(7), Seq(3)));
        assert!(!is_meant(&order, Epoch(7), Seq(41)), "it was added again");
        assert!(!is_meant(&order, Epoch(8), Seq(3)), "the catalog began anew");
        assert!(!is_meant(&removal(1, 40, true), Epoch(7), Seq(3)), "it was spared");
    }

    #[test]
    fn a_later_order_replaces_an_earlier_one_and_sparing_is_the_last_word() {
        let (old, new) = (removal(1000, 5, false), removal(2000, 9, false));
        assert_eq!(merged(None, &old, 3000), Some(old.clone()));
        assert_eq!(merged(Some(&old), &new, 3000), Some(new.clone()));
        assert_eq!(merged(Some(&new), &old, 3000), None);
        assert_eq!(merged(Some(&new), &new, 3000), None, "told twice");
        let spared = Removal { spared: true, ..new.clone() };
        assert_eq!(merged(Some(&new), &spared, 3000), Some(spared.clone()));
        assert_eq!(merged(Some(&spared), &new, 3000), None);
        let again = removal(order_time(Some(&spared), 500), 12, false);
        assert_eq!(merged(Some(&spared), &again, 3000), Some(again), "asked again, by a clock behind");
    }

    #[test]
    fn orders_are_forgotten_also_those_of_a_wrong_clock() {
        let kept = REMOVAL_KEPT.as_millis() as u64;
        let order = removal(1000, 5, false);
        assert!(!is_over(&order, 999 + kept) && is_over(&order, 1000 + kept));
        assert_eq!(merged(None, &order, 1000 + kept), None);
        let ahead = merged(None, &removal(u64::MAX, 5, false), 1000).unwrap();
        assert!(is_over(&ahead, 1000 + CLOCKS_APART_MS + kept));
    }

    proptest! {
        /// Whatever order it is told in, and how often, all remember the same.
        #[test]
        fn the_order_of_telling_does_not_matter(
            told in prop::collection::vec((1_u64..4, any::<bool>()), 1..6), seed: u64,
        ) {
            let all: Vec<Removal> = told.iter().map(|(at, spared)| {
                Removal { peer: PeerId::from_bytes(&[0, 1, 0]).unwrap(), by: PeerId::from_bytes(&[0, 1, 0]).unwrap(), ..removal(*at, *at, *spared) }
            }).collect();
            let learn = |order: Vec<&Removal>| {
                order.into_iter().fold(None::<Removal>, |known, told| merged(known.as_ref(), told, 10).or(known))
            };
            let mut turned: Vec<&Removal> = all.iter().chain(&all).collect();
            let by = seed as usize % turned.len();
            turned.rotate_left(by);
            prop_assert_eq!(learn(all.iter().collect()), learn(turned));
        }
    }
}
