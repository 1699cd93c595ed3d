//! The few operations of a disk that the trash is made of, behind a trait: the tests put
//! in a disk that forgets what was not synced, and one that fails.

use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

use crate::store::files::sync_folder;
use crate::store::index::Fingerprint;
use crate::store::scan::fingerprint;
use crate::types::ContentId;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// A symbolic link, pipe, socket or device.
    Other,
}

/// What can be seen of a name without opening it. Links are not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// What it is.
    pub kind: Kind,
    /// Which state of it.
    pub fingerprint: Fingerprint,
    /// Names that the file has.
    pub links: u64,
}

impl Look {
    /// Whether both are the same file, whatever its names.
    #[must_use]
    pub fn is_same_file(&self, other: &Self) -> bool {
        let id = |look: &Self| (look.fingerprint.inode, look.fingerprint.device);
        id(self) == id(other)
    }

    /// Whether both are the same file with the same bytes, as far as can be told without
    /// reading them. Giving a file a name changes its ctime, so that is left out.
    #[must_use]
    pub fn is_same_state(&self, other: &Self) -> bool {
        let state = |look: &Self| (look.fingerprint.bytes, look.fingerprint.mtime_ns);
        self.is_same_file(other) && state(self) == state(other)
    }
}

/// A disk. Nothing is durable before it is synced: a file's bytes by
/// [`Disk::sync_file`], a folder's names by [`Disk::sync_dir`].
pub trait Disk: Debug + Send + Sync {
    /// Looks at a name.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, or the disk's.
    fn look(&self, path: &Path) -> io::Result<Look>;
    /// The names in a folder, in no order.
    ///
    /// # Errors
    /// The disk's.
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>>;
    /// Reads and hashes a regular file. The look was taken of the open file, before and
    /// after reading.
    ///
    /// # Errors
    /// `InvalidInput` when it is no regular file, `ResourceBusy` when it changed while it
    /// was read, or the disk's.
    fn hash(&self, path: &Path) -> io::Result<(ContentId, Look)>;
    /// Reads a file of at most `limit` bytes.
    ///
    /// # Errors
    /// `InvalidData` when it is longer, or the disk's.
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>>;
    /// Makes a folder.
    ///
    /// # Errors
    /// `AlreadyExists`, or the disk's.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;
    /// Removes an empty folder.
    ///
    /// # Errors
    /// The disk's.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Writes a file, new or replaced in place. After an error part of it may be there.
    ///
    /// # Errors
    /// The disk's.
    fn write(&self, path: &Path, data: &[u8]) -> io::Result<()>;
    /// Writes at the end of a file, which is made when it is missing. After an error part
    /// of it may be there.
    ///
    /// # Errors
    /// The disk's.
    fn append(&self, path: &Path, data: &[u8]) -> io::Result<()>;
    /// Makes a file's bytes durable.
    ///
    /// # Errors
    /// The disk's.
    fn sync_file(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// The disk's.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Renames a file, replacing what has the name.
    ///
    /// # Errors
    /// The disk's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Renames a file if nothing has the name.
    ///
    /// # Errors
    /// `AlreadyExists`, or the disk's.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name, if nothing has it.
    ///
    /// # Errors
    /// `AlreadyExists`; `Unsupported` on file systems without such links; or the disk's.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a name of a file.
    ///
    /// # Errors
    /// The disk's.
    fn unlink(&self, path: &Path) -> io::Result<()>;
}

/// The disk of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

fn look_of(meta: &fs::Metadata) -> Look {
    let kind = match () {
        () if meta.is_file() => Kind::File,
        () if meta.is_dir() => Kind::Dir,
        () => Kind::Other,
    };
    Look { kind, fingerprint: fingerprint(meta), links: meta.nlink() }
}

/// Opens a regular file; a link is not followed, and a pipe is not waited for.
fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

impl Disk for RealDisk {
    fn look(&self, path: &Path) -> io::Result<Look> {
        fs::symlink_metadata(path).map(|meta| look_of(&meta))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn hash(&self, path: &Path) -> io::Result<(ContentId, Look)> {
        let mut file = open(path)?;
        let before = look_of(&file.metadata()?);
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => drop(hasher.update(buffer.get(..count).unwrap_or_default())),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        if look_of(&file.metadata()?) != before {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "it changed while it was read"));
        }
        Ok((ContentId(*hasher.finalize().as_bytes()), before))
    }

    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        open(path)?.take((limit as u64).saturating_add(1)).read_to_end(&mut data)?;
        if data.len() > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {limit} bytes")));
        }
        Ok(data)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        // As private as the state: what a person threw away is nobody else's business.
        DirBuilder::new().mode(0o700).create(dir)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).custom_flags(flags);
        options.open(path)?.write_all(data)
    }

    fn append(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600).custom_flags(flags);
        options.open(path)?.write_all(data)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        open(path)?.sync_all()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        sync_folder(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).map_err(io::Error::from) {
            Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
                reserve_and_rename(from, to)
            }
            result => result,
        }
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        // Linux says "not permitted" of file systems without links (FAT).
        fs::hard_link(from, to).map_err(|e| match e.kind() {
            io::ErrorKind::PermissionDenied => io::Error::new(io::ErrorKind::Unsupported, e),
            _ => e,
        })
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// For kernels and file systems that can't rename without replacing: takes the name with
/// an empty file of our own, which nobody else can have made, and renames over that.
fn reserve_and_rename(from: &Path, to: &Path) -> io::Result<()> {
    File::create_new(to)?;
    fs::rename(from, to).inspect_err(|_| drop(fs::remove_file(to)))
}
