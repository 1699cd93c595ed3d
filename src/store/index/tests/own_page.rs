//! What a node holds, page by page in the order of the list.

use super::*;
use crate::catalog::merge::is_sound;

/// Over as many pages as it takes.
fn all(index: &Index, prefix: Option<&Prefix>, most: usize) -> Vec<ContentId> {
    let (mut found, mut after) = (Vec::new(), None::<Vec<u8>>);
    loop {
        let page = index.own_page(after.as_deref(), prefix, most).unwrap();
        assert!(is_sound(&page, after.as_deref(), most), "{page:?}");
        assert_eq!((page.folder, page.head), (FolderId(7), index.head().unwrap()));
        found.extend(page.entries.iter().map(|entry| entry.content));
        let Some(next) = page.next else { return found };
        after = Some(next.into_vec());
    }
}

#[test]
fn pages_are_the_own_part_of_the_list_in_its_order() {
    let index = Index::in_memory(peer(1)).unwrap();
    index.set_folder(FolderId(7));
    assert_eq!(all(&index, None, 5), []);
    index.apply((0..40).map(|n| seen(&n.to_string(), n)).collect()).unwrap();
    let other = CatalogEntry { seq: Seq(1), content: id(99), held: Some(held(99, "x")) };
    let head = CatalogHead { epoch: Epoch(1), seq: Seq(1) };
    let page = CatalogPage { head, upto: Seq(1), from: Seq(0), entries: vec![other] };
    index.apply_peer_page(&peer(2), FolderId(9), &page).unwrap();
    let own = list(&index, None, &|_| Standing::Away);
    let own: Vec<ContentId> = own.into_iter().map(|row| row.content).collect();
    for most in [1, 2, 7, 39, 40, 41, 5000] {
        assert_eq!(all(&index, None, most), own, "{most}");
    }
    for number in [0, 4, 13] {
        for digits in [6, 20, 64] {
            let prefixes = match image(number) {
                ImageId::Hash(hash) => vec![Prefix::Image(crate::types::to_hex(&hash)[..digits].to_owned())],
                ImageId::Content(_) => Vec::new(),
            };
            let content = Prefix::Content(id(number).to_string()[..digits].to_owned());
            for prefix in prefixes.into_iter().chain([content]) {
                let (rows, _) = index.resolve(&prefix, &|_| Standing::Away).unwrap();
                let wanted: Vec<ContentId> = rows.into_iter().map(|row| row.content).collect();
                assert!(!wanted.is_empty());
                assert_eq!(all(&index, Some(&prefix), 1), wanted, "{prefix}");
                assert_eq!(all(&index, Some(&prefix), 100), wanted, "{prefix}");
            }
        }
    }
    assert!(matches!(index.own_page(Some(b"junk"), None, 5), Err(IndexError::BadCursor)));
}

#[test]
fn entries_of_peers_are_counted_as_they_come_and_go() {
    let (reader, writer) = (Index::in_memory(peer(1)).unwrap(), Index::in_memory(peer(2)).unwrap());
    writer.apply((0..5).map(|n| seen(&n.to_string(), n)).collect()).unwrap();
    assert_eq!(reader.cached().unwrap(), []);
    pull(&reader, &writer, 2, FolderId(9));
    assert_eq!(reader.cached().unwrap(), [(peer(2), 5)]);
    writer.apply(vec![gone("0"), gone("1"), seen("9", 9)]).unwrap();
    pull(&reader, &writer, 2, FolderId(9));
    assert_eq!(reader.peer_progress(&peer(2)).unwrap(), Some((writer.head().unwrap(), 4)));
    reader.forget_peer(&peer(2)).unwrap();
    assert_eq!(reader.cached().unwrap(), []);
    assert_eq!(reader.swarm_images().unwrap(), 0);
}
