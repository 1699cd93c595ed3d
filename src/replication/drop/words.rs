//! What the planner is told, what it asks for, and what a drop is about.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;

use crate::replication::lease::Denial;
use crate::types::{ContentId, FolderId};

/// Why a content is to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// A better keeper, which is the same picture, is safe in the swarm.
    Superseded,
    /// The same content is safe elsewhere; keeper and subject are one content.
    Excess,
    /// A better keeper, or another file of the same bytes, is in this same folder (P2b).
    Local,
    /// The subject is in the trash and its time is over.
    Purge,
}

/// What somebody (dedup, trimming, the trash's calendar) wants removed. A wish: nothing in
/// it is believed, and wrong holders or a wrong keeper cost an attempt and no file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Plan {
    /// What is to go. At most one drop of a content at a time.
    pub subject: ContentId,
    /// What it goes for. For [`Why::Excess`] the subject itself.
    pub keeper: ContentId,
    /// Why.
    pub why: Why,
    /// How many failure domains must have the keeper: the highest number that is
    /// advertised by a holder of either content. [`Why::Local`] needs one, the own.
    pub copies: u16,
    /// Who may hold the keeper, whom to ask first in front. The own node is never among them.
    pub holders: Vec<PeerId>,
    /// The own place in the order of who may drop the subject; higher goes first.
    pub rank: u64,
    /// Pinned contents are refused.
    pub pinned: bool,
}

/// Names a request for a lease. Every request has another; the nonce that the event loop
/// draws for it is never used twice, not even across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// What came of [`Action::Compare`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// The keeper's bytes are here, were verified against its `ContentId` and looked at.
    Seen {
        /// The contents that the keeper is the same picture as, compared *directly*, by this
        /// node: the subject, and the witnesses of the subject by their planes.
        matched: BTreeSet<ContentId>,
        /// The witnesses that the subject carries now, read from the index before comparing.
        witnesses: BTreeSet<ContentId>,
        /// Whether the bytes are a committed original or replica here, re-read just now
        /// (or only a temporary file).
        committed: bool,
    },
    /// The bytes could not be had, or could not be decoded.
    Failed,
}

/// What came of [`Action::Rename`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Renamed {
    /// The file is in the trash, both folders are synced, and its bytes, re-read there, are
    /// the subject's.
    Intact,
    /// It is in the trash, but these are other bytes: somebody wrote to it at the last moment.
    Changed,
    /// It was not moved, or nobody knows.
    Unsure,
}

/// An entry of the journal, on disk and synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    /// The drop may have begun: the subject is in its place or in the trash. To be rolled
    /// back. (An entry `renamed` would tell nothing that a look at the disk does not.)
    Intent,
    /// The subject is in the trash for good. To be withdrawn from index and DHT.
    Final,
}

/// What a holder sees of a content's copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct View {
    /// Failure domains with a copy, this node's included and the asker's left out.
    pub without_asker: u16,
    /// How many there should be.
    pub copies: u16,
}

/// A request for a lease, with what this node knows about it. Whether the asker may be
/// trusted is not in here: [`Event::Members`] says it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// Who asks.
    pub asker: PeerId,
    /// The asker's name for it, sent back with the answer.
    pub ask: AskId,
    /// What is to be kept.
    pub content: ContentId,
    /// What the asker wants to drop.
    pub subject: ContentId,
    /// The asker says that it keeps a copy of its own, and counts it.
    pub asker_keeps: bool,
    /// What the content has to carry from now on: the subject, and what that carried.
    pub witnesses: BTreeSet<ContentId>,
    /// How many witnesses the content would carry with these. Own knowledge.
    pub witnesses_after: usize,
    /// A committed original or replica is here. Own knowledge.
    pub held: bool,
    /// The own view of the content's copies.
    pub view: View,
    /// The asker's rank for its subject, computed here.
    pub asker_rank: u64,
}

/// A holder's answer to [`Action::Ask`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// It promised.
    Granted {
        /// The proof is the BLAKE3 of the keeper's bytes under the key made of holder, asker
        /// and this request's nonce. Computed here, from the bytes that are here.
        proof_matches: bool,
    },
    /// It did not, or the request failed.
    Denied,
}

/// What the planner is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// The trusted members and their folders, this node left out. Only they count.
    Members(BTreeMap<PeerId, FolderId>),
    /// The machine slept.
    Resumed,
    /// Somebody wants this removed. Ends with [`Action::Ended`].
    Begin(Plan),
    /// What is wanted now of a drop that has begun: other nodes hold the keeper, or another number of
    /// copies is asked for. Taken up at its next attempt.
    Replan(Plan),
    /// A person wants this content kept.
    Pinned(ContentId),
    /// Nobody wants this removed any more. What is being done is not interrupted.
    Cancel(ContentId),
    /// [`Action::Compare`] ended.
    Compared {
        /// Of which drop.
        subject: ContentId,
        /// How.
        outcome: Comparison,
    },
    /// [`Action::Commit`] ended.
    Committed {
        /// Of which drop.
        subject: ContentId,
        /// Whether the keeper is an own replica now, on disk and synced.
        ok: bool,
    },
    /// An answer arrived, or the request failed.
    Answered {
        /// To which request.
        ask: AskId,
        /// The other end of the connection.
        from: PeerId,
        /// What.
        answer: Answer,
    },
    /// [`Action::Journal`] ended.
    Journaled {
        /// Of which drop.
        subject: ContentId,
        /// Which entry.
        entry: Entry,
        /// Whether it is on disk and synced.
        ok: bool,
    },
    /// [`Action::Recheck`] ended.
    Rechecked {
        /// Of which drop.
        subject: ContentId,
        /// Whether marker, size, modification time, inode and BLAKE3 are as they should be.
        ok: bool,
    },
    /// [`Action::Rename`] ended.
    Renamed {
        /// Of which drop.
        subject: ContentId,
        /// How.
        outcome: Renamed,
    },
    /// [`Action::PutBack`] ended.
    PutBack {
        /// Of which drop.
        subject: ContentId,
        /// Whether the subject is in its place and the journal's entry is gone.
        ok: bool,
    },
    /// [`Action::Purge`] ended.
    Purged {
        /// Of which drop.
        subject: ContentId,
        /// Whether it is gone.
        ok: bool,
    },
    /// [`Action::Withdraw`] ended, and the journal's entry is gone.
    Withdrawn(ContentId),
    /// The journal had this entry when the node started.
    Recovered {
        /// Of which drop.
        subject: ContentId,
        /// Which.
        entry: Entry,
    },
    /// A peer asks for a lease.
    Asked(Request),
}

/// How a drop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// The subject is in the trash, final and withdrawn; or purged.
    Removed,
    /// Not begun: pinned, contradictory, one drop too many, or the folder is shared with
    /// another member.
    Refused,
    /// Kept: somebody pinned it meanwhile.
    Pinned,
    /// Kept: the keeper is not the same picture as the subject or one of its witnesses.
    NotSame,
    /// The trashed file is back: its keeper could not be proved.
    CameBack,
    /// Kept: called off.
    Cancelled,
}

/// What is to be done. All but [`Action::Grant`], [`Action::Deny`] and [`Action::Ended`] are
/// reported with an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Have the keeper's bytes here (fetch them unless they are), verify, and compare.
    /// They stay until [`Action::Discard`].
    Compare {
        /// Of which drop.
        subject: ContentId,
        /// Of what.
        keeper: ContentId,
    },
    /// Make the fetched keeper a replica.
    Commit {
        /// Of which drop.
        subject: ContentId,
        /// What.
        keeper: ContentId,
    },
    /// Ask for a lease on `keeper` with a nonce never used before. To this very node: re-read the own copy,
    /// record the witnesses, and answer.
    Ask {
        /// Names the request.
        ask: AskId,
        /// Whom.
        to: PeerId,
        /// What is to be kept.
        keeper: ContentId,
        /// What is to go.
        subject: ContentId,
        /// Whether this node counts a copy of its own.
        asker_keeps: bool,
        /// What the keeper has to carry.
        witnesses: BTreeSet<ContentId>,
    },
    /// Write to the journal, with the proofs, and sync. The transaction that writes
    /// [`Entry::Final`] looks for a pin of the subject, and fails when there is one.
    Journal {
        /// Of which drop.
        subject: ContentId,
        /// What.
        entry: Entry,
    },
    /// See whether the file is still what it was.
    Recheck {
        /// Of which drop.
        subject: ContentId,
    },
    /// Move it to the trash, sync both folders, re-read it there.
    Rename {
        /// Of which drop.
        subject: ContentId,
    },
    /// Move the subject, wherever it is, back to its place (never over another file), sync,
    /// then clear the journal's entry. Safe to repeat.
    PutBack {
        /// Of which drop.
        subject: ContentId,
    },
    /// Remove the subject from the trash.
    Purge {
        /// Of which drop.
        subject: ContentId,
    },
    /// Take the subject out of index and DHT, then clear the journal's entry.
    Withdraw {
        /// Of which drop.
        subject: ContentId,
    },
    /// The keeper's temporary bytes are not needed any more.
    Discard {
        /// Of which drop.
        subject: ContentId,
        /// What.
        keeper: ContentId,
    },
    /// Record the witnesses with the content and sync, re-read the bytes, and only then
    /// answer with the proof; when any of it fails, deny.
    Grant {
        /// Whom.
        to: PeerId,
        /// To what.
        ask: AskId,
        /// What is promised.
        content: ContentId,
        /// What it carries from now on.
        witnesses: BTreeSet<ContentId>,
    },
    /// Say no.
    Deny {
        /// Whom.
        to: PeerId,
        /// To what.
        ask: AskId,
        /// Why.
        why: Denial,
    },
    /// The drop is over.
    Ended {
        /// Of what.
        subject: ContentId,
        /// How.
        how: End,
    },
}

/// The rules of the protocol. A node has them all; only `tests/model.rs` turns one off, to
/// see that the checker then finds a picture lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Nothing counts that a peer outside the trusted set says.
    pub trusted_only: bool,
    /// Only the answer to the request that is open counts.
    pub fresh_answers: bool,
    /// A grant needs a proof that matches.
    pub proof: bool,
    /// After the rename all holders are asked again.
    pub ask_again: bool,
    /// Who intends to drop a content denies leases on it.
    pub intent_denies: bool,
    /// A live lease blocks every removal, and so does the own reliance on an own copy.
    pub leases_block: bool,
    /// A started or resumed node removes nothing for one lease time.
    pub quiet_start: bool,
    /// A lease counts from the sending of the request, less the margin.
    pub margin: bool,
    /// The file is looked at before and after the rename.
    pub recheck: bool,
    /// The keeper must match what the subject carries, and carries it on.
    pub witnesses: bool,
    /// What a grant added to the subject's witnesses since the comparison is compared first.
    pub recompare: bool,
    /// What is not final when the node starts is rolled back.
    pub roll_back: bool,
    /// The trash is purged with a fresh proof only.
    pub purge_proof: bool,
    /// Pinned contents are never dropped.
    pub pins: bool,
    /// The keeper's bytes stay here between attempts.
    pub keep_bytes: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            trusted_only: true,
            fresh_answers: true,
            proof: true,
            ask_again: true,
            intent_denies: true,
            leases_block: true,
            quiet_start: true,
            margin: true,
            recheck: true,
            witnesses: true,
            recompare: true,
            roll_back: true,
            purge_proof: true,
            pins: true,
            keep_bytes: true,
        }
    }
}
