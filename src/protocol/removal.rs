//! Removing a picture from the whole swarm: what a person's node tells the others, and what they
//! tell those that were away.

use libp2p::PeerId;
use serde::{Deserialize, Serialize};

use crate::types::{ContentId, Epoch, Seq};

/// One copy that a person had removed: a tombstone. It is about the copy that its holder had up
/// to a position of its catalog; what the holder got later is another one, and stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// What.
    pub content: ContentId,
    /// At which node.
    pub peer: PeerId,
    /// The life of its catalog.
    pub epoch: Epoch,
    /// How far the catalog was known when the removal was ordered.
    pub seq: Seq,
    /// When it was ordered, in milliseconds since 1970. A later one replaces an earlier one.
    pub at: u64,
    /// By which node.
    pub by: PeerId,
    /// The holder keeps this copy: it is not to be removed, and is a copy like any other.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub spared: bool,
}

/// What became of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovalEnd {
    /// Its files are in the trash.
    Removed,
    /// It holds no such copy any more.
    NotHere,
    /// It will, as soon as nothing stands in the way; nobody has to ask again.
    Later,
    /// It is away, and will be told when it comes back.
    Away,
    /// It won't: the copy is pinned or to be kept, or too many would go.
    Spared,
}

/// What one node did about one removal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovalAnswer {
    /// What.
    pub content: ContentId,
    /// Which node.
    pub peer: PeerId,
    /// What became of it.
    pub end: RemovalEnd,
    /// Files that are in its trash now.
    pub files: u32,
    /// For people; why it did less.
    pub why: Option<String>,
}
