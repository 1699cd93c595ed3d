//! The limits that a decoded message has to keep, field by field.
//!
//! Both ends check: the reader because the sender may be anybody, the writer so that an
//! oversight here shows up here and not as a reset at the other end.

use thiserror::Error;

use crate::limits::{
    CHUNK_BYTES, MAX_ADDRESS_BYTES, MAX_ADDRESSES_PER_PEER, MAX_BOOTSTRAPS, MAX_CONTENT_BYTES,
    MAX_CURSOR_BYTES, MAX_DESCRIBED, MAX_EDITS, MAX_FILTER_BYTES, MAX_HOLDING_KEYS, MAX_MATCHES, MAX_MEMBERS,
    MAX_OFFERED, MAX_OWN_ADDRESSES, MAX_PAGE_ENTRIES, MAX_PAYLOAD_BYTES, MAX_QUERY_BYTES, MAX_REMOVALS_TOLD,
    MAX_REPORTED_PROBLEMS, MAX_TEXT_BYTES, MAX_WITNESSES, RUN_CHUNKS,
};
use crate::picture::{PixelPlanes, Signature};
use crate::protocol::{
    BANDS_ENTRY_BYTES, BANDS_FOUND_BYTES, BANDS_QUESTION_BYTES, ClientRequest, ClientResponse, Description,
    ImageRow, MemberAddress, NodeStatus, PeerRequest, PeerResponse, PeerStatus, PutRequest, Refusal,
};
use crate::transfer::outline::chunk_count;

mod bands;
mod changes;
mod duplicates;
mod lists;
mod similar;

/// Bytes of a lease's nonce.
const NONCE_BYTES: usize = 32;

/// Bytes of a proof.
const PROOF_BYTES: usize = 32;

/// Bytes of a catalog's digest.
const DIGEST_BYTES: usize = 32;

/// Bytes of a witness in a payload.
const WITNESS_BYTES: usize = Signature::LEN + PixelPlanes::LEN;

/// A field that is longer or larger than the protocol allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{field} is {found}, at most {limit} is allowed")]
pub struct Violation {
    /// The field, as `docs/protocol.md` names it.
    pub field: &'static str,
    /// Its length, or its value.
    pub found: u64,
    /// What the protocol allows.
    pub limit: u64,
}

/// What a message must keep beyond being well formed.
pub trait Validate {
    /// Checks every list and text against its limit.
    ///
    /// # Errors
    /// The first field that is over its limit.
    fn validate(&self) -> Result<(), Violation>;

    /// The longest payload that makes sense with this header; 0 for most.
    fn payload_limit(&self) -> usize {
        0
    }
}

fn at_most(field: &'static str, found: usize, limit: usize) -> Result<(), Violation> {
    if found <= limit { Ok(()) } else { Err(Violation { field, found: found as u64, limit: limit as u64 }) }
}

fn exactly(field: &'static str, found: usize, wanted: usize) -> Result<(), Violation> {
    if found == wanted {
        return Ok(());
    }
    Err(Violation { field, found: found as u64, limit: wanted as u64 })
}

/// None at all can't be answered.
fn run(count: u32) -> Result<(), Violation> {
    if count == 0 {
        return exactly("chunks.count", 0, 1);
    }
    at_most("chunks.count", count as usize, RUN_CHUNKS as usize)
}

fn text(field: &'static str, text: &str) -> Result<(), Violation> {
    at_most(field, text.len(), MAX_TEXT_BYTES)
}

fn content_length(bytes: u64) -> Result<(), Violation> {
    if bytes <= MAX_CONTENT_BYTES {
        return Ok(());
    }
    Err(Violation { field: "outline.bytes", found: bytes, limit: MAX_CONTENT_BYTES })
}

/// A content of one chunk has no chaining values (see `transfer::outline`).
fn outline_payload(bytes: u64) -> usize {
    match chunk_count(bytes) {
        1 => 0,
        chunks => {
            usize::try_from(chunks.saturating_mul(32)).unwrap_or(MAX_PAYLOAD_BYTES).min(MAX_PAYLOAD_BYTES)
        }
    }
}

impl Validate for PeerRequest {
    fn validate(&self) -> Result<(), Violation> {
        match self {
            Self::Holding { images } => at_most("holding.images", images.len(), MAX_HOLDING_KEYS),
            Self::Describe { contents } => at_most("describe.contents", contents.len(), MAX_DESCRIBED),
            Self::Lease { nonce, witnesses, .. } => {
                exactly("lease.nonce", nonce.len(), NONCE_BYTES)?;
                at_most("lease.witnesses", witnesses.len(), MAX_WITNESSES)
            }
            Self::Prove { nonce, .. } => exactly("prove.nonce", nonce.len(), NONCE_BYTES),
            Self::History { query } => at_most("history.query", query.len(), MAX_QUERY_BYTES),
            Self::Offer { contents } => at_most("offer.contents", contents.len(), MAX_OFFERED),
            Self::Chunks { count, .. } => run(*count),
            Self::Removals(removals) => at_most("removals", removals.len(), MAX_REMOVALS_TOLD),
            Self::List { after, query, most } => lists::request(after.as_ref(), query.as_deref(), *most),
            Self::StoreBands(store) => bands::store(store),
            Self::AskBands(ask) => bands::ask(ask),
            Self::Hello(_)
            | Self::Catalog { .. }
            | Self::Outline { .. }
            | Self::Chunk { .. }
            | Self::Witnesses { .. }
            | Self::Digest
            | Self::Members => Ok(()),
        }
    }

    fn payload_limit(&self) -> usize {
        match self {
            Self::Lease { witnesses, .. } => witnesses.len() * WITNESS_BYTES,
            Self::StoreBands(store) => store.count as usize * BANDS_ENTRY_BYTES,
            Self::AskBands(ask) => ask.count as usize * BANDS_QUESTION_BYTES,
            _ => 0,
        }
    }
}

impl Validate for PeerResponse {
    fn validate(&self) -> Result<(), Violation> {
        match self {
            Self::Catalog(page) => at_most("catalog.entries", page.entries.len(), MAX_PAGE_ENTRIES),
            Self::Holding(entries) => at_most("holding", entries.len(), MAX_PAGE_ENTRIES),
            Self::Members(members) => {
                at_most("members", members.len(), MAX_MEMBERS)?;
                members.iter().try_for_each(member)
            }
            Self::Outline { bytes } => content_length(*bytes),
            Self::Described(found) => {
                at_most("described", found.len(), MAX_DESCRIBED)?;
                found.iter().try_for_each(|one| at_most("described.edits", one.edits.len(), MAX_EDITS))
            }
            Self::Witnesses(found) => at_most("witnesses", found.len(), MAX_WITNESSES),
            Self::Leased { proof } => exactly("leased.proof", proof.len(), PROOF_BYTES),
            Self::Proved { proof, .. } => {
                proof.as_ref().map_or(Ok(()), |proof| exactly("proved.proof", proof.len(), PROOF_BYTES))
            }
            Self::History(rows) => {
                at_most("history", rows.len(), MAX_MATCHES)?;
                rows.iter().try_for_each(duplicates::history_row)
            }
            Self::Digest { digest, .. } => exactly("digest.digest", digest.len(), DIGEST_BYTES),
            Self::Offered(answers) => at_most("offered", answers.len(), MAX_OFFERED),
            Self::Removals(answers) => changes::removal_answers("removals", answers, MAX_REMOVALS_TOLD),
            Self::Refused(refusal) => refused(refusal),
            Self::List(page) => lists::own_page(page),
            Self::BandsFound(found) => bands::found(found),
            Self::Hello(_) | Self::Chunk | Self::Chunks | Self::Denied { .. } | Self::BandsStored(_) => {
                Ok(())
            }
        }
    }

    fn payload_limit(&self) -> usize {
        let with_signature = |found: &Vec<Description>| found.iter().filter(|one| one.signature).count();
        match self {
            Self::Chunk => CHUNK_BYTES,
            Self::Chunks => RUN_CHUNKS as usize * CHUNK_BYTES,
            Self::Outline { bytes } => outline_payload(*bytes),
            Self::Described(found) => with_signature(found) * Signature::LEN,
            Self::Witnesses(found) => found.len() * WITNESS_BYTES,
            Self::BandsFound(found) => found.count as usize * BANDS_FOUND_BYTES,
            _ => 0,
        }
    }
}

impl Validate for ClientRequest {
    fn validate(&self) -> Result<(), Violation> {
        match self {
            Self::List { after, filter } => {
                at_most("list.after", after.as_ref().map_or(0, |a| a.len()), MAX_CURSOR_BYTES)?;
                at_most("list.filter", filter.as_ref().map_or(0, String::len), MAX_FILTER_BYTES)
            }
            Self::Resolve { query } => at_most("resolve.query", query.len(), MAX_QUERY_BYTES),
            Self::Why { query } => at_most("why.query", query.len(), MAX_QUERY_BYTES),
            Self::Chunks { count, .. } => run(*count),
            Self::RestoreTrash { entry } => at_most("restore_trash.entry", entry.len(), MAX_QUERY_BYTES),
            Self::Status
            | Self::Peers
            | Self::Locate { .. }
            | Self::Outline { .. }
            | Self::Chunk { .. }
            | Self::Duplicates { .. }
            | Self::Scrub { .. }
            | Self::Verify { .. }
            | Self::ApproveDrops
            | Self::Drain { .. }
            | Self::Remove { .. }
            | Self::EmptyTrash { .. } => Ok(()),
            Self::Put(request) => changes::put_request(request),
            Self::Similar(query) => similar::query(query),
        }
    }

    fn payload_limit(&self) -> usize {
        match self {
            Self::Put(PutRequest::Begin { bytes, .. }) => outline_payload(*bytes),
            Self::Put(PutRequest::Chunk { .. }) => CHUNK_BYTES,
            _ => 0,
        }
    }
}

impl Validate for ClientResponse {
    fn validate(&self) -> Result<(), Violation> {
        match self {
            Self::Status(status) => node_status(status),
            Self::Peers(peers) => {
                at_most("peers", peers.len(), MAX_MEMBERS)?;
                peers.iter().try_for_each(peer_status)
            }
            Self::List(page) => {
                at_most("list.next", page.next.as_ref().map_or(0, |n| n.len()), MAX_CURSOR_BYTES)?;
                rows("list.rows", &page.rows, MAX_PAGE_ENTRIES)
            }
            Self::Found { rows: found, .. } => rows("found.rows", found, MAX_MATCHES),
            Self::Located(holders) => at_most("located", holders.len(), MAX_MEMBERS),
            Self::Outline { bytes } => content_length(*bytes),
            Self::Duplicates(page) => duplicates::page(page),
            Self::Why(answer) => duplicates::why(answer),
            Self::Verified(holders) => {
                at_most("verified", holders.len(), MAX_MEMBERS)?;
                holders.iter().try_for_each(|holder| text("verified.note", &holder.note))
            }
            Self::Emptied(emptied) => {
                at_most("emptied.problems", emptied.problems.len(), MAX_REPORTED_PROBLEMS)?;
                emptied.problems.iter().try_for_each(|why| text("emptied.problems (text)", why))
            }
            Self::Refused(refusal) => refused(refusal),
            Self::Put(response) => changes::put_response(response),
            Self::Similar(page) => similar::page(page),
            Self::Removed(answers) => changes::removal_answers("removed", answers, MAX_MEMBERS + 1),
            Self::Chunk
            | Self::Chunks
            | Self::Scrub(_)
            | Self::Approved { .. }
            | Self::Restored { .. }
            | Self::Drain(_) => Ok(()),
        }
    }

    fn payload_limit(&self) -> usize {
        match self {
            Self::Chunk => CHUNK_BYTES,
            Self::Chunks => RUN_CHUNKS as usize * CHUNK_BYTES,
            Self::Outline { bytes } => outline_payload(*bytes),
            _ => 0,
        }
    }
}

fn refused(refusal: &Refusal) -> Result<(), Violation> {
    at_most("refused.message", refusal.message.len(), MAX_TEXT_BYTES)
}

fn member(member: &MemberAddress) -> Result<(), Violation> {
    at_most("members.addresses", member.addresses.len(), MAX_ADDRESSES_PER_PEER)?;
    member.addresses.iter().try_for_each(|a| at_most("members.addresses (bytes)", a.len(), MAX_ADDRESS_BYTES))
}

fn rows(field: &'static str, rows: &[ImageRow], limit: usize) -> Result<(), Violation> {
    at_most(field, rows.len(), limit)?;
    // The asked node itself may be one of the holders.
    rows.iter().try_for_each(|row| at_most("row.holders", row.holders.len(), MAX_MEMBERS + 1))
}

fn peer_status(peer: &PeerStatus) -> Result<(), Violation> {
    at_most("peers.addresses", peer.addresses.len(), MAX_ADDRESSES_PER_PEER)?;
    at_most("peers.trouble", peer.trouble.as_ref().map_or(0, String::len), MAX_TEXT_BYTES)
}

fn node_status(status: &NodeStatus) -> Result<(), Violation> {
    at_most("status.addresses", status.addresses.len(), MAX_OWN_ADDRESSES)?;
    text("status.dedup.obstacle", status.dedup.obstacle.as_deref().unwrap_or_default())?;
    at_most("status.unreached", status.unreached.len(), MAX_BOOTSTRAPS)?;
    for (address, why) in &status.unreached {
        at_most("status.unreached (address)", address.len(), MAX_TEXT_BYTES)?;
        at_most("status.unreached (text)", why.len(), MAX_TEXT_BYTES)?;
    }
    at_most("status.problems", status.problems.len(), MAX_REPORTED_PROBLEMS)?;
    status
        .problems
        .iter()
        .try_for_each(|(_, why)| at_most("status.problems (text)", why.len(), MAX_TEXT_BYTES))
}
