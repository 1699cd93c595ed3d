//! Every operation, ended at every step by a crash or hit by an error of the disk there.

use super::*;

/// An operation, from a folder in which nothing is dropped yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    Confirm,
    Leave,
    RollBack,
    Restore,
    RestoreBeside,
    Purge,
    PurgeUnproved,
    Empty,
    Heal,
}

const ALL: [Scenario; 9] = [
    Scenario::Confirm,
    Scenario::Leave,
    Scenario::RollBack,
    Scenario::Restore,
    Scenario::RestoreBeside,
    Scenario::Purge,
    Scenario::PurgeUnproved,
    Scenario::Empty,
    Scenario::Heal,
];

/// Where the good bytes of a damaged file are before they get its place.
const GOOD: &str = ".p2pimg/good";
const GOOD_BYTES: &[u8] = b"what the disk has damaged, as it was";

/// How far the part that is under test came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It ended with an error before the drop was to be committed.
    Uncommitted,
    /// The last call ended with an error.
    Unknown,
    Done,
}

impl Scenario {
    /// What must be there before, without faults.
    fn prepare<D: Disk + 'static>(self, bench: &Bench<D>) -> Trash {
        let trash = bench.open();
        if !matches!(self, Self::Confirm | Self::Leave | Self::RollBack | Self::Heal) {
            bench.drop_it(&trash);
        }
        if self == Self::Heal {
            bench.save(GOOD, GOOD_BYTES);
        }
        if self == Self::RestoreBeside {
            bench.save(PATH, b"somebody else's");
        }
        trash
    }

    fn run<D: Disk + 'static>(self, bench: &Bench<D>, trash: &Trash) -> Outcome {
        let end = |done: bool| if done { Outcome::Done } else { Outcome::Unknown };
        let expired = || trash.expired(now(), Duration::ZERO, 9).unwrap_or_default().pop();
        match self {
            Self::Confirm | Self::Leave | Self::RollBack => {
                let Ok(dropping) = trash.begin(bench.plan()) else { return Outcome::Uncommitted };
                match self {
                    Self::Leave => Outcome::Uncommitted,
                    Self::RollBack => {
                        dropping.roll_back().map_or(Outcome::Uncommitted, |_| Outcome::Uncommitted)
                    }
                    _ => end(dropping.confirm(Vec::new()).is_ok()),
                }
            }
            Self::Heal => {
                let reason = Reason { cause: Cause::Damaged, numbers: [].into() };
                let keeper = Keeper { content: id_of(GOOD_BYTES), at: KeptAt::Holders(Vec::new()) };
                let plan = DropPlan { reason, keeper: Some(keeper), ..bench.plan() };
                let Ok(dropping) = trash.begin(plan) else { return Outcome::Uncommitted };
                // As a replica is given away.
                let (good, place) = (bench.dir.join(GOOD), bench.dir.join(PATH));
                let disk = &bench.disk;
                let moved = disk.rename_new(&good, &place);
                if moved.is_err() {
                    return dropping.roll_back().map_or(Outcome::Unknown, |_| Outcome::Uncommitted);
                }
                let synced = disk.sync_dir(&bench.dir.join("2019"));
                let _ = synced.and_then(|()| disk.sync_dir(&bench.dir.join(".p2pimg")));
                end(dropping.confirm(Vec::new()).is_ok())
            }
            Self::Restore | Self::RestoreBeside => {
                let (entries, _) = trash.list(None, 9).unwrap();
                let plan = trash.plan_restore(&entries[0].id);
                end(plan.and_then(|plan| trash.restore(plan, now())).is_ok())
            }
            // A keeper that can't be read at this moment brings the file back.
            Self::Purge => end(expired()
                .is_some_and(|e| trash.purge(e, Evidence::Here).is_ok_and(|end| end == Purged::Deleted))),
            Self::PurgeUnproved => {
                end(expired().is_some_and(|e| trash.purge(e, Evidence::Unprovable).is_ok()))
            }
            Self::Empty => end(trash
                .plan_empty(now())
                .and_then(|plan| trash.empty(plan))
                .is_ok_and(|e| e.problems.is_empty())),
        }
    }

    /// What must hold after the next start.
    fn check<D: Disk + 'static>(self, bench: &Bench<D>, outcome: Outcome, context: &str) {
        let (trash, recovery) = bench.try_open().unwrap_or_else(|e| panic!("{context}: {e}"));
        assert_eq!(recovery.problems, [], "{context}");
        let (in_folder, in_trash) = bench.places(LOSER_BYTES);
        let places = in_folder.len() + in_trash.len();
        let may_be_gone = matches!(self, Self::Purge | Self::Empty);
        assert!(places == 1 || (may_be_gone && places == 0), "{context}: {in_folder:?} {in_trash:?}");
        let home = bench.dir.join(PATH);
        let beside = bench.dir.join("2019/a (restored).jpg");
        match (self, outcome) {
            (Self::Confirm, Outcome::Done) => assert_eq!(in_folder.len(), 0, "{context}"),
            (_, Outcome::Uncommitted) => assert_eq!(in_folder, [home], "{context}"),
            (Self::Restore | Self::PurgeUnproved, Outcome::Done) => {
                assert_eq!(in_folder, [home], "{context}");
            }
            (Self::RestoreBeside, Outcome::Done) => assert_eq!(in_folder, [beside], "{context}"),
            (Self::Purge | Self::Empty, Outcome::Done) => assert_eq!(places, 0, "{context}"),
            (Self::Empty, _) => assert_eq!(in_folder.len(), 0, "{context}"),
            (Self::Heal, _) => {
                // Never beside the good ones: that would be a picture.
                let good = bench.read(PATH).as_deref() == Some(GOOD_BYTES);
                assert!(in_folder.iter().all(|place| *place == home), "{context}: {in_folder:?}");
                assert_eq!(in_trash.len(), usize::from(good), "{context}");
                assert!(outcome != Outcome::Done || good, "{context}");
            }
            _ => {}
        }
        if matches!(self, Self::Restore | Self::RestoreBeside) && !in_folder.is_empty() {
            assert!(trash.pinned(&id_of(LOSER_BYTES)).is_some(), "{context}");
        }
        if self == Self::RestoreBeside {
            assert_eq!(bench.read(PATH).as_deref(), Some(&b"somebody else's"[..]), "{context}");
        }
        bench.assert_others_unchanged(context);
        let (entries, problems) = trash.list(None, 9).unwrap();
        assert_eq!(problems, [], "{context}");
        assert_eq!(entries.len(), in_trash.len(), "{context}");
        assert_eq!(trash.usage().files, in_trash.len() as u64, "{context}");
        assert!(entries.iter().all(|e| e.state == State::Dropped), "{context}");
    }
}

/// Which unsynced changes came to the disk: all combinations of few, a sample of many.
fn combinations(unsure: usize) -> Vec<u64> {
    if unsure <= 7 {
        return (0..1 << unsure).collect();
    }
    let mix = |n: u64| (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    (0..128).map(mix).chain([0, u64::MAX]).collect()
}

#[test]
fn a_crash_at_any_step_loses_nothing() {
    let mut images = 0;
    for model in Model::ALL {
        for scenario in ALL {
            for at in 0.. {
                let bench = Bench::memory(model);
                let trash = scenario.prepare(&bench);
                bench.disk.disk.settle();
                bench.disk.arm(at, Fault::Stop);
                let outcome = scenario.run(&bench, &trash);
                let stopped = bench.disk.disarm();
                for kept in combinations(bench.disk.disk.unsure()) {
                    for part in 0..3 {
                        let context = format!("{model:?} {scenario:?} step {at} kept {kept:b} part {part}");
                        let image = bench.image(kept, part);
                        scenario.check(&image, outcome, &context);
                        images += 1;
                        // And a second crash, while the first is being settled.
                        if part == 1 && kept % 3 == 1 {
                            again(&bench.image(kept, part), scenario, outcome, &context);
                        }
                    }
                }
                if !stopped {
                    break;
                }
                assert!(at < 200, "{scenario:?} never ends");
            }
        }
    }
    assert!(images > 2000, "{images} images");
    println!("{images} images");
}

fn again(first: &Bench<MemDisk>, scenario: Scenario, outcome: Outcome, context: &str) {
    for at in 0.. {
        let bench = first.image(0, 2);
        bench.disk.arm(at, Fault::Stop);
        let _ = bench.try_open();
        let stopped = bench.disk.disarm();
        for kept in combinations(bench.disk.disk.unsure().min(7)) {
            scenario.check(
                &bench.image(kept, 1),
                outcome,
                &format!("{context}, again at {at} kept {kept:b}"),
            );
        }
        if !stopped {
            return;
        }
    }
}

/// After an error the process lives on: the promises hold at once, and after a restart.
fn errors_on<D: Disk + 'static>(make: impl Fn() -> Bench<D>, faults: &[Fault]) {
    for scenario in ALL {
        for fault in faults {
            for at in 0.. {
                let bench = make();
                let trash = scenario.prepare(&bench);
                bench.disk.arm(at, *fault);
                let outcome = scenario.run(&bench, &trash);
                let came = bench.disk.disarm();
                let context = format!("{scenario:?} {fault:?} at {at}");
                let (in_folder, in_trash) = bench.places(LOSER_BYTES);
                let may_be_gone = matches!(scenario, Scenario::Purge | Scenario::Empty);
                assert!(in_folder.len() + in_trash.len() > 0 || may_be_gone, "{context}");
                bench.assert_others_unchanged(&context);
                drop(trash);
                scenario.check(&bench, outcome, &context);
                if !came {
                    break;
                }
            }
        }
    }
}

const FAULTS: [Fault; 5] = [
    Fault::Stop,
    Fault::Once(io::ErrorKind::StorageFull),
    Fault::Forever(io::ErrorKind::StorageFull),
    Fault::Once(io::ErrorKind::Other),
    Fault::Forever(io::ErrorKind::ReadOnlyFilesystem),
];

#[test]
fn an_error_at_any_step_loses_nothing_in_memory() {
    for model in Model::ALL {
        errors_on(|| Bench::memory(model), &FAULTS);
    }
}

#[test]
fn an_error_at_any_step_loses_nothing_on_a_real_disk() {
    errors_on(Bench::real, &FAULTS[..3]);
}

/// A better version that was copied a moment ago is in the page cache only. Dropping the
/// other one for it, and then the power fails: both would be gone.
#[test]
fn a_keeper_that_is_not_on_the_disk_yet_is_put_there_first() {
    for model in Model::ALL {
        let bench = Bench::memory(model);
        let trash = bench.open();
        bench.disk.disk.settle();
        bench.save(KEEPER, b"being replaced");
        bench.disk.disk.unlink(&bench.dir.join(KEEPER)).unwrap();
        bench.save(KEEPER, KEEPER_BYTES);
        bench.save(PATH, LOSER_BYTES);
        bench.drop_it(&trash);
        for part in 0..3 {
            let image = bench.image(0, part);
            image.open();
            assert_eq!(image.read(KEEPER).as_deref(), Some(KEEPER_BYTES), "{model:?}");
            assert_eq!(image.places(LOSER_BYTES).1.len(), 1, "{model:?}");
        }
    }
}
