use proptest::prelude::*;
use serde_bytes::ByteBuf;

use super::*;
use crate::types::{CatalogHead, Epoch, Facts, Format, RelPath, Seq, Traits};

fn peer(n: u8) -> PeerId {
    PeerId::from_multihash(libp2p::multihash::Multihash::wrap(0, &[n; 36]).unwrap()).unwrap()
}

fn held(content: u8, holder: u8) -> Held {
    let facts = Facts {
        image: ImageId::Hash([content / 3; 32]),
        bytes: 1,
        width: 1,
        height: 1,
        format: Format::Png,
        taken_at: None,
        guard: 0,
        traits: Traits::default(),
    };
    let path = RelPath::from_bytes(format!("{holder}/{content}").into_bytes()).unwrap();
    Held { facts, path, files: 1, replica: false, pinned: content == 7 && holder == 2 }
}

/// Holder and contents.
type World = BTreeMap<u8, BTreeSet<u8>>;

fn at(content: u8) -> Position {
    position(ImageId::Hash([content / 3; 32]), ContentId([content; 32]))
}

fn own_page(world: &World, holder: u8, after: Option<&[u8]>, most: usize) -> OwnPage {
    let mut held: Vec<CatalogEntry> = world[&holder]
        .iter()
        .filter(|content| after.is_none_or(|after| at(**content).as_slice() > after))
        .map(|c| CatalogEntry { seq: Seq(1), content: ContentId([*c; 32]), held: Some(held(*c, holder)) })
        .collect();
    let more = held.len() > most;
    held.truncate(most);
    let last = held.last().filter(|_| more).and_then(position_of);
    OwnPage {
        folder: FolderId(holder.into()),
        head: CatalogHead { epoch: Epoch(1), seq: Seq(1) },
        entries: held,
        next: last.map(|at| ByteBuf::from(at.to_vec())),
    }
}

/// What an index that knows these holders would list.
fn known_rows(
    world: &World,
    holders: &[u8],
    after: Option<&[u8]>,
    filter: Option<&str>,
    most: usize,
) -> (Vec<(ImageRow, bool)>, Option<Vec<u8>>) {
    let contents: BTreeSet<u8> = holders.iter().flat_map(|holder| &world[holder]).copied().collect();
    let mut rows: Vec<(ImageRow, bool)> = Vec::new();
    for content in contents.into_iter().filter(|c| after.is_none_or(|after| at(*c).as_slice() > after)) {
        let with: Vec<u8> =
            holders.iter().copied().filter(|holder| world[holder].contains(&content)).collect();
        let first = held(content, with[0]);
        let matches =
            with.iter().any(|h| filter.is_none_or(|text| contains(held(content, *h).path.as_bytes(), text)));
        let row = ImageRow {
            content: ContentId([content; 32]),
            facts: first.facts,
            path: first.path,
            copies: with.iter().filter(|holder| **holder != 9).count() as u32,
            pinned: with.contains(&2) && content == 7,
            holders: with.into_iter().map(peer).collect(),
        };
        rows.push((row, matches));
    }
    let more = rows.len() > most;
    rows.truncate(most);
    let last = rows.last().map(|(row, _)| position(row.facts.image, row.content).to_vec());
    (rows, last.filter(|_| more))
}

/// The list of node 1, page by page, when it keeps the catalogs of `kept` and asks the others.
fn listed(
    world: &World,
    kept: &[u8],
    sizes: (usize, usize),
    filter: Option<&str>,
    most: Most,
) -> Vec<ImageRow> {
    let folders = world.keys().map(|n| (peer(*n), FolderId((*n).into()))).collect();
    let counts = |id: &PeerId| *id != peer(9);
    let known = Known { me: peer(1), counts: &counts, folders: &folders };
    let (mut all, mut after) = (Vec::new(), None::<Vec<u8>>);
    loop {
        let told = world.keys().filter(|n| !kept.contains(n)).map(|n| {
            let page = own_page(world, *n, after.as_deref(), sizes.0);
            assert!(is_sound(&page, after.as_deref(), sizes.0));
            (peer(*n), page)
        });
        let here = known_rows(world, kept, after.as_deref(), filter, sizes.1);
        let page = merge(&known, here, told.collect(), filter, most);
        assert!(page.rows.len() <= most.rows);
        all.extend(page.rows);
        let Some(next) = page.next else { return all };
        assert!(after.is_none_or(|after| after < next), "each page leads on");
        after = Some(next);
    }
}

proptest! {
    /// Whichever catalogs are kept and however long the pages are, the list is the one of a node that
    /// keeps all.
    #[test]
    fn the_merged_list_is_the_list(
        mut world in prop::collection::btree_map(2..10_u8, prop::collection::btree_set(0..60_u8, 0..40), 0..6),
        own in prop::collection::btree_set(0..60_u8, 0..40),
        keeps in prop::collection::vec(any::<bool>(), 10),
        sizes in (1..20_usize, 1..20_usize),
        rows in 1..30_usize,
        filter in prop::option::of(prop::sample::select(vec!["1/", "2/1", "5", "zz"])),
    ) {
        world.insert(1, own);
        let all: Vec<u8> = world.keys().copied().collect();
        let kept: Vec<u8> = all.iter().copied().filter(|n| *n == 1 || keeps[usize::from(*n)]).collect();
        let wanted: Vec<ImageRow> = known_rows(&world, &all, None, filter, 1000).0
            .into_iter().filter(|(_, matches)| *matches).map(|(row, _)| row).collect();
        let found = listed(&world, &kept, sizes, filter, Most { rows, bytes: 1 << 20 });
        prop_assert_eq!(&found, &wanted);
        let tight = listed(&world, &kept, sizes, filter, Most { rows: 1000, bytes: 1 });
        prop_assert_eq!(&tight, &wanted);
    }
}

#[test]
fn pages_that_lie_about_their_order_are_not_merged() {
    let world = World::from([(2, BTreeSet::from([1, 2, 3, 4]))]);
    let good = own_page(&world, 2, None, 3);
    assert!(is_sound(&good, None, 3));
    assert!(!is_sound(&good, None, 2), "more than was asked");
    assert!(!is_sound(&good, Some(&at(1)), 3), "what was there before");
    let swapped = OwnPage { entries: good.entries.iter().rev().cloned().collect(), ..good.clone() };
    assert!(!is_sound(&swapped, None, 3));
    for next in [vec![0xff; POSITION], vec![1], at(1).to_vec()] {
        let page = OwnPage { next: Some(ByteBuf::from(next)), ..good.clone() };
        assert!(!is_sound(&page, None, 3), "it goes on elsewhere");
    }
    let nothing = OwnPage { entries: Vec::new(), ..good.clone() };
    assert!(!is_sound(&nothing, None, 3), "it leads nowhere");
    let mut gone = good.clone();
    gone.entries[0].held = None;
    assert!(!is_sound(&gone, None, 3));
    let mut stolen = good;
    if let Some(held) = &mut stolen.entries[0].held {
        held.facts.image = ImageId::Content(ContentId([0; 32]));
    }
    assert!(!is_sound(&stolen, None, 3), "a picture that is another content");
}

#[test]
fn one_that_is_named_twice_holds_once() {
    let world = World::from([(1, BTreeSet::from([5])), (2, BTreeSet::from([5]))]);
    let folders = HashMap::from([(peer(1), FolderId(1)), (peer(2), FolderId(1))]);
    let known = Known { me: peer(1), counts: &|_| true, folders: &folders };
    let here = known_rows(&world, &[1, 2], None, None, 10);
    let told = vec![(peer(2), OwnPage { folder: FolderId(1), ..own_page(&world, 2, None, 10) })];
    let page = merge(&known, here, told, None, Most { rows: 9, bytes: 9999 });
    assert_eq!(page.rows[0].holders, [peer(1), peer(2)]);
}
