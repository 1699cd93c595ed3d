//! Every content with its holders, in one pass over the keys: nothing is decoded.

use std::collections::HashMap;

use redb::{ReadTransaction, ReadableTable as _};

use super::error::Fault;
use super::schema::{self, BY_CONTENT, BY_PEER, PEERS, SWARM, past};
use super::swarm::SELF;
use super::{Index, IndexError, PeerId, peers};
use crate::protocol::Held;
use crate::types::{ContentId, FolderId};

/// Bytes of a content's id, the first part of a key.
const CONTENT: usize = 32;

impl Index {
    /// Every content that a known node holds, live or not, with its holders, in the order of
    /// contents, until `visit` returns false. Reads keys only.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn each_content(
        &self,
        visit: &mut dyn FnMut(ContentId, &[PeerId]) -> bool,
    ) -> Result<(), IndexError> {
        self.read("reading all contents", |txn| each_content(txn, self.me, visit))
    }

    /// The holders of a content, live or not, and whether each keeps it for the swarm only.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn kept_as_replica(&self, content: &ContentId) -> Result<Vec<(PeerId, bool)>, IndexError> {
        self.read("looking up holders", |txn| kept_as_replica(txn, self.me, content))
    }

    /// One of the contents that a peer's catalog names, whichever `number` leads to; `None` when
    /// it names none.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn held_by(&self, peer: &PeerId, number: u64) -> Result<Option<ContentId>, IndexError> {
        self.read("choosing a content", |txn| held_by(txn, peer, number))
    }

    /// The known peers and their folders.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn folders(&self) -> Result<Vec<(PeerId, FolderId)>, IndexError> {
        self.read("listing the peers", folders)
    }
}

/// See `Index::each_content`.
fn each_content(
    txn: &ReadTransaction,
    me: PeerId,
    visit: &mut dyn FnMut(ContentId, &[PeerId]) -> bool,
) -> Result<(), Fault> {
    let mut known: HashMap<Vec<u8>, PeerId> = HashMap::from([(SELF.to_vec(), me)]);
    let mut at: Option<ContentId> = None;
    let mut holders = Vec::new();
    for entry in txn.open_table(BY_CONTENT)?.iter()? {
        let (key, _) = entry?;
        let (content, holder) =
            key.value().split_first_chunk::<CONTENT>().ok_or(Fault::Value("by_content"))?;
        let content = ContentId(*content);
        if at.is_some_and(|at| at != content)
            && let Some(at) = at
        {
            if !visit(at, &holders) {
                return Ok(());
            }
            holders.clear();
        }
        at = Some(content);
        let peer = if let Some(peer) = known.get(holder) {
            *peer
        } else {
            let peer = PeerId::from_bytes(holder).map_err(|_| Fault::Value("by_content"))?;
            known.insert(holder.to_vec(), peer);
            peer
        };
        holders.push(peer);
    }
    if let Some(at) = at {
        visit(at, &holders);
    }
    Ok(())
}

/// See `Index::kept_as_replica`.
fn kept_as_replica(
    txn: &ReadTransaction,
    me: PeerId,
    content: &ContentId,
) -> Result<Vec<(PeerId, bool)>, Fault> {
    let rows = txn.open_table(SWARM)?;
    let mut found = Vec::new();
    for entry in txn.open_table(BY_CONTENT)?.range(&content.0[..]..&*past(&content.0))? {
        let (key, image) = entry?;
        let holder = key.value().get(CONTENT..).unwrap_or_default();
        let row = rows.get(&*[image.value(), &content.0[..], holder].concat())?;
        let held: Held = schema::decode("swarm", row.ok_or(Fault::Value("by_content"))?.value())?;
        let peer = if holder == SELF {
            me
        } else {
            PeerId::from_bytes(holder).map_err(|_| Fault::Value("by_content"))?
        };
        found.push((peer, held.replica));
    }
    Ok(found)
}

/// See `Index::folders`.
fn folders(txn: &ReadTransaction) -> Result<Vec<(PeerId, FolderId)>, Fault> {
    let table = txn.open_table(PEERS)?;
    let mut found = Vec::new();
    for entry in table.iter()? {
        let (key, _) = entry?;
        let peer = PeerId::from_bytes(key.value()).map_err(|_| Fault::Value("peers"))?;
        if let Some(state) = peers::state(&table, key.value())? {
            found.push((peer, state.folder));
        }
    }
    Ok(found)
}

/// See `Index::held_by`.
fn held_by(txn: &ReadTransaction, peer: &PeerId, number: u64) -> Result<Option<ContentId>, Fault> {
    let peer = peer.to_bytes();
    let table = txn.open_table(BY_PEER)?;
    let from = [&peer[..], &number.to_be_bytes()].concat();
    let end = past(&peer);
    let mut found = table.range(&*from..&*end)?.next();
    if found.is_none() {
        found = table.range(&*peer..&*end)?.next();
    }
    let Some(entry) = found else { return Ok(None) };
    let (key, _) = entry?;
    let content = key.value().get(peer.len()..).and_then(|id| id.try_into().ok());
    Ok(Some(ContentId(content.ok_or(Fault::Value("by_peer"))?)))
}
