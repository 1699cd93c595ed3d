//! Other nodes' catalogs, page by page, and what happens when one begins anew.

use redb::{ReadTransaction, ReadableTable as _, Table, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::error::{Fault, IndexError};
use super::schema::{self, PEERS};
use super::swarm::Swarm;
use super::{PageOutcome, PeerId};
use crate::limits::{MAX_CATALOG_ENTRIES_PER_PEER, MAX_PAGE_ENTRIES};
use crate::protocol::CatalogPage;
use crate::types::{CatalogHead, FolderId, ImageId, Seq};

/// What PEERS keeps of a peer.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct PeerState {
    /// The folder it keeps. Here and not in each row: a peer that moves to another folder
    /// changes one record.
    pub(super) folder: FolderId,
    /// Its catalog is known up to here.
    pub(super) known: CatalogHead,
    /// Rows of the present life of its catalog carry this number; when that life is
    /// completely known, rows with another one go.
    generation: u64,
    /// Rows, of all generations.
    rows: u64,
    /// There may be rows of an older generation.
    replacing: bool,
}

impl PeerState {
    /// Whether its rows are those of one life of its catalog.
    pub(super) fn is_whole(&self) -> bool {
        !self.replacing
    }
}

/// The record of a peer, by the bytes of its id.
pub(super) fn state(
    peers: &impl redb::ReadableTable<&'static [u8], &'static [u8]>,
    peer: &[u8],
) -> Result<Option<PeerState>, Fault> {
    let bytes = peers.get(peer)?;
    bytes.map(|bytes| schema::decode("peers", bytes.value())).transpose()
}

/// See `Index::peer_position`.
pub(super) fn position(txn: &ReadTransaction, peer: &PeerId) -> Result<Option<CatalogHead>, Fault> {
    Ok(state(&txn.open_table(PEERS)?, &peer.to_bytes())?.map(|state| state.known))
}

/// See `Index::peer_progress`.
pub(super) fn progress(txn: &ReadTransaction, peer: &PeerId) -> Result<Option<(CatalogHead, u64)>, Fault> {
    let state = state(&txn.open_table(PEERS)?, &peer.to_bytes())?;
    Ok(state.map(|state| (state.known, state.rows)))
}

/// See `Index::cached`.
pub(super) fn cached(txn: &ReadTransaction) -> Result<Vec<(PeerId, u64)>, Fault> {
    let peers = txn.open_table(PEERS)?;
    let rows = peers.iter()?.map(|entry| {
        let (key, value) = entry?;
        let peer = PeerId::from_bytes(key.value()).map_err(|_| Fault::Value("peers"))?;
        Ok((peer, schema::decode::<PeerState>("peers", value.value())?.rows))
    });
    rows.collect()
}

/// See `Index::peers`.
pub(super) fn all(txn: &ReadTransaction) -> Result<Vec<PeerId>, Fault> {
    let peers = txn.open_table(PEERS)?;
    let ids =
        peers.iter()?.map(|entry| PeerId::from_bytes(entry?.0.value()).map_err(|_| Fault::Value("peers")));
    ids.collect()
}

/// The rules that a page obeys whatever was known before.
pub(super) fn check(peer: &PeerId, page: &CatalogPage) -> Result<(), IndexError> {
    let wrong = |reason| Err(IndexError::BadPage { peer: *peer, reason });
    if page.entries.len() > MAX_PAGE_ENTRIES {
        return wrong("it has too many entries");
    }
    if page.from > page.upto || page.upto > page.head.seq {
        return wrong("it ends before its start or after the catalog's head");
    }
    if page.upto == page.from && page.upto < page.head.seq {
        return wrong("it leads nowhere");
    }
    let mut last = page.from;
    for entry in &page.entries {
        if entry.seq <= last || entry.seq > page.upto {
            return wrong("its entries are not in order");
        }
        last = entry.seq;
        let image = entry.held.as_ref().map(|held| held.facts.image);
        if matches!(image, Some(ImageId::Content(id)) if id != entry.content) {
            return wrong("a picture is identified by another content than its own");
        }
    }
    Ok(())
}

/// See `Index::apply_peer_page`; the page has been checked.
pub(super) fn apply(
    txn: &WriteTransaction,
    peer: &PeerId,
    folder: FolderId,
    page: &CatalogPage,
) -> Result<PageOutcome, Fault> {
    let id = peer.to_bytes();
    let mut peers = txn.open_table(PEERS)?;
    let Some(mut state) = next_state(txn, &peers, &id, folder, page)? else {
        return Ok(PageOutcome::Ignored);
    };
    let mut swarm = Swarm::open(txn)?;
    for entry in &page.entries {
        if let Some(held) = &entry.held {
            let new = swarm.put(entry.content, &id, state.generation, held)?;
            state.rows += u64::from(new);
        } else {
            let had = swarm.remove(entry.content, &id)?;
            state.rows = state.rows.saturating_sub(u64::from(had));
        }
    }
    let complete = page.upto == page.head.seq;
    if complete && state.replacing {
        let stale = swarm.remove_stale(&id, Some(state.generation))?;
        state.rows = state.rows.saturating_sub(stale);
        state.replacing = false;
    }
    if state.rows > MAX_CATALOG_ENTRIES_PER_PEER {
        let limit = MAX_CATALOG_ENTRIES_PER_PEER;
        return Err(Fault::Refused(Box::new(IndexError::CatalogTooLong { peer: *peer, limit })));
    }
    swarm.finish(txn)?;
    state.known = CatalogHead { epoch: page.head.epoch, seq: page.upto };
    peers.insert(&*id, &*schema::encode("peers", &state)?)?;
    Ok(PageOutcome::Applied { complete })
}

/// The peer's record from which the page goes on: the one there is, one for a catalog that
/// begins anew, or `None` when the page fits neither.
fn next_state(
    txn: &WriteTransaction,
    peers: &Table<'_, &'static [u8], &'static [u8]>,
    id: &[u8],
    folder: FolderId,
    page: &CatalogPage,
) -> Result<Option<PeerState>, Fault> {
    let old = state(peers, id)?;
    if let Some(old) = old {
        let same_life = old.known.epoch == page.head.epoch && old.known.seq <= page.head.seq;
        if same_life {
            return Ok((old.known.seq == page.from).then_some(PeerState { folder, ..old }));
        }
    }
    if page.from != Seq(0) {
        return Ok(None);
    }
    let generation = schema::number_mut(txn, schema::GENERATION)? + 1;
    schema::set_number(txn, schema::GENERATION, generation)?;
    let known = CatalogHead { epoch: page.head.epoch, seq: Seq(0) };
    let rows = old.map_or(0, |old| old.rows);
    Ok(Some(PeerState { folder, known, generation, rows, replacing: rows > 0 }))
}

/// See `Index::forget_peer`.
pub(super) fn forget(txn: &WriteTransaction, peer: &PeerId) -> Result<(), Fault> {
    let id = peer.to_bytes();
    let mut swarm = Swarm::open(txn)?;
    swarm.remove_stale(&id, None)?;
    swarm.finish(txn)?;
    txn.open_table(PEERS)?.remove(&*id)?;
    Ok(())
}
