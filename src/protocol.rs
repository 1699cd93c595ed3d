//! The messages of p2pimg's two own protocols. `docs/protocol.md` describes them for
//! other implementations; `wire/codec.rs` puts them on a stream.
//!
//! A message is a *header* (CBOR, a map with text keys) and a raw *payload* (chunk bytes
//! or an outline; mostly empty). Unknown fields are ignored, so a field can be added;
//! anything else that changes gets a new protocol name.

use libp2p::PeerId;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

mod bands;
mod catalog;
mod copies;
mod dedup;
mod drops;
mod lists;
mod put;
mod refusal;
mod removal;
mod similar;
mod status;

pub use bands::{
    AskBands, BANDS_ENTRY_BYTES, BANDS_FOUND_BYTES, BANDS_QUESTION_BYTES, BandsFound, BandsStored, StoreBands,
};
pub use catalog::{CatalogEntry, CatalogPage, Held};
pub use copies::{Census, CopiesStatus, DrainStatus, Keeps, MemberState, OfferAnswer, Offered};
pub use dedup::{
    BrakeStatus, DedupMode, DedupStatus, DuplicateGroup, DuplicateLoser, DuplicatesPage, EmptiedTrash,
    WhyAnswer,
};
pub use drops::{Decides, Denial, Description, DropCause, HistoryRow, WitnessFacts};
pub use lists::{HolderStatus, ImageRow, ListPage, OwnPage};
pub use put::{PutRequest, PutResponse};
pub use refusal::{Refusal, RefusalCode, shortened};
pub use removal::{Removal, RemovalAnswer, RemovalEnd};
pub use similar::{SimilarPage, SimilarQuery, SimilarRow};
pub use status::{HolderProof, NodeStatus, PeerStatus, ProofState, ScrubStatus};

use crate::types::{CatalogHead, ContentId, Epoch, FolderId, ImageId, RelPath, Seq};

/// Kademlia under p2pimg's own name, so that no other DHT is joined by accident.
pub const KAD_PROTOCOL: &str = "/p2pimg/kad/1.0.0";
/// Node to node.
pub const PEER_PROTOCOL: &str = "/p2pimg/peer/1.3.0";
/// Client to node.
pub const CLIENT_PROTOCOL: &str = "/p2pimg/client/1.3.0";
/// What `identify` announces as the protocol version of a node or a client.
pub const IDENTIFY_VERSION: &str = "/p2pimg/1.0.0";

/// Version of the perceptual hash: algorithm, decode path, thresholds of the guard. Two
/// nodes with different versions don't compare hashes.
pub const HASH_VERSION: u32 = 1;

/// What a node asks another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerRequest {
    /// Who are you, and how far is your catalog? Also sent to tell that one's own catalog
    /// has grown. Answer: [`PeerResponse::Hello`].
    Hello(Hello),
    /// Your catalog's changes after a position. Answer: [`PeerResponse::Catalog`].
    Catalog {
        /// The life of the catalog that `after` is a position in.
        epoch: Epoch,
        /// Changes up to this one are known.
        after: Seq,
    },
    /// Which contents of these pictures do you hold? At most
    /// [`MAX_HOLDING_KEYS`](crate::limits::MAX_HOLDING_KEYS). Answer: [`PeerResponse::Holding`].
    Holding {
        /// The pictures.
        images: Vec<ImageId>,
    },
    /// The chaining values of a content's chunks. Answer: [`PeerResponse::Outline`].
    Outline {
        /// The content.
        content: ContentId,
    },
    /// The bytes of one chunk. Answer: [`PeerResponse::Chunk`].
    Chunk {
        /// The content.
        content: ContentId,
        /// Chunk number, from 0.
        index: u32,
    },
    /// The bytes of chunks in a row: all of them, or a refusal. Answer:
    /// [`PeerResponse::Chunks`].
    Chunks {
        /// The content.
        content: ContentId,
        /// Number of the first, from 0.
        first: u32,
        /// How many; at most [`RUN_CHUNKS`](crate::limits::RUN_CHUNKS).
        count: u32,
    },
    /// The members that you are connected to. Answer: [`PeerResponse::Members`].
    Members,
    /// What do you know of these contents? At most
    /// [`MAX_DESCRIBED`](crate::limits::MAX_DESCRIBED). Answer: [`PeerResponse::Described`].
    Describe {
        /// The contents.
        contents: Vec<ContentId>,
    },
    /// What has gone for this content? Answer: [`PeerResponse::Witnesses`].
    Witnesses {
        /// The content.
        content: ContentId,
    },
    /// Prove that you hold `content`, and promise to keep it for one lease: `subject` is to be
    /// dropped for it. Answer: [`PeerResponse::Leased`] or [`PeerResponse::Denied`]. The
    /// payload has the witnesses' signatures and planes, or nothing when they were sent with
    /// an earlier request.
    Lease {
        /// What is to be kept.
        content: ContentId,
        /// What is to go.
        subject: ContentId,
        /// The asker keeps a copy of its own, and counts it.
        keeps: bool,
        /// 32 random bytes that were never used before.
        nonce: ByteBuf,
        /// What `content` has to carry from now on. At most
        /// [`MAX_WITNESSES`](crate::limits::MAX_WITNESSES).
        witnesses: Vec<WitnessFacts>,
    },
    /// What does your catalog add up to? Answer: [`PeerResponse::Digest`].
    Digest,
    /// These lack copies: will you keep them? Answer: [`PeerResponse::Offered`].
    Offer {
        /// At most [`MAX_OFFERED`](crate::limits::MAX_OFFERED).
        contents: Vec<Offered>,
    },
    /// Read all that you have of a content again, and prove it. Answer: [`PeerResponse::Proved`].
    Prove {
        /// The content.
        content: ContentId,
        /// 32 random bytes that were never used before.
        nonce: ByteBuf,
    },
    /// Which files that you dropped does this mean, or were dropped for it? Answer:
    /// [`PeerResponse::History`].
    History {
        /// As in [`ClientRequest::Resolve`].
        query: String,
    },
    /// A person had these removed: remember it, and remove what names you. At most
    /// [`MAX_REMOVALS_TOLD`](crate::limits::MAX_REMOVALS_TOLD). Answer:
    /// [`PeerResponse::Removals`].
    Removals(Vec<Removal>),
    /// A page of what you hold yourself, in the order of (image, content). Answer:
    /// [`PeerResponse::List`].
    List {
        /// [`OwnPage::next`] of the page before; `None` for the first.
        after: Option<ByteBuf>,
        /// Only what this means, as in [`ClientRequest::Resolve`].
        query: Option<String>,
        /// Entries, at most [`MAX_PAGE_ENTRIES`](crate::limits::MAX_PAGE_ENTRIES).
        most: u32,
    },
    /// See [`StoreBands`]. Answer: [`PeerResponse::BandsStored`].
    StoreBands(StoreBands),
    /// See [`AskBands`]. Answer: [`PeerResponse::BandsFound`].
    AskBands(AskBands),
}

/// A node's answer to another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerResponse {
    /// See [`PeerRequest::Hello`].
    Hello(Hello),
    /// See [`PeerRequest::Catalog`].
    Catalog(CatalogPage),
    /// The contents held, each as a catalog entry. At most
    /// [`MAX_PAGE_ENTRIES`](crate::limits::MAX_PAGE_ENTRIES).
    Holding(Vec<CatalogEntry>),
    /// The payload holds 32 bytes a chunk when there is more than one chunk, else nothing.
    Outline {
        /// Length of the content.
        bytes: u64,
    },
    /// The payload is the chunk.
    Chunk,
    /// The payload is the chunks, one after the other.
    Chunks,
    /// At most [`MAX_MEMBERS`](crate::limits::MAX_MEMBERS).
    Members(Vec<MemberAddress>),
    /// Those of the contents that are held. The payload has the signatures.
    Described(Vec<Description>),
    /// The payload has the signatures and planes.
    Witnesses(Vec<WitnessFacts>),
    /// It is held, and kept for one lease from now on.
    Leased {
        /// BLAKE3 of the content's bytes, under the key made of holder, asker and nonce.
        proof: ByteBuf,
    },
    /// It is not promised.
    Denied {
        /// Why.
        why: Denial,
    },
    /// See [`PeerRequest::Digest`].
    Digest {
        /// The catalog's head.
        head: CatalogHead,
        /// 32 bytes.
        digest: ByteBuf,
    },
    /// One answer for each content of the offer, in its order.
    Offered(Vec<OfferAnswer>),
    /// What reading it again gave.
    Proved {
        /// As in [`PeerResponse::Leased`]; `None` when no copy has its bytes.
        proof: Option<ByteBuf>,
        /// Copies that have other bytes, or can't be read.
        damaged: u32,
    },
    /// At most [`MAX_MATCHES`](crate::limits::MAX_MATCHES).
    History(Vec<HistoryRow>),
    /// What became of those that named the answering node, and were news to it. At most
    /// [`MAX_REMOVALS_TOLD`](crate::limits::MAX_REMOVALS_TOLD).
    Removals(Vec<RemovalAnswer>),
    /// The request was understood and is not fulfilled.
    Refused(Refusal),
    /// See [`PeerRequest::List`].
    List(OwnPage),
    /// See [`PeerRequest::StoreBands`].
    BandsStored(BandsStored),
    /// See [`PeerRequest::AskBands`].
    BandsFound(BandsFound),
}

/// What nodes tell each other first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// See [`HASH_VERSION`].
    pub hash_version: u32,
    /// The folder this node keeps.
    pub folder: FolderId,
    /// How far the node's catalog goes.
    pub head: CatalogHead,
    /// Contents of the folder. Replicas, which are in the catalog too, are not counted.
    pub images: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What it decides by; nothing in a message of a node that decides nothing.
    #[serde(default)]
    pub decides: Decides,
    /// Its room for copies.
    #[serde(default)]
    pub keeps: Keeps,
    /// It has as many members as it can keep: there may be nodes that are none of them.
    #[serde(default, skip_serializing_if = "is_false")]
    pub crowded: bool,
    /// It has no room for the node that it says this to, which is no member of it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub guest: bool,
}

// What serde asks.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !value
}

/// How a member can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberAddress {
    /// Who.
    pub peer: PeerId,
    /// Multiaddresses in binary form, at most
    /// [`MAX_ADDRESSES_PER_PEER`](crate::limits::MAX_ADDRESSES_PER_PEER).
    pub addresses: Vec<ByteBuf>,
}

/// What a client asks its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientRequest {
    /// The node's state. Answer: [`ClientResponse::Status`].
    Status,
    /// The members it knows. Answer: [`ClientResponse::Peers`].
    Peers,
    /// A page of all images of the swarm, in the order of (image, content). Answer:
    /// [`ClientResponse::List`].
    List {
        /// [`ListPage::next`] of the page before; `None` for the first.
        after: Option<ByteBuf>,
        /// Only rows with a path that contains this text, ignoring ASCII case.
        filter: Option<String>,
    },
    /// The contents that a hash, a prefix of 6 or more digits, or `c:` and a content id or
    /// prefix means. Answer: [`ClientResponse::Found`].
    Resolve {
        /// As typed.
        query: String,
    },
    /// Where a content is and how it was found, after asking its holders. Answer:
    /// [`ClientResponse::Located`].
    Locate {
        /// The content.
        content: ContentId,
        /// Its picture: the key to look for in the DHT.
        image: ImageId,
    },
    /// Like [`PeerRequest::Outline`], wherever in the swarm the content is.
    Outline {
        /// The content.
        content: ContentId,
        /// Its picture.
        image: ImageId,
    },
    /// Like [`PeerRequest::Chunk`], wherever in the swarm the content is.
    Chunk {
        /// The content.
        content: ContentId,
        /// Its picture.
        image: ImageId,
        /// Chunk number, from 0.
        index: u32,
    },
    /// Like [`PeerRequest::Chunks`], wherever in the swarm the content is.
    Chunks {
        /// The content.
        content: ContentId,
        /// Its picture.
        image: ImageId,
        /// Number of the first, from 0.
        first: u32,
        /// How many; at most [`RUN_CHUNKS`](crate::limits::RUN_CHUNKS).
        count: u32,
    },
    /// Groups of duplicates in the swarm. Answer: [`ClientResponse::Duplicates`].
    Duplicates {
        /// [`DuplicatesPage::next`] of the page before; 0 for the first.
        from: u32,
    },
    /// What is known of an image, or of a file that was dropped. Answer:
    /// [`ClientResponse::Why`].
    Why {
        /// As in [`ClientRequest::Resolve`].
        query: String,
    },
    /// How far is reading everything again; and, with `now`, read everything again at once. Answer:
    /// [`ClientResponse::Scrub`].
    Scrub {
        /// Begin a pass, unless one that was asked for is under way.
        now: bool,
    },
    /// Have every holder of a content read all of it again and prove it. Answer:
    /// [`ClientResponse::Verified`].
    Verify {
        /// The content.
        content: ContentId,
        /// Its picture: the key to look for in the DHT.
        image: ImageId,
    },
    /// Let the drops that the brake holds back go on. Answer: [`ClientResponse::Approved`].
    ApproveDrops,
    /// Put a file of the node's trash back. Answer: [`ClientResponse::Restored`].
    RestoreTrash {
        /// Its name in the trash.
        entry: String,
    },
    /// Delete what was dropped up to a time. Answer: [`ClientResponse::Emptied`].
    EmptyTrash {
        /// In seconds since 1970.
        until: u64,
    },
    /// Hand over what you hold, take nothing, and tell how far that is; or go on as before.
    /// Answer: [`ClientResponse::Drain`].
    Drain {
        /// Go on as before.
        cancel: bool,
    },
    /// Remove a content from all nodes. Answer: [`ClientResponse::Removed`].
    Remove {
        /// The content.
        content: ContentId,
    },
    /// Add a picture. Answer: [`ClientResponse::Put`].
    Put(PutRequest),
    /// The pictures that look most like one. Answer: [`ClientResponse::Similar`].
    Similar(SimilarQuery),
}

/// A node's answer to a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientResponse {
    /// See [`ClientRequest::Status`].
    Status(Box<NodeStatus>),
    /// See [`ClientRequest::Peers`].
    Peers(Vec<PeerStatus>),
    /// See [`ClientRequest::List`].
    List(ListPage),
    /// See [`ClientRequest::Resolve`].
    Found {
        /// At most [`MAX_MATCHES`](crate::limits::MAX_MATCHES).
        rows: Vec<ImageRow>,
        /// There are more than `rows`.
        more: bool,
    },
    /// See [`ClientRequest::Locate`]. At most [`MAX_MEMBERS`](crate::limits::MAX_MEMBERS),
    /// those that confirmed first.
    Located(Vec<HolderStatus>),
    /// See [`PeerResponse::Outline`].
    Outline {
        /// Length of the content.
        bytes: u64,
    },
    /// The payload is the chunk.
    Chunk,
    /// The payload is the chunks, one after the other.
    Chunks,
    /// See [`ClientRequest::Duplicates`].
    Duplicates(DuplicatesPage),
    /// See [`ClientRequest::Why`].
    Why(Box<WhyAnswer>),
    /// See [`ClientRequest::Scrub`].
    Scrub(ScrubStatus),
    /// See [`ClientRequest::Verify`]. At most [`MAX_MEMBERS`](crate::limits::MAX_MEMBERS), the
    /// asked node first when it is one of them.
    Verified(Vec<HolderProof>),
    /// How many files may go in this run now.
    Approved {
        /// Files.
        files: u64,
    },
    /// Where the file is now.
    Restored {
        /// In the folder.
        path: RelPath,
    },
    /// What was deleted.
    Emptied(EmptiedTrash),
    /// How far it is.
    Drain(DrainStatus),
    /// What each holder did. At most [`MAX_MEMBERS`](crate::limits::MAX_MEMBERS) and one.
    Removed(Vec<RemovalAnswer>),
    /// See [`ClientRequest::Put`].
    Put(PutResponse),
    /// See [`ClientRequest::Similar`].
    Similar(SimilarPage),
    /// The request was understood and is not fulfilled.
    Refused(Refusal),
}
