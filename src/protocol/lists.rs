//! What a node holds, in the order of the list, for those that don't keep its catalog.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::CatalogEntry;
use crate::types::{CatalogHead, FolderId};

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
