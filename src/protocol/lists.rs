//! The list of the swarm, and what one node holds for those that don't keep its catalog.

use libp2p::PeerId;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{CatalogEntry, is_false};
use crate::types::{CatalogHead, ContentId, Facts, FolderId, RelPath};

/// A piece of what one node holds, in the order of (image, content).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnPage {
    /// The node's folder: two nodes on one folder are one copy.
    pub folder: FolderId,
    /// The catalog's head when the page was read.
    pub head: CatalogHead,
    /// At most as many as were asked for; each with `held`.
    pub entries: Vec<CatalogEntry>,
    /// Where the next page starts; `None` at the end. 65 bytes: image and content of the last entry.
    pub next: Option<ByteBuf>,
}

/// A page of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListPage {
    /// At most [`MAX_PAGE_ENTRIES`](crate::limits::MAX_PAGE_ENTRIES).
    pub rows: Vec<ImageRow>,
    /// Where the next page starts; `None` at the end. A page may be short, even empty,
    /// and not be the last.
    pub next: Option<ByteBuf>,
    /// Nodes that should have been asked for this page and did not answer: what only they hold is
    /// not in it.
    #[serde(default)]
    pub silent: u32,
}

/// One content of the swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRow {
    /// The content.
    pub content: ContentId,
    /// What its bytes tell, as the first holder says.
    pub facts: Facts,
    /// Path in the folder of the first holder.
    pub path: RelPath,
    /// Live holders; the asked node first when it is one of them, then in the order of
    /// their ids. The catalog of each says that it holds the content.
    pub holders: Vec<PeerId>,
    /// Copies: trusted holders with different folders.
    pub copies: u32,
    /// A trusted one of the holders has it pinned.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pinned: bool,
}

/// One holder of a content, asked just now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderStatus {
    /// Who.
    pub peer: PeerId,
    /// Its path, when it answered that it holds the content.
    pub path: Option<RelPath>,
    /// It answered, and holds the content.
    pub confirmed: bool,
    /// Named by a provider record of the DHT.
    pub via_dht: bool,
    /// Named by its own catalog.
    pub via_catalog: bool,
}
