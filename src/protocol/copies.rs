//! What nodes tell each other about copies: what a member keeps for the swarm, and offers.

use serde::{Deserialize, Serialize};

use crate::types::{ContentId, RelPath, Zone};

/// What a node tells of its room for copies.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Keeps {
    /// Its share of the copies, in steps of placement; 0: it did not say.
    #[serde(default)]
    pub weight: u16,
    /// Where it stands: copies go to different zones when there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Zone>,
    /// It takes offers. A node of an earlier version does not know them.
    #[serde(default)]
    pub takes: bool,
    /// It is about to leave: its copies do not count any more.
    #[serde(default)]
    pub draining: bool,
    /// Bytes that it has room for, when it said so: for people. Whether it takes a content is its
    /// answer to the offer.
    #[serde(default)]
    pub room: u64,
}

/// A content that lacks copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// Which.
    pub content: ContentId,
    /// Its length.
    pub bytes: u64,
    /// Where the node that offers it has, or once had, it.
    pub path: RelPath,
    /// Copies that count, as this node sees it.
    pub copies: u16,
    /// It has witnesses, which come with it.
    pub carries: bool,
}

/// What the member that was asked does about one offered content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OfferAnswer {
    /// It fetches it; the catalog tells when it is there.
    Coming,
    /// It has it.
    Held,
    /// Its queue is full: later.
    Busy,
    /// It has no room for it.
    Full,
    /// It doesn't want it: it is about to drop it, or to leave, or somebody removed it.
    Unwanted,
}

/// All contents that this node knows of, by how many copies they have: at trusted members that
/// are connected, whose catalogs say so, in different folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Census {
    /// All of them.
    pub contents: u64,
    /// Only at members that are away.
    pub none: u64,
    /// One copy.
    pub one: u64,
    /// Two.
    pub two: u64,
    /// More.
    pub more: u64,
    /// With fewer copies than are asked for.
    pub short: u64,
    /// Of these, the ones whose missing copies are expected to come back with their holder.
    pub awaited: u64,
}

/// How the copies stand.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CopiesStatus {
    /// Copies that this node asks for.
    pub wanted: u16,
    /// What the last survey saw; nothing before the first.
    pub census: Option<Census>,
    /// Seconds since it began.
    pub surveyed_s: Option<u64>,
    /// Own contents with too few copies.
    pub short: u64,
    /// Those of them that no member that is there can take.
    pub without_taker: u64,
    /// Contents that come to this node: waiting or being fetched, and their bytes.
    pub incoming: u64,
    /// See `incoming`.
    pub incoming_bytes: u64,
    /// Copies fetched since the node started, and their bytes.
    pub taken: u64,
    /// See `taken`.
    pub taken_bytes: u64,
    /// Bytes fetched each second lately.
    pub rate: u64,
    /// Own copies that are excess, and wait to be trimmed.
    pub excess: u64,
    /// Most members vanished at once: this node takes itself for the one that is cut off, and waits
    /// longer before it makes copies.
    pub cut_off: bool,
    /// It hands over what it holds, and takes nothing.
    pub draining: bool,
    /// Bytes that copies of others may still take here.
    pub room: u64,
}

/// How far a node that is to leave has handed over what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DrainStatus {
    /// It is draining.
    pub draining: bool,
    /// It was found out what there is to hand over.
    pub surveyed: bool,
    /// Own contents that would have too few copies without this node.
    pub left: u64,
    /// Those of them that would have none.
    pub sole: u64,
    /// Those of the ones looked at that nobody who is there can take.
    pub without_taker: u64,
}

/// What a member is, as far as its copies count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It answers.
    Live,
    /// It has just stopped answering.
    Suspect,
    /// It is away, and expected back: its copies still count.
    Away,
    /// Its copies don't count any more.
    Down,
    /// It answers, and does not deliver.
    Failing,
    /// It is about to leave.
    Draining,
}

impl MemberState {
    /// Whether its copies keep others from being made.
    #[must_use]
    pub fn counts(self) -> bool {
        matches!(self, Self::Live | Self::Suspect | Self::Away)
    }
}
