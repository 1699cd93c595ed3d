use std::collections::{BTreeMap, BTreeSet};

use libp2p::multihash::Multihash;

use super::*;
use crate::dht_index::keys::OwnKey;
use crate::picture::Signature;
use crate::picture::quality::{Encoding, Fidelity, Metadata, Quality};
use crate::protocol::Held;
use crate::transfer::outline::{Outline, OutlineBuilder};
use crate::types::{CaptureTime, Facts, Format, Traits};

mod crash;
mod digest;
mod oracle;
mod own_page;
mod peers;
mod pins;
mod repeated;
mod replicas;
mod similar;
mod speed;

/// Peer ids that are the same in every run.
fn peer(number: u8) -> PeerId {
    PeerId::from_multihash(Multihash::wrap(0, &[number; 36]).unwrap()).unwrap()
}

fn path(text: &str) -> RelPath {
    RelPath::from_bytes(text.as_bytes().to_vec()).unwrap()
}

fn outline(number: u32) -> Outline {
    let mut builder = OutlineBuilder::new();
    builder.update(&number.to_be_bytes());
    builder.finish()
}

fn id(number: u32) -> ContentId {
    outline(number).content()
}

/// Five contents share a picture; every fifth has no perceptual hash.
fn image(number: u32) -> ImageId {
    if number % 5 == 4 {
        return ImageId::Content(id(number));
    }
    ImageId::Hash(*blake3::hash(&(number / 5).to_be_bytes()).as_bytes())
}

fn facts(number: u32) -> Facts {
    Facts {
        image: image(number),
        bytes: 4,
        width: u32::MAX,
        height: u32::MAX,
        format: Format::Jpeg,
        taken_at: CaptureTime::new("2016-04-21T14:03:22.123456+02:00"),
        guard: 100,
        traits: Traits(u16::MAX),
    }
}

fn encoding(number: u32) -> Encoding {
    Encoding { fidelity: Fidelity(number as u16), metadata: Metadata(number as u8 % 8) }
}

fn print(number: u64) -> Fingerprint {
    Fingerprint { bytes: number, mtime_ns: i128::MAX, ctime_ns: i128::MIN, inode: number, device: 1 }
}

fn seen(at: &str, number: u32) -> Change {
    let signature = Some(Signature::from_array([number as u8; Signature::LEN]));
    let found = Found::Picture {
        facts: facts(number),
        encoding: encoding(number),
        outline: outline(number),
        signature,
        problem: None,
    };
    Change::Seen { path: path(at), fingerprint: print(u64::from(number)), found }
}

fn gone(at: &str) -> Change {
    Change::Gone { path: path(at) }
}

fn held(number: u32, at: &str) -> Held {
    Held { facts: facts(number), path: path(at), files: 1, replica: false, pinned: false }
}

/// All rows, over as many pages as it takes.
fn list(index: &Index, filter: Option<&str>, standing: &dyn Fn(&PeerId) -> Standing) -> Vec<ImageRow> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let (rows, next) = index.list(after.as_deref(), filter, standing).unwrap();
        assert!(rows.len() <= index.limits.entries);
        all.extend(rows);
        let Some(next) = next else { return all };
        assert!(after.is_none_or(|after| after < next), "each page goes on");
        after = Some(next);
    }
}

/// Pulls the catalog of `from` (peer `number`) into `to`, every page twice. Returns how many
/// pages there were.
fn pull(to: &Index, from: &Index, number: u8, folder: FolderId) -> usize {
    for pages in 1.. {
        let known = to.peer_position(&peer(number)).unwrap();
        let known = known.unwrap_or(CatalogHead { epoch: Epoch(0), seq: Seq(0) });
        let page = from.catalog_page(known.epoch, known.seq).unwrap();
        let outcome = to.apply_peer_page(&peer(number), folder, &page).unwrap();
        let again = to.apply_peer_page(&peer(number), folder, &page).unwrap();
        let moved = page.upto != page.from;
        assert!(!moved || page.from == Seq(0) || again == PageOutcome::Ignored, "{again:?}");
        match outcome {
            PageOutcome::Applied { complete: true } => return pages,
            PageOutcome::Applied { complete: false } => {}
            PageOutcome::Ignored => panic!("a page at the known position is taken"),
        }
    }
    unreachable!()
}

#[test]
fn a_file_and_its_content_come_back_as_they_went_in() {
    let index = Index::in_memory(peer(1)).unwrap();
    let problem = Some("truncated".to_owned());
    let Change::Seen { path: at, fingerprint, mut found } = seen("b.jpg", 7) else { unreachable!() };
    if let Found::Picture { problem: none, .. } = &mut found {
        none.clone_from(&problem);
    }
    let applied = index.apply(vec![Change::Seen { path: at.clone(), fingerprint, found }, seen("a.jpg", 7)]);
    let head = index.head().unwrap();
    let added = vec![(image(7), id(7))];
    let keys = vec![(OwnKey::of(&image(7)), true)];
    assert_eq!(applied.unwrap(), Applied { added, keys, head: Some(head), ..Applied::default() });
    let record = index.file(&at).unwrap().unwrap();
    assert_eq!(record.kind, FileKind::Picture { content: id(7), problem });
    assert_eq!(record.fingerprint, fingerprint, "times beyond 64 bits too");
    let content = index.content(&id(7)).unwrap().unwrap();
    assert_eq!((&content.facts, &content.outline), (&facts(7), &outline(7)));
    assert_eq!(content.encoding, encoding(7));
    assert_eq!(content.known().quality(), Quality::new(id(7), &facts(7), encoding(7)));
    assert_eq!(content.paths, [path("a.jpg"), path("b.jpg")]);
    assert!(content.signature.is_some_and(|signature| signature.as_array() == &[7; Signature::LEN]));
    let entries = index.held(&image(7)).unwrap();
    assert_eq!(
        entries,
        [CatalogEntry { seq: head.seq, content: id(7), held: Some(Held { files: 2, ..held(7, "a.jpg") }) }]
    );
    assert!(index.holds_image(&image(7)).unwrap() && !index.holds_image(&image(99)).unwrap());
    assert_eq!(index.problems(9).unwrap(), [(at, "truncated".to_owned())]);
}

#[test]
fn what_is_no_picture_is_remembered_and_counted() {
    let index = Index::in_memory(peer(1)).unwrap();
    let other = |at: &str, found| Change::Seen { path: path(at), fingerprint: print(1), found };
    let changes = vec![
        other("v.mp4", Found::Unprotected { kind: "MP4".into() }),
        other("t.jpg", Found::NotPicture { problem: Some("é".repeat(1000)) }),
        other("notes", Found::NotPicture { problem: None }),
    ];
    assert_eq!(index.apply(changes).unwrap(), Applied::default());
    assert_eq!(index.totals().unwrap(), Totals { unprotected: 1, problems: 1, ..Totals::default() });
    assert_eq!(index.problems(9).unwrap()[0].1, "é".repeat(256), "shortened between characters");
    let kinds: Vec<_> =
        index.files(None, 9).unwrap().into_iter().map(|(path, file)| (path, file.kind)).collect();
    assert_eq!(kinds[0], (path("notes"), FileKind::NotPicture { problem: None }));
    assert_eq!(kinds[2], (path("v.mp4"), FileKind::Unprotected { kind: "MP4".into() }));
    assert_eq!(index.files(Some(&path("notes")), 1).unwrap()[0].0, path("t.jpg"));
    index.apply(vec![seen("v.mp4", 1), gone("t.jpg")]).unwrap();
    let totals = index.totals().unwrap();
    assert_eq!(totals, Totals { images: 1, bytes: 4, ..Totals::default() });
}

#[test]
fn a_rename_is_a_change_of_path_only() {
    let index = Index::in_memory(peer(1)).unwrap();
    index.apply(vec![seen("a", 1)]).unwrap();
    let before = index.head().unwrap();
    let applied = index.apply(vec![gone("a"), seen("z", 1)]).unwrap();
    assert_eq!((applied.added.len(), applied.removed.len()), (0, 0));
    let head = applied.head.unwrap();
    assert_eq!((head.epoch, head.seq.0), (before.epoch, before.seq.0 + 1));
    let page = index.catalog_page(before.epoch, before.seq).unwrap();
    assert_eq!(page.entries[0].held, Some(held(1, "z")));
    let same = index.apply(vec![seen("z", 1)]).unwrap();
    assert_eq!(same, Applied::default(), "looking again changes nothing");
    assert_eq!(index.content(&id(1)).unwrap().map(|content| content.signature.is_some()), Some(true));
}

#[test]
fn a_picture_that_is_recognised_differently_moves() {
    let index = Index::in_memory(peer(1)).unwrap();
    index.apply(vec![seen("a", 1)]).unwrap();
    let mut facts = facts(1);
    facts.image = ImageId::Content(id(1));
    let found =
        Found::Picture { facts, encoding: encoding(1), outline: outline(1), signature: None, problem: None };
    let applied = index.apply(vec![Change::Seen { path: path("a"), fingerprint: print(1), found }]).unwrap();
    assert_eq!(applied.removed, [(image(1), id(1))]);
    assert_eq!(applied.added, [(ImageId::Content(id(1)), id(1))]);
    assert_eq!(index.own_images(None, 9).unwrap(), [ImageId::Content(id(1))]);
    assert_eq!(list(&index, None, &|_| Standing::Trusted).len(), 1);
}

#[test]
fn a_picture_changed_in_place_is_named_with_what_it_was() {
    let index = Index::in_memory(peer(1)).unwrap();
    let edited = |changes| index.apply(changes).unwrap().edited;
    assert_eq!(edited(vec![seen("a", 1), seen("b", 1)]), []);
    assert_eq!(edited(vec![seen("a", 1), seen("c", 1)]), [], "nothing changed");
    let twice = edited(vec![seen("a", 2), seen("b", 3), seen("a", 4)]);
    assert_eq!(twice, [(id(1), id(2)), (id(1), id(3)), (id(2), id(4))]);
    assert_eq!(edited(vec![gone("a"), seen("a", 5)]), [], "another file at the same place");
    let text = Found::NotPicture { problem: None };
    assert_eq!(edited(vec![Change::Seen { path: path("b"), fingerprint: print(1), found: text }]), []);
    assert_eq!(edited(vec![seen("b", 6)]), [], "it was no picture before");
}

#[test]
fn own_images_come_in_pages_without_repetition() {
    let index = Index::in_memory(peer(1)).unwrap();
    index.apply((0..40).map(|number| seen(&number.to_string(), number)).collect()).unwrap();
    let expected: BTreeSet<ImageId> = (0..40).map(image).collect();
    let mut found = Vec::new();
    while let page @ [_, ..] = &*index.own_images(found.last().copied(), 3).unwrap() {
        found.extend(page);
    }
    assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
}

#[test]
fn real_entries_are_no_longer_than_assumed() {
    let index = Index::in_memory(peer(1)).unwrap();
    let long = |number: u32| format!("{number}{}", "/long".repeat(800));
    index.apply((0..300).map(|number| seen(&long(number), number)).collect()).unwrap();
    let page = index.catalog_page(Epoch(0), Seq(0)).unwrap();
    assert!(page.upto < page.head.seq, "closed by its bytes");
    assert!(serde_cbor::to_vec(&page).unwrap().len() <= PAGE_BYTES + 1024);
    let (rows, next) = index.list(None, None, &|_| Standing::Trusted).unwrap();
    assert!(next.is_some());
    assert!(serde_cbor::to_vec(&rows).unwrap().len() <= PAGE_BYTES + 1024);
    let mut short = page.entries[0].clone();
    let mut held = short.held.clone().unwrap();
    (held.facts.bytes, held.files, short.seq.0) = (u64::MAX, u32::MAX, u64::MAX);
    held.path = path("a");
    (held.replica, held.pinned) = (true, true);
    short.held = Some(held);
    assert!(serde_cbor::to_vec(&short).unwrap().len() <= crate::limits::ROW_BYTES);
}
