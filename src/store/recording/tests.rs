use libp2p::PeerId;

use super::*;
use crate::picture::quality::{Encoding, Fidelity, Metadata};
use crate::picture::same::Edits;
use crate::store::index::Fingerprint;
use crate::store::ledger::tests::crash::full;
use crate::transfer::outline::{Outline, OutlineBuilder};
use crate::types::{Facts, Format, ImageId, Traits};

fn outline(number: u8) -> Outline {
    let mut builder = OutlineBuilder::new();
    builder.update(&[number]);
    builder.finish()
}

fn id(number: u8) -> ContentId {
    outline(number).content()
}

fn path(name: &str) -> RelPath {
    RelPath::from_bytes(name.as_bytes().to_vec()).unwrap()
}

fn seen(name: &str, number: u8) -> Change {
    let facts = Facts {
        image: ImageId::Content(id(number)),
        bytes: 1,
        width: 1,
        height: 1,
        format: Format::Jpeg,
        taken_at: None,
        guard: 0,
        traits: Traits::default(),
    };
    let encoding = Encoding { fidelity: Fidelity::UNKNOWN, metadata: Metadata::default() };
    let found = Found::Picture { facts, encoding, outline: outline(number), signature: None, problem: None };
    let inode = u64::from(number);
    let fingerprint = Fingerprint { bytes: 1, mtime_ns: 0, ctime_ns: 0, inode, device: 0 };
    Change::Seen { path: path(name), fingerprint, found }
}

fn gone(name: &str) -> Change {
    Change::Gone { path: path(name) }
}

struct Place {
    shelf: RecordingShelf,
    ledger: Arc<Ledger>,
}

impl Place {
    /// With some pictures in it.
    fn with(pictures: &[(&str, u8)]) -> Self {
        let index = Arc::new(Index::in_memory(PeerId::from_bytes(&[0, 1, 7]).unwrap()).unwrap());
        let ledger = Arc::new(Ledger::in_memory().unwrap());
        let shelf = RecordingShelf::new(index, Some(Arc::clone(&ledger)));
        let place = Self { shelf, ledger };
        place.apply(pictures.iter().map(|(name, number)| seen(name, *number)).collect());
        place
    }

    fn apply(&self, changes: Vec<Change>) {
        self.shelf.apply(changes).unwrap();
    }

    fn edits(&self, number: u8) -> BTreeSet<ContentId> {
        let Edits { contents, more } = self.ledger.edits_of(id(number)).unwrap();
        assert!(!more);
        contents
    }
}

#[test]
fn a_change_in_place_is_an_edit_and_an_arrival_is_none() {
    let place = Place::with(&[("a", 1), ("b", 2)]);
    place.apply(vec![seen("a", 1), seen("b", 3), seen("c", 4)]);
    assert_eq!(place.edits(1), [].into());
    assert_eq!(place.edits(4), [].into());
    assert_eq!(place.edits(2), [id(3)].into());
    // Edited again, and then back to the first.
    place.apply(vec![seen("b", 5), seen("b", 6)]);
    place.apply(vec![seen("b", 2)]);
    assert_eq!(place.edits(2), [id(3), id(5), id(6)].into());
    assert_eq!(place.shelf.file(&path("b")).unwrap().unwrap().fingerprint.inode, 2, "and the index knows");
}

#[test]
fn a_file_that_is_written_anew_is_an_edit_and_one_that_came_later_is_none() {
    let place = Place::with(&[("a", 1), ("b", 2)]);
    place.apply(vec![gone("a"), seen("a", 3), gone("b")]);
    place.apply(vec![seen("b", 4)]);
    assert_eq!(place.edits(1), [id(3)].into());
    assert_eq!(place.edits(2), [].into());
}

/// Somebody made room at the beginning of a numbered album: a hundred pictures would have been one
/// chain of edits, and never have taken part in a drop again.
#[test]
fn names_that_moved_are_no_edits() {
    let place = Place::with(&[("1", 1), ("2", 2), ("3", 3), ("4", 4)]);
    place.apply(vec![gone("1"), seen("2", 1), seen("3", 2), seen("4", 3), seen("5", 4)]);
    assert!((1..=4).all(|number| place.edits(number).is_empty()));
    // Two that trade places, and one copied over another that is elsewhere too.
    place.apply(vec![seen("2", 2), seen("3", 1)]);
    place.apply(vec![seen("6", 2)]);
    place.apply(vec![seen("2", 3)]);
    assert!((1..=4).all(|number| place.edits(number).is_empty()));
}

/// A program that writes beside the file and renames, slowly enough to be seen.
#[test]
fn an_edit_that_was_seen_under_another_name_first_is_one() {
    let place = Place::with(&[("a", 1)]);
    place.apply(vec![seen("a.tmp", 2)]);
    place.apply(vec![seen("a", 2), gone("a.tmp")]);
    assert_eq!(place.edits(1), [id(2)].into());
}

#[test]
fn without_a_ledger_it_is_the_index() {
    let place = Place::with(&[("a", 1)]);
    let shelf = RecordingShelf::new(Arc::clone(&place.shelf.index), None);
    shelf.apply(vec![seen("a", 2), seen("b", 3)]).unwrap();
    assert_eq!(shelf.files(None, 9).unwrap().len(), 2);
    assert_eq!(place.edits(1), [].into());
}

/// The disk was full: what replaced what must not be lost, and a retry finds it.
#[test]
fn what_can_not_be_written_down_is_held_back_and_taken_up_later() {
    let place = Place::with(&[("a", 1), ("b", 2), ("c", 3)]);
    let full = RecordingShelf::new(Arc::clone(&place.shelf.index), Some(Arc::new(full())));
    full.apply(vec![seen("a", 4), seen("b", 2), seen("d", 5), gone("c")]).unwrap();
    let inode = |name| place.shelf.file(&path(name)).unwrap().map(|record| record.fingerprint.inode);
    assert_eq!((inode("a"), inode("b"), inode("d"), inode("c")), (Some(1), Some(2), Some(5), None));
    place.apply(vec![seen("a", 4)]);
    assert_eq!(inode("a"), Some(4));
    assert_eq!(place.edits(1), [id(4)].into());
}

/// `seen`, of the file that a picture lies in.
fn seen_in(name: &str, number: u8, inode: u64, times: (i128, i128)) -> Change {
    let mut change = seen(name, number);
    if let Change::Seen { fingerprint, .. } = &mut change {
        (fingerprint.inode, fingerprint.mtime_ns, fingerprint.ctime_ns) = (inode, times.0, times.1);
    }
    change
}

impl Place {
    fn kind(&self, name: &str) -> FileKind {
        self.shelf.file(&path(name)).unwrap().unwrap().kind
    }

    fn is_damaged(&self, name: &str, wanted: u8) -> bool {
        matches!(self.kind(name), FileKind::Damaged { content, .. } if content == id(wanted))
    }

    fn holds(&self, number: u8) -> bool {
        self.shelf.index.content(&id(number)).unwrap().is_some()
    }
}

/// Bytes that changed while nobody wrote were taken up as a new picture: listed, copied, and the
/// good one was gone from the node that had it.
#[test]
fn other_bytes_in_an_untouched_file_are_damage() {
    let place = Place::with(&[("a", 1), ("b", 1), ("c", 2)]);
    let applied = place.shelf.apply(vec![seen_in("c", 3, 2, (0, 5)), seen_in("a", 4, 1, (0, 0))]).unwrap();
    assert_eq!(applied.damaged, [(path("c"), id(2)), (path("a"), id(1))]);
    assert_eq!(applied.edited, []);
    assert!(place.is_damaged("c", 2) && place.is_damaged("a", 1));
    assert_eq!([1, 2, 3, 4].map(|number| place.holds(number)), [true, false, false, false], "b has 1");
    assert_eq!(place.edits(2), [id(3)].into(), "should the index be lost: never taken for the good one");
    let totals = place.shelf.index.totals().unwrap();
    assert_eq!((totals.damaged, totals.problems), (2, 2));
    assert_eq!(place.shelf.index.damaged(Some(&path("a")), 9).unwrap(), [(path("c"), id(2))]);

    // It stays what it is, whatever it is read as next, until it is good again or another file.
    let again = Change::Seen {
        path: path("c"),
        fingerprint: Fingerprint { bytes: 1, mtime_ns: 0, ctime_ns: 6, inode: 2, device: 0 },
        found: Found::NotPicture { problem: None },
    };
    assert_eq!(place.shelf.apply(vec![again]).unwrap().damaged, [], "told once");
    assert!(place.is_damaged("c", 2));
    place.apply(vec![seen_in("c", 2, 77, (0, 7)), seen_in("a", 1, 1, (0, 7))]);
    assert!(place.holds(2) && place.kind("a").content() == Some(id(1)));
    assert_eq!(place.shelf.index.totals().unwrap().damaged, 0);
}

#[test]
fn who_writes_moves_the_time_and_that_is_an_edit() {
    let place = Place::with(&[("a", 1), ("b", 2)]);
    place.apply(vec![seen_in("a", 3, 1, (9, 9)), seen_in("b", 4, 99, (0, 9))]);
    assert_eq!(place.kind("a").content(), Some(id(3)));
    assert_eq!(place.kind("b").content(), Some(id(4)), "another file has the name");
    assert_eq!((place.edits(1), place.edits(2)), ([id(3)].into(), [id(4)].into()));
    // A file system that counts whole seconds can't tell an edit right after another.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let just_now = i128::from(now) * 1_000_000_000;
    let print = |mtime_ns| Fingerprint { bytes: 1, mtime_ns, ctime_ns: 0, inode: 1, device: 0 };
    assert!(!is_untouched(&print(just_now), &print(just_now)));
    assert!(is_untouched(&print(just_now + 1), &print(just_now + 1)));
}

#[test]
fn what_a_scrub_read_counts_only_for_the_file_that_the_index_knows() {
    let place = Place::with(&[("a", 1)]);
    let print = |mtime_ns| Fingerprint { bytes: 1, mtime_ns, ctime_ns: 8, inode: 1, device: 0 };
    let damaged = |content, mtime_ns| place.shelf.damaged(&path("a"), print(mtime_ns), id(content), id(5));
    assert_eq!(damaged(1, 3).unwrap(), None, "somebody wrote to it");
    assert_eq!(damaged(2, 0).unwrap(), None, "it is another picture by now");
    assert!(place.holds(1));
    assert_eq!(damaged(1, 0).unwrap().unwrap().damaged, [(path("a"), id(1))]);
    assert!(!place.holds(1) && place.is_damaged("a", 1));
}
