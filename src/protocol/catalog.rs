//! What a node tells of what it holds.

use serde::{Deserialize, Serialize};

use super::is_false;
use crate::types::{CatalogHead, ContentId, Facts, RelPath, Seq};

/// A piece of a catalog, in the order of sequence numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogPage {
    /// The catalog's present head. When its epoch is not the one asked for, or its `seq`
    /// is below `after`, the catalog began anew: `entries` start from the beginning, and
    /// what was known before is void.
    pub head: CatalogHead,
    /// The entries after `from` are complete up to and including this position.
    pub upto: Seq,
    /// The position this page starts after: the `after` asked for, or 0.
    pub from: Seq,
    /// Changes. At most [`MAX_PAGE_ENTRIES`](crate::limits::MAX_PAGE_ENTRIES).
    pub entries: Vec<CatalogEntry>,
}

/// The last change of one content in a node's catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogEntry {
    /// Position of the change.
    pub seq: Seq,
    /// The content.
    pub content: ContentId,
    /// What the node holds; `None`: it holds this content no more.
    pub held: Option<Held>,
}

/// A content as its holder describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// What its bytes tell.
    pub facts: Facts,
    /// Where it is in the holder's folder (the first path in byte order, when several
    /// files have these bytes).
    pub path: RelPath,
    /// In how many files of the folder these bytes are; 0 for a replica.
    pub files: u32,
    /// The node keeps it for the swarm: it is no file of its folder, and `path` is the one
    /// it once had.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replica: bool,
    /// Somebody there wants it kept: it is a keeper everywhere.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pinned: bool,
}
