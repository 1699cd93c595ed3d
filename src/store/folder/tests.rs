//! What a node's start makes of every state that a folder can be in.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;

struct Place {
    temp: tempfile::TempDir,
    options: Options,
}

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("photos")).unwrap();
        let home = Home::at(&temp.path().join("home"));
        Self { temp, options: Options { state: None, home, accept_new: false } }
    }

    fn dir(&self) -> PathBuf {
        self.temp.path().join("photos")
    }

    fn open(&self) -> Result<Folder, FolderError> {
        Folder::open(&self.dir(), &self.options)
    }

    fn marker(&self) -> PathBuf {
        self.dir().join(MARKER_NAME)
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_first_start_makes_everything_and_a_second_finds_it() {
    let place = Place::new();
    let folder = place.open().unwrap();
    assert_eq!(mode(folder.root().state()), 0o700);
    assert_eq!(mode(&place.dir().join(".p2pimg/identity.key")), 0o600);
    assert!(folder.tmp().is_dir());
    assert!(folder.warnings().is_empty());
    folder.root().check_marker().unwrap();
    let (id, peer) = (folder.root().id(), folder.keypair().public());
    drop(folder);
    let folder = place.open().unwrap();
    assert_eq!((folder.root().id(), folder.keypair().public()), (id, peer));
}

#[test]
fn what_is_no_usable_folder_is_named() {
    let place = Place::new();
    let dir = place.dir();
    let open = |path: &Path| Folder::open(path, &place.options).unwrap_err();
    assert!(matches!(open(&dir.join("no")), FolderError::Missing { .. }));
    fs::write(dir.join("file"), "").unwrap();
    assert!(matches!(open(&dir.join("file")), FolderError::NotFolder { .. }));
    assert!(matches!(open(&dir.join("file/below")), FolderError::NotFolder { .. }));
    drop(place.open().unwrap());
    assert!(matches!(open(&dir.join(".p2pimg/tmp")), FolderError::IsState { .. }));
    let parent = Options { state: Some(place.temp.path().into()), ..place.options.clone() };
    assert!(matches!(Folder::open(&dir, &parent), Err(FolderError::IsState { .. })));
}

#[test]
fn an_unmounted_drive_is_not_an_empty_folder() {
    let place = Place::new();
    let id = place.open().unwrap().root().id();
    // The drive goes away: marker and state with it.
    let drive = place.temp.path().join("drive");
    fs::rename(place.dir(), &drive).unwrap();
    fs::create_dir(place.dir()).unwrap();
    let error = place.open().unwrap_err();
    assert!(matches!(error, FolderError::MarkerMissing { expected, .. } if expected == id), "{error}");
    assert!(error.to_string().contains("--new-folder"), "{error}");
    assert_eq!(fs::read_dir(place.dir()).unwrap().count(), 0, "the mount point was not touched");
    // It comes back.
    fs::remove_dir(place.dir()).unwrap();
    fs::rename(&drive, place.dir()).unwrap();
    assert_eq!(place.open().unwrap().root().id(), id);
}

#[test]
fn a_marker_alone_that_is_deleted_can_be_put_back_as_the_error_says() {
    let mut place = Place::new();
    place.options.state = Some(place.temp.path().join("state"));
    let id = place.open().unwrap().root().id();
    fs::remove_file(place.marker()).unwrap();
    // The state remembers, even when the user's list is lost.
    fs::remove_dir_all(place.temp.path().join("home")).unwrap();
    assert!(matches!(place.open(), Err(FolderError::MarkerMissing { .. })));
    fs::write(place.marker(), format!("p2pimg folder 1\nid {id}\n")).unwrap();
    assert_eq!(place.open().unwrap().root().id(), id);
}

#[test]
fn another_drive_is_refused_until_it_is_accepted() {
    let mut place = Place::new();
    let first = place.open().unwrap().root().id();
    fs::rename(place.dir(), place.temp.path().join("drive1")).unwrap();
    fs::create_dir(place.dir()).unwrap();
    place.options.accept_new = true;
    let second = place.open().unwrap().root().id();
    assert_ne!(first, second);
    place.options.accept_new = false;
    assert_eq!(place.open().unwrap().root().id(), second);

    fs::rename(place.dir(), place.temp.path().join("drive2")).unwrap();
    fs::rename(place.temp.path().join("drive1"), place.dir()).unwrap();
    let error = place.open().unwrap_err();
    assert!(
        matches!(error, FolderError::OtherFolder { found, expected, .. } if (found, expected) == (first, second)),
        "{error}"
    );
    place.options.accept_new = true;
    assert_eq!(place.open().unwrap().root().id(), first, "an accepted folder keeps its own marker");
}

#[test]
fn a_crash_at_any_point_of_the_first_start_is_recovered_from() {
    // The files of a first start in the order in which they appear; a crash leaves a
    // prefix of them.
    for survivors in 0..=5 {
        let place = Place::new();
        drop(place.open().unwrap());
        let state = place.dir().join(STATE_NAME);
        let steps = [
            state.join("node.lock"),
            place.marker(),
            state.join("folder"),
            place.temp.path().join("home/folders"),
            state.join("identity.key"),
        ];
        for lost in &steps[survivors..] {
            if lost.is_dir() { fs::remove_dir_all(lost).unwrap() } else { fs::remove_file(lost).unwrap() }
        }
        let folder = place.open().unwrap_or_else(|e| panic!("after {survivors} steps: {e}"));
        folder.root().check_marker().unwrap();
    }
}

#[test]
fn leftovers_of_a_crash_are_removed_and_nothing_else() {
    let place = Place::new();
    let state = place.dir().join(STATE_NAME);
    let folder = place.open().unwrap();
    let stale = [
        folder.tmp().join("half"),
        state.join(".p2pimg-x1.tmp"),
        place.dir().join(".p2pimg-folder-x2.tmp"),
        state.join("address"),
    ];
    let kept = [place.dir().join("photo.tmp"), place.dir().join(".p2pimg-x3.tmp"), state.join("index.redb")];
    drop(folder);
    for path in stale.iter().chain(&kept) {
        fs::write(path, "x").unwrap();
    }
    let _folder = place.open().unwrap();
    assert!(stale.iter().all(|p| !p.exists()));
    // The second is a client's `get` into the folder, perhaps under way.
    assert!(kept.iter().all(|p| p.exists()));
}

#[test]
fn two_nodes_never_share_a_state() {
    let place = Place::new();
    let folder = place.open().unwrap();
    let error = place.open().unwrap_err();
    assert!(matches!(&error, FolderError::Locked { pid, .. } if *pid == Some(std::process::id())), "{error}");
    drop(folder);
    place.open().unwrap();
}

#[test]
fn another_process_holds_the_lock_until_it_dies() {
    // `flock(1)` is the other process; without it there is nothing to test.
    let place = Place::new();
    drop(place.open().unwrap());
    let lock = place.dir().join(".p2pimg/node.lock");
    let ready = place.temp.path().join("ready");
    let child = std::process::Command::new("flock")
        .arg(&lock)
        .args(["sh", "-c", "echo > \"$0\"; exec cat"])
        .arg(&ready)
        .stdin(std::process::Stdio::piped())
        .spawn();
    let Ok(mut child) = child else { return eprintln!("skipped: no flock(1)") };
    while !ready.exists() {
        std::thread::yield_now();
    }
    assert!(matches!(place.open(), Err(FolderError::Locked { .. })));
    // End of input ends `cat`, and flock with it.
    drop(child.stdin.take());
    child.wait().unwrap();
    place.open().unwrap();
}

#[test]
fn the_marker_is_checked_at_any_time() {
    let place = Place::new();
    let folder = place.open().unwrap();
    let text = fs::read(place.marker()).unwrap();
    fs::remove_file(place.marker()).unwrap();
    assert!(matches!(folder.root().check_marker(), Err(FolderError::MarkerMissing { .. })));
    fs::write(place.marker(), "p2pimg folder 1\nid 00000000000000000000000000000001").unwrap();
    assert!(matches!(folder.root().check_marker(), Err(FolderError::OtherFolder { .. })));
    fs::write(place.marker(), "").unwrap();
    assert!(matches!(folder.root().check_marker(), Err(FolderError::BadMarker { .. })));
    fs::write(place.marker(), text).unwrap();
    folder.root().check_marker().unwrap();
    fs::rename(place.dir(), place.temp.path().join("away")).unwrap();
    assert!(matches!(folder.root().check_marker(), Err(FolderError::MarkerMissing { .. })));
}

#[test]
fn a_running_node_can_be_found_and_a_stopped_one_not() {
    let place = Place::new();
    let folder = place.open().unwrap();
    let address: Multiaddr = "/ip4/127.0.0.1/tcp/9".parse().unwrap();
    let peer = folder.keypair().public().to_peer_id();
    folder.announce(&[]).unwrap();
    folder.announce(std::slice::from_ref(&address)).unwrap();
    let file = place.dir().join(".p2pimg/address");
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{address}/p2p/{peer}\n"));
    let nodes = running_nodes(&place.options.home).unwrap();
    assert_eq!(nodes.len(), 1);
    assert_eq!((nodes[0].peer, &nodes[0].addresses[..]), (peer, &[address.clone()][..]));
    // A copy of the folder, state and all, is another folder with the same identity.
    let copy = place.temp.path().join("copy");
    fs::create_dir_all(copy.join(".p2pimg")).unwrap();
    fs::copy(place.dir().join(".p2pimg/identity.key"), copy.join(".p2pimg/identity.key")).unwrap();
    let copy = Folder::open(&copy, &place.options).unwrap();
    assert!(matches!(copy.announce(&[address]), Err(FolderError::SameIdentity { .. })));

    drop(folder);
    assert!(!file.exists());
    assert_eq!(running_nodes(&place.options.home).unwrap(), []);
}

#[test]
fn an_unwritable_home_stops_the_start_before_anything_is_made() {
    let mut place = Place::new();
    let file = place.temp.path().join("file");
    fs::write(&file, "").unwrap();
    place.options.home = Home::at(&file.join("home"));
    let error = place.open().unwrap_err();
    assert!(matches!(error, FolderError::HomeNotWritable { .. } | FolderError::Io { .. }), "{error}");
    assert!(!place.dir().join(STATE_NAME).exists());
}

#[test]
fn the_state_may_be_elsewhere() {
    let mut place = Place::new();
    place.options.state = Some(place.temp.path().join("deep/state"));
    let folder = place.open().unwrap();
    assert!(!place.dir().join(STATE_NAME).exists());
    assert_eq!(folder.root().state(), fs::canonicalize(place.temp.path().join("deep/state")).unwrap());
    assert_eq!(fs::metadata(folder.root().state()).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn nodes_to_join_by_are_remembered_and_a_damaged_list_is_no_obstacle() {
    let place = Place::new();
    let folder = place.open().unwrap();
    assert!(folder.remembered_peers().is_empty());
    let addresses: Vec<Multiaddr> =
        ["/ip4/10.0.0.1/tcp/4011", "/ip6/2001:db8::1/tcp/4011"].map(|a| a.parse().unwrap()).to_vec();
    folder.remember_peers(&addresses).unwrap();
    drop(folder);
    let folder = place.open().unwrap();
    assert_eq!(folder.remembered_peers(), addresses);
    fs::write(folder.peers_path(), b"\xff\xfe nonsense\n/ip4/10.0.0.1/tcp/4011\n").unwrap();
    assert_eq!(folder.remembered_peers(), addresses[..1]);
}

/// `--state` on a person's own folder made that folder's `tmp/` the node's: everything in it
/// was removed at the start, and a file named `address` too.
#[test]
fn a_persons_folder_is_never_taken_for_a_state() {
    let place = Place::new();
    let theirs = place.temp.path().join("theirs");
    fs::create_dir_all(theirs.join("tmp")).unwrap();
    fs::write(theirs.join("tmp/photo.jpg"), "photo").unwrap();
    fs::write(theirs.join("address"), "of a friend").unwrap();
    let options = Options { state: Some(theirs.clone()), ..place.options.clone() };
    let error = Folder::open(&place.dir(), &options).unwrap_err();
    assert!(matches!(error, FolderError::ForeignState { .. }), "{error}");
    assert_eq!(fs::read(theirs.join("tmp/photo.jpg")).unwrap(), b"photo");
    assert_eq!(fs::read(theirs.join("address")).unwrap(), b"of a friend");
    fs::remove_file(theirs.join("address")).unwrap();
    assert!(Folder::open(&place.dir(), &options).is_err(), "only tmp, but not empty");
    fs::remove_file(theirs.join("tmp/photo.jpg")).unwrap();
    Folder::open(&place.dir(), &options).unwrap();
}
