//! What a client asks its node about duplicates and its trash.

use libp2p::PeerId;
use serde::{Deserialize, Serialize};

use super::{HistoryRow, ImageRow};
use crate::types::ContentId;

/// What the node does with duplicates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DedupMode {
    /// Looks for none.
    #[default]
    Off,
    /// Lists them.
    Report,
    /// Moves the worse ones to the trash.
    Trash,
}

/// Duplicates as the node's status tells of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DedupStatus {
    /// What it does.
    pub mode: DedupMode,
    /// Why it does less than it was told to (a read-only folder, a damaged ledger), for
    /// people.
    pub obstacle: Option<String>,
    /// Own contents that the last look found a better version of.
    pub duplicates: u64,
    /// Pairs for people to judge, one of them here.
    pub probable: u64,
    /// Drops under way, and waiting for their next attempt.
    pub dropping: u32,
    /// Files dropped since the node started.
    pub dropped: u64,
    /// The brake, when it holds drops back.
    pub brake: Option<BrakeStatus>,
    /// Nothing is removed for this many seconds yet: the node has just started.
    pub quiet_s: u64,
    /// Files in the trash.
    pub trash_files: u64,
    /// Their bytes.
    pub trash_bytes: u64,
    /// Contents kept for the swarm.
    pub replicas: u64,
    /// Their bytes.
    pub replica_bytes: u64,
}

/// Why drops wait for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrakeStatus {
    /// Files that would go, with those that went.
    pub would_take: u64,
    /// Files that may go without being asked.
    pub allowed: u64,
    /// Files in the folder.
    pub files: u64,
}

/// A page of groups of duplicates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuplicatesPage {
    /// At most [`MAX_GROUPS`](crate::limits::MAX_GROUPS), those that free most first.
    pub groups: Vec<DuplicateGroup>,
    /// Number of the first group of the next page; `None` at the end.
    pub next: Option<u32>,
    /// Seconds since the look that found them; `None`: there was none yet.
    pub looked_s: Option<u64>,
}

/// A keeper and what may go for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuplicateGroup {
    /// What stays.
    pub keeper: ImageRow,
    /// What may go, or may be the same picture. At most
    /// [`MAX_GROUP_LOSERS`](crate::limits::MAX_GROUP_LOSERS).
    pub losers: Vec<DuplicateLoser>,
    /// There are more.
    pub more: u32,
}

/// A worse version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuplicateLoser {
    /// Which, and who holds it.
    pub row: ImageRow,
    /// Taken for the same picture as far as can be told without its bytes; `false`: probable,
    /// for people to judge, never dropped.
    pub same: bool,
    /// What was found, or what speaks against it, for people.
    pub reason: String,
}

/// What is known of an image or of a dropped file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyAnswer {
    /// Contents that the query means and that are there. At most
    /// [`MAX_MATCHES`](crate::limits::MAX_MATCHES).
    pub rows: Vec<ImageRow>,
    /// For people: how good each of the rows is (`row` numbers them).
    pub qualities: Vec<String>,
    /// Files that left a folder: they, or what they went for, are meant by the query. Each
    /// with the node that tells it. At most [`MAX_MATCHES`](crate::limits::MAX_MATCHES).
    pub history: Vec<(PeerId, HistoryRow)>,
    /// Last confirmation of each holder of the rows that has one: content, holder, seconds ago.
    pub confirmed: Vec<(ContentId, PeerId, u64)>,
    /// Members that were asked and gave no answer.
    pub silent: u32,
}

/// What emptying the trash did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmptiedTrash {
    /// Files deleted.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What could not be deleted, and why. At most
    /// [`MAX_REPORTED_PROBLEMS`](crate::limits::MAX_REPORTED_PROBLEMS).
    pub problems: Vec<String>,
}
