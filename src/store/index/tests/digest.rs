//! Whether two nodes agree about a catalog.

use super::*;

const FOLDER: FolderId = FolderId(9);

/// An index that has pulled all of `own`'s catalog.
fn pulled(own: &Index) -> Index {
    let index = Index::in_memory(peer(2)).unwrap();
    pull(own, &index);
    index
}

fn pull(own: &Index, index: &Index) {
    let known = index.peer_position(&peer(1)).unwrap();
    let (epoch, after) = known.map_or((Epoch(0), Seq(0)), |head| (head.epoch, head.seq));
    let page = own.catalog_page(epoch, after).unwrap();
    index.apply_peer_page(&peer(1), FOLDER, &page).unwrap();
}

fn agree(own: &Index, index: &Index) -> bool {
    index.peer_digest(&peer(1)).unwrap() == Some(own.own_digest().unwrap())
}

#[test]
fn what_was_pulled_adds_up_to_the_same() {
    let own = Index::in_memory(peer(1)).unwrap();
    own.apply((1..40).map(|number| seen(&number.to_string(), number)).collect()).unwrap();
    own.set_pinned(id(3), true).unwrap();
    let index = pulled(&own);
    assert!(agree(&own, &index));
    for change in [gone("7"), seen("another name", 8)] {
        own.apply(vec![change]).unwrap();
        assert!(!agree(&own, &index));
        pull(&own, &index);
        assert!(agree(&own, &index));
    }
    assert_eq!(index.peer_digest(&peer(5)).unwrap(), None);
}

#[test]
fn what_is_wrong_is_found_and_read_anew_without_forgetting_it_meanwhile() {
    let own = Index::in_memory(peer(1)).unwrap();
    own.apply((1..5).map(|number| seen(&number.to_string(), number)).collect()).unwrap();
    let index = pulled(&own);
    // A change that was never made, at a position that is right.
    let head = own.head().unwrap();
    let lost = CatalogEntry { seq: head.seq, content: id(2), held: None };
    let page = CatalogPage { head, upto: head.seq, from: Seq(head.seq.0 - 1), entries: vec![lost] };
    index.reread_peer(&peer(5)).unwrap();
    let before = CatalogHead { seq: Seq(head.seq.0 - 1), ..head };
    let part = CatalogPage { head: before, upto: before.seq, from: Seq(0), entries: vec![] };
    index.apply_peer_page(&peer(1), FOLDER, &part).unwrap();
    index.apply_peer_page(&peer(1), FOLDER, &page).unwrap();
    assert!(!agree(&own, &index), "the same position, and other pictures");

    let contents = |index: &Index| {
        let mut all = Vec::new();
        index
            .each_content(&mut |content, holders| {
                all.push((content, holders.to_vec()));
                true
            })
            .unwrap();
        all
    };
    let wrong = contents(&index);
    index.reread_peer(&peer(1)).unwrap();
    assert_eq!(contents(&index), wrong, "until it is read");
    pull(&own, &index);
    assert!(agree(&own, &index));
    let mut ids: Vec<ContentId> = (1..5).map(id).collect();
    ids.sort_unstable();
    assert_eq!(contents(&index), ids.into_iter().map(|id| (id, vec![peer(1)])).collect::<Vec<_>>());
}

#[test]
fn each_content_comes_with_all_its_holders_and_how_they_keep_it() {
    let own = Index::in_memory(peer(1)).unwrap();
    own.apply(vec![seen("a", 1), seen("b", 2)]).unwrap();
    let index = pulled(&own);
    let replica = Change::Replica {
        facts: facts(2),
        encoding: encoding(2),
        outline: outline(2),
        signature: None,
        path: path("b"),
    };
    index.apply(vec![replica, seen("c", 3)]).unwrap();
    let mut seen = BTreeMap::new();
    index
        .each_content(&mut |content, holders| {
            seen.insert(content, holders.iter().copied().collect::<BTreeSet<_>>());
            true
        })
        .unwrap();
    let of = |peers: &[u8]| peers.iter().map(|number| peer(*number)).collect::<BTreeSet<_>>();
    assert_eq!(seen, BTreeMap::from([(id(1), of(&[1])), (id(2), of(&[1, 2])), (id(3), of(&[2]))]));
    let kept: BTreeMap<PeerId, bool> = index.kept_as_replica(&id(2)).unwrap().into_iter().collect();
    assert_eq!(kept, BTreeMap::from([(peer(1), false), (peer(2), true)]));
    assert_eq!(index.folders().unwrap(), [(peer(1), FOLDER)]);
    for number in [0, 1, u64::MAX / 2, u64::MAX] {
        let chosen = index.held_by(&peer(1), number).unwrap().unwrap();
        assert!([id(1), id(2)].contains(&chosen));
    }
    assert_eq!(index.held_by(&peer(7), 1).unwrap(), None);
    let mut first = 0;
    index
        .each_content(&mut |_, _| {
            first += 1;
            false
        })
        .unwrap();
    assert_eq!(first, 1, "it stops when told to");
}
