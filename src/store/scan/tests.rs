//! What a scan makes of a folder and of everything that can happen to one.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::sync::Mutex;
use std::time::SystemTime;

use proptest::prelude::*;

use super::fakes::{FakeDecoder, FakeIndex, Place, rel};
use super::*;

type TestScanner = Scanner<FakeIndex, FakeDecoder>;

/// Nothing waits, unless its time is in the future.
fn eager(place: &Place) -> TestScanner {
    place.scanner(Duration::ZERO)
}

fn full(scanner: &mut TestScanner) -> Report {
    scanner.full_scan(&()).unwrap()
}

fn look(scanner: &mut TestScanner, paths: &[&str]) -> Report {
    let paths: Vec<_> = paths.iter().map(|path| rel(path)).collect();
    scanner.look_at(&paths, &()).unwrap()
}

/// Lets `passed` go by, for the scanner.
fn later(scanner: &mut TestScanner, passed: Duration) {
    let now = (scanner.clock)();
    let now = Now { wall: now.wall + passed, steady: now.steady + passed };
    scanner.clock = Box::new(move || now);
}

#[test]
fn a_folder_is_found_and_the_second_scan_inspects_nothing() {
    let place = Place::new();
    for (path, data) in
        [("a.jpg", "PIC1"), ("b/c.jpg", "PIC2"), ("b-x.jpg", "PIC3"), ("b/d/e", "PIC4"), ("z.nef", "RAW")]
    {
        place.put(path, data);
    }
    place.put("notes.txt", "text");
    let mut scanner = eager(&place);
    let report = full(&mut scanner);
    assert_eq!((report.counts.inspected, report.counts.looked_at, report.problem_count), (6, 6, 0));
    assert_eq!(report.counts.unprotected, BTreeMap::from([("RAW".to_owned(), 1)]));
    assert_eq!(place.index.paths(), ["a.jpg", "b-x.jpg", "b/c.jpg", "b/d/e", "notes.txt", "z.nef"]);
    place.index.take_log();
    let report = full(&mut eager(&place));
    assert_eq!((report.counts.unchanged, report.counts.inspected), (6, 0));
    assert_eq!(report.counts.unprotected.get("RAW"), Some(&1));
    assert!(place.index.take_log().is_empty());
}

#[test]
fn names_that_are_not_utf8_are_names() {
    let place = Place::new();
    fs::write(place.path(OsStr::from_bytes(b"\xff\xfe.jpg")), "PIC1").unwrap();
    fs::create_dir(place.path(OsStr::from_bytes(b"d\xe4r"))).unwrap();
    fs::write(place.path(OsStr::from_bytes(b"d\xe4r/\n.jpg")), "PIC2").unwrap();
    let mut scanner = eager(&place);
    full(&mut scanner);
    let names =
        [b"\xff\xfe.jpg".to_vec(), b"d\xe4r/\n.jpg".to_vec()].map(|n| RelPath::from_bytes(n).unwrap());
    for name in &names {
        assert!(place.index.file(name).unwrap().is_some(), "{name}");
    }
    fs::remove_file(names[0].in_folder(place.folder.root().dir())).unwrap();
    assert_eq!(full(&mut scanner).counts.gone, 1);
}

#[test]
fn own_files_trash_and_other_nodes_folders_are_left_alone() {
    let place = Place::new();
    for path in [
        ".p2pimg/replicas/r.jpg",
        "old/.p2pimg/r.jpg",
        ".p2pimg-x.tmp",
        "a/.p2pimg-y.tmp",
        ".Trash-1000/files/t.jpg",
        "._a.jpg",
    ] {
        place.put(path, "PIC");
    }
    place.put("other/p.jpg", "PIC other");
    place.put("a.jpg", "PIC mine");
    full(&mut eager(&place));
    assert_eq!(place.index.paths(), ["a.jpg", "other/p.jpg"]);
    // A node starts on the inner folder.
    place.put("other/.p2pimg-folder", "p2pimg folder 1\nid 00000000000000000000000000000001\n");
    let mut scanner = eager(&place);
    let report = full(&mut scanner);
    assert_eq!((report.counts.gone, report.counts.other_folders), (1, 1));
    assert_eq!(place.index.paths(), ["a.jpg"]);
    assert_eq!(look(&mut scanner, &["other/p.jpg", ".p2pimg/replicas/r.jpg"]).counts, Counts::default());
}

#[test]
fn a_state_folder_with_another_name_is_left_alone_too() {
    let place = Place::new();
    let options = crate::store::folder::Options {
        state: Some(place.path("sub/state")),
        home: crate::store::folder::Home::at(&place.temp.path().join("home")),
        accept_new: false,
    };
    let folder = crate::store::folder::Folder::open(place.folder.root().dir(), &options).unwrap();
    place.put("sub/state/tmp/half.jpg", "PIC");
    place.put("sub/state2.jpg", "PIC");
    let mut scanner = eager(&place);
    scanner.root = folder.root().clone();
    full(&mut scanner);
    look(&mut scanner, &["sub", "sub/state", "sub/state/tmp/half.jpg"]);
    assert_eq!(place.index.paths(), ["sub/state2.jpg"]);
}

#[test]
fn links_are_not_followed() {
    let place = Place::new();
    place.put("real/a.jpg", "PIC");
    let outside = place.temp.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret.jpg"), "PIC secret").unwrap();
    symlink(&outside, place.path("link-to-dir")).unwrap();
    symlink(outside.join("secret.jpg"), place.path("link.jpg")).unwrap();
    symlink("real/a.jpg", place.path("inside.jpg")).unwrap();
    symlink("..", place.path("real/loop")).unwrap();
    symlink("nowhere", place.path("broken.jpg")).unwrap();
    let mut scanner = eager(&place);
    assert_eq!(full(&mut scanner).counts.links, 2);
    look(&mut scanner, &["link.jpg", "link-to-dir", "link-to-dir/secret.jpg", "real/loop/real/a.jpg"]);
    assert_eq!(place.index.paths(), ["real/a.jpg"]);
    // A folder that is replaced by a link takes its files with it.
    fs::rename(place.path("real"), outside.join("real")).unwrap();
    symlink(outside.join("real"), place.path("real")).unwrap();
    look(&mut scanner, &["real"]);
    assert!(place.index.paths().is_empty());
}

#[test]
fn changes_renames_and_deletes_are_noticed() {
    let place = Place::new();
    for n in 0..3 {
        place.put(&format!("d/{n}.jpg"), &format!("PIC{n}"));
    }
    let mut scanner = eager(&place);
    full(&mut scanner);
    let first = place.index.content("d/0.jpg").unwrap();
    place.index.take_log();

    // Same length, and the old mtime put back: only the ctime tells.
    let mtime = fs::metadata(place.path("d/0.jpg")).unwrap().modified().unwrap();
    let ctime = || std::os::unix::fs::MetadataExt::ctime_nsec(&fs::metadata(place.path("d/0.jpg")).unwrap());
    // The clock of many file systems ticks every few milliseconds only.
    let before = ctime();
    while ctime() == before {
        place.put("d/0.jpg", "PIC9");
    }
    fs::File::options().write(true).open(place.path("d/0.jpg")).unwrap().set_modified(mtime).unwrap();
    fs::rename(place.path("d/1.jpg"), place.path("a.jpg")).unwrap();
    fs::remove_file(place.path("d/2.jpg")).unwrap();
    full(&mut scanner);
    assert_ne!(place.index.content("d/0.jpg"), Some(first));
    let log = place.index.take_log();
    assert_eq!(log[2..], ["-d/1.jpg", "-d/2.jpg"], "what moved is there before it is gone: {log:?}");
    assert_eq!(place.index.paths(), ["a.jpg", "d/0.jpg"]);

    fs::rename(place.path("d"), place.path("e")).unwrap();
    let report = look(&mut scanner, &["d", "e"]);
    assert_eq!((report.counts.inspected, report.counts.gone), (1, 1));
    assert_eq!(place.index.paths(), ["a.jpg", "e/0.jpg"]);
    // A file where a folder was.
    fs::remove_dir_all(place.path("e")).unwrap();
    place.put("e", "PIC e");
    look(&mut scanner, &["e"]);
    assert_eq!(place.index.paths(), ["a.jpg", "e"]);
}

#[test]
fn neighbours_in_byte_order_are_not_mistaken_for_contents() {
    let place = Place::new();
    for path in ["d/x", "d-1", "d.1", "d.2", "d0", "d"].iter().filter(|p| **p != "d") {
        place.put(path, "PIC");
    }
    let mut scanner = eager(&place);
    full(&mut scanner);
    fs::remove_dir_all(place.path("d")).unwrap();
    fs::remove_file(place.path("d.1")).unwrap();
    assert_eq!(look(&mut scanner, &["d"]).counts.gone, 1);
    assert_eq!(place.index.paths(), ["d-1", "d.1", "d.2", "d0"]);
    assert_eq!(full(&mut scanner).counts.gone, 1);
}

#[test]
fn unreadable_folders_and_files_withdraw_nothing() {
    let place = Place::new();
    for path in ["a.jpg", "bad/1.jpg", "bad/sub/2.jpg", "z.jpg"] {
        place.put(path, "PIC");
    }
    let mut scanner = eager(&place);
    full(&mut scanner);
    place.put("a.jpg", "PIC changed");
    fs::remove_file(place.path("z.jpg")).unwrap();
    place.decoder.before(|_| Err(io::Error::other("bad sector")));
    // Whoever runs the tests may be allowed to read everything: the listing is a fake.
    scanner.list = |dir| {
        if dir.ends_with("bad") { Err(io::ErrorKind::PermissionDenied.into()) } else { walk::list(dir) }
    };
    let report = full(&mut scanner);
    assert_eq!((report.counts.held, report.counts.gone, report.problem_count), (2, 1, 2));
    assert!(report.problems.iter().any(|(path, why)| *path == rel("bad") && why.contains("permission")));
    assert!(report.problems.iter().any(|(path, why)| *path == rel("a.jpg") && why.contains("bad sector")));
    assert_eq!(place.index.paths(), ["a.jpg", "bad/1.jpg", "bad/sub/2.jpg"]);
    let report = look(&mut scanner, &["bad"]);
    assert_eq!((report.counts.held, report.problem_count), (2, 2), "nor is a.jpg readable");
}

#[test]
fn a_drive_inside_the_folder_that_is_away_keeps_its_files() {
    let place = Place::new();
    place.put("usb/a.jpg", "PIC");
    place.put("usb/deep/b.jpg", "PIC");
    place.put("own/c.jpg", "PIC");
    let mut scanner = eager(&place);
    full(&mut scanner);
    // As if `usb` had been on another device.
    for (path, record) in place.index.files.lock().unwrap().iter_mut() {
        record.fingerprint.device += u64::from(path.as_bytes().starts_with(b"usb"));
    }
    assert_eq!(full(&mut scanner).counts.unchanged, 3, "another device number alone changes nothing");
    for dir in ["usb", "own"] {
        fs::remove_dir_all(place.path(dir)).unwrap();
        fs::create_dir(place.path(dir)).unwrap();
    }
    let report = full(&mut scanner);
    assert_eq!((report.counts.held, report.counts.gone), (2, 1));
    assert_eq!(report.problems.len(), 1, "told once");
    assert!(report.problems[0].1.contains("is it mounted?"));
    assert_eq!(look(&mut scanner, &["usb", "usb/a.jpg", "usb/deep/b.jpg"]).counts.held, 4);
    // The way out that the message names.
    fs::remove_dir(place.path("usb")).unwrap();
    assert_eq!(full(&mut scanner).counts.gone, 2);
}

#[test]
fn without_its_marker_nothing_is_withdrawn() {
    let place = Place::new();
    place.put("a.jpg", "PIC");
    let mut scanner = eager(&place);
    full(&mut scanner);
    fs::rename(place.path(""), place.temp.path().join("away")).unwrap();
    fs::create_dir(place.path("")).unwrap();
    for result in [scanner.full_scan(&()), scanner.look_at(&[rel("a.jpg")], &())] {
        assert!(matches!(result, Err(ScanError::Folder(FolderError::MarkerMissing { .. }))));
    }
    assert_eq!(place.index.paths(), ["a.jpg"]);
}

/// Takes the drive away once the scan is at its third folder.
struct Unplug(PathBuf, PathBuf);
impl Observer for Unplug {
    fn directory(&self, dir: &Path) {
        if dir.ends_with("d2") {
            fs::rename(&self.0, &self.1).unwrap();
            fs::create_dir(&self.0).unwrap();
        }
    }
}

#[test]
fn a_drive_that_goes_away_in_the_middle_withdraws_nothing() {
    let place = Place::new();
    for n in 0..5 {
        place.put(&format!("d{n}/a.jpg"), "PIC");
    }
    let mut scanner = eager(&place);
    full(&mut scanner);
    place.index.take_log();
    let unplug = Unplug(place.path(""), place.temp.path().join("away"));
    let result = scanner.full_scan(&unplug);
    assert!(matches!(result, Err(ScanError::Folder(FolderError::MarkerMissing { .. }))));
    assert!(place.index.take_log().is_empty());
}

#[test]
fn files_are_taken_when_they_have_settled() {
    let place = Place::new();
    place.put("a.jpg", "PIC");
    let mut scanner = place.scanner(Duration::from_secs(5));
    let report = full(&mut scanner);
    assert_eq!((report.counts.unsettled, report.counts.inspected), (1, 0));
    assert_eq!(report.next_look, scanner.next_look());
    assert!(report.next_look.is_some_and(|at| at > Instant::now()));
    // It grows meanwhile, and has to wait anew.
    place.put("a.jpg", "PIC longer");
    later(&mut scanner, Duration::from_secs(4));
    assert_eq!(look(&mut scanner, &["a.jpg"]).counts.unsettled, 1);
    later(&mut scanner, Duration::from_secs(6));
    let report = scanner.look_at_waiting(&()).unwrap();
    assert_eq!((report.counts.inspected, report.next_look), (1, None));
    assert_eq!(place.index.paths(), ["a.jpg"]);
}

#[test]
fn a_file_from_the_future_is_taken_at_the_second_look() {
    let place = Place::new();
    place.put("a.jpg", "PIC");
    let future = SystemTime::now() + Duration::from_secs(1_000_000);
    fs::File::options().write(true).open(place.path("a.jpg")).unwrap().set_modified(future).unwrap();
    let mut scanner = place.scanner(Duration::from_secs(5));
    full(&mut scanner);
    later(&mut scanner, Duration::from_secs(6));
    assert_eq!(scanner.look_at_waiting(&()).unwrap().counts.inspected, 1);
    assert_eq!(scanner.next_look(), None);
}

#[test]
fn a_truncated_file_may_still_arrive_but_not_forever() {
    let place = Place::new();
    place.put("cut.jpg", "CUT");
    place.put("stays.jpg", "CUT");
    let mut scanner = eager(&place);
    assert_eq!(full(&mut scanner).counts.unsettled, 2);
    assert!(place.index.paths().is_empty());
    place.put("cut.jpg", "PIC the rest came");
    later(&mut scanner, Duration::from_secs(2));
    look(&mut scanner, &["cut.jpg", "stays.jpg"]);
    assert_eq!(place.index.paths(), ["cut.jpg"]);
    later(&mut scanner, Duration::from_secs(60));
    scanner.look_at_waiting(&()).unwrap();
    assert_eq!(place.index.paths(), ["cut.jpg", "stays.jpg"]);
    assert_eq!(scanner.next_look(), None);
}

#[test]
fn a_hidden_file_is_given_time_to_get_its_real_name() {
    let place = Place::new();
    place.put(".IMG_1.jpg.Xk2f9a", "PIC half");
    let mut scanner = eager(&place);
    assert_eq!(full(&mut scanner).counts.unsettled, 1);
    fs::rename(place.path(".IMG_1.jpg.Xk2f9a"), place.path("IMG_1.jpg")).unwrap();
    look(&mut scanner, &[".IMG_1.jpg.Xk2f9a", "IMG_1.jpg"]);
    assert_eq!(place.index.take_log(), ["+IMG_1.jpg"]);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_not_taken() {
    let place = Place::new();
    place.put("a.jpg", "PIC");
    place.put("b.jpg", "PIC");
    let (a, b) = (place.path("a.jpg"), place.path("b.jpg"));
    place.decoder.before(move |name| match name {
        b"a.jpg" => fs::write(&a, "PIC grown"),
        // Replaced: the file that is read stays as it is.
        _ => fs::write(b.with_extension("new"), "PIC new")
            .and_then(|()| fs::rename(b.with_extension("new"), &b)),
    });
    let mut scanner = eager(&place);
    let report = full(&mut scanner);
    assert_eq!((report.counts.inspected, report.counts.unsettled), (0, 2));
    assert!(place.index.paths().is_empty());
    place.decoder.before(|_| Ok(()));
    assert_eq!(scanner.look_at_waiting(&()).unwrap().counts.inspected, 2);
    assert_eq!(place.index.paths(), ["a.jpg", "b.jpg"]);
}

#[test]
fn a_vanished_file_is_withdrawn_at_the_second_look_only() {
    let place = Place::new();
    place.put("a.jpg", "PIC");
    place.put("b.jpg", "PIC");
    full(&mut eager(&place));
    let mut scanner = place.scanner(Duration::from_secs(5));
    fs::remove_file(place.path("a.jpg")).unwrap();
    fs::remove_file(place.path("b.jpg")).unwrap();
    look(&mut scanner, &["a.jpg", "b.jpg"]);
    assert_eq!(place.index.paths(), ["a.jpg", "b.jpg"]);
    // Saved by deleting and writing anew.
    place.put("b.jpg", "PIC");
    later(&mut scanner, Duration::from_secs(6));
    scanner.look_at_waiting(&()).unwrap();
    assert_eq!(place.index.paths(), ["b.jpg"]);
    assert!(!place.index.take_log().contains(&"-b.jpg".to_owned()));
    assert_eq!(scanner.next_look(), None);
}

#[test]
fn a_distrusted_file_is_read_again_whatever_its_times_say() {
    let place = Place::new();
    place.put("a.jpg", "PIC");
    let mut scanner = eager(&place);
    full(&mut scanner);
    assert_eq!(look(&mut scanner, &["a.jpg"]).counts.inspected, 0);
    scanner.distrust(rel("a.jpg"));
    assert_eq!(look(&mut scanner, &["a.jpg"]).counts.inspected, 1);
    assert_eq!(look(&mut scanner, &["a.jpg"]).counts.inspected, 0, "once");
}

#[test]
fn a_decoder_that_panics_costs_one_file() {
    let place = Place::new();
    for n in 0..20 {
        place.put(&format!("{n}.jpg"), "PIC");
    }
    place.decoder.before(|name| {
        if name == b"7.jpg" { panic!("as a decoder may (expected in this test)") } else { Ok(()) }
    });
    let report = full(&mut eager(&place));
    assert_eq!((report.counts.inspected, report.problem_count), (19, 1));
    assert_eq!(report.problems[0].0, rel("7.jpg"));
}

#[derive(Default)]
struct Last(Mutex<Progress>, AtomicU64);
impl Observer for Last {
    fn progress(&self, progress: &Progress) {
        assert!(progress.looked_at <= progress.found);
        *self.0.lock().unwrap() = *progress;
    }
    fn applied(&self, applied: Applied) {
        self.1.fetch_add(applied.added.len() as u64, Relaxed);
    }
}

#[test]
fn batches_are_bounded_and_progress_ends_at_the_total() {
    let place = Place::new();
    for n in 0..700 {
        place.put(&format!("{}/{n}.jpg", n % 7), "PIC");
    }
    let last = Last::default();
    eager(&place).full_scan(&last).unwrap();
    assert_eq!(*last.0.lock().unwrap(), Progress { looked_at: 700, found: 700, inspected: 700, bytes: 2100 });
    assert_eq!(last.1.load(Relaxed), 700);
    assert!(place.index.largest_batch.load(Relaxed) <= crate::limits::INDEX_BATCH);
}

#[test]
fn a_scan_stops_when_told() {
    let place = Place::new();
    for n in 0..500 {
        place.put(&format!("{n}.jpg"), "PIC");
    }
    let mut scanner = eager(&place);
    let (cancel, seen) = (Arc::clone(&scanner.cancel), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&seen);
    place.decoder.before(move |_| {
        count.fetch_add(1, Relaxed);
        cancel.store(true, Relaxed);
        Ok(())
    });
    assert!(matches!(scanner.full_scan(&()), Err(ScanError::Cancelled)));
    assert!(seen.load(Relaxed) <= 2, "one file each thread");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is done to a folder, one scan makes the index equal to it, and looking at
    /// the touched paths does as well.
    #[test]
    fn the_index_follows_the_folder(
        steps in prop::collection::vec(("[a-b.-]{1,2}(/[a-b.-]{1,2}){0,2}", 0..4u8), 1..40),
        looking: bool,
    ) {
        let place = Place::new();
        let mut scanner = eager(&place);
        for (n, round) in steps.chunks(8).enumerate() {
            let mut touched = Vec::new();
            for (step, (path, action)) in round.iter().enumerate() {
                let Some(path) = RelPath::from_bytes(path.as_bytes().to_vec()) else { continue };
                if path.as_bytes().split(|b| *b == b'/').any(|part| part.starts_with(b".")) {
                    continue; // Hidden files wait longer.
                }
                let full = path.in_folder(place.folder.root().dir());
                let _ = match action {
                    0 => fs::remove_file(&full).or_else(|_| fs::remove_dir_all(&full)),
                    1 => fs::rename(&full, place.path("b")).inspect(|()| touched.push(rel("b"))),
                    _ => fs::create_dir_all(full.parent().unwrap())
                        .and_then(|()| fs::write(&full, format!("PIC{n}-{step}"))),
                };
                touched.push(path);
            }
            if looking { scanner.look_at(&touched, &()).unwrap(); } else { full(&mut scanner); }
            let mut found = Vec::new();
            let root = place.folder.root();
            for item in walk::Walk::all(root, walk::list, &|_| ()).unwrap() {
                if let walk::Item::File { path, fingerprint } = item {
                    prop_assert_eq!(&place.index.file(&path).unwrap().unwrap().fingerprint, &fingerprint);
                    found.push(path);
                }
            }
            prop_assert!(found.is_sorted(), "the walk is in byte order: {:?}", found);
            prop_assert_eq!(found, place.index.files.lock().unwrap().keys().cloned().collect::<Vec<_>>());
        }
    }
}
