//! Pins, which the catalog tells, and copies, which decisions count.

use super::*;

const FOLDER: FolderId = FolderId(9);

fn pins(numbers: &[u32]) -> BTreeSet<ContentId> {
    numbers.iter().map(|number| id(*number)).collect()
}

/// Whether the index's own catalog tells a content as pinned.
fn told(index: &Index, number: u32) -> bool {
    let entries = index.held(&image(number)).unwrap();
    let entry = entries.into_iter().find(|entry| entry.content == id(number));
    entry.and_then(|entry| entry.held).is_some_and(|held| held.pinned)
}

#[test]
fn a_pin_is_told_at_once_and_only_when_it_is_new() {
    let index = Index::in_memory(peer(1)).unwrap();
    let before = index.apply(vec![seen("a", 1)]).unwrap().head.unwrap();
    let applied = index.set_pinned(id(1), true).unwrap();
    assert_eq!((applied.added.len(), applied.removed.len()), (0, 0));
    assert_eq!(applied.head.map(|head| head.seq), Some(Seq(before.seq.0 + 1)));
    assert!(told(&index, 1));
    assert_eq!(index.set_pinned(id(1), true).unwrap(), Applied::default());
    index.apply(vec![seen("b", 1)]).unwrap();
    assert!(told(&index, 1), "another file changes nothing");
    assert!(index.set_pinned(id(1), false).unwrap().head.is_some());
    assert!(!told(&index, 1));
}

#[test]
fn a_content_that_comes_later_is_pinned_from_the_start() {
    let index = Index::in_memory(peer(1)).unwrap();
    assert_eq!(index.set_pinned(id(2), true).unwrap(), Applied::default(), "it is not here");
    index.apply(vec![seen("a", 2)]).unwrap();
    assert!(told(&index, 2));
    index.apply(vec![gone("a")]).unwrap();
    index.apply(vec![seen("z", 2)]).unwrap();
    assert!(told(&index, 2), "gone and back");
}

#[test]
fn the_pins_are_settled_as_a_whole() {
    let index = Index::in_memory(peer(1)).unwrap();
    index.apply((1..5).map(|number| seen(&number.to_string(), number)).collect()).unwrap();
    index.set_pins(&pins(&[1, 2, 77])).unwrap();
    let applied = index.set_pins(&pins(&[2, 3])).unwrap();
    assert!(applied.head.is_some());
    assert_eq!([1, 2, 3, 4].map(|number| told(&index, number)), [false, true, true, false]);
    assert_eq!(index.set_pins(&pins(&[2, 3])).unwrap(), Applied::default());
    index.apply(vec![seen("77", 77)]).unwrap();
    assert!(!told(&index, 77));
}

#[test]
fn copies_are_those_of_trusted_nodes_that_are_there() {
    let index = Index::in_memory(peer(1)).unwrap();
    index.set_folder(FolderId(1));
    let other = Index::in_memory(peer(2)).unwrap();
    other.apply(vec![seen("x", 1), seen("y", 2), seen("pinned.jpg", 3)]).unwrap();
    pull(&index, &other, 2, FOLDER);
    let trusted = |_: &PeerId| Standing::Trusted;
    let copies =
        |number, standing: &dyn Fn(&PeerId) -> Standing| index.copies(&id(number), standing).unwrap();
    assert_eq!(copies(1, &trusted), Copies { holders: vec![(peer(2), FOLDER)], pinned: false });
    index.apply(vec![seen("a", 1)]).unwrap();
    let both = vec![(peer(1), FolderId(1)), (peer(2), FOLDER)];
    assert_eq!(copies(1, &trusted).holders, both);
    for gone in [Standing::Away, Standing::Stranger] {
        assert_eq!(copies(1, &|_| gone).holders, both[..1]);
        assert_eq!(copies(2, &|_| gone).holders, []);
    }
    assert_eq!(copies(99, &trusted), Copies { holders: vec![], pinned: false });
    assert!(!copies(3, &trusted).pinned, "a path is no pin");
}

#[test]
fn a_trusted_nodes_pin_counts_and_a_strangers_does_not() {
    let index = Index::in_memory(peer(1)).unwrap();
    let other = Index::in_memory(peer(2)).unwrap();
    for index in [&index, &other] {
        index.apply(vec![seen("a", 1)]).unwrap();
    }
    other.set_pinned(id(1), true).unwrap();
    pull(&index, &other, 2, FOLDER);
    let seen_by = |standing| {
        let rows = list(&index, Some("a"), &|_| standing);
        (rows[0].pinned, index.copies(&id(1), &|_| standing).unwrap().pinned)
    };
    assert_eq!(seen_by(Standing::Trusted), (true, true));
    assert_eq!(seen_by(Standing::Stranger), (false, false));
    assert_eq!(seen_by(Standing::Away), (false, false));
    index.set_pinned(id(1), true).unwrap();
    assert_eq!(seen_by(Standing::Away), (true, true));
}
