//! What is dropped, what is not, and what comes back.

use super::*;

on_every_disk! {
    fn a_dropped_file_is_in_the_trash_under_its_name_and_comes_back(bench) {
        let trash = bench.open();
        let entry = bench.drop_it(&trash);
        assert_eq!(bench.read(PATH), None);
        let file = trash.path().join(entry.id.as_str()).join("a.jpg");
        assert_eq!(bench.disk.read(&file, 100).unwrap(), LOSER_BYTES);
        assert_eq!(trash.usage(), Usage { files: 1, bytes: LOSER_BYTES.len() as u64 });
        assert_eq!(trash.show(&entry.id).unwrap(), entry);
        assert!(entry.id.as_str().starts_with("20251123-110819-"), "{}", entry.id);
        assert_eq!(trash.reappeared(&rel(PATH), &id_of(LOSER_BYTES)), Some(entry.id.clone()));
        assert_eq!(trash.reappeared(&rel(OTHER), &id_of(LOSER_BYTES)), None);
        let trash = bench.open();
        assert_eq!(trash.reappeared(&rel(PATH), &id_of(LOSER_BYTES)), Some(entry.id.clone()), "after a restart");

        let plan = trash.plan_restore(&entry.id).unwrap();
        assert!(plan.place_is_free());
        assert_eq!(trash.restore(plan, now()).unwrap(), rel(PATH));
        assert_eq!(bench.read(PATH).as_deref(), Some(LOSER_BYTES));
        assert_eq!(trash.usage(), Usage::default());
        assert!(matches!(trash.show(&entry.id), Err(TrashError::NoEntry { .. })));
        let again = trash.begin(bench.plan());
        assert!(matches!(again, Err(DropError::Pinned { .. })), "{again:?}");
        bench.assert_others_unchanged("");
    }

    fn damaged_files_go_whatever_is_wanted_kept_and_stay_in_the_trash(bench) {
        let trash = bench.open();
        trash.pin(id_of(LOSER_BYTES), PinCause::Asked, now()).unwrap();
        let reason = Reason { cause: Cause::Damaged, numbers: [].into() };
        let plan = DropPlan { reason, ..bench.plan() };
        assert!(matches!(trash.begin(DropPlan { keeper: None, ..plan.clone() }), Err(DropError::NoKeeper { .. })));
        let entry = trash.begin(plan).unwrap().confirm(Vec::new()).unwrap();
        let expired = trash.expired(now() + Duration::from_secs(1 << 33), Duration::ZERO, 9).unwrap();
        assert!(expired.is_empty(), "nothing proves that they are of no use");
        assert_eq!(bench.open().show(&entry.id).unwrap(), entry);
        let emptied = trash.empty(trash.plan_empty(now()).unwrap()).unwrap();
        assert_eq!(emptied.files, 1, "but a person may");
    }

    fn nothing_is_dropped_on_old_knowledge(bench) {
        let trash = bench.open();
        let good = bench.plan();
        let bad = [
            DropPlan { content: id_of(b"x"), ..good.clone() },
            DropPlan { fingerprint: Fingerprint { inode: 1, ..good.fingerprint }, ..good.clone() },
            DropPlan { fingerprint: Fingerprint { mtime_ns: 1, ..good.fingerprint }, ..good.clone() },
            DropPlan { fingerprint: Fingerprint { ctime_ns: 1, ..good.fingerprint }, ..good.clone() },
            DropPlan { fingerprint: Fingerprint { bytes: 1, ..good.fingerprint }, ..good.clone() },
            DropPlan { path: rel("2019/no.jpg"), ..good.clone() },
            DropPlan { path: rel("no/a.jpg"), ..good.clone() },
        ];
        for plan in bad {
            let error = trash.begin(plan).unwrap_err();
            assert!(matches!(error, DropError::Changed { .. }), "{error}");
        }
        for path in [".p2pimg/trash/x.jpg", ".p2pimg-folder", "2019"] {
            let error = trash.begin(DropPlan { path: rel(path), ..good.clone() }).unwrap_err();
            assert!(matches!(error, DropError::NotDroppable { .. }), "{path} {error}");
        }
        let error = trash.begin(DropPlan { keeper: None, ..good.clone() }).unwrap_err();
        assert!(matches!(error, DropError::NoKeeper { .. }), "{error}");
        bench.disk.disk.unlink(&bench.dir.join(MARKER_NAME)).unwrap();
        assert!(matches!(trash.begin(good), Err(DropError::Folder(_))));
        assert_eq!(bench.read(PATH).as_deref(), Some(LOSER_BYTES));
        assert!(bench.disk.list(trash.path()).unwrap().is_empty(), "no trace");
    }

    fn the_keeper_in_the_folder_is_read(bench) {
        let trash = bench.open();
        let with = |content, path| {
            let keeper = Some(Keeper { content, at: KeptAt::Here(rel(path)) });
            trash.check(&DropPlan { keeper, ..bench.plan() })
        };
        with(id_of(KEEPER_BYTES), KEEPER).unwrap();
        for (content, path) in [
            (id_of(KEEPER_BYTES), OTHER),
            (id_of(KEEPER_BYTES), "best/no.jpg"),
            (id_of(LOSER_BYTES), PATH),
            (id_of(KEEPER_BYTES), "best"),
        ] {
            let error = with(content, path).unwrap_err();
            assert!(matches!(error, DropError::Keeper { .. }), "{path} {error}");
        }
    }

    fn a_keeper_that_changes_before_the_commit_brings_the_file_back(bench) {
        let trash = bench.open();
        let dropping = trash.begin(bench.plan()).unwrap();
        bench.save(KEEPER, b"overwritten");
        let error = dropping.confirm(Vec::new()).unwrap_err();
        assert!(matches!(error, DropError::Keeper { .. }), "{error}");
        assert_eq!(bench.read(PATH).as_deref(), Some(LOSER_BYTES));
    }

    fn a_drop_that_nobody_confirms_is_settled_by_the_next_start(bench) {
        let trash = bench.open();
        let dropping = trash.begin(bench.plan()).unwrap();
        assert_eq!(bench.read(PATH), None);
        assert_eq!(trash.recover().unwrap(), Recovery::default(), "it is being worked on");
        assert_eq!(trash.reappeared(&rel(PATH), &id_of(LOSER_BYTES)), None, "not dropped yet");
        drop(dropping);
        bench.save(PATH, b"somebody else's");
        let (_, recovery) = bench.try_open().unwrap();
        let to = rel("2019/a (restored).jpg");
        assert_eq!(recovery.returned, [Returned { path: rel(PATH), to }]);
        assert_eq!(bench.read("2019/a (restored).jpg").as_deref(), Some(LOSER_BYTES));
        assert_eq!(bench.read(PATH).as_deref(), Some(&b"somebody else's"[..]));
    }

    fn a_folder_that_is_gone_is_made_again(bench) {
        let trash = bench.open();
        let entry = bench.drop_it(&trash);
        bench.disk.unlink(&bench.dir.join(OTHER)).unwrap();
        bench.disk.remove_dir(&bench.dir.join("2019")).unwrap();
        trash.restore(trash.plan_restore(&entry.id).unwrap(), now()).unwrap();
        assert_eq!(bench.read(PATH).as_deref(), Some(LOSER_BYTES));
        // And one whose name is now a file's: the file goes to the top.
        trash.unpin(id_of(LOSER_BYTES)).unwrap();
        let entry = bench.drop_it(&trash);
        bench.disk.remove_dir(&bench.dir.join("2019")).unwrap();
        bench.save("2019", b"a file");
        let to = trash.restore(trash.plan_restore(&entry.id).unwrap(), now()).unwrap();
        assert_eq!(to, rel("a.jpg"));
    }

    fn purging_needs_the_keeper(bench) {
        let trash = bench.open();
        let expired = |trash: &Trash, keep: u64| {
            trash.expired(now() + Duration::from_secs(100), Duration::from_secs(keep), 9).unwrap()
        };
        bench.drop_it(&trash);
        assert!(expired(&trash, 101).is_empty());
        // It was dropped in the future, as a clock has it that went back.
        let before = now() - Duration::from_secs(1 << 30);
        assert!(trash.expired(before, Duration::ZERO, 9).unwrap().is_empty());
        let due = expired(&trash, 100).pop().unwrap();
        bench.save(KEEPER, b"other bytes");
        assert_eq!(trash.purge(due, Evidence::Here).unwrap(), Purged::Returned { to: rel(PATH) });
        assert_eq!(bench.read(PATH).as_deref(), Some(LOSER_BYTES));
        assert_eq!(trash.pinned(&id_of(LOSER_BYTES)), None);
        bench.save(KEEPER, KEEPER_BYTES);
        for evidence in [Evidence::Proved(Vec::new()), Evidence::Unprovable] {
            bench.drop_it(&trash);
            let due = expired(&trash, 100).pop().unwrap();
            assert!(matches!(trash.purge(due, evidence).unwrap(), Purged::Returned { .. }));
        }
        let entry = bench.drop_it(&trash);
        // Rotten bytes are no reason to delete.
        let file = entry.file(trash.path());
        bench.disk.write(&file, b"rotten").unwrap();
        let due = expired(&trash, 100).pop().unwrap();
        assert!(matches!(trash.purge(due, Evidence::Here), Err(TrashError::Damaged { .. })));
        bench.disk.write(&file, LOSER_BYTES).unwrap();
        let due = expired(&trash, 100).pop().unwrap();
        assert_eq!(trash.purge(due, Evidence::Here).unwrap(), Purged::Deleted);
        assert_eq!(bench.places(LOSER_BYTES), (vec![], vec![]));
        assert_eq!(trash.usage(), Usage::default());
    }

    fn damaged_entries_are_reported_and_never_deleted(bench) {
        let trash = bench.open();
        let entry = bench.drop_it(&trash);
        let description = trash.path().join(entry.id.as_str()).join(ENTRY_NAME);
        let good = bench.disk.read(&description, 9999).unwrap();
        let newer = String::from_utf8(good.clone()).unwrap().replace("_trash\": 1", "_trash\": 2").into_bytes();
        for bad in [good[..good.len() / 2].to_vec(), b"{}".to_vec(), newer] {
            bench.disk.write(&description, &bad).unwrap();
            let (trash, recovery) = bench.try_open().unwrap();
            assert_eq!(recovery.problems.len(), 1);
            assert_eq!(trash.list(None, 9).unwrap().1.len(), 1);
            let plan = trash.plan_empty(now()).unwrap();
            assert_eq!((plan.files(), trash.empty(plan).unwrap().files), (0, 0));
            assert_eq!(bench.places(LOSER_BYTES).1.len(), 1);
        }
        bench.disk.write(&description, &good).unwrap();
        bench.disk.unlink(&entry.file(trash.path())).unwrap();
        let (trash, recovery) = bench.try_open().unwrap();
        assert!(recovery.problems[0].problem.contains("not in the trash any more"), "{recovery:?}");
        assert!(trash.plan_restore(&entry.id).is_err());
        assert_eq!(trash.empty(trash.plan_empty(now()).unwrap()).unwrap().files, 1, "a person may forget it");
        bench.open();
    }

    fn a_person_removes_without_a_keeper_and_it_stays_removed(bench) {
        let trash = bench.open();
        trash.pin(id_of(LOSER_BYTES), PinCause::Asked, now()).unwrap();
        let plan = DropPlan::removal(rel(PATH), id_of(LOSER_BYTES), bench.fingerprint(PATH), now());
        trash.begin(plan).unwrap().confirm(Vec::new()).unwrap();
        let due = trash.expired(now(), Duration::ZERO, 1).unwrap().pop().unwrap();
        assert_eq!(trash.purge(due, Evidence::Unprovable).unwrap(), Purged::Deleted);
    }
}

/// Somebody saves another file at the place at any step of the drop: that file and the one
/// that was checked are both still there, and the new one is in its place.
#[test]
fn a_file_that_is_replaced_meanwhile_is_not_dropped() {
    for model in Model::ALL {
        let mut refused = 0;
        for at in 0.. {
            let bench = Bench::memory(model);
            let trash = bench.open();
            let plan = bench.plan();
            let (disk, dir) = (Arc::clone(&bench.disk), bench.dir.clone());
            bench.disk.meddle(at, move || {
                disk.disk.write(&dir.join("new"), b"saved meanwhile").unwrap();
                disk.disk.rename(&dir.join("new"), &dir.join(PATH)).unwrap();
            });
            let dropped = trash.begin(plan).and_then(|dropping| dropping.confirm(Vec::new()));
            if !bench.disk.disarm() {
                assert!(dropped.is_ok());
                break;
            }
            refused += u32::from(matches!(dropped, Err(DropError::Changed { .. })));
            assert_eq!(
                bench.places(b"saved meanwhile").0,
                [bench.dir.join(PATH)],
                "{model:?} {at}: {dropped:?}"
            );
            let (in_folder, in_trash) = bench.places(LOSER_BYTES);
            // Before it is in the trash, whoever replaces it deletes it.
            let gone = in_folder.len() + in_trash.len() == 0;
            assert!(!gone || dropped.is_err(), "{model:?} {at}");
            bench.open();
        }
        assert!(refused >= 4, "{model:?}: {refused}");
    }
}

#[test]
fn free_names_keep_extension_and_length() {
    let name = |path: &[u8], n| back::free_name(&RelPath::from_bytes(path.to_vec()).unwrap(), n).unwrap();
    assert_eq!(name(b"a/b.jpg", 0), rel("a/b.jpg"));
    assert_eq!(name(b"a/b.jpg", 1), rel("a/b (restored).jpg"));
    assert_eq!(name(b"b", 2), rel("b (restored 2)"));
    assert_eq!(name(b".b", 1), rel(".b (restored)"));
    assert_eq!(name(b"a/\xff.jpg", 1).as_bytes(), b"a/\xff (restored).jpg");
    let long = name(format!("{}.jpg", "\u{e9}".repeat(125)).as_bytes(), 1);
    assert!(long.as_bytes().len() <= 255 && long.as_str().unwrap().ends_with("\u{e9} (restored).jpg"));
}
