//! Catalogs of peers that restart, roll back, or break the rules.

use super::*;
use crate::limits::{MAX_MATCHES, MIN_TOMBSTONES};

const FOLDER: FolderId = FolderId(9);

fn page(epoch: u64, from: u64, upto: u64, head: u64, entries: &[(u64, u32, bool)]) -> CatalogPage {
    let entry = |&(seq, number, there): &(u64, u32, bool)| CatalogEntry {
        seq: Seq(seq),
        content: id(number),
        held: there.then(|| held(number, &number.to_string())),
    };
    CatalogPage {
        head: CatalogHead { epoch: Epoch(epoch), seq: Seq(head) },
        upto: Seq(upto),
        from: Seq(from),
        entries: entries.iter().map(entry).collect(),
    }
}

fn give(index: &Index, page: &CatalogPage) -> PageOutcome {
    index.apply_peer_page(&peer(2), FOLDER, page).unwrap()
}

fn known(index: &Index) -> BTreeSet<ContentId> {
    list(index, None, &|_| Standing::Trusted).into_iter().map(|row| row.content).collect()
}

fn ids(numbers: &[u32]) -> BTreeSet<ContentId> {
    numbers.iter().map(|number| id(*number)).collect()
}

const COMPLETE: PageOutcome = PageOutcome::Applied { complete: true };
const PART: PageOutcome = PageOutcome::Applied { complete: false };

#[test]
fn a_new_epoch_replaces_the_old_one_when_it_is_complete() {
    let index = Index::in_memory(peer(1)).unwrap();
    assert_eq!(give(&index, &page(1, 0, 3, 3, &[(1, 1, true), (2, 2, true), (3, 3, true)])), COMPLETE);
    assert_eq!(give(&index, &page(2, 0, 1, 2, &[(1, 2, true)])), PART);
    assert_eq!(known(&index), ids(&[1, 2, 3]), "nothing vanishes half way");
    assert_eq!(give(&index, &page(2, 1, 2, 2, &[(2, 4, true)])), COMPLETE);
    assert_eq!(known(&index), ids(&[2, 4]));
    assert_eq!(index.swarm_images().unwrap(), 2);
}

#[test]
fn a_catalog_that_rolled_back_is_read_anew() {
    let index = Index::in_memory(peer(1)).unwrap();
    give(&index, &page(1, 0, 3, 3, &[(1, 1, true), (2, 2, true), (3, 3, true)]));
    assert_eq!(give(&index, &page(1, 0, 2, 2, &[(1, 1, true), (2, 2, true)])), COMPLETE);
    assert_eq!(known(&index), ids(&[1, 2]));
    assert_eq!(index.peer_position(&peer(2)).unwrap().map(|head| head.seq), Some(Seq(2)));
}

#[test]
fn a_replacement_that_is_interrupted_starts_over() {
    let index = Index::in_memory(peer(1)).unwrap();
    give(&index, &page(1, 0, 2, 2, &[(1, 1, true), (2, 2, true)]));
    give(&index, &page(2, 0, 1, 9, &[(1, 3, true)]));
    assert_eq!(give(&index, &page(3, 0, 1, 1, &[(1, 4, true)])), COMPLETE);
    assert_eq!(known(&index), ids(&[4]));
}

#[test]
fn pages_out_of_place_are_ignored() {
    let index = Index::in_memory(peer(1)).unwrap();
    assert_eq!(give(&index, &page(1, 5, 6, 6, &[(6, 1, true)])), PageOutcome::Ignored, "first page missing");
    give(&index, &page(1, 0, 3, 5, &[(3, 1, true)]));
    assert_eq!(give(&index, &page(1, 4, 5, 5, &[(5, 2, true)])), PageOutcome::Ignored, "a gap");
    assert_eq!(give(&index, &page(2, 3, 5, 5, &[(5, 2, true)])), PageOutcome::Ignored, "another life");
    assert_eq!(known(&index), ids(&[1]));
    let own = index.apply_peer_page(&peer(1), FOLDER, &page(1, 0, 1, 1, &[(1, 9, true)])).unwrap();
    assert_eq!(own, PageOutcome::Ignored, "nobody speaks for this node");
}

#[test]
fn pages_that_break_the_rules_are_refused_whole() {
    let index = Index::in_memory(peer(1)).unwrap();
    let mut stolen = page(1, 0, 2, 2, &[(1, 1, true), (2, 2, true)]);
    if let Some(held) = &mut stolen.entries[1].held {
        held.facts.image = ImageId::Content(id(77));
    }
    let many: Vec<_> = (1..=MAX_PAGE_ENTRIES as u64 + 1).map(|seq| (seq, seq as u32, true)).collect();
    let bad = [
        page(1, 0, 2, 2, &[(2, 1, true), (1, 2, true)]),
        page(1, 0, 2, 2, &[(1, 1, true), (1, 2, true)]),
        page(1, 0, 2, 2, &[(0, 1, true)]),
        page(1, 0, 2, 9, &[(3, 1, true)]),
        page(1, 0, 3, 2, &[(1, 1, true)]),
        page(1, 3, 2, 9, &[]),
        page(1, 0, 0, 9, &[]),
        page(1, 0, 5000, 5000, &many),
        stolen,
    ];
    for page in &bad {
        let refused = index.apply_peer_page(&peer(2), FOLDER, page);
        assert!(matches!(refused, Err(IndexError::BadPage { .. })), "{page:?}");
    }
    assert_eq!((known(&index), index.peers().unwrap()), (BTreeSet::new(), vec![]));
}

#[test]
fn a_peer_that_calls_a_content_another_picture_makes_a_row_of_its_own() {
    let index = Index::in_memory(peer(1)).unwrap();
    index.apply(vec![seen("a", 1)]).unwrap();
    let mut lie = page(1, 0, 1, 1, &[(1, 1, true)]);
    if let Some(held) = &mut lie.entries[0].held {
        held.facts.image = image(6);
    }
    give(&index, &lie);
    let by_content = Prefix::parse(&format!("c:{}", id(1))).unwrap();
    let (rows, _) = index.resolve(&by_content, &|_| Standing::Trusted).unwrap();
    assert_eq!(rows.iter().map(|row| row.holders.len()).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(index.swarm_images().unwrap(), 1);
    give(&index, &page(1, 1, 2, 2, &[(2, 1, true)]));
    assert_eq!(list(&index, None, &|_| Standing::Trusted).len(), 1, "the truth moves the row");
}

#[test]
fn many_matches_are_cut_and_said_to_be() {
    let index = Index::in_memory(peer(1)).unwrap();
    let same = |number: u32| {
        let mut change = seen(&number.to_string(), number);
        if let Change::Seen { found: Found::Picture { facts, .. }, .. } = &mut change {
            facts.image = image(0);
        }
        change
    };
    let prefix = Prefix::parse(&image(0).to_string()).unwrap();
    index.apply((0..MAX_MATCHES as u32).map(same).collect()).unwrap();
    let (rows, more) = index.resolve(&prefix, &|_| Standing::Trusted).unwrap();
    assert_eq!((rows.len(), more), (MAX_MATCHES, false));
    index.apply(vec![same(5000)]).unwrap();
    let (rows, more) = index.resolve(&prefix, &|_| Standing::Trusted).unwrap();
    assert_eq!((rows.len(), more), (MAX_MATCHES, true));
}

#[test]
fn too_many_tombstones_begin_a_new_epoch() {
    let index = Index::in_memory(peer(1)).unwrap();
    let reader = Index::in_memory(peer(2)).unwrap();
    let all = MIN_TOMBSTONES as u32 + 2;
    index.apply((0..all).map(|number| seen(&number.to_string(), number)).collect()).unwrap();
    pull(&reader, &index, 1, FOLDER);
    let first = index.head().unwrap();
    index.apply((0..all - 2).map(|number| gone(&number.to_string())).collect()).unwrap();
    assert_eq!(index.head().unwrap().epoch, first.epoch, "just as many as allowed");
    let applied = index.apply(vec![gone(&(all - 1).to_string())]).unwrap();
    let head = applied.head.unwrap();
    assert_eq!(head, index.head().unwrap());
    assert!(head.epoch != first.epoch && head.seq == Seq(1));
    assert_eq!(index.catalog_page(first.epoch, first.seq).unwrap().entries.len(), 1);
    pull(&reader, &index, 1, FOLDER);
    assert_eq!(known(&reader), ids(&[all - 2]));
    index.apply(vec![gone(&(all - 2).to_string()), seen("new", 3)]).unwrap();
    pull(&reader, &index, 1, FOLDER);
    assert_eq!(known(&reader), ids(&[3]));
}

#[test]
fn cursors_that_nobody_gave_out_are_refused() {
    let index = Index::in_memory(peer(1)).unwrap();
    assert!(matches!(index.list(Some(b"junk"), None, &|_| Standing::Trusted), Err(IndexError::BadCursor)));
}
