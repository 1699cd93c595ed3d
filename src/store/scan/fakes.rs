//! An index and decoders in memory, for the tests of scanning and watching.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, PoisonError};

use super::*;
use crate::picture::quality::{Encoding, Fidelity, Metadata};
use crate::store::decode::Inspected;
use crate::store::folder::{Folder, Home, Options};
use crate::store::index::{FileKind, Found};
use crate::transfer::outline::OutlineBuilder;
use crate::types::{ContentId, Facts, Format, ImageId, Traits};

#[derive(Default)]
pub(in crate::store) struct FakeIndex {
    pub(in crate::store) files: Mutex<BTreeMap<RelPath, FileRecord>>,
    /// Every change, in order: `+path` or `-path`.
    pub(in crate::store) log: Mutex<Vec<String>>,
    pub(in crate::store) largest_batch: AtomicUsize,
}

impl FakeIndex {
    pub(in crate::store) fn paths(&self) -> Vec<String> {
        self.files.lock().unwrap().keys().map(ToString::to_string).collect()
    }

    pub(in crate::store) fn content(&self, path: &str) -> Option<ContentId> {
        match &self.files.lock().unwrap().get(&rel(path))?.kind {
            FileKind::Picture { content, .. } => Some(*content),
            _ => None,
        }
    }

    pub(in crate::store) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

impl Shelf for FakeIndex {
    fn file(&self, path: &RelPath) -> Result<Option<FileRecord>, IndexError> {
        Ok(self.files.lock().unwrap().get(path).cloned())
    }

    fn files(&self, after: Option<&RelPath>, limit: usize) -> Result<Vec<(RelPath, FileRecord)>, IndexError> {
        let files = self.files.lock().unwrap();
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let range = files.range::<RelPath, _>((from, std::ops::Bound::Unbounded));
        Ok(range.take(limit).map(|(path, record)| (path.clone(), record.clone())).collect())
    }

    fn apply(&self, changes: Vec<Change>) -> Result<Applied, IndexError> {
        let (mut files, mut log) = (self.files.lock().unwrap(), self.log.lock().unwrap());
        self.largest_batch.fetch_max(changes.len(), Relaxed);
        let mut applied = Applied::default();
        for change in changes {
            match change {
                Change::Seen { path, fingerprint, found } => {
                    log.push(format!("+{path}"));
                    let kind = match found {
                        Found::Picture { facts, outline, problem, .. } => {
                            applied.added.push((facts.image, outline.content()));
                            FileKind::Picture { content: outline.content(), problem }
                        }
                        Found::Unprotected { kind } => FileKind::Unprotected { kind },
                        Found::NotPicture { problem } => FileKind::NotPicture { problem },
                        Found::Damaged { content, problem } => FileKind::Damaged { content, problem },
                    };
                    files.insert(path, FileRecord { fingerprint, kind });
                }
                Change::Gone { path } => {
                    log.push(format!("-{path}"));
                    files.remove(&path);
                }
                // A scan knows nothing of replicas.
                Change::Replica { .. } | Change::ReplicaGone { .. } => unreachable!(),
            }
        }
        Ok(applied)
    }
}

type Hook = Box<dyn Fn(&[u8]) -> io::Result<()> + Send>;

/// `PIC...` is a picture, `CUT...` a truncated one, `RAW...` unprotected, else nothing.
#[derive(Default)]
pub(in crate::store) struct FakeDecoder {
    /// Called with the file's name before it is read.
    pub(in crate::store) hook: Mutex<Option<Hook>>,
}

impl FakeDecoder {
    pub(in crate::store) fn before(&self, hook: impl Fn(&[u8]) -> io::Result<()> + Send + 'static) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(hook));
    }
}

impl Inspect for FakeDecoder {
    fn inspect(&self, mut file: &File, name: &[u8]) -> io::Result<Inspection> {
        if let Some(hook) = self.hook.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            hook(name)?;
        }
        let mut data = Vec::new();
        file.read_to_end(&mut data)?;
        let traits = match data.get(..3) {
            Some(b"PIC") => Traits::default(),
            Some(b"CUT") => Traits::DAMAGED,
            Some(b"RAW") => return Ok(Inspection::Unprotected("RAW")),
            _ => return Ok(Inspection::NotPicture(name.ends_with(b".jpg").then(|| "is no picture".into()))),
        };
        let mut outline = OutlineBuilder::new();
        outline.update(&data);
        let outline = outline.finish();
        let image = ImageId::Content(outline.content());
        let bytes = outline.bytes();
        let facts = Facts {
            image,
            bytes,
            width: 1,
            height: 1,
            format: Format::Jpeg,
            taken_at: None,
            guard: 0,
            traits,
        };
        let encoding = Encoding { fidelity: Fidelity::UNKNOWN, metadata: Metadata::default() };
        let inspected = Inspected { facts, encoding, outline, signature: None, problem: None };
        Ok(Inspection::Picture(Box::new(inspected)))
    }
}

pub(in crate::store) fn rel(path: &str) -> RelPath {
    RelPath::from_bytes(path.into()).unwrap()
}

/// A folder on disk, opened as a node does.
pub(in crate::store) struct Place {
    pub(in crate::store) temp: tempfile::TempDir,
    pub(in crate::store) folder: Folder,
    pub(in crate::store) index: Arc<FakeIndex>,
    pub(in crate::store) decoder: Arc<FakeDecoder>,
}

impl Place {
    pub(in crate::store) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("photos");
        fs::create_dir(&dir).unwrap();
        let options = Options { state: None, home: Home::at(&temp.path().join("home")), accept_new: false };
        let folder = Folder::open(&dir, &options).unwrap();
        Self { temp, folder, index: Arc::default(), decoder: Arc::default() }
    }

    pub(in crate::store) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.folder.root().dir().join(path)
    }

    /// Writes a file, and the folders above it.
    pub(in crate::store) fn put(&self, path: &str, data: &str) {
        let full = self.path(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(full, data).unwrap();
    }

    /// A scanner that waits `settle` for files to settle, and for truncated ones a minute.
    pub(in crate::store) fn scanner(&self, settle: Duration) -> Scanner<FakeIndex, FakeDecoder> {
        let settings = Settings { settle, settle_truncated: Duration::from_secs(60), threads: 2 };
        let root = self.folder.root().clone();
        Scanner::new(root, Arc::clone(&self.index), Arc::clone(&self.decoder), settings, Arc::default())
    }
}
