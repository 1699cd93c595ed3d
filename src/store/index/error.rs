//! What can go wrong with the index, and what the person can do.

use std::path::{Path, PathBuf};

use libp2p::PeerId;
use thiserror::Error;

use crate::store::database::{self, Sorted};

/// Why the index could not do something. Nothing of the operation took effect.
#[derive(Debug, Error)]
pub enum IndexError {
    /// Another process has it open.
    #[error("the index {file} is in use: another node runs on this folder")]
    InUse {
        /// The database file.
        file: PathBuf,
    },
    /// Made by a newer program.
    #[error(
        "the index {file} has format {found}, this program knows formats up to {known}: use the newer \
         p2pimg that wrote it, or remove the file (a scan makes it anew)"
    )]
    Newer {
        /// The database file.
        file: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format that this program can read.
        known: u64,
    },
    /// Not an index, or damaged.
    #[error("the index {file} can't be read ({reason}): remove the file, a scan makes it anew")]
    Damaged {
        /// The database file.
        file: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The disk, or the permission to use it, failed.
    #[error("{doing} in the index {file} failed: {source}")]
    Storage {
        /// What was being done.
        doing: &'static str,
        /// The database file.
        file: PathBuf,
        /// The cause.
        #[source]
        source: Box<redb::Error>,
    },
    /// A peer's catalog page breaks the protocol.
    #[error("{peer} sent a catalog page that makes no sense: {reason}")]
    BadPage {
        /// Who sent it.
        peer: PeerId,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A peer's catalog is longer than anything p2pimg is made for.
    #[error("the catalog of {peer} has more than {limit} entries: the rest of it is not listed")]
    CatalogTooLong {
        /// Whose.
        peer: PeerId,
        /// The limit.
        limit: u64,
    },
    /// The position of a list page is not one that this program gave out.
    #[error("the position in the list is not valid: start the list again")]
    BadCursor,
}

/// What the inner functions return: an error that doesn't know the file yet.
pub(super) type Fault = database::Fault<IndexError>;

impl Fault {
    /// The public error for `file`, while `doing` something.
    pub(super) fn at(self, file: &Path, doing: &'static str) -> IndexError {
        let file = file.to_owned();
        match self.sorted() {
            Sorted::Refused(error) => *error,
            Sorted::InUse => IndexError::InUse { file },
            Sorted::Newer { found, known } => IndexError::Newer { file, found, known },
            Sorted::Damaged(reason) => IndexError::Damaged { file, reason },
            Sorted::Storage(source) => IndexError::Storage { doing, file, source },
        }
    }
}
