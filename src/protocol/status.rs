//! What a node tells a client of itself and of the others that it knows.

use libp2p::PeerId;
use serde::{Deserialize, Serialize};

use super::{CopiesStatus, DedupStatus, MemberState};
use crate::types::{FolderId, RelPath, Seq};

/// A node's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its id.
    pub peer: PeerId,
    /// The program's version.
    pub version: String,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Its folder, for people.
    pub folder: String,
    /// The folder's id.
    pub folder_id: FolderId,
    /// Its own images (contents) and their bytes.
    pub images: u64,
    /// See `images`.
    pub bytes: u64,
    /// Images (contents) known in the swarm, this node's included, and those of members
    /// that are away.
    pub swarm_images: u64,
    /// Nodes whose catalogs are not kept here: what only they hold is not in `swarm_images`, and
    /// they are asked for each list.
    #[serde(default)]
    pub asked: u32,
    /// Members connected.
    pub peers: u32,
    /// Relays that it can be reached through.
    #[serde(default)]
    pub relays: u32,
    /// It relays for others.
    #[serde(default)]
    pub relaying: bool,
    /// Provider records held for the swarm.
    pub records_held: u64,
    /// Own keys published, and keys waiting for it.
    pub published: u64,
    /// See `published`.
    pub to_publish: u64,
    /// A scan is under way: files looked at so far and files found so far.
    pub scanning: Option<(u64, u64)>,
    /// Photos and videos of types that are not handled.
    pub unprotected: u64,
    /// Files that could not be read or decoded: path and reason, the first
    /// [`MAX_REPORTED_PROBLEMS`](crate::limits::MAX_REPORTED_PROBLEMS).
    pub problems: Vec<(RelPath, String)>,
    /// How many there are.
    pub problem_count: u64,
    /// Bootstrap addresses that nobody is connected through, and why.
    #[serde(default)]
    pub unreached: Vec<(String, String)>,
    /// Only members with the swarm's key can connect.
    pub private: bool,
    /// Anybody may connect (`--open`).
    pub open: bool,
    /// Its addresses, with the peer id.
    pub addresses: Vec<String>,
    /// Duplicates, trash, replicas.
    #[serde(default)]
    pub dedup: DedupStatus,
    /// How many copies there are.
    #[serde(default)]
    pub copies: CopiesStatus,
    /// Reading everything again.
    #[serde(default)]
    pub scrub: ScrubStatus,
}

/// How far a node is with reading all its copies again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubStatus {
    /// Days that a pass takes; 0: only when asked.
    pub days: u32,
    /// Somebody asked for the pass that is under way: it does not rest.
    pub asked: bool,
    /// Contents that it has read.
    pub contents: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of all own contents.
    pub total: u64,
    /// When the last whole pass ended, in seconds since 1970.
    pub last_full: Option<u64>,
    /// Copies found damaged since the node started.
    pub found: u64,
    /// Files healed since the node started.
    pub healed: u64,
    /// Files that are damaged now.
    pub damaged: u64,
}

/// What a holder could show of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProofState {
    /// It has read all of it again, and proved that.
    Good,
    /// It has, or says that it has, other bytes.
    Damaged,
    /// It gave no answer.
    Silent,
    /// It gave a proof, and the node that asked could not check it.
    Unchecked,
}

/// One holder of a content, and what it proved just now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderProof {
    /// Who.
    pub peer: PeerId,
    /// What came of it.
    pub state: ProofState,
    /// For people; may be empty.
    pub note: String,
}

/// What a node knows of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Who.
    pub peer: PeerId,
    /// Connected now.
    pub connected: bool,
    /// Through a relay only.
    #[serde(default)]
    pub relayed: bool,
    /// Addresses known.
    pub addresses: Vec<String>,
    /// Round trip in microseconds, when a ping came back.
    pub rtt_us: Option<u64>,
    /// Images in its catalog, as it says.
    pub images: u64,
    /// Catalog entries of it known here; equal to its head when all is pulled.
    pub catalog_known: Seq,
    /// Its catalog's head, as last heard.
    pub catalog_head: Seq,
    /// Seconds since it last answered.
    pub seen_s: Option<u64>,
    /// Whether its copies count; nothing for one that is no trusted member.
    #[serde(default)]
    pub state: Option<MemberState>,
    /// Bytes of copies that it has room for, as it last said.
    #[serde(default)]
    pub room: Option<u64>,
    /// Why it can't be used, for people: another hash version, unreachable, ...
    pub trouble: Option<String>,
}
