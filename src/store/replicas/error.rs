//! What can go wrong with a replica.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::limits::{MAX_CONTENT_BYTES, MAX_REPLICAS};
use crate::types::ContentId;

/// Why an operation on a replica failed. What was there before is still there.
#[derive(Debug, Error)]
pub enum ReplicaError {
    /// No room beside the reserve.
    #[error("no room for a replica of {bytes} bytes: {room} are free beside the reserve; free some space")]
    NoRoom {
        /// Its length.
        bytes: u64,
        /// What it may have.
        room: u64,
    },
    /// The disk is full all the same.
    #[error("no space left for {}: free some room", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// As many as there may be.
    #[error("this node keeps {MAX_REPLICAS} replicas already, and takes no more")]
    TooMany,
    /// Longer than any content.
    #[error("a content of {bytes} bytes is more than the {MAX_CONTENT_BYTES} that p2pimg handles")]
    TooLong {
        /// Its length.
        bytes: u64,
    },
    /// Bytes beyond the end that was announced.
    #[error("bytes up to {end} came for content {content}, which has {bytes}")]
    Outside {
        /// The content.
        content: ContentId,
        /// Where they would end.
        end: u64,
        /// Its length.
        bytes: u64,
    },
    /// What was received is something else.
    #[error("what was received is not content {content}, and was removed")]
    Wrong {
        /// The content.
        content: ContentId,
    },
    /// Somebody is at it.
    #[error("the replica {content} is in use at this moment; try again later")]
    Busy {
        /// The content.
        content: ContentId,
    },
    /// There is none.
    #[error("there is no replica of {content}")]
    Missing {
        /// The content.
        content: ContentId,
    },
    /// Its bytes are not the content's any more.
    #[error("the replica {} is damaged, and was not removed", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Every name that it could have in a folder is taken.
    #[error("no name is free in {}", folder.display())]
    NoName {
        /// The folder.
        folder: PathBuf,
    },
    /// The disk failed.
    #[error("can't {what} {}: {source}", path.display())]
    Disk {
        /// What was being done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// For `map_err`.
pub(super) fn at<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> ReplicaError + use<'a> {
    move |source| {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ReplicaError::Full { path },
            _ => ReplicaError::Disk { what, path, source },
        }
    }
}
