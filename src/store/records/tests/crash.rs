//! A power cut between any two operations of the disk leaves a file that opens, with what it
//! had after one of the batches; not before the last that was waited for.

use redb::Durability;

use super::super::file::{RecordFile, builder};
use super::lasting::{load, told};
use super::*;
use crate::store::ledger::tests::crash::{Dice, Recorder, images};

const DAY: u64 = 1_790_000_000;

fn open(disk: Recorder) -> RecordFile {
    RecordFile::open(|| Ok(builder().create_with_backend(disk)?)).unwrap()
}

#[test]
fn a_power_cut_leaves_one_of_the_batches_as_a_whole() {
    let disk = Recorder::default();
    let file = open(disk.clone());
    let (start, begun) = (disk.bytes(), disk.done().len());
    let mut store = load(&file, DAY);
    let now = store.origin;
    // Operations so far, whether it was waited for, and what is known after it.
    let mut states = vec![(0, true, told(&store, now))];
    for round in 0..8_u8 {
        for number in 0..12 {
            let provider = peer(1 + (round + number) % 5);
            store.add_provider_at(&record(key(number * (1 + round % 3)), provider, None), now).unwrap();
        }
        store.remove_provider(&key(round), &peer(1 + round % 5));
        let batch = store.take_changes(now, DAY);
        assert!(batch.last);
        let durable = round % 3 == 2;
        let durability = if durable { Durability::Immediate } else { Durability::None };
        file.write(&batch, durability).unwrap();
        states.push((disk.done().len() - begun, durable, told(&store, now)));
    }
    let ops = disk.done()[begun..].to_vec();
    drop(file);
    let mut dice = Dice(7);
    for done in 0..=ops.len() {
        let waited_for = states.iter().rposition(|(at, durable, _)| *at <= done && *durable).unwrap();
        for image in images(&start, &ops, done, &mut dice) {
            let found = load(&open(Recorder::holding(image)), DAY);
            let found = told(&found, found.origin);
            let next = states.iter().filter(|(at, ..)| *at <= done).count().min(states.len() - 1);
            let whole = states[waited_for..=next].iter().any(|(.., known)| *known == found);
            assert!(whole, "after {done} of {} operations, batch {waited_for}", ops.len());
        }
    }
}
