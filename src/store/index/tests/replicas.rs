//! Contents that are kept for the swarm, alone or beside files.

use super::*;
use proptest::prelude::*;

fn replica(number: u32, once_at: &str) -> Change {
    let signature = Some(Signature::from_array([number as u8; Signature::LEN]));
    Change::Replica {
        facts: facts(number),
        encoding: encoding(number),
        outline: outline(number),
        signature,
        path: path(once_at),
    }
}

fn removed(number: u32) -> Change {
    Change::ReplicaGone { content: id(number) }
}

/// What the catalog tells of a content.
fn told(index: &Index, number: u32) -> Option<Held> {
    let entries = index.held(&image(number)).unwrap();
    entries.into_iter().find(|entry| entry.content == id(number))?.held
}

#[test]
fn a_replica_is_held_listed_and_told_like_an_original() {
    let index = Index::in_memory(peer(1)).unwrap();
    let applied = index.apply(vec![replica(1, "once/a.jpg")]).unwrap();
    assert_eq!(applied.added, [(image(1), id(1))]);
    assert_eq!(told(&index, 1), Some(Held { files: 0, replica: true, ..held(1, "once/a.jpg") }));
    let record = index.content(&id(1)).unwrap().unwrap();
    assert!(record.replica && record.paths.is_empty() && record.signature.is_some());
    assert_eq!((record.path, record.encoding), (path("once/a.jpg"), encoding(1)));
    assert_eq!(list(&index, Some("ONCE"), &|_| Standing::Away)[0].holders, [peer(1)]);
    assert_eq!(index.own_images(None, 9).unwrap(), [image(1)]);
    assert_eq!(index.totals().unwrap(), Totals { replicas: 1, replica_bytes: 4, ..Totals::default() });
    assert_eq!(index.files(None, 9).unwrap(), [], "a scan of the folder has nothing to miss");
    assert_eq!(index.apply(vec![replica(1, "once/a.jpg")]).unwrap(), Applied::default());
    let applied = index.apply(vec![removed(1)]).unwrap();
    assert_eq!(applied.removed, [(image(1), id(1))]);
    assert_eq!((index.totals().unwrap(), told(&index, 1)), (Totals::default(), None));
    assert_eq!(index.apply(vec![removed(1), removed(2)]).unwrap(), Applied::default());
}

#[test]
fn the_folders_file_is_told_before_the_replica() {
    let index = Index::in_memory(peer(1)).unwrap();
    index.apply(vec![replica(1, "once.jpg")]).unwrap();
    let applied = index.apply(vec![seen("mine.jpg", 1)]).unwrap();
    assert_eq!((applied.added.len(), applied.head.is_some()), (0, true));
    assert_eq!(told(&index, 1), Some(held(1, "mine.jpg")));
    let both = Totals { images: 1, bytes: 4, replicas: 1, replica_bytes: 4, ..Totals::default() };
    assert_eq!(index.totals().unwrap(), both);
    assert!(index.content(&id(1)).unwrap().unwrap().replica);
    let applied = index.apply(vec![gone("mine.jpg")]).unwrap();
    assert_eq!((applied.removed.len(), applied.head.is_some()), (0, true));
    assert!(told(&index, 1).is_some_and(|held| held.replica), "it is still here");
    index.apply(vec![seen("mine.jpg", 1)]).unwrap();
    let applied = index.apply(vec![removed(1)]).unwrap();
    assert_eq!(applied, Applied::default(), "nothing to tell");
    assert_eq!(index.totals().unwrap(), Totals { images: 1, bytes: 4, ..Totals::default() });
}

#[test]
fn a_file_changed_in_place_leaves_its_replica_alone() {
    let index = Index::in_memory(peer(1)).unwrap();
    index.apply(vec![seen("a", 1), replica(1, "a")]).unwrap();
    let applied = index.apply(vec![seen("a", 2)]).unwrap();
    assert_eq!((applied.edited, applied.removed), (vec![(id(1), id(2))], vec![]));
    assert!(told(&index, 1).is_some_and(|held| held.replica));
}

#[test]
fn a_replica_can_be_pinned() {
    let index = Index::in_memory(peer(1)).unwrap();
    index.apply(vec![replica(1, "a")]).unwrap();
    index.set_pinned(id(1), true).unwrap();
    assert!(told(&index, 1).is_some_and(|held| held.pinned && held.replica));
}

#[test]
fn replicas_come_in_pages() {
    let index = Index::in_memory(peer(1)).unwrap();
    index.apply((0..10).map(|number| replica(number, "a")).chain([seen("x", 99)]).collect()).unwrap();
    let mut expected: Vec<_> = (0..10).map(id).collect();
    expected.sort_unstable();
    let mut found: Vec<ContentId> = Vec::new();
    while let page @ [_, ..] = &*index.replicas(found.last(), 3).unwrap() {
        found.extend(page);
    }
    assert_eq!(found, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Against two sets: contents with files, and replicas.
    #[test]
    fn counts_and_rows_follow_from_files_and_replicas(
        batches in prop::collection::vec(prop::collection::vec((0..4u8, 0..5u32), 1..5), 1..16),
    ) {
        let index = Index::in_memory(peer(1)).unwrap();
        let reader = Index::in_memory(peer(2)).unwrap();
        // Each content has one path of its own.
        let (mut files, mut replicas) = (BTreeSet::new(), BTreeSet::new());
        for batch in batches {
            let changes = batch.iter().map(|(step, number)| match step {
                0 => seen(&format!("file{number}"), *number),
                1 => gone(&format!("file{number}")),
                2 => replica(*number, &format!("once{number}")),
                _ => removed(*number),
            });
            index.apply(changes.collect()).unwrap();
            for (step, number) in batch {
                let (set, add) = if step < 2 { (&mut files, step == 0) } else { (&mut replicas, step == 2) };
                if add { set.insert(number) } else { set.remove(&number) };
            }
            let (images, count) = (files.len() as u64, replicas.len() as u64);
            let (bytes, replica_bytes) = (images * 4, count * 4);
            let totals = Totals { images, bytes, replicas: count, replica_bytes, ..Totals::default() };
            prop_assert_eq!(index.totals().unwrap(), totals);
            for number in 0..5 {
                let expected = match (files.contains(&number), replicas.contains(&number)) {
                    (true, _) => Some(held(number, &format!("file{number}"))),
                    (false, true) => {
                        Some(Held { files: 0, replica: true, ..held(number, &format!("once{number}")) })
                    }
                    (false, false) => None,
                };
                prop_assert_eq!(told(&index, number), expected);
            }
        }
        pull(&reader, &index, 1, FolderId(9));
        let rows = |index: &Index| list(index, None, &|_| Standing::Trusted).into_iter().map(|row| (row.content, row.path));
        prop_assert_eq!(rows(&reader).collect::<Vec<_>>(), rows(&index).collect::<Vec<_>>());
        prop_assert_eq!(rows(&index).count(), files.union(&replicas).count());
        prop_assert_eq!(index.swarm_images().unwrap(), rows(&index).count() as u64);
    }
}
