//! What one content's holders mean: how many copies it has, and what this node owes it.
//!
//! Two numbers, because two kinds of mistake cost differently. Copies that are *there* (their
//! holders answer now) decide whether one may go; copies that *count* (those, and those of
//! members that are expected back) decide whether another is made.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;

use super::absence::State;
use super::drop::{Plan, Why};
use super::placement::{self, Holder, Place};
use super::rendezvous::rank;
use super::wishes::Wish;
use crate::limits::MAX_WISH_HOLDERS;
use crate::types::ContentId;

/// A member as a survey sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it is.
    pub place: Place,
    /// Whether its copies count.
    pub state: State,
    /// How many copies it asks for.
    pub copies: u16,
}

/// Whom a survey goes by. Only trusted members are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// This node.
    pub me: Member,
    /// The others.
    pub members: BTreeMap<PeerId, Member>,
}

/// How many copies a content has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copies {
    /// Failure domains with a holder that is there.
    pub there: u16,
    /// Failure domains that count: with those of members that are expected back.
    pub count: u16,
    /// The highest number that one of its holders that are there, or this node if it is one, asks for.
    pub wanted: u16,
}

/// What this node owes a content that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Duty {
    /// Nothing.
    None,
    /// There are too few copies.
    Offer {
        /// Its number among the holders that are there, from 0.
        rank: u16,
        /// Copies that count: fewer than are wanted.
        copies: u16,
        /// Whose copies count.
        have: Vec<PeerId>,
    },
    /// There are too many, and these have them.
    Trim {
        /// Those that are there and stay, this node included.
        there: Vec<PeerId>,
    },
}

impl View {
    fn member(&self, peer: &PeerId) -> Option<&Member> {
        if *peer == self.me.place.peer { Some(&self.me) } else { self.members.get(peer) }
    }

    /// Counts the copies of a content that `holders` have.
    #[must_use]
    pub fn count(&self, holders: &[PeerId]) -> Copies {
        let (mut there, mut count, mut wanted) = (BTreeSet::new(), BTreeSet::new(), 0);
        for member in holders.iter().filter_map(|peer| self.member(peer)) {
            if is_there(member.state) {
                there.insert(member.place.folder);
            }
            if is_there(member.state) || member.place.peer == self.me.place.peer {
                wanted = wanted.max(member.copies);
            }
            if member.state.counts() {
                count.insert(member.place.folder);
            }
        }
        let number = |set: &BTreeSet<_>| u16::try_from(set.len()).unwrap_or(u16::MAX);
        Copies { there: number(&there), count: number(&count), wanted: wanted.max(1) }
    }

    /// What this node owes a content that `holders` have, it among them.
    #[must_use]
    pub fn duty(&self, content: ContentId, holders: &[PeerId]) -> (Copies, Duty) {
        let copies = self.count(holders);
        let me = self.me.place.peer;
        // Who leaves does not rely on copies alone whose holders are away.
        let left_alone = self.me.state == State::Draining && copies.there == 0;
        if copies.count < copies.wanted || left_alone {
            let able = |peer: &&PeerId| {
                self.member(peer).is_some_and(|m| matches!(m.state, State::Live | State::Draining))
            };
            let own = rank(content, &me);
            let before = holders.iter().filter(able).filter(|peer| rank(content, peer) > own).count();
            let have = holders.iter().filter(|peer| self.member(peer).is_some_and(|m| m.state.counts()));
            let rank = u16::try_from(before).unwrap_or(u16::MAX);
            let count = copies.count.min(copies.wanted.saturating_sub(1));
            return (copies, Duty::Offer { rank, copies: count, have: have.copied().collect() });
        }
        if copies.there > copies.wanted && self.me.state == State::Live {
            let there = holders.iter().filter(|peer| self.member(peer).is_some_and(|m| is_there(m.state)));
            return (copies, Duty::Trim { there: there.copied().collect() });
        }
        (copies, Duty::None)
    }

    /// The own copy as one to be trimmed, if it is this node's to give up: `there` are the holders
    /// that are there, `kinds` tells of each whether it keeps a replica only, `files` how many files
    /// of the own folder have the content.
    #[must_use]
    pub fn excess(
        &self,
        content: ContentId,
        copies: u16,
        there: &[PeerId],
        kinds: &[(PeerId, bool)],
        files: u64,
    ) -> Option<Excess> {
        let me = self.me.place.peer;
        let there_are = kinds.iter().filter(|(peer, _)| there.contains(peer));
        let holders: Vec<Holder<'_>> = there_are
            .filter_map(|(peer, replica)| {
                Some(Holder { place: &self.member(peer)?.place, replica: *replica })
            })
            .collect();
        let goes = placement::excess(content, &holders, copies);
        goes.iter().any(|place| place.peer == me).then(|| self.trim(content, copies, there, files))
    }

    /// The wish to trim the own copy, whoever's turn it is.
    #[must_use]
    pub fn trim(&self, content: ContentId, copies: u16, there: &[PeerId], files: u64) -> Excess {
        let me = self.me.place.peer;
        let mut holders: Vec<PeerId> = there.iter().copied().filter(|peer| *peer != me).collect();
        holders.sort_by_cached_key(|peer| (Reverse(rank(content, peer)), *peer));
        holders.truncate(MAX_WISH_HOLDERS.max(2 * usize::from(copies)));
        let plan = Plan {
            subject: content,
            keeper: content,
            why: Why::Excess,
            copies,
            holders,
            rank: rank(content, &me),
            pinned: false,
        };
        Excess { wish: Wish { plan, files }, hidden: files == 0 }
    }
}

/// An own copy that is one too many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excess {
    /// How it may go.
    pub wish: Wish,
    /// It is a replica and no file of the folder.
    pub hidden: bool,
}

/// Whether a member answers now and stays.
fn is_there(state: State) -> bool {
    state == State::Live
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::placement::Weight;
    use crate::types::FolderId;

    fn member(name: u8, state: State) -> Member {
        let hash = libp2p::multihash::Multihash::wrap(0, &[name; 36]).unwrap();
        let peer = PeerId::from_multihash(hash).unwrap();
        let folder = FolderId(name.into());
        Member { place: Place { peer, folder, weight: Weight::default(), zone: None }, state, copies: 2 }
    }

    fn view(states: &[State]) -> (View, Vec<PeerId>) {
        let members: Vec<Member> = (1u8..).zip(states).map(|(name, state)| member(name, *state)).collect();
        let peers = members.iter().map(|member| member.place.peer).collect();
        let mut members = members.into_iter();
        let me = members.next().unwrap();
        (View { me, members: members.map(|m| (m.place.peer, m)).collect() }, peers)
    }

    const C: ContentId = ContentId([9; 32]);

    #[test]
    fn one_that_is_expected_back_counts_and_is_not_there() {
        let (view, peers) = view(&[State::Live, State::Away]);
        let (copies, duty) = view.duty(C, &peers);
        assert_eq!((copies, duty), (Copies { there: 1, count: 2, wanted: 2 }, Duty::None));
    }

    #[test]
    fn a_copy_of_one_that_is_down_failing_or_leaving_does_not_count() {
        for state in [State::Down, State::Failing, State::Draining] {
            let (view, peers) = view(&[State::Live, state]);
            let (copies, duty) = view.duty(C, &peers);
            assert_eq!((copies.there, copies.count), (1, 1), "{state:?}");
            assert!(matches!(duty, Duty::Offer { have, .. } if have == [peers[0]]));
        }
    }

    #[test]
    fn the_own_copy_of_a_node_that_leaves_does_not_count() {
        let (view, peers) = view(&[State::Draining, State::Live]);
        let (copies, duty) = view.duty(C, &peers);
        assert_eq!(copies.count, 1);
        assert!(matches!(duty, Duty::Offer { have, .. } if have == [peers[1]]));
    }

    /// It asked for one copy then, took that of the other for it, left, and the other never came back.
    #[test]
    fn a_node_that_leaves_still_asks_for_its_copies() {
        let (view, peers) = view(&[State::Draining, State::Away]);
        let (copies, duty) = view.duty(C, &peers);
        assert_eq!((copies.count, copies.wanted), (1, 2));
        assert!(matches!(duty, Duty::Offer { .. }));
    }

    #[test]
    fn who_leaves_does_not_rely_on_those_that_are_away() {
        let (view, peers) = view(&[State::Draining, State::Away, State::Away]);
        let (copies, duty) = view.duty(C, &peers);
        assert_eq!((copies.there, copies.count), (0, 2));
        assert!(matches!(duty, Duty::Offer { copies: 1, .. }), "{duty:?}");
    }

    #[test]
    fn only_one_of_the_holders_that_are_there_has_rank_0() {
        let (first, peers) = view(&[State::Live, State::Live, State::Away]);
        let ranks: Vec<u16> = peers[..2]
            .iter()
            .map(|me| {
                let mut all = first.members.clone();
                all.insert(first.me.place.peer, first.me.clone());
                let own = all.remove(me).unwrap();
                for member in all.values_mut() {
                    member.copies = 4;
                }
                let view = View { me: Member { copies: 4, ..own }, members: all };
                match view.duty(C, &peers).1 {
                    Duty::Offer { rank, .. } => rank,
                    duty => panic!("{duty:?}"),
                }
            })
            .collect();
        assert!(ranks == [0, 1] || ranks == [1, 0], "{ranks:?}");
    }

    #[test]
    fn two_nodes_on_one_folder_are_one_copy() {
        let (mut view, peers) = view(&[State::Live, State::Live]);
        let folder = view.me.place.folder;
        for member in view.members.values_mut() {
            member.place.folder = folder;
        }
        assert_eq!(view.count(&peers).there, 1);
    }

    #[test]
    fn what_counts_but_is_not_there_is_no_reason_to_trim() {
        let (spare, peers) = view(&[State::Live, State::Live, State::Suspect]);
        assert_eq!(spare.duty(C, &peers).1, Duty::None);
        let (spare, peers) = view(&[State::Live, State::Live, State::Live]);
        assert!(matches!(spare.duty(C, &peers).1, Duty::Trim { there } if there.len() == 3));
    }

    #[test]
    fn strangers_count_for_nothing() {
        let (view, mut peers) = view(&[State::Live]);
        peers.push(PeerId::random());
        assert_eq!(view.count(&peers), Copies { there: 1, count: 1, wanted: 2 });
    }
}
