//! What people had removed, in the ledger.

use super::*;
use crate::limits::{MAX_REMOVALS, REMOVAL_KEPT};
use crate::protocol::Removal;
use crate::types::{CatalogHead, Epoch, Seq};

fn order(number: u32, peer: PeerId, at: u64) -> Removal {
    let content = ContentId(*blake3::hash(&number.to_be_bytes()).as_bytes());
    Removal { content, peer, epoch: Epoch(1), seq: Seq(10), at, by: peer, spared: false }
}

fn at(epoch: u64, seq: u64) -> CatalogHead {
    CatalogHead { epoch: Epoch(epoch), seq: Seq(seq) }
}

#[test]
fn a_removal_is_about_one_copy_until_it_is_spared() {
    let ledger = Ledger::in_memory().unwrap();
    let (peer, other) = (PeerId::random(), PeerId::random());
    let one = order(1, peer, 1000);
    let just = std::slice::from_ref::<Removal>;
    assert_eq!(ledger.note_removals(just(&one), 1000).unwrap(), just(&one));
    assert_eq!(ledger.note_removals(std::slice::from_ref(&one), 1000).unwrap(), [], "no news");
    let removed = |peer, head| ledger.is_removed(one.content, peer, head).unwrap();
    assert!(removed(peer, at(1, 10)) && removed(peer, at(1, 2)));
    assert!(!removed(peer, at(1, 11)) && !removed(peer, at(2, 2)) && !removed(other, at(1, 2)));
    let spared = Removal { spared: true, ..one.clone() };
    assert_eq!(ledger.note_removals(just(&spared), 1000).unwrap(), just(&spared));
    assert!(!removed(peer, at(1, 2)));
    assert_eq!(ledger.open_removals(peer).unwrap(), []);
    assert_eq!(ledger.removals().unwrap(), [spared]);
}

#[test]
fn what_is_carried_out_is_not_tried_again_and_a_new_order_is() {
    let ledger = Ledger::in_memory().unwrap();
    let (peer, other) = (PeerId::random(), PeerId::random());
    let (one, two, theirs) = (order(1, peer, 1000), order(2, peer, 1000), order(1, other, 1000));
    ledger.note_removals(&[one.clone(), two.clone(), theirs.clone()], 1000).unwrap();
    let open = |peer| {
        let mut open = ledger.open_removals(peer).unwrap();
        open.sort_by_key(|removal| removal.content);
        open
    };
    let mut both = vec![one.clone(), two.clone()];
    both.sort_by_key(|removal| removal.content);
    assert_eq!((open(peer), open(other)), (both, vec![theirs]));
    ledger.removal_done(&one).unwrap();
    assert_eq!(open(peer), std::slice::from_ref(&two));
    let again = order(1, peer, 2000);
    ledger.note_removals(std::slice::from_ref(&again), 2000).unwrap();
    ledger.removal_done(&one).unwrap();
    assert_eq!(open(peer).len(), 2, "the end of the old order is not that of the new one");
}

#[test]
fn removals_are_forgotten_when_they_are_old_or_too_many() {
    let ledger = Ledger::in_memory().unwrap();
    let peer = PeerId::random();
    let many: Vec<Removal> = (0..=MAX_REMOVALS as u32).map(|n| order(n, peer, 1000 + u64::from(n))).collect();
    ledger.note_removals(&many, 1000).unwrap();
    assert_eq!(ledger.removals().unwrap().len(), MAX_REMOVALS);
    assert_eq!(ledger.removal(many[0].content, peer).unwrap(), None, "the oldest went");
    let later = 1500 + REMOVAL_KEPT.as_millis() as u64;
    ledger.note_removals(&[order(1, PeerId::random(), later)], later).unwrap();
    let left = ledger.removals().unwrap();
    assert!(
        left.iter().all(|removal| removal.at > 1500) && left.len() == MAX_REMOVALS - 499,
        "{}",
        left.len()
    );
}

/// A ledger of the format before is taken over.
#[test]
fn a_ledger_without_removals_gets_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let db = builder().create(&path).unwrap();
    crate::store::database::prepare::<LedgerError>(&db, &[], |txn| {
        txn.open_table(schema::DROPS)?;
        Ok(())
    })
    .unwrap();
    drop(db);
    let ledger = Ledger::open(&path).unwrap();
    assert_eq!(ledger.removals().unwrap(), []);
}
