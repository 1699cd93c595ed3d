//! What goes into the index and what comes out.

use libp2p::PeerId;
use serde::{Deserialize, Serialize};

use crate::dht_index::keys::OwnKey;
use crate::picture::Signature;
use crate::picture::quality::Encoding;
use crate::picture::same::{Edits, Known};
use crate::transfer::outline::Outline;
use crate::types::{CatalogHead, ContentId, Facts, FolderId, ImageId, RelPath};

/// What tells that a file is still the one that was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Length.
    pub bytes: u64,
    /// Last change of the bytes, in nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Last change of the inode: unlike `mtime_ns`, no program can set it back.
    pub ctime_ns: i128,
    /// Inode number.
    pub inode: u64,
    /// Device number.
    pub device: u64,
}

/// One file of the folder, as last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// Which state of the file was looked at.
    pub fingerprint: Fingerprint,
    /// What it was.
    pub kind: FileKind,
}

/// What a file is. Everything that was opened is remembered, so that it isn't opened again
/// at the next start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A picture of a format that p2pimg knows.
    Picture {
        /// Its bytes.
        content: ContentId,
        /// Why it is not decoded, or that it is damaged.
        problem: Option<String>,
    },
    /// A photo or video of a type that is not handled.
    Unprotected {
        /// The type, for people.
        kind: String,
    },
    /// Anything else.
    NotPicture {
        /// Set when its name announces a picture, or when it can't be read.
        problem: Option<String>,
    },
    /// A picture whose bytes its disk has changed: see `store::recording`. This node does not
    /// hold the content any more, and does not take up what the file is now.
    Damaged {
        /// What it was, and ought to be.
        content: ContentId,
        /// For people.
        problem: String,
    },
}

impl FileKind {
    /// Its content, when it is a picture.
    #[must_use]
    pub fn content(&self) -> Option<ContentId> {
        match self {
            Self::Picture { content, .. } => Some(*content),
            Self::Unprotected { .. } | Self::NotPicture { .. } | Self::Damaged { .. } => None,
        }
    }

    /// What is to be reported about the file.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::Picture { problem, .. } | Self::NotPicture { problem } => problem.as_deref(),
            Self::Damaged { problem, .. } => Some(problem),
            Self::Unprotected { .. } => None,
        }
    }
}

/// What a content is, independent of where it lies.
#[derive(Clone, PartialEq, Eq)]
pub struct ContentRecord {
    /// What its bytes tell.
    pub facts: Facts,
    /// How it is encoded. Means nothing as long as there is no `signature`.
    pub encoding: Encoding,
    /// The chaining values of its chunks, verified.
    pub outline: Outline,
    /// For comparing it with another; none when it was not decoded, or not looked at again
    /// since an older version of the program indexed it.
    pub signature: Option<Signature>,
    /// The files that have these bytes, in byte order; none for a replica only. At most
    /// [`MAX_PAGE_ENTRIES`](crate::limits::MAX_PAGE_ENTRIES): any one of them serves.
    pub paths: Vec<RelPath>,
    /// The path that others are told: the first, or the one that a replica once had.
    pub path: RelPath,
    /// A replica is there too, or instead of files.
    pub replica: bool,
}

impl ContentRecord {
    /// What comparing it with another needs, but for its edits: those are the ledger's.
    #[must_use]
    pub fn known(&self) -> Known {
        Known {
            content: self.outline.content(),
            facts: self.facts.clone(),
            encoding: self.encoding,
            signature: self.signature.clone(),
            edits: Edits::default(),
        }
    }
}

/// One change of what this node holds.
#[allow(clippy::large_enum_variant)] // short-lived, in batches, and nearly all of the large kind
pub enum Change {
    /// A file is there, and was looked at.
    Seen {
        /// Where.
        path: RelPath,
        /// Which state of it was looked at.
        fingerprint: Fingerprint,
        /// What it is.
        found: Found,
    },
    /// A file is there no more.
    Gone {
        /// Where it was.
        path: RelPath,
    },
    /// A replica is there, verified.
    Replica {
        /// What its bytes tell.
        facts: Facts,
        /// How it is encoded.
        encoding: Encoding,
        /// Its chaining values.
        outline: Outline,
        /// None when it was not decoded.
        signature: Option<Signature>,
        /// The path that it once had.
        path: RelPath,
    },
    /// A replica is there no more. Files with the same bytes stay.
    ReplicaGone {
        /// Its content.
        content: ContentId,
    },
}

/// What looking at a file gave; see [`FileKind`].
#[allow(missing_docs)]
pub enum Found {
    Picture {
        facts: Facts,
        encoding: Encoding,
        outline: Outline,
        signature: Option<Signature>,
        problem: Option<String>,
    },
    Unprotected {
        kind: String,
    },
    NotPicture {
        problem: Option<String>,
    },
    Damaged {
        content: ContentId,
        problem: String,
    },
}

/// What a batch of changes did to this node's catalog.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Contents that were not here before, in the order of their ids. A content whose
    /// picture was recognised differently is removed and added.
    pub added: Vec<(ImageId, ContentId)>,
    /// Contents that are not here any more.
    pub removed: Vec<(ImageId, ContentId)>,
    /// Keys of the DHT that came (`true`) or went with them, in order: several contents may have
    /// the same.
    pub keys: Vec<(OwnKey, bool)>,
    /// Pictures that were changed in place, one pair (before, after) for each path, in the
    /// order of the changes. The two are versions that a person made of each other, never
    /// each other's duplicate.
    pub edited: Vec<(ContentId, ContentId)>,
    /// Files that were found damaged and were not known to be, with what they ought to be.
    pub damaged: Vec<(RelPath, ContentId)>,
    /// The catalog's new head, when it changed. Also set when only paths changed.
    pub head: Option<CatalogHead>,
}

/// What this node holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Contents of the folder, whether there is a replica as well or not.
    pub images: u64,
    /// Bytes of these contents, each counted once.
    pub bytes: u64,
    /// Replicas, whether their contents are in the folder as well or not.
    pub replicas: u64,
    /// Bytes that they take.
    pub replica_bytes: u64,
    /// Photos and videos of types not handled.
    pub unprotected: u64,
    /// Files with a problem.
    pub problems: u64,
    /// Files that their disk has damaged; they are among `problems`.
    pub damaged: u64,
}

/// What became of a page of a peer's catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageOutcome {
    /// It went in.
    Applied {
        /// All that the peer's catalog had then is known now.
        complete: bool,
    },
    /// It doesn't start at the position that is known: a repeated or overtaken answer. Ask
    /// again from [`Index::peer_position`](super::Index::peer_position).
    Ignored,
}

/// Who has a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copies {
    /// Trusted nodes that are there, with their folders; this node first when it is one of
    /// them. Two on one folder are one copy.
    pub holders: Vec<(PeerId, FolderId)>,
    /// One of them has it pinned: it is a keeper everywhere.
    pub pinned: bool,
}
