//! Pins survive restarts, torn lines and full disks.

use super::*;

on_every_disk! {
    fn pins_are_kept_until_they_are_removed(bench) {
        let (a, b) = (id_of(b"a"), id_of(b"b"));
        let trash = bench.open();
        trash.pin(a, PinCause::Asked, now()).unwrap();
        trash.pin(b, PinCause::Reappeared, now()).unwrap();
        trash.pin(a, PinCause::Restored, now()).unwrap();
        trash.unpin(b).unwrap();
        trash.unpin(id_of(b"c")).unwrap();
        let trash = bench.open();
        assert_eq!(trash.pins().len(), 1);
        assert_eq!(trash.pinned(&a).unwrap().cause, PinCause::Asked, "the first cause");
        assert_eq!(trash.pinned(&b), None);
    }

    fn a_torn_line_costs_that_line_only(bench) {
        let trash = bench.open();
        trash.pin(id_of(b"a"), PinCause::Asked, now()).unwrap();
        trash.pin(id_of(b"b"), PinCause::Asked, now()).unwrap();
        let path = bench.dir.join(".p2pimg/pins");
        let data = bench.disk.read(&path, 9999).unwrap();
        bench.disk.write(&path, &data[..data.len() - 5]).unwrap();
        let (trash, recovery) = bench.try_open().unwrap();
        assert_eq!(recovery.problems.len(), 1);
        trash.pin(id_of(b"c"), PinCause::Asked, now()).unwrap();
        let trash = bench.open();
        let held = [b"a", b"b", b"c"].map(|data| trash.pinned(&id_of(data)).is_some());
        assert_eq!(held, [true, false, true]);
    }

    fn a_file_of_another_form_is_left_alone(bench) {
        bench.save(".p2pimg/pins", b"p2pimg pins 2\n");
        assert!(bench.try_open().is_err());
        assert_eq!(bench.read(".p2pimg/pins").unwrap(), b"p2pimg pins 2\n");
    }
}

#[test]
fn a_pin_is_durable_or_refused() {
    for model in Model::ALL {
        for at in 0..8 {
            let bench = Bench::memory(model);
            let trash = bench.open();
            trash.pin(id_of(b"a"), PinCause::Asked, now()).unwrap();
            bench.disk.arm(at, Fault::Once(io::ErrorKind::StorageFull));
            let pinned = trash.pin(id_of(b"b"), PinCause::Asked, now()).is_ok();
            assert_eq!(trash.pinned(&id_of(b"b")).is_some(), pinned);
            bench.disk.disarm();
            for part in 0..3 {
                let image = bench.image(0, part);
                let (trash, _) = image.try_open().unwrap();
                assert!(trash.pinned(&id_of(b"a")).is_some(), "{model:?} {at} {part}");
                assert!(!pinned || trash.pinned(&id_of(b"b")).is_some(), "{model:?} {at} {part}");
            }
        }
    }
}
