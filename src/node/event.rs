//! What a node tells the program that runs it; the lines of `node --json`.

use std::collections::BTreeMap;

use libp2p::{Multiaddr, PeerId};
use serde::Serialize;

use crate::types::RelPath;

/// One event. As JSON: an object with `"event"` naming the variant in `snake_case`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum NodeEvent {
    /// The node is up: its identity and folder.
    Started {
        /// Its id.
        peer: PeerId,
        /// Its folder.
        folder: String,
    },
    /// A full dialable address.
    Listening {
        /// With `/p2p/<peer id>`.
        address: Multiaddr,
    },
    /// Something to know that is not an error: the default port is taken, ...
    Notice {
        /// One line.
        message: String,
    },
    /// Something that wants a person's attention.
    Warning {
        /// One line.
        message: String,
    },
    /// A scan goes on.
    ScanProgress {
        /// Files looked at.
        done: u64,
        /// Files found so far.
        total: u64,
    },
    /// A scan is complete.
    ScanDone {
        /// Of the whole folder; otherwise of what changed.
        full: bool,
        /// Images (contents) in the folder.
        images: u64,
        /// Their bytes.
        bytes: u64,
        /// Files looked at.
        looked_at: u64,
        /// Files whose bytes were read; the others had not changed.
        inspected: u64,
        /// Files that are still changing: they are looked at again.
        unsettled: u64,
        /// Photos and videos of types not handled, by type.
        unprotected: BTreeMap<String, u64>,
        /// Files that could not be read or decoded.
        problems: u64,
    },
    /// A file could not be read or decoded.
    Problem {
        /// In the folder, for people.
        path: String,
        /// One line.
        reason: String,
    },
    /// Another node is connected and understood.
    PeerUp {
        /// Who.
        peer: PeerId,
        /// Images in its catalog.
        images: u64,
    },
    /// Another node is gone.
    PeerDown {
        /// Who.
        peer: PeerId,
    },
    /// The catalog of another node is known completely.
    Synced {
        /// Whose.
        peer: PeerId,
        /// Images known in the swarm, those of members that are away included.
        swarm_images: u64,
    },
    /// Nothing is left to publish.
    Published {
        /// Keys published.
        keys: u64,
    },
    /// A peer sent bytes that are not the content's.
    WrongBytes {
        /// Who.
        peer: PeerId,
        /// Of which content.
        content: String,
    },
    /// All pictures of the swarm were compared with each other, as far as that can be done
    /// without their bytes.
    Looked {
        /// Pictures (contents) that were compared.
        contents: u64,
        /// Own ones of which there is a better version.
        duplicates: u64,
        /// Own ones that perhaps are the same as another: for people to judge.
        probable: u64,
        /// Drops that could begin now.
        wishes: u64,
    },
    /// A file left the folder.
    Dropped {
        /// Where it was, for people.
        path: String,
        /// Why, for people.
        reason: String,
        /// What stays instead, for people.
        keeper: String,
        /// Its name in the trash.
        entry: Option<String>,
    },
    /// A client added a picture to the folder.
    Added {
        /// Where, for people.
        path: String,
        /// Which content.
        content: String,
    },
    /// A file left the folder because a person had its content removed.
    Removed {
        /// Where it was, for people.
        path: String,
        /// Its name in the trash.
        entry: String,
    },
    /// A content is kept for the swarm from now on.
    Replicated {
        /// Which.
        content: String,
        /// Its path at the node that it was fetched from, for people.
        path: String,
    },
    /// Every picture that this node knows of has its copies, at members that are connected.
    Settled {
        /// Pictures (contents).
        contents: u64,
        /// Copies that each should have.
        copies: u16,
    },
    /// This node has handed over all that it held: nothing is lost when it leaves.
    Drained,
    /// More would be dropped than may be without asking a person.
    Braked {
        /// Files that would go, with those that went.
        would_take: u64,
        /// Files that may go.
        allowed: u64,
        /// Files in the folder.
        files: u64,
    },
    /// A file of the trash is in the folder again.
    Restored {
        /// Where, for people.
        path: String,
    },
    /// A copy is not what it was, and nobody has written to it: its disk has changed it.
    Damaged {
        /// Where, for people.
        path: String,
        /// What it was.
        content: String,
        /// It is kept for the swarm, and no file of the folder.
        replica: bool,
    },
    /// A damaged file has its good bytes again.
    Healed {
        /// Where, for people.
        path: String,
        /// Which.
        content: String,
        /// The damaged file's name in the trash.
        entry: String,
    },
    /// All own copies were read again.
    Scrubbed {
        /// Contents.
        contents: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// The node is shutting down.
    Stopping,
}

impl NodeEvent {
    /// A problem with a file.
    #[must_use]
    pub fn problem(path: &RelPath, reason: impl Into<String>) -> Self {
        Self::Problem { path: path.to_string(), reason: reason.into() }
    }
}
