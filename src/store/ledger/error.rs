//! What can go wrong with the ledger, and what the person can do.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::limits::MAX_WITNESSES;
use crate::store::database::{self, Sorted};
use crate::types::ContentId;

/// Why the ledger could not do something. Nothing of the operation took effect.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// Another process has it open.
    #[error("the ledger {file} is in use: another node runs on this folder")]
    InUse {
        /// The database file.
        file: PathBuf,
    },
    /// Made by a newer program.
    #[error(
        "the ledger {file} has format {found}, this program knows formats up to {known}: use the newer \
         p2pimg that wrote it"
    )]
    Newer {
        /// The database file.
        file: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format that this program can read.
        known: u64,
    },
    /// Not a ledger, or damaged.
    #[error(
        "the ledger {file} can't be read ({reason}): put back a copy of it, or move it away and let a new one \
         begin, which does not know what was dropped for what and which picture is an edit of which"
    )]
    Damaged {
        /// The database file.
        file: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The disk, or the permission to use it, failed.
    #[error("{doing} in the ledger {file} failed: {source}; start the node again when the disk is well")]
    Storage {
        /// What was being done.
        doing: &'static str,
        /// The database file.
        file: PathBuf,
        /// The cause.
        #[source]
        source: Box<redb::Error>,
    },
    /// A keeper would carry more than is remembered.
    #[error("{MAX_WITNESSES} pictures have gone for {keeper} already: nothing more may go for it")]
    TooMany {
        /// Which one.
        keeper: ContentId,
    },
}

/// What the inner functions return: an error that doesn't know the file yet.
pub(super) type Fault = database::Fault<LedgerError>;

impl Fault {
    /// The public error for `file`, while `doing` something.
    pub(super) fn at(self, file: &Path, doing: &'static str) -> LedgerError {
        let file = file.to_owned();
        match self.sorted() {
            Sorted::Refused(error) => *error,
            Sorted::InUse => LedgerError::InUse { file },
            Sorted::Newer { found, known } => LedgerError::Newer { file, found, known },
            Sorted::Damaged(reason) => LedgerError::Damaged { file, reason },
            Sorted::Storage(source) => LedgerError::Storage { doing, file, source },
        }
    }
}
