//! A power cut between any two operations of the disk: every image that it can leave is
//! opened, and has to know all that was acknowledged, and of the rest a call's work wholly or not
//! at all.

use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

use super::oracle::{LIMITS, Model, Step, apply};
use super::*;

#[derive(Debug, Clone)]
pub(in crate::store) enum Op {
    Write(u64, Vec<u8>),
    Length(u64),
    Sync,
}

/// A disk that remembers what was done to it, and can run out of room.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Recorder(Arc<Mutex<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    bytes: Vec<u8>,
    ops: Vec<Op>,
    full: bool,
}

fn redo(bytes: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Write(at, data) => {
            let end = *at as usize + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*at as usize..end].copy_from_slice(data);
        }
        Op::Length(length) => bytes.resize(*length as usize, 0),
        Op::Sync => {}
    }
}

impl Recorder {
    pub(in crate::store) fn holding(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Recorded { bytes, ..Recorded::default() })))
    }

    fn take(&self, op: Op) -> io::Result<()> {
        let mut recorded = self.0.lock().unwrap();
        if recorded.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        redo(&mut recorded.bytes, &op);
        recorded.ops.push(op);
        Ok(())
    }

    pub(in crate::store) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }

    fn ops(&self) -> usize {
        self.0.lock().unwrap().ops.len()
    }

    /// What was done to it so far.
    pub(in crate::store) fn done(&self) -> Vec<Op> {
        self.0.lock().unwrap().ops.clone()
    }

    pub(in crate::store) fn set_full(&self, full: bool) {
        self.0.lock().unwrap().full = full;
    }
}

impl StorageBackend for Recorder {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let recorded = self.0.lock().unwrap();
        let found = recorded.bytes.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.take(Op::Length(len))
    }
    fn sync_data(&self) -> io::Result<()> {
        self.take(Op::Sync)
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.take(Op::Write(offset, data.to_vec()))
    }
}

fn open(disk: Recorder) -> Result<Ledger, LedgerError> {
    let opened = builder().create_with_backend(disk).map_err(Fault::from);
    let ledger = Ledger::prepared(opened, Path::new("recorded"), schema::MIGRATIONS)?;
    Ok(Ledger { limits: LIMITS, ..ledger })
}

/// A ledger whose disk has no room left.
pub(in crate::store) fn full() -> Ledger {
    let disk = Recorder::default();
    let ledger = open(disk.clone()).unwrap();
    disk.set_full(true);
    ledger
}

/// Some random numbers, the same in every run.
pub(in crate::store) struct Dice(pub(in crate::store) u64);

impl Dice {
    fn heads(&mut self) -> bool {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 63 == 1
    }
}

/// What the disk may hold when the power goes after the first `done` operations: all that was
/// synced, and any part of the rest, one of it half written.
pub(in crate::store) fn images(start: &[u8], ops: &[Op], done: usize, dice: &mut Dice) -> Vec<Vec<u8>> {
    let synced = ops[..done].iter().rposition(|op| matches!(op, Op::Sync)).map_or(0, |at| at + 1);
    let mut base = start.to_vec();
    ops[..synced].iter().for_each(|op| redo(&mut base, op));
    let pending = &ops[synced..done];
    let mut images = vec![base.clone()];
    for part in 0..3 {
        let mut image = base.clone();
        for op in pending {
            match op {
                op if part == 0 || dice.heads() => redo(&mut image, op),
                Op::Write(at, data) if dice.heads() => {
                    redo(&mut image, &Op::Write(*at, data[..data.len() / 2].to_vec()));
                }
                _ => {}
            }
        }
        images.push(image);
    }
    images
}

#[test]
fn a_power_cut_between_any_two_writes_loses_nothing_acknowledged() {
    let steps = [
        Step::Witnesses { keeper: 1, of: vec![5, 6] },
        Step::Edits(vec![(1, 2), (2, 3)]),
        Step::Drop { loser: 1, keeper: 2, at: 3 },
        Step::Witnesses { keeper: 2, of: vec![1, 5, 6] },
        // Beyond the limit: the oldest go in the same transaction.
        Step::Edits((0..12).map(|n| (n, n + 12)).collect()),
        Step::Drop { loser: 3, keeper: 2, at: 4 },
    ];
    let disk = Recorder::default();
    let ledger = open(disk.clone()).unwrap();
    // A new file is made elsewhere and renamed: from here on.
    let start = disk.bytes();
    let begun = disk.ops();
    let mut models = vec![(0, Model::default())];
    for step in &steps {
        apply(&ledger, step).unwrap();
        let mut model = models.last().unwrap().1.clone();
        model.take(step);
        models.push((disk.ops() - begun, model));
    }
    drop(ledger);
    let ops = disk.0.lock().unwrap().ops[begun..].to_vec();
    let (mut dice, mut checked) = (Dice(7), 0);
    for done in 0..=ops.len() {
        let acknowledged = models.iter().rposition(|(at, _)| *at <= done).unwrap();
        for image in images(&start, &ops, done, &mut dice) {
            let ledger = open(Recorder::holding(image)).unwrap();
            let (known, next) = (&models[acknowledged].1, models.get(acknowledged + 1));
            let planes = checked % 16 == 0;
            let told = |model: &Model| model.is_told_by(&ledger, planes);
            let whole = told(known) || next.is_some_and(|(_, next)| told(next));
            assert!(whole, "after {done} of {} operations, {:?}", ops.len(), steps.get(acknowledged));
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}

#[test]
fn a_full_disk_is_told_and_costs_only_what_was_not_acknowledged() {
    let disk = Recorder::default();
    let ledger = open(disk.clone()).unwrap();
    let first = Step::Witnesses { keeper: 1, of: vec![2, 3] };
    apply(&ledger, &first).unwrap();
    disk.0.lock().unwrap().full = true;
    let error = ledger.record_edits(&[(id(1), id(2))]).unwrap_err();
    assert!(matches!(error, LedgerError::Storage { .. }), "{error:?}");
    disk.0.lock().unwrap().full = false;
    let later = ledger.record_edits(&[(id(1), id(2))]);
    assert!(matches!(later, Err(LedgerError::Storage { .. })), "until it is opened again: {later:?}");
    let bytes = disk.bytes();
    drop(ledger);
    let ledger = open(Recorder::holding(bytes)).unwrap();
    let mut model = Model::default();
    model.take(&first);
    assert!(model.is_told_by(&ledger, true));
    ledger.record_edits(&[(id(1), id(2))]).unwrap();
}
