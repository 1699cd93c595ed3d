use std::time::Duration;

use libp2p::PeerId;

use super::*;
use crate::limits::{MAX_EDITS, MAX_ENTRY_ITEMS, MAX_TEXT_BYTES, MAX_WITNESSES};
use crate::picture::quality::{Encoding, Fidelity, Metadata};
use crate::picture::{PixelPlanes, Signature};
use crate::store::trash::Cause;
use crate::types::{Facts, Format, ImageId, RelPath, Traits};

pub(in crate::store) mod crash;
mod damage;
mod oracle;

fn id(number: u8) -> ContentId {
    ContentId([number; 32])
}

fn ids(numbers: impl IntoIterator<Item = u8>) -> BTreeSet<ContentId> {
    numbers.into_iter().map(id).collect()
}

fn image(number: u8) -> ImageId {
    ImageId::Hash([number ^ 0x80; 32])
}

fn witness(number: u8) -> Witness {
    let pixel = |i: usize| ((i / 256) as u8 ^ (i % 256) as u8).wrapping_mul(number);
    let bytes: Vec<u8> = (0..PixelPlanes::LEN).map(pixel).collect();
    let facts = Facts {
        image: image(number),
        bytes: u64::from(number),
        width: 800,
        height: 600,
        format: Format::Jpeg,
        taken_at: None,
        guard: 50,
        traits: Traits::default(),
    };
    Witness {
        content: id(number),
        facts,
        encoding: Encoding { fidelity: Fidelity(900), metadata: Metadata::CAMERA },
        signature: Signature::from_array([number; Signature::LEN]),
        planes: PixelPlanes::from_bytes(&bytes).unwrap(),
    }
}

fn witnesses(numbers: impl IntoIterator<Item = u8>) -> Vec<Witness> {
    numbers.into_iter().map(witness).collect()
}

fn drop_of(loser: u8, keeper: u8, at: u64) -> DropRecord {
    DropRecord {
        loser: id(loser),
        loser_image: image(loser),
        keeper: id(keeper),
        cause: Cause::Superseded,
        numbers: [("hash distance".to_owned(), "3 of 256".to_owned())].into(),
        path: RelPath::from_bytes(b"2016/beach \xff.jpg".to_vec()).unwrap(),
        at,
        trash: Some(format!("20261123-110819-{at}").parse().unwrap()),
        holders: vec![PeerId::from_bytes(&[&[0, 36][..], &[7; 36]].concat()).unwrap()],
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn memory() -> Ledger {
    Ledger::in_memory().unwrap()
}

#[test]
fn a_keeper_carries_what_it_was_given_once_and_never_itself() {
    let ledger = memory();
    assert_eq!(ledger.witnesses(id(1)).unwrap(), []);
    assert_eq!(ledger.add_witnesses(id(1), &witnesses([3, 2, 3, 1]), now()).unwrap(), 2);
    assert_eq!(ledger.witnesses(id(1)).unwrap(), witnesses([2, 3]));
    assert_eq!(ledger.witness_ids(id(1)).unwrap(), ids([2, 3]));
    // Another's idea of a content that is known already.
    let other = Witness { planes: witness(9).planes, ..witness(3) };
    assert_eq!(ledger.add_witnesses(id(1), std::slice::from_ref(&other), now()).unwrap(), 2);
    assert_eq!(ledger.add_witnesses(id(5), &[other, witness(4)], now()).unwrap(), 2);
    assert_eq!(ledger.witnesses(id(1)).unwrap(), witnesses([2, 3]));
    assert_eq!(ledger.witnesses(id(5)).unwrap(), witnesses([3, 4]));
    assert_eq!(ledger.add_witnesses(id(6), &[], now()).unwrap(), 0);
}

#[test]
fn too_many_witnesses_are_refused_as_a_whole() {
    let ledger = memory();
    let most = MAX_WITNESSES as u8;
    assert_eq!(ledger.add_witnesses(id(200), &witnesses(1..most), now()).unwrap(), MAX_WITNESSES - 1);
    let refused = ledger.add_witnesses(id(200), &witnesses([most, most + 1]), now());
    assert!(matches!(refused, Err(LedgerError::TooMany { keeper }) if keeper == id(200)), "{refused:?}");
    assert_eq!(ledger.witness_ids(id(200)).unwrap(), ids(1..most));
    assert_eq!(ledger.add_witnesses(id(200), &witnesses([most]), now()).unwrap(), MAX_WITNESSES);
    assert_eq!(ledger.add_witnesses(id(200), &witnesses([1, 2]), now()).unwrap(), MAX_WITNESSES, "known");
    assert!(ledger.add_witnesses(id(200), &witnesses([99]), now()).is_err());
}

/// Both saw room for one more.
#[test]
fn two_at_once_do_not_get_past_the_limit() {
    let ledger = memory();
    ledger.add_witnesses(id(200), &witnesses(1..MAX_WITNESSES as u8), now()).unwrap();
    let add = |number| ledger.add_witnesses(id(200), &[witness(number)], now());
    let news = |number| ledger.read("", |txn| witnesses::missing(txn, id(200), &[witness(number)]));
    let (one, two) = (news(50).unwrap().unwrap(), news(51).unwrap().unwrap());
    ledger.write("", |txn| witnesses::add(txn, id(200), &one, 0)).unwrap();
    let late = ledger.write("", |txn| witnesses::add(txn, id(200), &two, 0));
    assert!(matches!(late, Err(LedgerError::TooMany { .. })));
    assert_eq!(ledger.witness_ids(id(200)).unwrap().len(), MAX_WITNESSES);
    assert_eq!(add(50).unwrap(), MAX_WITNESSES);
}

#[test]
fn edits_are_known_from_either_side_and_through_chains() {
    let ledger = memory();
    let edits = |number| ledger.edits_of(id(number)).unwrap();
    assert_eq!(edits(1), Edits::default());
    ledger.record_edits(&[(id(1), id(2)), (id(3), id(3)), (id(2), id(4))]).unwrap();
    ledger.record_edits(&[(id(4), id(2)), (id(8), id(9))]).unwrap();
    ledger.record_edits(&[]).unwrap();
    for (number, others) in [(1, [2, 4]), (2, [1, 4]), (4, [1, 2])] {
        assert_eq!(edits(number), Edits { contents: ids(others), more: false });
    }
    assert_eq!(edits(3), Edits::default());
    assert_eq!(edits(9), Edits { contents: ids([8]), more: false });
}

#[test]
fn an_edit_too_many_is_told_and_not_followed() {
    let ledger = memory();
    let most = MAX_EDITS as u8;
    let chain: Vec<_> = (0..most).map(|n| (id(n), id(n + 1))).collect();
    ledger.record_edits(&chain).unwrap();
    let of = |number| ledger.edits_of(id(number)).unwrap();
    assert_eq!(of(most), Edits { contents: ids(0..most), more: false });
    ledger.record_edits(&[(id(most), id(most + 1))]).unwrap();
    assert_eq!(of(0), Edits { contents: ids(1..=most), more: true }, "the nearest");
    assert_eq!(of(most + 1), Edits { contents: ids(1..=most), more: true });
    // Not a chain but a star.
    let star: Vec<_> = (100..200).map(|n| (id(99), id(n))).collect();
    ledger.record_edits(&star).unwrap();
    assert!((99..200).all(|n| of(n).more && of(n).contents.len() == MAX_EDITS));
}

#[test]
fn the_oldest_edits_go_first_and_go_wholly() {
    let mut ledger = memory();
    ledger.limits.edits = 3;
    for number in [1, 3, 5, 7] {
        ledger.record_edits(&[(id(number), id(number + 1))]).unwrap();
    }
    let none = |number| ledger.edits_of(id(number)).unwrap() == Edits::default();
    assert!(none(1) && none(2) && !none(3) && !none(4) && !none(7));
    ledger.record_edits(&[(id(10), id(11)), (id(12), id(13)), (id(14), id(15)), (id(16), id(17))]).unwrap();
    assert!((1..=11).all(none) && !none(12) && !none(17));
}

fn prefix(text: &str) -> Prefix {
    Prefix::parse(text).unwrap()
}

#[test]
fn a_drop_is_found_by_its_picture_its_content_and_its_keeper() {
    let ledger = memory();
    let drops = [drop_of(1, 9, 100), drop_of(2, 9, 101), drop_of(9, 20, 102)];
    for drop in &drops {
        ledger.record_drop(drop).unwrap();
        ledger.record_drop(drop).unwrap();
    }
    let of = |text: String, limit| ledger.drops_of(&prefix(&text), limit).unwrap();
    let [one, two, nine] = drops;
    assert_eq!(of(image(1).to_string(), 9), std::slice::from_ref(&one));
    assert_eq!(of(image(2).to_string()[..6].to_owned(), 9), std::slice::from_ref(&two));
    assert_eq!(of(format!("c:{}", id(1)), 9), std::slice::from_ref(&one));
    assert_eq!(of(format!("c:{}", id(9)), 9), [nine.clone(), two.clone(), one], "the newest first");
    assert_eq!(of(format!("c:{}", id(9)), 2), [nine, two]);
    assert_eq!(of(format!("c:{}", id(9)), 0), []);
    assert_eq!(of(id(1).to_string(), 9), [], "a content's digits are no picture's");
}

#[test]
fn a_drop_is_recorded_once_however_often_a_restart_does_it() {
    let ledger = memory();
    ledger.record_drop(&drop_of(1, 9, 100)).unwrap();
    let again = DropRecord { holders: vec![], ..drop_of(1, 9, 100) };
    ledger.record_drop(&again).unwrap();
    let of = || ledger.drops_of(&prefix(&format!("c:{}", id(1))), 9).unwrap();
    assert_eq!(of(), [drop_of(1, 9, 100)]);
    // It came back, and went again; and without a name in the trash.
    let nameless = DropRecord { trash: None, ..drop_of(1, 9, 102) };
    for drop in [&drop_of(1, 9, 101), &nameless, &nameless] {
        ledger.record_drop(drop).unwrap();
    }
    assert_eq!(of(), [nameless, drop_of(1, 9, 101), drop_of(1, 9, 100)]);
}

#[test]
fn the_history_forgets_the_oldest_wholly() {
    let mut ledger = memory();
    ledger.limits.history = 3;
    for number in 1..=5 {
        ledger.record_drop(&drop_of(number, 9, u64::from(number))).unwrap();
    }
    let at = |text: String| -> Vec<u64> {
        ledger.drops_of(&prefix(&text), 99).unwrap().iter().map(|drop| drop.at).collect()
    };
    assert_eq!(at(format!("c:{}", id(9))), [5, 4, 3]);
    assert_eq!(at(format!("c:{}", id(2))), [0; 0]);
    assert_eq!(at(image(2).to_string()), [0; 0]);
}

#[test]
fn what_is_too_long_for_the_history_is_cut() {
    let ledger = memory();
    let mut drop = drop_of(1, 9, 100);
    drop.numbers = (0..999).map(|n| (format!("{n:03}"), "1".to_owned())).collect();
    drop.numbers.insert("000".into(), "x".repeat(MAX_TEXT_BYTES + 1));
    drop.holders = vec![drop.holders[0]; 999];
    ledger.record_drop(&drop).unwrap();
    let found = ledger.drops_of(&prefix(&format!("c:{}", id(1))), 9).unwrap().remove(0);
    assert_eq!((found.numbers.len(), found.holders.len()), (MAX_ENTRY_ITEMS, MAX_ENTRY_ITEMS));
    assert!(!found.numbers.contains_key("000"));
    ledger.record_drop(&DropRecord { trash: None, ..drop.clone() }).unwrap();
    ledger.record_drop(&DropRecord { trash: None, ..drop }).unwrap();
    assert_eq!(ledger.drops_of(&prefix(&format!("c:{}", id(1))), 9).unwrap().len(), 2, "compared as cut");
}

mod removals;
