//! Where this user's p2pimg keeps what belongs to no single folder: the list of known
//! folders, the running nodes, the default swarm key.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::marker::{self, Malformed};
use super::{FolderError, make_private};
use crate::store::files::{AtomicFile, Overwrite};
use crate::types::FolderId;

/// The environment variable that puts both folders of [`Home`] elsewhere.
pub const HOME_VARIABLE: &str = "P2PIMG_HOME";

/// The folders of this user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    state: PathBuf,
    config: PathBuf,
}

impl Home {
    /// `$P2PIMG_HOME` when set (state and configuration together), else the places that
    /// the system has for them: `~/.local/state/p2pimg` and `~/.config/p2pimg` on Linux,
    /// below `~/Library/Application Support` on macOS.
    ///
    /// # Errors
    /// When the user has no home folder.
    pub fn of_user() -> Result<Self, FolderError> {
        if let Some(path) = std::env::var_os(HOME_VARIABLE).filter(|v| !v.is_empty()) {
            return Ok(Self::at(Path::new(&path)));
        }
        let state = dirs::state_dir().or_else(dirs::data_local_dir).ok_or(FolderError::NoHome)?;
        let config = dirs::config_dir().ok_or(FolderError::NoHome)?;
        Ok(Self { state: state.join("p2pimg"), config: config.join("p2pimg") })
    }

    /// Everything below `path`: for tests, containers and services.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { state: path.to_path_buf(), config: path.to_path_buf() }
    }

    /// Where a swarm key is found when no other is named.
    #[must_use]
    pub fn swarm_key_path(&self) -> PathBuf {
        self.config.join("swarm.key")
    }

    /// One file for each running node.
    pub(super) fn running(&self) -> PathBuf {
        self.state.join("running")
    }

    /// Takes the lock of a TCP port for a node of this user; `ResourceBusy` when another
    /// node has it. The lock is held as long as the file lives. `None` when locks can't be
    /// kept here: then only the kernel's own check is left.
    ///
    /// # Errors
    /// When another node of this user listens on the port.
    pub fn lock_port(&self, port: u16, ipv6: bool) -> io::Result<Option<fs::File>> {
        let folder = self.state.join("ports");
        let path = folder.join(format!("{port}-ip{}.lock", if ipv6 { 6 } else { 4 }));
        let opened =
            make_private(&folder).and_then(|()| fs::OpenOptions::new().create(true).append(true).open(&path));
        let Ok(file) = opened else { return Ok(None) };
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => {
                Err(io::Error::new(io::ErrorKind::ResourceBusy, "another node of this user has it"))
            }
            Err(fs::TryLockError::Error(_)) => Ok(None),
        }
    }

    /// The id that the folder at `dir` (canonical) had when a node last started on it.
    pub(super) fn known(&self, dir: &Path) -> Result<Option<FolderId>, FolderError> {
        let path = self.known_path(dir);
        match marker::read(&path) {
            Ok(id) => Ok(id),
            Err(Malformed::Io(source)) => {
                Err(FolderError::Io { what: "read the list of known folders", path, source })
            }
            Err(reason) => Err(FolderError::BadRecord { path, reason: reason.to_string() }),
        }
    }

    pub(super) fn remember(&self, dir: &Path, id: FolderId) -> Result<(), FolderError> {
        let path = self.known_path(dir);
        let fail = |source| FolderError::HomeNotWritable { path: self.state.clone(), source };
        make_private(path.parent().unwrap_or(&self.state)).map_err(fail)?;
        let note = format!("# The folder {:?} had this id when a node last started on it.\n", dir.display());
        marker::write(&path, id, &note, Overwrite::Replace).map_err(|e| fail(io::Error::other(e)))
    }

    pub(super) fn forget(&self, dir: &Path) -> Result<(), FolderError> {
        let path = self.known_path(dir);
        super::remove_if_there(&path).map_err(|source| FolderError::Io {
            what: "forget a known folder",
            path,
            source,
        })
    }

    /// One file a folder instead of one list, so that two nodes that start at the same
    /// moment can't overwrite each other's line. Named by a hash because a path is no
    /// file name.
    fn known_path(&self, dir: &Path) -> PathBuf {
        let name = blake3::hash(dir.as_os_str().as_bytes()).to_hex();
        self.state.join("folders").join(name.as_str())
    }

    /// Fails early when nothing can be remembered.
    pub(super) fn check_writable(&self) -> Result<(), FolderError> {
        let fail = |source| FolderError::HomeNotWritable { path: self.state.clone(), source };
        let folders = self.state.join("folders");
        make_private(&folders).map_err(fail)?;
        AtomicFile::create(&folders.join("probe"), 0o600).map(drop).map_err(|e| fail(io::Error::other(e)))?;
        Ok(())
    }
}

/// Reads a small text file; more than `limit` bytes are no such file.
pub(super) fn read_small(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
    }
    let mut data = Vec::new();
    fs::File::open(path)?.take(limit + 1).read_to_end(&mut data)?;
    if data.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {limit} bytes")));
    }
    Ok(data)
}
