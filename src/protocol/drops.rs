//! What nodes say to each other about duplicates and drops: descriptions, witnesses,
//! leases, history. The protocol is explained in `docs/drop-protocol.md`.

use libp2p::PeerId;
use serde::{Deserialize, Serialize};

use crate::types::{ContentId, Facts, ImageId, RelPath};

/// What a node decides by; part of `Hello`. Nodes that differ in `version` or `lease_s`
/// share pictures and never drop against each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decides {
    /// Version of everything that decides which version of a picture stays; 0: the node
    /// drops nothing and grants nothing.
    pub version: u32,
    /// Length of a lease in seconds.
    pub lease_s: u32,
    /// How many copies there should be of what this node holds.
    pub copies: u16,
}

/// What is known of a content without reading it again. What can be computed from the bytes
/// is a claim until the bytes are here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Which content.
    pub content: ContentId,
    /// What its bytes tell.
    pub facts: Facts,
    /// How little its encoding lost, in tenths of JPEG quality; 1001 is lossless.
    pub fidelity: u16,
    /// Which metadata it has: 4 capture time, 2 place, 1 camera.
    pub metadata: u8,
    /// Its signature is in the payload: 1,536 bytes for each description with one, in order.
    pub signature: bool,
    /// Somebody wants it kept.
    pub pinned: bool,
    /// Contents that it is an edit of, or that are edits of it. At most
    /// [`MAX_EDITS`](crate::limits::MAX_EDITS).
    pub edits: Vec<ContentId>,
    /// It was edited more often than that: never to be merged with anything.
    pub edited_often: bool,
    /// How many contents have gone for it.
    pub witnesses: u16,
}

/// A content that has gone for a keeper. Its signature (1,536 bytes) and its pixel planes
/// (73,728 bytes) are in the payload, one witness after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessFacts {
    /// Which content.
    pub content: ContentId,
    /// What its bytes told.
    pub facts: Facts,
    /// As in [`Description`].
    pub fidelity: u16,
    /// As in [`Description`].
    pub metadata: u8,
}

/// Why a lease is not granted. Any of them keeps the file of who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Denial {
    /// The asker is no trusted member, or decides by another version.
    NotTrusted,
    /// Asker and holder, or the holder and another member, share one folder: one copy.
    SharedFolder,
    /// There is no committed, readable copy here. The trash is none.
    NotHeld,
    /// The holder is about to drop its copy itself.
    Intends,
    /// As the holder sees it, too few copies would be left.
    BelowCopies,
    /// The content would have to carry too many witnesses.
    TooManyWitnesses,
    /// Too many leases are out.
    Busy,
}

/// Why a file left its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropCause {
    /// A better version, or the same bytes, are in the same folder.
    LocalDuplicate,
    /// A better version is in the swarm.
    Superseded,
    /// More copies than asked for.
    Excess,
    /// A person removed it.
    Removed,
    /// Its disk changed its bytes, and the good ones took its place.
    Damaged,
}

/// A file that left a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// Its bytes.
    pub loser: ContentId,
    /// Its picture.
    pub image: ImageId,
    /// What it went for.
    pub keeper: Option<ContentId>,
    /// Why.
    pub cause: DropCause,
    /// What was measured, by name, for people.
    pub numbers: Vec<(String, String)>,
    /// Where it was.
    pub path: RelPath,
    /// When, in seconds since 1970.
    pub at: u64,
    /// Its name in the node's trash, while it is there.
    pub trash: Option<String>,
    /// Who held the keeper then.
    pub holders: Vec<PeerId>,
}
