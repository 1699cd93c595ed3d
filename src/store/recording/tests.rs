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
