//! Where fetched bytes go: a temporary file beside the target, which becomes the target in
//! one step when it is complete and on disk. Whatever goes wrong before leaves nothing
//! behind; a file that is there is never touched without `--force`.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::ProgressBar;
use tokio::time::Instant;

use crate::cli::Failure;
use crate::client::ChunkSink;
use crate::error::ExitCode;
use crate::protocol::ImageRow;
use crate::store::files::{AtomicFile, Overwrite, WriteError};

/// What `-o` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// `-`
    Stdout,
    /// Into this folder, by the holder's name. Made when it is needed.
    Directory(PathBuf),
    /// This file.
    File(PathBuf),
}

impl Target {
    /// Decides what `output` means for one picture, or for many.
    pub(super) fn new(output: Option<&OsStr>, many: bool) -> Result<Self, Failure> {
        let Some(output) = output else { return Ok(Self::Directory(PathBuf::from("."))) };
        let usage = |what: &str| {
            let message = format!("several pictures need a folder: {what} (-o DIR/)");
            Err(Failure::new(ExitCode::Usage, message))
        };
        if output.is_empty() {
            return Err(Failure::new(ExitCode::Usage, "-o needs a file, a folder, or - for standard output"));
        }
        if output == "-" {
            return if many { usage("- is one stream") } else { Ok(Self::Stdout) };
        }
        let path = PathBuf::from(output);
        if path.is_dir() || output.as_bytes().ends_with(b"/") {
            return Ok(Self::Directory(path));
        }
        match (many, path.symlink_metadata().is_ok()) {
            (true, true) => usage(&format!("{} is a file", path.display())),
            (true, false) => Ok(Self::Directory(path)),
            (false, _) => Ok(Self::File(path)),
        }
    }

    /// Finds what can't work before anybody is asked for the bytes.
    pub(super) fn check(&self, force: bool) -> Result<(), Failure> {
        match self {
            Self::Stdout if io::stdout().is_terminal() && !force => {
                let message = "a picture's bytes would garble the terminal: send them to a file or a program, or say --force";
                Err(Failure::new(ExitCode::Usage, message))
            }
            Self::Stdout | Self::Directory(_) => Ok(()),
            Self::File(path) => {
                let folder = folder_of(path);
                if !folder.is_dir() {
                    let message =
                        format!("cannot write {}: there is no folder {}", path.display(), folder.display());
                    return Err(Failure::new(ExitCode::Output, message));
                }
                may_write(path, force)
            }
        }
    }
}

/// Whether `path` is free, or may be replaced.
pub(super) fn may_write(path: &Path, force: bool) -> Result<(), Failure> {
    let Ok(there) = path.symlink_metadata() else { return Ok(()) };
    if !force {
        return Err(Failure::exists(path));
    }
    // Not even with --force: it would turn /dev/null into a picture.
    if !there.is_file() && !there.is_symlink() {
        let message = format!("cannot write {}: it is there, and is not a file", path.display());
        return Err(Failure::new(ExitCode::Output, message));
    }
    Ok(())
}

/// Whether the file at `path` has exactly the content of `row`.
pub(super) fn has_content(path: &Path, row: &ImageRow) -> bool {
    let same = || -> io::Result<bool> {
        let file = File::open(path)?;
        if file.metadata()?.len() != row.facts.bytes {
            return Ok(false);
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file)?;
        Ok(*hasher.finalize().as_bytes() == row.content.0)
    };
    same().unwrap_or(false)
}

/// When the last bytes came.
pub(super) struct LastNews(Mutex<Instant>);

impl LastNews {
    pub(super) fn now() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    pub(super) fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(super) fn get(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A picture while it arrives. Dropped before it is finished, it leaves nothing behind.
pub(super) struct Draft<B> {
    bytes: B,
    name: String,
    bar: ProgressBar,
    /// When the last bytes came.
    progress: Arc<LastNews>,
}

/// Where the bytes of a draft are.
pub(super) trait Place: Send {
    /// Writes at any place, in any order.
    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()>;
}

impl Place for AtomicFile {
    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.put_at(offset, data)
    }
}

/// A file without a name.
impl Place for File {
    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_all_at(data, offset)
    }
}

impl<B> Draft<B> {
    fn new(bytes: B, name: String, bar: ProgressBar) -> Self {
        Self { bytes, name, bar, progress: Arc::new(LastNews::now()) }
    }

    /// When the last bytes came; to be watched from outside.
    pub(super) fn progress(&self) -> Arc<LastNews> {
        Arc::clone(&self.progress)
    }
}

impl Draft<AtomicFile> {
    /// For the file `path`, in whose folder it grows: a rename does not cross file systems.
    pub(super) fn beside(path: &Path, bar: ProgressBar) -> Result<Self, Failure> {
        fs::create_dir_all(folder_of(path)).map_err(|error| Failure::output(path, &error))?;
        // The mode of any new file; the umask takes away what the person wants it to.
        let file = AtomicFile::create(path, 0o666).map_err(written)?;
        Ok(Self::new(file, path.display().to_string(), bar))
    }

    /// Makes the draft the file `path`.
    pub(super) fn keep(self, path: &Path, force: bool) -> Result<(), Failure> {
        // Checked again: something may have appeared while the bytes came.
        may_write(path, force)?;
        self.bytes.commit(if force { Overwrite::Replace } else { Overwrite::Never }).map_err(written)
    }
}

impl Draft<File> {
    /// For standard output, which can't take bytes back: they wait in the system's folder
    /// for temporary files until all are verified.
    pub(super) fn spooled(bar: ProgressBar) -> Result<Self, Failure> {
        let file = tempfile::tempfile().map_err(|error| Failure::output(&std::env::temp_dir(), &error))?;
        // It is this file that can't be written, when it can't: standard output comes later.
        let name = format!("a temporary file in {}", std::env::temp_dir().display());
        Ok(Self::new(file, name, bar))
    }

    /// Writes the draft to standard output.
    pub(super) fn pour(mut self) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let poured = self.bytes.rewind().and_then(|()| io::copy(&mut self.bytes, &mut out));
        poured.and_then(|_| out.flush()).map_err(|error| Failure::stdout(&error))
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn written(error: WriteError) -> Failure {
    match error {
        WriteError::Exists { path } => Failure::exists(&path),
        error => Failure::new(ExitCode::Output, error),
    }
}

impl<B: Place> ChunkSink for Draft<B> {
    fn begin(&mut self, bytes: u64) -> io::Result<()> {
        self.bar.set_length(bytes);
        self.progress.touch();
        Ok(())
    }

    fn chunk(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.bytes.write_at(offset, data)?;
        self.bar.inc(data.len() as u64);
        self.progress.touch();
        Ok(())
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::row;
    use super::*;
    use crate::types::ContentId;

    fn draft(path: &Path) -> Draft<AtomicFile> {
        let mut draft = Draft::beside(path, ProgressBar::hidden()).unwrap();
        draft.begin(6).unwrap();
        // Chunks come in any order.
        draft.chunk(3, b"def").unwrap();
        draft.chunk(0, b"abc").unwrap();
        draft
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_file_is_there_complete_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        drop(draft(&path));
        assert_eq!(names(dir.path()), [""; 0], "nothing is left of what was given up");
        draft(&path).keep(&path, false).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abcdef");
        assert_eq!(names(dir.path()), ["a.jpg"]);
    }

    #[tokio::test]
    async fn nothing_is_overwritten_without_force() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        let late = draft(&path);
        fs::write(&path, "mine").unwrap();
        assert_eq!(late.keep(&path, false).unwrap_err().code, ExitCode::Output);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        draft(&path).keep(&path, true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abcdef");
        assert_eq!(names(dir.path()), ["a.jpg"]);
        assert_eq!(may_write(dir.path(), true).unwrap_err().code, ExitCode::Output, "a folder");
        assert_eq!(may_write(Path::new("/dev/null"), true).unwrap_err().code, ExitCode::Output);
    }

    #[test]
    fn an_output_is_a_stream_a_folder_or_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "").unwrap();
        let target = |output: &Path, many| Target::new(Some(output.as_os_str()), many);
        let new = dir.path().join("new");
        assert_eq!(Target::new(None, true), Ok(Target::Directory(".".into())));
        assert_eq!(target(Path::new("-"), false), Ok(Target::Stdout));
        assert_eq!(target(dir.path(), false), Ok(Target::Directory(dir.path().into())));
        assert_eq!(target(&new, false), Ok(Target::File(new.clone())));
        assert_eq!(target(&new, true), Ok(Target::Directory(new.clone())));
        assert!(matches!(target(Path::new("new/"), false), Ok(Target::Directory(_))));
        for bad in [Path::new("-"), &file] {
            assert_eq!(target(bad, true).unwrap_err().code, ExitCode::Usage);
        }
        let deep = Target::File(new.join("deep.jpg"));
        assert_eq!(deep.check(false).unwrap_err().code, ExitCode::Output);
    }

    #[test]
    fn a_file_is_compared_by_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        let mut row = row(1, b"a.jpg");
        (row.content, row.facts.bytes) = (ContentId(*blake3::hash(b"abc").as_bytes()), 3);
        assert!(!has_content(&path, &row));
        fs::write(&path, "abd").unwrap();
        assert!(!has_content(&path, &row));
        fs::write(&path, "abc").unwrap();
        assert!(has_content(&path, &row));
    }
}
