//! Why a node does not start on a folder, and what the person can do.

use std::io;
use std::path::PathBuf;

use libp2p::PeerId;
use thiserror::Error;

use super::{HOME_VARIABLE, MARKER_NAME};
use crate::store::files::WriteError;
use crate::types::FolderId;

/// Why a node can't use a folder.
#[derive(Debug, Error)]
pub enum FolderError {
    /// No such folder.
    #[error("the folder {} does not exist", path.display())]
    Missing {
        /// As given.
        path: PathBuf,
    },
    /// A file or something else.
    #[error("{} is not a folder", path.display())]
    NotFolder {
        /// As given.
        path: PathBuf,
    },
    /// Not readable.
    #[error("can't read the folder {}: {source}", path.display())]
    NotReadable {
        /// As given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder is part of a state folder, or the other way round.
    #[error("{} can't be both photos and p2pimg's own state ({}): choose another folder or --state", path.display(), state.display())]
    IsState {
        /// The folder.
        path: PathBuf,
        /// The state.
        state: PathBuf,
    },
    /// The state folder is somebody's folder.
    #[error(
        "{} is not empty and not a node's state: nothing was changed. Choose an empty or new folder for --state",
        state.display()
    )]
    ForeignState {
        /// The folder named as state.
        state: PathBuf,
    },
    /// The state can't be written.
    #[error("can't write the state folder {}: {source} (--state chooses another place)", path.display())]
    StateNotWritable {
        /// The state folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another node has it.
    #[error("another node is using the state folder {} ({})", state.display(), pid.map_or("process unknown".to_owned(), |pid| format!("pid {pid}")))]
    Locked {
        /// The state folder.
        state: PathBuf,
        /// The other node's process.
        pid: Option<u32>,
    },
    /// A known folder without its marker.
    #[error(
        "the folder {} has lost its marker {MARKER_NAME}: is its drive mounted? Nothing was changed. \
         If the folder really is a new one, start with --new-folder; if only the marker was deleted, put it \
         back as two lines: 'p2pimg folder 1' and 'id {expected}'",
        path.display()
    )]
    MarkerMissing {
        /// The folder.
        path: PathBuf,
        /// The id it had.
        expected: FolderId,
    },
    /// A known folder with the marker of another.
    #[error(
        "{} is not the folder it was: its marker says {found}, {remembered_by} {expected}. Is the right drive \
         mounted? Nothing was changed. If this is intended, start with --new-folder",
        path.display()
    )]
    OtherFolder {
        /// The folder.
        path: PathBuf,
        /// The id in the marker.
        found: FolderId,
        /// The id it had.
        expected: FolderId,
        /// Who remembers `expected`.
        remembered_by: &'static str,
    },
    /// The marker can't be read.
    #[error("can't use the marker {}: {reason}", path.display())]
    BadMarker {
        /// The marker file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The marker can't be written.
    #[error(
        "can't write the marker {MARKER_NAME} into {}: {source}. It tells the folder from an empty mount \
         point; make the folder writable for the first start",
        path.display()
    )]
    MarkerNotWritable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: WriteError,
    },
    /// What is remembered of the folder is damaged.
    #[error("{} is unusable: {reason}. Remove it when you are sure that the folder is the right one", path.display())]
    BadRecord {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The identity is damaged.
    #[error(
        "the node's identity {} is unusable: {reason}. It was not changed; put back a copy of it, or move it \
         away to start as a new node",
        path.display()
    )]
    BadIdentity {
        /// The key file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A copied state folder.
    #[error(
        "another process runs as node {peer}: was the state folder copied? Remove identity.key from the copy"
    )]
    SameIdentity {
        /// The identity.
        peer: PeerId,
    },
    /// No home.
    #[error("this user has no home folder: set {HOME_VARIABLE} to a folder for p2pimg's own files")]
    NoHome,
    /// The list of known folders can't be written.
    #[error(
        "can't write {}, where p2pimg remembers which folders it knows: {source}. Set {HOME_VARIABLE} to a \
         folder that can be written",
        path.display()
    )]
    HomeNotWritable {
        /// The user's state folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the state can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Anything else.
    #[error("can't {what}: {}: {source}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
