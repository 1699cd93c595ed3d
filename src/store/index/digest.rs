//! A catalog in 32 bytes, to find out whether what one node believes of another is true.
//!
//! Catalogs travel as changes, and a change that was lost on the way (a bug, a damaged index, one
//! that was restored from a backup) would be wrong for ever. So two nodes compare digests now and
//! then: the hash of each entry, all of them added up by exclusive or, so that their order does not
//! matter and pages that hold the same are equal.

use redb::{Durability, ReadTransaction, ReadableTable as _, WriteTransaction};

use super::error::Fault;
use super::own::StoredContent;
use super::schema::{self, BY_CONTENT, BY_PEER, CONTENTS, PEERS, SWARM, past};
use super::{Index, IndexError, PeerId, peers};
use crate::protocol::Held;
use crate::types::{CatalogHead, ContentId, Epoch, Seq};

impl Index {
    /// The own catalog's head, and a digest of what it tells.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn own_digest(&self) -> Result<(CatalogHead, [u8; 32]), IndexError> {
        self.read("adding up the own catalog", own)
    }

    /// How far a peer's catalog is known, and a digest of what is known of it; `None` when it is
    /// not known, or just being read anew.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn peer_digest(&self, peer: &PeerId) -> Result<Option<(CatalogHead, [u8; 32])>, IndexError> {
        self.read("adding up a catalog", |txn| of_peer(txn, peer))
    }

    /// Has a peer's catalog read from its beginning. What is known of it stays until then.
    ///
    /// # Errors
    /// When the index can't be written.
    pub fn reread_peer(&self, peer: &PeerId) -> Result<(), IndexError> {
        self.write("reading a catalog anew", Durability::Immediate, |txn| reread(txn, peer))
    }
}

/// See `Index::own_digest`.
fn own(txn: &ReadTransaction) -> Result<(CatalogHead, [u8; 32]), Fault> {
    let mut digest = [0; 32];
    for entry in txn.open_table(CONTENTS)?.iter()? {
        let (content, stored) = entry?;
        let stored: StoredContent = schema::decode("contents", stored.value())?;
        add(&mut digest, ContentId(*content.value()), &stored.into_held());
    }
    Ok((schema::head(txn)?, digest))
}

/// See `Index::peer_digest`.
fn of_peer(txn: &ReadTransaction, peer: &PeerId) -> Result<Option<(CatalogHead, [u8; 32])>, Fault> {
    let id = peer.to_bytes();
    let Some(state) = peers::state(&txn.open_table(PEERS)?, &id)?.filter(peers::PeerState::is_whole) else {
        return Ok(None);
    };
    let (rows, images) = (txn.open_table(SWARM)?, txn.open_table(BY_CONTENT)?);
    let mut digest = [0; 32];
    for entry in txn.open_table(BY_PEER)?.range(&*id..&*past(&id))? {
        let (key, _) = entry?;
        let content = key.value().get(id.len()..).and_then(|content| content.try_into().ok());
        let content = ContentId(content.ok_or(Fault::Value("by_peer"))?);
        let image = images.get(&*[&content.0[..], &id].concat())?.ok_or(Fault::Value("by_content"))?;
        let row = rows.get(&*[image.value(), &content.0[..], &id].concat())?;
        let held: Held = schema::decode("swarm", row.ok_or(Fault::Value("swarm"))?.value())?;
        add(&mut digest, content, &held);
    }
    Ok(Some((state.known, digest)))
}

/// See `Index::reread_peer`.
fn reread(txn: &WriteTransaction, peer: &PeerId) -> Result<(), Fault> {
    let id = peer.to_bytes();
    let mut table = txn.open_table(PEERS)?;
    let Some(mut state) = peers::state(&table, &id)? else { return Ok(()) };
    state.known = CatalogHead { epoch: Epoch(0), seq: Seq(0) };
    table.insert(&*id, &*schema::encode("peers", &state)?)?;
    Ok(())
}

/// What every version of the program knows of an entry.
fn add(digest: &mut [u8; 32], content: ContentId, held: &Held) {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&content.0).update(&held.facts.image.to_bytes());
    hasher.update(&held.files.to_be_bytes()).update(&[held.replica.into(), held.pinned.into()]);
    hasher.update(held.path.as_bytes());
    for (sum, byte) in digest.iter_mut().zip(hasher.finalize().as_bytes()) {
        *sum ^= byte;
    }
}
