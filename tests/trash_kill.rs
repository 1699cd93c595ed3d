//! A process that drops, restores and purges is killed at random moments: no picture is
//! ever lost, and each is in one place after the next start.
//!
//! The process is this test itself, started again with a variable set.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use p2pimg::store::folder::{Folder, Home, Options};
use p2pimg::store::index::Fingerprint;
use p2pimg::store::trash::{Cause, DropPlan, Evidence, Keeper, KeptAt, Reason, Trash};
use p2pimg::types::{ContentId, RelPath};

const FOLDER: &str = "P2PIMG_TEST_TRASH_FOLDER";
const ROUNDS: u64 = 25;
const FILES: usize = 6;

fn rel(path: &str) -> RelPath {
    RelPath::from_bytes(path.into()).unwrap()
}

fn id_of(bytes: &[u8]) -> ContentId {
    ContentId(*blake3::hash(bytes).as_bytes())
}

fn content(number: usize) -> Vec<u8> {
    format!("picture {number} ").repeat(5000).into_bytes()
}

fn open(temp: &Path) -> (Folder, Trash) {
    let options = Options { state: None, home: Home::at(&temp.join("home")), accept_new: false };
    let folder = Folder::open(&temp.join("photos"), &options).unwrap();
    let (trash, recovery) = Trash::open(folder.root()).unwrap();
    assert!(recovery.problems.is_empty(), "{recovery:?}");
    (folder, trash)
}

fn plan(dir: &Path, path: &str, number: usize) -> Option<DropPlan> {
    let meta = fs::symlink_metadata(dir.join(path)).ok()?;
    let ns = |s: i64, ns: i64| i128::from(s) * 1_000_000_000 + i128::from(ns);
    let fingerprint = Fingerprint {
        bytes: meta.len(),
        mtime_ns: ns(meta.mtime(), meta.mtime_nsec()),
        ctime_ns: ns(meta.ctime(), meta.ctime_nsec()),
        inode: meta.ino(),
        device: meta.dev(),
    };
    Some(DropPlan {
        path: rel(path),
        content: id_of(&content(number)),
        fingerprint,
        facts: None,
        reason: Reason { cause: Cause::LocalDuplicate, numbers: BTreeMap::new() },
        keeper: Some(Keeper { content: id_of(b"keeper"), at: KeptAt::Here(rel("keeper.jpg")) }),
        proofs: Vec::new(),
        at: SystemTime::now(),
    })
}

/// What the killed process does: everything, forever.
fn work(temp: &Path) {
    let (folder, trash) = open(temp);
    let dir = folder.root().dir();
    println!("working");
    for turn in 0.. {
        for number in 0..FILES {
            let Some(plan) = plan(dir, &format!("{number}.jpg"), number) else { continue };
            trash.unpin(plan.content).unwrap();
            let dropping = trash.begin(plan).unwrap();
            if (turn + number) % 3 == 0 {
                dropping.roll_back().unwrap();
            } else {
                dropping.confirm(Vec::new()).unwrap();
            }
        }
        let now = SystemTime::now();
        for due in trash.expired(now, Duration::ZERO, FILES).unwrap() {
            if turn % 2 == 0 {
                let plan = trash.plan_restore(&due.entry().id).unwrap();
                trash.restore(plan, now).unwrap();
            } else {
                trash.purge(due, Evidence::Unprovable).unwrap();
            }
        }
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn files_below(dir: &Path, into: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            files_below(&entry.path(), into);
        } else {
            into.push(fs::read(entry.path()).unwrap());
        }
    }
}

#[test]
fn killed_at_any_moment_every_picture_is_in_one_place() {
    if let Some(temp) = std::env::var_os(FOLDER) {
        return work(Path::new(&temp));
    }
    let temp = tempfile::tempdir().unwrap();
    let photos = temp.path().join("photos");
    fs::create_dir(&photos).unwrap();
    fs::write(photos.join("keeper.jpg"), b"keeper").unwrap();
    (0..FILES).for_each(|n| fs::write(photos.join(format!("{n}.jpg")), content(n)).unwrap());
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos();
    println!("seed {seed}");
    for round in 0..ROUNDS {
        let this = std::env::current_exe().unwrap();
        let mut command = Command::new(this);
        command.args(["--nocapture", "killed_at_any_moment_every_picture_is_in_one_place"]);
        let child = command.env(FOLDER, temp.path()).stdout(Stdio::piped()).spawn().unwrap();
        let mut child = Killed(child);
        let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        assert!(lines.map(Result::unwrap).any(|line| line.ends_with("working")), "it never began");
        let mixed = (u64::from(seed) ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xff51_afd7);
        std::thread::sleep(Duration::from_micros(mixed % 60_000));
        assert!(child.0.try_wait().unwrap().is_none(), "round {round}: it ended by itself");
        drop(child);

        let (_folder, trash) = open(temp.path());
        let mut found = Vec::new();
        files_below(&photos, &mut found);
        for number in 0..FILES {
            let places = found.iter().filter(|bytes| **bytes == content(number)).count();
            assert_eq!(places, 1, "seed {seed} round {round} picture {number}");
        }
        assert_eq!(fs::read(photos.join("keeper.jpg")).unwrap(), b"keeper");
        assert!(trash.list(None, 99).unwrap().1.is_empty());
    }
}
