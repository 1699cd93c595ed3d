//! What only the machine's disk has: links, locks, odd names, read-only folders.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use super::*;
use crate::store::folder::{Folder, Home, Options};

#[test]
fn links_are_refused() {
    let bench = Bench::real();
    let trash = bench.open();
    let full = |path: &str| bench.dir.join(path);
    fs::hard_link(full(PATH), full("second.jpg")).unwrap();
    let error = trash.begin(bench.plan()).unwrap_err();
    assert!(matches!(error, DropError::Linked { links: 2, .. }), "{error}");
    assert!(error.is_report_only());
    fs::remove_file(full("second.jpg")).unwrap();
    std::os::unix::fs::symlink("a.jpg", full("2019/link.jpg")).unwrap();
    std::os::unix::fs::symlink("2019", full("way")).unwrap();
    for path in ["2019/link.jpg", "way/a.jpg"] {
        let error = trash.begin(DropPlan { path: rel(path), ..bench.plan() }).unwrap_err();
        assert!(matches!(error, DropError::NotDroppable { .. }), "{path} {error}");
        let keeper = Some(Keeper { content: id_of(LOSER_BYTES), at: KeptAt::Here(rel(path)) });
        let error = trash.begin(DropPlan { keeper, ..bench.plan() }).unwrap_err();
        assert!(matches!(error, DropError::Keeper { .. }), "{path} {error}");
    }
    bench.drop_it(&trash);
}

#[test]
fn a_name_that_is_not_text_comes_back_as_it_was() {
    let bench = Bench::real();
    let trash = bench.open();
    let name = b"2019/\xff\xfe\n.jpg";
    let full = bench.dir.join(std::ffi::OsStr::from_bytes(name));
    fs::write(&full, LOSER_BYTES).unwrap();
    let fingerprint = bench.disk.look(&full).unwrap().fingerprint;
    let path = RelPath::from_bytes(name.to_vec()).unwrap();
    let entry = trash.begin(DropPlan { path: path.clone(), fingerprint, ..bench.plan() }).unwrap();
    let entry = entry.confirm(Vec::new()).unwrap();
    assert_eq!(read_trash(trash.path()).unwrap().0, std::slice::from_ref(&entry));
    assert_eq!(trash.restore(trash.plan_restore(&entry.id).unwrap(), now()).unwrap(), path);
    assert_eq!(fs::read(full).unwrap(), LOSER_BYTES);
}

#[test]
fn one_process_drops_in_a_folder_and_a_read_only_one_is_reported() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("photos");
    fs::create_dir(&dir).unwrap();
    let options = Options { state: None, home: Home::at(&temp.path().join("home")), accept_new: false };
    assert_eq!(find_trash(&dir, &dir.join("nowhere")).unwrap(), None);
    let folder = Folder::open(&dir, &options).unwrap();
    let state = folder.root().state();
    assert_eq!(find_trash(&dir, state).unwrap(), None, "looking makes none");
    let (trash, recovery) = Trash::open(folder.root()).unwrap();
    assert_eq!(recovery, Recovery::default());
    assert_eq!(trash.path(), state.join("trash"));
    assert_eq!(find_trash(&dir, state).unwrap().as_deref(), Some(trash.path()));
    let error = Trash::open(folder.root()).unwrap_err();
    assert!(matches!(error, TrashError::InUse { .. }) && error.is_report_only(), "{error}");
    drop(trash);
    Trash::open(folder.root()).unwrap();

    let bench = Bench::real();
    let trash = bench.open();
    bench.disk.arm(0, Fault::Forever(io::ErrorKind::ReadOnlyFilesystem));
    let error = trash.begin(bench.plan()).unwrap_err();
    assert!(error.is_report_only(), "{error}");
}
