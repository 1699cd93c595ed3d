//! A look at a whole folder that leaves nothing behind: no state, no marker, no index.
//!
//! For each picture some 300 bytes stay in memory; signatures (1.5 KiB each) wait in a
//! temporary file, outside of the folder, for the few that are compared.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use super::decode::{Inspected, Inspection, Inspector};
use crate::picture::Signature;
use crate::picture::same::{Edits, Known};
use crate::types::RelPath;

/// A picture in the folder.
#[derive(Debug)]
pub struct Surveyed {
    /// Where.
    pub path: RelPath,
    /// Device and inode: two names of one file take its space once.
    pub file: (u64, u64),
    known: Known,
    signature: Option<u32>,
}

/// What a folder holds.
#[derive(Debug)]
pub struct Survey {
    dir: PathBuf,
    /// The pictures, sorted by path.
    pub pictures: Vec<Surveyed>,
    /// What can't be read, or not as the picture that its name promises, sorted by path.
    pub problems: Vec<(String, String)>,
    /// Photos and videos of types that are not handled, by type.
    pub unprotected: BTreeMap<&'static str, u64>,
    signatures: Spool,
}

/// How far a survey is: files looked at, files found so far.
pub type Progress<'a> = &'a dyn Fn(u64, u64);

impl Survey {
    /// Looks at all pictures in `dir` on all cores.
    ///
    /// # Errors
    /// The folder can't be listed, or there is no room for a temporary file.
    pub fn of(dir: &Path, inspector: &Inspector, progress: Progress<'_>) -> io::Result<Self> {
        let mut survey = Self {
            dir: dir.canonicalize()?,
            pictures: Vec::new(),
            problems: Vec::new(),
            unprotected: BTreeMap::new(),
            signatures: Spool { file: tempfile::tempfile()?, count: 0 },
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let dir = survey.dir.clone();
        super::scan::each_file(&dir, inspector, threads, progress, &mut |look| survey.take(look))?;
        survey.pictures.sort_by(|a, b| a.path.cmp(&b.path));
        survey.problems.sort();
        Ok(survey)
    }

    /// The folder, without links.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Everything known of a picture but its signature.
    #[must_use]
    pub fn facts<'a>(&'a self, picture: &'a Surveyed) -> &'a Known {
        &picture.known
    }

    /// Everything known of a picture.
    #[must_use]
    pub fn known(&self, picture: &Surveyed) -> Known {
        let signature = picture.signature.and_then(|at| self.signatures.get(at).ok());
        Known { signature, ..picture.known.clone() }
    }

    fn take(&mut self, look: Look) -> io::Result<()> {
        match look {
            Look::Seen { path, file, inspection: Inspection::Picture(picture) } => {
                let Inspected { facts, encoding, outline, signature, problem } = *picture;
                if let Some(problem) = problem {
                    self.problems.push((path.to_string(), problem));
                }
                let signature = signature.map(|signature| self.signatures.push(&signature)).transpose()?;
                // One look at a folder sees no edit happen.
                let edits = Edits::default();
                let known = Known { content: outline.content(), facts, encoding, signature: None, edits };
                self.pictures.push(Surveyed { path, file, known, signature });
            }
            Look::Seen { inspection: Inspection::Unprotected(kind), .. } => {
                *self.unprotected.entry(kind).or_default() += 1;
            }
            Look::Seen { path, inspection: Inspection::NotPicture(problem), .. } => {
                self.problems.extend(problem.map(|problem| (path.to_string(), problem)));
            }
            Look::Failed { path, reason } => self.problems.push((path, reason)),
        }
        Ok(())
    }
}

/// What became of a path.
pub(super) enum Look {
    Seen { path: RelPath, file: (u64, u64), inspection: Inspection },
    Failed { path: String, reason: String },
}

/// Signatures, one after the other.
#[derive(Debug)]
struct Spool {
    file: File,
    count: u32,
}

impl Spool {
    fn push(&mut self, signature: &Signature) -> io::Result<u32> {
        let at = self.count;
        self.file.write_all_at(signature.as_array(), u64::from(at) * Signature::LEN as u64)?;
        self.count += 1;
        Ok(at)
    }

    fn get(&self, at: u32) -> io::Result<Signature> {
        let mut bytes = [0; Signature::LEN];
        self.file.read_exact_at(&mut bytes, u64::from(at) * Signature::LEN as u64)?;
        Ok(Signature::from_array(bytes))
    }
}

/// Counts for the progress of a survey.
#[derive(Debug, Default)]
pub(super) struct Counting {
    pub(super) found: AtomicU64,
    pub(super) over: AtomicBool,
}

impl Counting {
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }
}
