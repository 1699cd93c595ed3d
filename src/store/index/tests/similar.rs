//! Hashes in memory, while the index changes under them.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::*;

fn trusted(_: &PeerId) -> Standing {
    Standing::Trusted
}

fn hash(number: u32) -> [u8; 32] {
    let ImageId::Hash(hash) = image(number) else { unreachable!("a picture with a hash") };
    hash
}

/// How many contents of the first picture are found.
fn found(index: &Index) -> (usize, u64) {
    let found = index.similar(&hash(0), 0, 10, &trusted).unwrap();
    (found.rows.len(), found.compared)
}

#[test]
fn what_comes_is_found_and_what_went_is_not() {
    let index = Index::in_memory(peer(0)).unwrap();
    assert_eq!(found(&index), (0, 0));
    index.apply(vec![seen("a", 0), seen("b", 1), seen("c", 5)]).unwrap();
    assert_eq!(found(&index), (2, 3), "without reading all again");
    index.apply(vec![gone("a")]).unwrap();
    assert_eq!(found(&index), (1, 3), "what is gone is in memory, and not told");
    index.rest(Duration::from_secs(3600));
    assert_eq!(found(&index), (1, 3), "it was asked just now");
    index.rest(Duration::ZERO);
    assert_eq!(found(&index), (1, 2), "read again");
}

#[test]
fn large_pictures_come_before_small_ones() {
    let index = Index::in_memory(peer(0)).unwrap();
    let sized = |number: u32, side: u32, bytes: u64| {
        let mut change = seen(&number.to_string(), number);
        if let Change::Seen { found: Found::Picture { facts, .. }, .. } = &mut change {
            (facts.width, facts.height, facts.bytes) = (side, side, bytes);
        }
        change
    };
    index.apply(vec![sized(0, 10, 9), sized(1, 20, 4), sized(2, 20, 5), sized(5, 90, 9)]).unwrap();
    let found = index.similar(&hash(0), 0, 2, &trusted).unwrap();
    let order: Vec<ContentId> = found.rows.iter().map(|(_, row)| row.content).collect();
    assert_eq!(order, [id(2), id(1)]);
    assert!(found.more);
    assert_eq!((found.compared, found.within), (4, 3));
}

/// A folder that was removed left more hashes of nobody than one question looks up, and hid
/// the one that was still there.
#[test]
fn many_that_are_gone_do_not_hide_one_that_is_there() {
    let index = Index::in_memory(peer(0)).unwrap();
    let like = |number: u32| {
        let mut change = seen(&number.to_string(), number);
        if let Change::Seen { found: Found::Picture { facts, .. }, .. } = &mut change {
            facts.image = image(0);
        }
        change
    };
    let many = crate::limits::MAX_STALE_HASHES as u32 + 10;
    index.apply((0..=many).map(like).collect()).unwrap();
    assert_eq!(found(&index).1, u64::from(many) + 1);
    index.apply((0..many).map(|number| gone(&number.to_string())).collect()).unwrap();
    assert_eq!(found(&index), (1, 1), "read again at once");
}

/// What is taken in while all hashes are being read may be missing from what is read.
#[test]
fn nothing_is_missed_while_all_are_being_read() {
    let index = Index::in_memory(peer(0)).unwrap();
    index.apply((0..300).map(|number| seen(&format!("old {number}"), 5 + number)).collect()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..40 {
                let number = 10_000 + 5 * number;
                index.apply(vec![seen(&number.to_string(), number)]).unwrap();
                let found = index.similar(&hash(number), 0, 1, &trusted).unwrap();
                assert_eq!(found.rows.len(), 1, "what was taken in is found");
            }
            done.store(true, Relaxed);
        });
        scope.spawn(|| {
            while !done.load(Relaxed) {
                index.rest(Duration::ZERO);
                index.similar(&hash(0), 0, 1, &trusted).unwrap();
            }
        });
    });
}
