//! One suite for every disk: the machine's, the one in memory, and both with faults.

use std::time::Duration;

use super::fakes::{Fault, Faulty, MemDisk, Model};
use super::*;
use crate::store::index::Fingerprint;

mod crash;
mod pins;
mod real;
mod rules;
mod sequences;

const PATH: &str = "2019/a.jpg";
const KEEPER: &str = "best/a.jpg";
const OTHER: &str = "2019/b.jpg";
const LOSER_BYTES: &[u8] = b"the lesser version of a picture";
const KEEPER_BYTES: &[u8] = b"the best version of a picture, which is longer";
const OTHER_BYTES: &[u8] = b"another picture";

fn rel(path: &str) -> RelPath {
    RelPath::from_bytes(path.into()).unwrap()
}

fn id_of(bytes: &[u8]) -> ContentId {
    ContentId(*blake3::hash(bytes).as_bytes())
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_763_896_099)
}

/// A folder with a few files on some disk.
struct Bench<D> {
    disk: Arc<Faulty<D>>,
    dir: PathBuf,
    _temp: Option<tempfile::TempDir>,
}

impl Bench<MemDisk> {
    fn memory(model: Model) -> Self {
        let bench = Self::on(MemDisk::new(model), PathBuf::from("/d"), None);
        bench.disk.disk.settle();
        bench
    }

    /// The disk after a crash.
    fn image(&self, kept: u64, part: usize) -> Self {
        let disk = Arc::new(Faulty::new(self.disk.disk.crashed(kept, part)));
        Self { disk, dir: self.dir.clone(), _temp: None }
    }
}

impl Bench<RealDisk> {
    fn real() -> Self {
        let temp = tempfile::tempdir().unwrap();
        Self::on(RealDisk, temp.path().join("d"), Some(temp))
    }
}

impl<D: Disk + 'static> Bench<D> {
    fn on(disk: D, dir: PathBuf, temp: Option<tempfile::TempDir>) -> Self {
        for part in ["", ".p2pimg", "2019", "best"] {
            disk.make_dir(&dir.join(part)).unwrap();
        }
        disk.write(&dir.join(MARKER_NAME), b"marker").unwrap();
        let bench = Self { disk: Arc::new(Faulty::new(disk)), dir, _temp: temp };
        bench.save(PATH, LOSER_BYTES);
        bench.save(KEEPER, KEEPER_BYTES);
        bench.save(OTHER, OTHER_BYTES);
        bench
    }

    fn try_open(&self) -> Result<(Trash, Recovery), TrashError> {
        let (disk, marker) = (Arc::clone(&self.disk), self.dir.join(MARKER_NAME));
        let path = self.dir.clone();
        let check = move || match disk.look(&marker) {
            Ok(_) => Ok(()),
            Err(_) => Err(FolderError::Missing { path: path.clone() }),
        };
        let place = Place { dir: self.dir.clone(), state: self.dir.join(".p2pimg"), marker: Box::new(check) };
        Trash::open_on(self.disk.clone(), place, None)
    }

    fn open(&self) -> Trash {
        let (trash, recovery) = self.try_open().unwrap();
        assert_eq!(recovery.problems, []);
        trash
    }

    fn save(&self, path: &str, data: &[u8]) {
        self.disk.disk.write(&self.dir.join(path), data).unwrap();
    }

    fn fingerprint(&self, path: &str) -> Fingerprint {
        self.disk.disk.look(&self.dir.join(path)).unwrap().fingerprint
    }

    fn plan(&self) -> DropPlan {
        Self::plan_with(self.fingerprint(PATH))
    }

    fn plan_with(fingerprint: Fingerprint) -> DropPlan {
        let reason = Reason { cause: Cause::LocalDuplicate, numbers: [("pixels".into(), "1".into())].into() };
        let keeper = Keeper { content: id_of(KEEPER_BYTES), at: KeptAt::Here(rel(KEEPER)) };
        DropPlan {
            path: rel(PATH),
            content: id_of(LOSER_BYTES),
            fingerprint,
            facts: None,
            reason,
            keeper: Some(keeper),
            proofs: vec![Proof { about: "me".into(), data: vec![0, 255] }],
            at: now(),
        }
    }

    fn drop_it(&self, trash: &Trash) -> Entry {
        trash.begin(self.plan()).unwrap().confirm(Vec::new()).unwrap()
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.disk.disk.read(&self.dir.join(path), usize::MAX).ok()
    }

    /// Files below a folder, with their bytes; the state apart from the trash left out.
    fn all(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let (mut found, mut open) = (Vec::new(), vec![self.dir.clone()]);
        while let Some(dir) = open.pop() {
            for name in self.disk.disk.list(&dir).unwrap() {
                let path = dir.join(name);
                if self.disk.disk.look(&path).unwrap().kind == Kind::Dir {
                    open.push(path);
                } else if let Ok(data) = self.disk.disk.read(&path, usize::MAX) {
                    found.push((path, data));
                }
            }
        }
        found
    }

    /// Places of some bytes in the folder, and in the trash.
    fn places(&self, bytes: &[u8]) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let hits = self.all().into_iter().filter(|(_, data)| data == bytes).map(|(path, _)| path);
        let trash = self.dir.join(".p2pimg/trash");
        hits.partition(|path| !path.starts_with(&trash))
    }

    #[track_caller]
    fn assert_others_unchanged(&self, context: &str) {
        assert_eq!(self.read(KEEPER).as_deref(), Some(KEEPER_BYTES), "{context}");
        assert_eq!(self.read(OTHER).as_deref(), Some(OTHER_BYTES), "{context}");
    }
}

/// Runs a test on every kind of disk.
macro_rules! on_every_disk {
    ($($(#[$doc:meta])* fn $name:ident($bench:ident) $body:block)*) => {
        $(
            $(#[$doc])*
            #[test]
            fn $name() {
                fn run<D: Disk + 'static>($bench: &Bench<D>) $body
                run(&Bench::real());
                for model in Model::ALL {
                    run(&Bench::memory(model));
                }
            }
        )*
    };
}
use on_every_disk;
