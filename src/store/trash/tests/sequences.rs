//! Random sequences of everything that people, programs, the node and power cuts do.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A new content at one of a few paths (0 to 3); what was there is the user's loss.
    Save(usize),
    Delete(usize),
    /// Drop, and confirm, roll back or forget.
    Drop(usize, u8),
    Restore,
    Purge(bool),
    Reopen,
    Crash(u64, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4usize).prop_map(Step::Save),
        1 => (0..4usize).prop_map(Step::Delete),
        6 => ((0..4usize), 0..4u8).prop_map(|(at, end)| Step::Drop(at, end)),
        2 => Just(Step::Restore),
        2 => any::<bool>().prop_map(Step::Purge),
        1 => Just(Step::Reopen),
        2 => (any::<u64>(), 0..3usize).prop_map(|(kept, part)| Step::Crash(kept, part)),
    ]
}

const PATHS: [&str; 4] = [PATH, "2019/c.jpg", "d.jpg", "best/e.jpg"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// What nobody deleted by hand, overwrote or purged with a proof is there, once.
    #[test]
    fn nothing_is_lost(model in 0..3usize, steps in prop::collection::vec(step(), 1..40)) {
        let mut bench = Bench::memory(Model::ALL[model]);
        let mut trash = bench.open();
        let mut alive: Vec<Vec<u8>> = vec![LOSER_BYTES.to_vec()];
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Save(at) | Step::Delete(at) => {
                    let old = bench.read(PATHS[at]);
                    alive.retain(|bytes| Some(bytes) != old.as_ref());
                    let full = bench.dir.join(PATHS[at]);
                    let _ = bench.disk.unlink(&full);
                    if matches!(step, Step::Save(_)) && bench.disk.look(full.parent().unwrap()).is_ok() {
                        let data = format!("content {number}").into_bytes();
                        bench.save(PATHS[at], &data);
                        alive.push(data);
                    }
                    // What the user does is synced, or its loss would be the user's.
                    bench.disk.disk.settle();
                }
                Step::Drop(at, end) => {
                    let Some(data) = bench.read(PATHS[at]) else { continue };
                    let (content, fingerprint) = (id_of(&data), bench.fingerprint(PATHS[at]));
                    let plan = DropPlan { path: rel(PATHS[at]), content, fingerprint, ..Bench::<MemDisk>::plan_with(fingerprint) };
                    let pinned = trash.pinned(&content).is_some();
                    let begun = trash.begin(plan);
                    prop_assert_eq!(begun.is_err(), pinned, "{:?}", begun);
                    match (begun, end) {
                        (Ok(dropping), 0) => drop(dropping),
                        (Ok(dropping), 1) => prop_assert_eq!(dropping.roll_back().unwrap(), rel(PATHS[at])),
                        (Ok(dropping), _) => drop(dropping.confirm(Vec::new()).unwrap()),
                        (Err(_), _) => {}
                    }
                }
                Step::Restore => {
                    let (entries, _) = trash.list(None, 99).unwrap();
                    let Some(entry) = entries.iter().find(|e| e.state == State::Dropped) else { continue };
                    let to = trash.restore(trash.plan_restore(&entry.id).unwrap(), now()).unwrap();
                    prop_assert_eq!(id_of(&bench.read(to.as_str().unwrap()).unwrap()), entry.content);
                }
                Step::Purge(proved) => {
                    let Some(due) = trash.expired(now(), Duration::ZERO, 1).unwrap().pop() else { continue };
                    let content = due.entry().content;
                    let evidence = if proved { Evidence::Here } else { Evidence::Unprovable };
                    let deleted = trash.purge(due, evidence).unwrap() == Purged::Deleted;
                    prop_assert_eq!(deleted, proved);
                    if deleted {
                        alive.retain(|bytes| id_of(bytes) != content);
                    }
                }
                Step::Reopen => trash = bench.open(),
                Step::Crash(kept, part) => {
                    bench = bench.image(kept, part);
                    trash = bench.open();
                }
            }
            for bytes in &alive {
                let (in_folder, in_trash) = bench.places(bytes);
                prop_assert_eq!(in_folder.len() + in_trash.len(), 1, "{:?} after {:?}", bytes, step);
            }
            bench.assert_others_unchanged("");
        }
    }
}
