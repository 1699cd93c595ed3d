//! A file that appears whole, under its name, or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use thiserror::Error;

use super::write_back::WriteBack;

/// What the names of temporary files begin with. A scan skips such files, and a person
/// who finds one after a power cut knows whose it is.
pub const TEMP_PREFIX: &str = ".p2pimg-";

/// What to do when the target exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// Fail, and leave it as it is.
    Never,
    /// Replace it.
    Replace,
}

/// Why a file could not be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// No room.
    #[error("no space left for {}: free some room and try again", path.display())]
    Full {
        /// The file to be written.
        path: PathBuf,
    },
    /// The target is there already.
    #[error("{} exists already; it was not changed", path.display())]
    Exists {
        /// The file to be written.
        path: PathBuf,
    },
    /// The target's folder is missing.
    #[error("can't write {}: its folder does not exist", path.display())]
    NoFolder {
        /// The file to be written.
        path: PathBuf,
    },
    /// The target is a folder.
    #[error("can't write {}: it is a folder", path.display())]
    IsFolder {
        /// The file to be written.
        path: PathBuf,
    },
    /// Anything else.
    #[error("can't write {}: {source}", path.display())]
    Io {
        /// The file to be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl WriteError {
    fn new(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            io::ErrorKind::AlreadyExists => Self::Exists { path },
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NoFolder { path },
            io::ErrorKind::IsADirectory => Self::IsFolder { path },
            _ => Self::Io { path, source },
        }
    }
}

/// A file being written beside its target, under a temporary name; dropped without
/// [`AtomicFile::commit`], it is removed.
///
/// It lies in the target's own folder because only there a rename is sure to stay on one
/// file system. (A nameless `O_TMPFILE` would leave nothing behind after a power cut, but
/// can't replace an existing file and is missing on several file systems.)
#[derive(Debug)]
pub struct AtomicFile {
    temp: NamedTempFile,
    target: PathBuf,
    back: WriteBack,
}

impl AtomicFile {
    /// Starts a file that will be `target`, with permission bits `mode` less the umask.
    ///
    /// # Errors
    /// When the target is a folder or its folder can't be written.
    pub fn create(target: &Path, mode: u32) -> Result<Self, WriteError> {
        Self::with_prefix(target, mode, TEMP_PREFIX)
    }

    /// Like [`AtomicFile::create`], with the beginning of the temporary name, for files
    /// whose leftovers are looked for at the next start.
    ///
    /// # Errors
    /// Like [`AtomicFile::create`].
    pub fn with_prefix(target: &Path, mode: u32, prefix: &str) -> Result<Self, WriteError> {
        if target.is_dir() {
            return Err(WriteError::IsFolder { path: target.to_path_buf() });
        }
        let temp = tempfile::Builder::new()
            .prefix(prefix)
            .suffix(".tmp")
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(folder_of(target))
            .map_err(|e| WriteError::new(target, e))?;
        Ok(Self { temp, target: target.to_path_buf(), back: WriteBack::default() })
    }

    /// Writes `data` at `offset`; chunks may come in any order.
    ///
    /// # Errors
    /// [`WriteError::Full`] and other errors of the disk.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), WriteError> {
        self.put_at(offset, data).map_err(|e| WriteError::new(&self.target, e))
    }

    /// Like [`AtomicFile::write_at`], with the system's own words.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn put_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.temp.as_file().write_all_at(data, offset)?;
        self.back.wrote(self.temp.as_file(), data.len());
        Ok(())
    }

    /// The file under its temporary name, to read back what was written.
    #[must_use]
    pub fn file(&self) -> &File {
        self.temp.as_file()
    }

    /// Makes the bytes durable, then gives them their name, then makes the name durable.
    /// After an error nothing of the new file is left, unless only the folder could not be
    /// synced: then it is there, and its name may not outlive a power cut.
    ///
    /// # Errors
    /// [`WriteError::Exists`] under [`Overwrite::Never`], else errors of the disk.
    pub fn commit(self, overwrite: Overwrite) -> Result<(), WriteError> {
        let Self { temp, target, .. } = self;
        let fail = |e| WriteError::new(&target, e);
        temp.as_file().sync_all().map_err(fail)?;
        match overwrite {
            Overwrite::Replace => temp.persist(&target).map(drop).map_err(|e| fail(e.error))?,
            Overwrite::Never => match temp.persist_noclobber(&target) {
                Ok(_) => {}
                Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => return Err(fail(e.error)),
                Err(e) => reserve_and_rename(e.file, &target).map_err(fail)?,
            },
        }
        sync_folder(folder_of(&target)).map_err(fail)
    }

    /// Gives the bytes their name, in place of what has it, and leaves it to the system when they are
    /// durable: after a power cut the file may be there and empty. For what can do without.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn commit_without_sync(self) -> Result<(), WriteError> {
        let Self { temp, target, .. } = self;
        temp.persist(&target).map(drop).map_err(|e| WriteError::new(&target, e.error))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.temp.as_file_mut().write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temp.as_file_mut().flush()
    }
}

/// For file systems that know neither hard links nor a rename that does not replace (FAT
/// on older kernels): takes the name with an empty file of our own, which nobody else can
/// have made, and renames over that.
fn reserve_and_rename(temp: NamedTempFile, target: &Path) -> io::Result<()> {
    File::create_new(target)?;
    temp.persist(target).map(drop).map_err(|e| {
        // Only while it is ours: somebody may have put something there meanwhile.
        if fs::metadata(target).is_ok_and(|meta| meta.len() == 0) {
            let _ = fs::remove_file(target);
        }
        e.error
    })
}

fn folder_of(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the names in a folder durable. File systems that can't (some network and FUSE
/// ones) say so with `InvalidInput` or `Unsupported`; there is nothing more to do there.
///
/// # Errors
/// Errors of the disk.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn chunks_in_any_order_make_the_file_and_nothing_is_seen_before() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out.jpg");
        let file = AtomicFile::create(&target, 0o640).unwrap();
        file.write_at(5, b"world").unwrap();
        file.write_at(0, b"hello").unwrap();
        assert!(!target.exists());
        assert!(names(dir.path())[0].starts_with(TEMP_PREFIX));
        file.commit(Overwrite::Never).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"helloworld");
        assert_eq!(names(dir.path()), ["out.jpg"]);
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o137, 0);
    }

    #[test]
    fn an_existing_file_is_replaced_only_when_told() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out.jpg");
        fs::write(&target, "old").unwrap();
        let mut file = AtomicFile::create(&target, 0o600).unwrap();
        file.write_all(b"new").unwrap();
        assert!(matches!(file.commit(Overwrite::Never), Err(WriteError::Exists { .. })));
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["out.jpg"], "no leftover");

        let mut file = AtomicFile::create(&target, 0o600).unwrap();
        file.write_all(b"new").unwrap();
        file.commit(Overwrite::Replace).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }

    #[test]
    fn the_fallback_does_not_replace_either() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out.jpg");
        let temp = || NamedTempFile::new_in(dir.path()).unwrap();
        reserve_and_rename(temp(), &target).unwrap();
        fs::write(&target, "old").unwrap();
        let error = reserve_and_rename(temp(), &target).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["out.jpg"]);
    }

    #[test]
    fn a_dropped_file_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = AtomicFile::create(&dir.path().join("out.jpg"), 0o600).unwrap();
        file.write_at(0, b"half").unwrap();
        drop(file);
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let missing = AtomicFile::create(&dir.path().join("no/out.jpg"), 0o600);
        assert!(matches!(missing, Err(WriteError::NoFolder { .. })));
        assert!(matches!(AtomicFile::create(dir.path(), 0o600), Err(WriteError::IsFolder { .. })));
        // The real error of a full disk, as far as it can be had without one.
        #[cfg(target_os = "linux")]
        {
            let full = File::options().write(true).open("/dev/full").unwrap().write_all(b"x").unwrap_err();
            assert!(matches!(WriteError::new(Path::new("a.jpg"), full), WriteError::Full { .. }));
        }
    }
}
