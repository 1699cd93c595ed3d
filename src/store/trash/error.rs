//! What can go wrong with the trash.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::entry::{EntryId, TooLarge};
use crate::store::folder::FolderError;
use crate::types::{ContentId, RelPath};

/// An operation of the disk that failed.
#[derive(Debug, Error)]
#[error("can't {what}: {}: {source}", path.display())]
pub struct DiskError {
    /// What was being done.
    pub what: &'static str,
    /// To what.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl DiskError {
    /// For `map_err`.
    pub(super) fn at<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Self + use<'a> {
        move |source| Self { what, path: path.to_path_buf(), source }
    }

    /// The folder can't be written, by this user or by anybody.
    fn is_read_only(&self) -> bool {
        use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        matches!(self.source.kind(), PermissionDenied | ReadOnlyFilesystem)
    }
}

/// Why an operation on the trash failed.
#[derive(Debug, Error)]
pub enum TrashError {
    /// The folder is away, or another one.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Another process uses the trash of this folder.
    #[error(
        "another node drops and restores files of {} already; this one only reports duplicates", path.display()
    )]
    InUse {
        /// The user's folder.
        path: PathBuf,
    },
    /// No place for a trash on the folder's file system.
    #[error(
        "no trash can be kept for {}: {} is on another drive, and files are never copied to drop them; \
         duplicates are only reported", folder.display(), trash.display()
    )]
    OtherDevice {
        /// The user's folder.
        folder: PathBuf,
        /// Where the trash would be.
        trash: PathBuf,
    },
    /// There is no such entry.
    #[error("nothing in the trash is called {id}; `p2pimg trash list` shows what there is")]
    NoEntry {
        /// Its name.
        id: EntryId,
    },
    /// The entry can't be used as it is.
    #[error("{id} in the trash was left as it is: {problem}")]
    Damaged {
        /// Its name.
        id: EntryId,
        /// What is wrong, and what can be done.
        problem: String,
    },
    /// Somebody is at it.
    #[error("{id} in the trash is in use at this moment; try again later")]
    Busy {
        /// Its name.
        id: EntryId,
    },
    /// The proof of the keeper has other limits.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl TrashError {
    /// Whether the folder can be looked at only: duplicates are reported, nothing is
    /// dropped.
    #[must_use]
    pub fn is_report_only(&self) -> bool {
        match self {
            Self::InUse { .. } | Self::OtherDevice { .. } => true,
            Self::Disk(e) => e.is_read_only(),
            _ => false,
        }
    }
}

/// Why a file was not dropped. Except for [`DropError::Stuck`] it is where it was.
#[derive(Debug, Error)]
pub enum DropError {
    /// The folder is away, or another one.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The file is not what the decision was made on.
    #[error("{path} changed since it was looked at, and was not dropped")]
    Changed {
        /// The file.
        path: RelPath,
    },
    /// No regular file in real folders.
    #[error("{path} was not dropped: {problem}")]
    NotDroppable {
        /// The file.
        path: RelPath,
        /// Why.
        problem: &'static str,
    },
    /// The file has more names.
    #[error(
        "{path} was not dropped: the file has {links} names (hard links), so that would free nothing, and a \
         program that writes to the other names would change the trash"
    )]
    Linked {
        /// The file.
        path: RelPath,
        /// Its names.
        links: u64,
    },
    /// A person wants the content kept.
    #[error("{path} was not dropped: its content {content} is pinned")]
    Pinned {
        /// The file.
        path: RelPath,
        /// Its content.
        content: ContentId,
    },
    /// The keeper can't be proved.
    #[error("{path} was not dropped: {keeper}, which would stay instead, {problem}")]
    Keeper {
        /// The file.
        path: RelPath,
        /// The file to stay.
        keeper: RelPath,
        /// What is wrong with it.
        problem: String,
    },
    /// No keeper, and nobody asked for the removal.
    #[error("{path} was not dropped: nothing would stay in its place")]
    NoKeeper {
        /// The file.
        path: RelPath,
    },
    /// Limits of the description.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file could not be put back where it was: it is in the trash, and the next start
    /// tries again.
    #[error("{path} is still in the trash as {id} ({cause}); putting it back failed: {problem}")]
    Stuck {
        /// The file.
        path: RelPath,
        /// Its entry.
        id: EntryId,
        /// Why it was not to be dropped.
        cause: String,
        /// Why it is not back.
        problem: Box<TrashError>,
    },
}

impl DropError {
    /// Whether files of this part of the folder can only be reported.
    #[must_use]
    pub fn is_report_only(&self) -> bool {
        match self {
            Self::Disk(e) => e.is_read_only() || e.source.kind() == io::ErrorKind::CrossesDevices,
            Self::NotDroppable { .. } | Self::Linked { .. } | Self::Pinned { .. } => true,
            _ => false,
        }
    }
}
