//! Which of the findings a node wishes for itself: own contents that may go, and files of
//! the own folder that are there more than once.
//!
//! A wish asks for nothing that can't come true: with too few nodes that would promise to
//! hold the keeper, it would be fetched, looked at and asked for in vain, again and again.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use libp2p::PeerId;

use crate::limits::{MAX_PAGE_ENTRIES, MAX_WISH_HOLDERS};
use crate::protocol::Decides;
use crate::replication::drop::{Plan, Why};
use crate::replication::rank;
use crate::replication::wishes::Wish;
use crate::types::{ContentId, RelPath};

/// A content, and who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Which.
    pub content: ContentId,
    /// A trusted node that is there, or this one, has it pinned.
    pub pinned: bool,
    /// The files of the own folder with it, as many as the index tells at once.
    pub paths: Vec<RelPath>,
    /// This node keeps it for the swarm.
    pub replica: bool,
    /// The other trusted nodes that are there and have it.
    pub holders: Vec<PeerId>,
}

impl Placed {
    fn is_own(&self) -> bool {
        !self.paths.is_empty() || self.replica
    }
}

/// What a node decides by.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// This node.
    pub me: PeerId,
    /// What it decides by itself.
    pub own: Decides,
    /// What others decide by, as they say.
    pub decides: &'a dyn Fn(&PeerId) -> Decides,
    /// How many trusted members are there that decide alike, holders or not.
    pub alike: usize,
    /// Files that are never to be dropped (`--keep`).
    pub kept: &'a dyn Fn(&RelPath) -> bool,
}

/// Why an own content that may go is not wished away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// It is not here.
    Foreign,
    /// Somebody wants it kept: by a pin, or one of its files by `--keep`.
    Kept,
    /// It has more files than are told at once; those that are too many go first.
    ManyFiles,
    /// Fewer nodes than there have to be copies would promise to hold the keeper.
    FewHolders,
}

impl Terms<'_> {
    /// The wish to drop `subject`, all its files and the replica, for the better `keeper`.
    ///
    /// # Errors
    /// Why there is none.
    pub fn superseded(&self, subject: &Placed, keeper: &Placed) -> Result<Wish, Obstacle> {
        if !subject.is_own() || subject.content == keeper.content {
            return Err(Obstacle::Foreign);
        }
        if subject.pinned || subject.paths.iter().any(self.kept) {
            return Err(Obstacle::Kept);
        }
        if subject.paths.len() >= MAX_PAGE_ENTRIES {
            return Err(Obstacle::ManyFiles);
        }
        let files = subject.paths.len() as u64;
        if !keeper.paths.is_empty() {
            return Ok(self.wish(subject.content, keeper.content, Why::Local, 1, Vec::new(), files));
        }
        let told = keeper.holders.iter().chain(&subject.holders).map(|peer| (self.decides)(peer).copies);
        let copies = told.chain([self.own.copies, 1]).max().unwrap_or(1);
        let others = keeper.holders.iter().filter(|peer| **peer != self.me);
        // The others, which promise nothing, can still be fetched from.
        let holders: BTreeSet<(bool, Reverse<u64>, PeerId)> = others
            .map(|peer| (!self.decides_alike(peer), Reverse(rank(keeper.content, peer)), *peer))
            .collect();
        let promising = holders.iter().filter(|(differs, ..)| !differs).count();
        // The bytes that are fetched to look at become a copy; and so they do at others that have
        // a worse version: each has to begin, or all would wait for each other.
        if promising.max(self.alike) + 1 < usize::from(copies) {
            return Err(Obstacle::FewHolders);
        }
        let most = MAX_WISH_HOLDERS.max(2 * usize::from(copies));
        let holders = holders.into_iter().map(|(.., peer)| peer).take(most).collect();
        Ok(self.wish(subject.content, keeper.content, Why::Superseded, copies, holders, files))
    }

    /// The wish to drop all files of `subject` but those that are kept, or but the one that
    /// [`keep_path`] names. `None` when nothing may go.
    #[must_use]
    pub fn repeated(&self, subject: &Placed) -> Option<Wish> {
        let kept = subject.paths.iter().filter(|path| (self.kept)(path)).count();
        let files = subject.paths.len().saturating_sub(kept.max(1)) as u64;
        let content = subject.content;
        (files > 0 && !subject.pinned).then(|| self.wish(content, content, Why::Local, 1, Vec::new(), files))
    }

    /// Whether it would grant a lease: nodes that decide differently never drop against each
    /// other.
    fn decides_alike(&self, peer: &PeerId) -> bool {
        let decides = (self.decides)(peer);
        decides.version != 0 && (decides.version, decides.lease_s) == (self.own.version, self.own.lease_s)
    }

    fn wish(
        &self,
        subject: ContentId,
        keeper: ContentId,
        why: Why,
        copies: u16,
        holders: Vec<PeerId>,
        files: u64,
    ) -> Wish {
        let rank = rank(subject, &self.me);
        Wish { plan: Plan { subject, keeper, why, copies, holders, rank, pinned: false }, files }
    }
}

/// Which of the files of one content stays, by its number: one that is kept before others;
/// then the one in the fewest folders, with the shortest name, and first in byte order. 0
/// when there are none.
#[must_use]
pub fn keep_path(paths: &[RelPath], kept: impl Fn(&RelPath) -> bool) -> usize {
    let place = |path: &RelPath| {
        let depth = path.as_bytes().split(|b| *b == b'/').count();
        (!kept(path), depth, path.file_name().len(), path.as_bytes().to_vec())
    };
    paths.iter().enumerate().min_by_key(|(_, path)| place(path)).map_or(0, |(at, _)| at)
}

/// Puts wishes, with the bytes that each frees, in order, and leaves one for each content.
/// First what needs nobody else, of this what goes whole; then what frees most.
pub fn sort(wishes: &mut Vec<(u64, Wish)>) {
    let place = |(bytes, wish): &(u64, Wish)| {
        let plan = &wish.plan;
        (plan.why != Why::Local, plan.subject == plan.keeper, Reverse(*bytes), plan.subject, plan.keeper)
    };
    wishes.sort_by_key(place);
    let mut seen = BTreeSet::new();
    wishes.retain(|(_, wish)| seen.insert(wish.plan.subject));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dedup::finding::tests::id;

    fn path(text: &str) -> RelPath {
        RelPath::from_bytes(text.as_bytes().to_vec()).unwrap()
    }

    fn peer(number: u8) -> PeerId {
        let hash = libp2p::multihash::Multihash::wrap(0, &[number; 36]).unwrap();
        PeerId::from_multihash(hash).unwrap()
    }

    fn placed(name: u8, paths: &[&str], holders: &[u8]) -> Placed {
        Placed {
            content: id(name),
            pinned: false,
            paths: paths.iter().map(|text| path(text)).collect(),
            replica: false,
            holders: holders.iter().map(|n| peer(*n)).collect(),
        }
    }

    const OWN: Decides = Decides { version: 7, lease_s: 120, copies: 2 };

    fn same(peer: &PeerId) -> Decides {
        if *peer == self::peer(3) { Decides { copies: 3, ..OWN } } else { OWN }
    }

    fn kept(path: &RelPath) -> bool {
        path.file_name().starts_with(b"keep")
    }

    const TERMS: fn() -> Terms<'static> =
        || Terms { me: peer(0), own: OWN, decides: &same, alike: 0, kept: &kept };

    #[test]
    fn a_keeper_in_the_same_folder_needs_nobody_else() {
        let wish = TERMS().superseded(&placed(1, &["a", "b"], &[]), &placed(2, &["c"], &[5])).unwrap();
        assert_eq!((wish.plan.why, wish.plan.copies, wish.files), (Why::Local, 1, 2));
        assert!(wish.plan.holders.is_empty());
        assert_eq!(wish.plan.rank, rank(id(1), &peer(0)));
    }

    #[test]
    fn a_keeper_elsewhere_needs_the_most_copies_that_anybody_wants() {
        let wish = TERMS().superseded(&placed(1, &["a"], &[]), &placed(2, &[], &[4, 5])).unwrap();
        assert_eq!((wish.plan.why, wish.plan.copies), (Why::Superseded, 2));
        let best = [peer(4), peer(5)].into_iter().max_by_key(|peer| rank(id(2), peer)).unwrap();
        assert_eq!(wish.plan.holders[0], best);
        // One that holds the subject wants three: the own copy and two others.
        let subject = placed(1, &["a"], &[3]);
        assert_eq!(TERMS().superseded(&subject, &placed(2, &[], &[4, 5])).unwrap().plan.copies, 3);
        assert_eq!(TERMS().superseded(&subject, &placed(2, &[], &[4])), Err(Obstacle::FewHolders));
        let more = Terms { alike: 2, ..TERMS() };
        assert!(more.superseded(&subject, &placed(2, &[], &[4])).is_ok(), "a third one can become a holder");
        // A replica of the keeper here is no file of the folder.
        let keeper = Placed { replica: true, ..placed(2, &[], &[4]) };
        assert_eq!(TERMS().superseded(&placed(1, &["a"], &[]), &keeper).unwrap().plan.why, Why::Superseded);
    }

    #[test]
    fn who_decides_differently_is_no_holder_that_counts() {
        let differs = |peer: &PeerId| Decides { version: 8, ..same(peer) };
        let terms = Terms { decides: &differs, ..TERMS() };
        let (subject, keeper) = (placed(1, &["a"], &[]), placed(2, &[], &[4, 5]));
        assert_eq!(terms.superseded(&subject, &keeper), Err(Obstacle::FewHolders));
        let silent = |_: &PeerId| Decides::default();
        let alone = Terms { decides: &silent, own: Decides { copies: 1, ..OWN }, ..TERMS() };
        let wish = alone.superseded(&subject, &keeper).unwrap();
        assert_eq!((wish.plan.copies, wish.plan.holders.len()), (1, 2), "the fetched copy is enough");
        let mixed = |peer: &PeerId| if *peer == self::peer(4) { Decides::default() } else { OWN };
        let terms = Terms { decides: &mixed, ..TERMS() };
        assert_eq!(terms.superseded(&subject, &keeper).unwrap().plan.holders, [peer(5), peer(4)]);
    }

    #[test]
    fn the_file_that_stays_is_kept_then_high_up_then_short_then_first() {
        let stays = |paths: &[&str]| {
            let paths: Vec<_> = paths.iter().map(|text| path(text)).collect();
            paths[keep_path(&paths, kept)].to_string()
        };
        assert_eq!(stays(&["a.jpg", "x/y/keep.jpg"]), "x/y/keep.jpg");
        assert_eq!(stays(&["x/y/a.jpg", "x/long name.jpg"]), "x/long name.jpg");
        assert_eq!(stays(&["a copy.jpg", "b.jpg"]), "b.jpg");
        assert_eq!(stays(&["b.jpg", "a.jpg"]), "a.jpg");
        assert_eq!(keep_path(&[], kept), 0);
    }

    #[test]
    fn repeated_files_go_but_for_one_or_those_that_are_kept() {
        let files = |paths: &[&str]| TERMS().repeated(&placed(1, paths, &[])).map(|wish| wish.files);
        assert_eq!(files(&["a", "b", "c"]), Some(2));
        assert_eq!(files(&["a", "keep1", "keep2"]), Some(1));
        assert_eq!(files(&["keep1", "keep2"]), None);
        assert_eq!(files(&["a"]), None);
        let pinned = Placed { pinned: true, ..placed(1, &["a", "b"], &[]) };
        assert_eq!(TERMS().repeated(&pinned), None);
    }

    #[test]
    fn each_content_is_wished_for_once_and_what_needs_nobody_comes_first() {
        let far = |name| TERMS().superseded(&placed(name, &["a"], &[]), &placed(9, &[], &[4, 5])).unwrap();
        let near = TERMS().repeated(&placed(3, &["a", "b"], &[])).unwrap();
        let mut all = vec![(10, far(1)), (20, far(2)), (5, near), (1, far(2))];
        sort(&mut all);
        let order: Vec<_> = all.iter().map(|(_, wish)| wish.plan.subject).collect();
        assert_eq!(order, [id(3), id(2), id(1)]);
    }

    fn any_placed(name: u8) -> impl Strategy<Value = Placed> {
        let paths =
            prop::collection::btree_set(prop::sample::select(vec!["a", "b/c", "keep", "d/keep", "e"]), 0..5);
        (paths, any::<bool>(), any::<bool>(), prop::collection::btree_set(0u8..6, 0..5)).prop_map(
            move |(paths, pinned, replica, holders)| {
                let paths: Vec<_> = paths.into_iter().collect();
                let holders: Vec<_> = holders.into_iter().collect();
                Placed { pinned, replica, ..placed(name, &paths, &holders) }
            },
        )
    }

    proptest! {
        #[test]
        fn no_wish_for_what_is_pinned_kept_or_foreign(subject in any_placed(1), keeper in any_placed(2)) {
            if let Ok(Wish { plan, files }) = TERMS().superseded(&subject, &keeper) {
                prop_assert!(!subject.pinned && (!subject.paths.is_empty() || subject.replica));
                prop_assert!(!subject.paths.iter().any(kept));
                prop_assert_eq!(files, subject.paths.len() as u64);
                prop_assert!(!plan.holders.contains(&peer(0)), "never itself");
                prop_assert_eq!(plan.why == Why::Local, !keeper.paths.is_empty());
                prop_assert!(plan.holders.len() + 1 >= usize::from(plan.copies));
            }
            if let Some(Wish { files, .. }) = TERMS().repeated(&subject) {
                let stay = subject.paths.len() as u64 - files;
                let kept_ones = subject.paths.iter().filter(|path| kept(path)).count() as u64;
                prop_assert!(!subject.pinned && files > 0 && stay >= 1 && stay >= kept_ones);
            }
        }
    }
}
