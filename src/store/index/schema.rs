//! The tables, how values are written in them, and the way from one format to the next.
//!
//! Values are CBOR maps with text keys (unknown fields are ignored), so that a field with
//! a default needs no migration. Everything else that changes gets a new format number
//! and a function in [`MIGRATIONS`](super::migrate::MIGRATIONS).

use std::hash::{BuildHasher as _, RandomState};

use redb::{Database, ReadTransaction, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::Fault;
use super::migrate::Migration;
use crate::dht_index::keys::OwnKey;
use crate::store::database;
pub(super) use crate::store::database::{number, number_mut, set_number};
use crate::types::{CatalogHead, ContentId, Epoch, ImageId, Seq};

/// Bytes of (image, content), the first part of a row's key.
pub(super) const GROUP: usize = ImageId::LEN + 32;

/// Bytes of a row of KEYS.
pub(super) const OWN_KEY: usize = 8 + 32;

/// Path -> fingerprint, and CBOR of what it is.
pub(super) const FILES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("files");
/// Path -> why it could not be read or decoded.
pub(super) const PROBLEMS: TableDefinition<&[u8], &str> = TableDefinition::new("problems");
/// Paths of photos and videos of types not handled.
pub(super) const UNPROTECTED: TableDefinition<&[u8], ()> = TableDefinition::new("unprotected");
/// Path of a damaged file -> the content that it ought to be.
pub(super) const DAMAGED: TableDefinition<&[u8], &[u8; 32]> = TableDefinition::new("damaged");
/// Own content (a file of the folder, a replica, or both) -> `StoredContent`.
pub(super) const CONTENTS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("contents");
/// Own content ++ path, for each file that has it.
pub(super) const PATHS: TableDefinition<&[u8], ()> = TableDefinition::new("paths");
/// Own content -> signature, apart because only comparing needs it: 1.5 KB beside 300 bytes.
pub(super) const SIGNATURES: TableDefinition<&[u8; 32], &[u8; 1536]> = TableDefinition::new("signatures");
/// Own image ++ content.
pub(super) const OWN: TableDefinition<&[u8; GROUP], ()> = TableDefinition::new("own");
/// Place in the keyspace ++ key of each own image: what is published, in the order in which it
/// is read for that.
pub(super) const KEYS: TableDefinition<&[u8; OWN_KEY], ()> = TableDefinition::new("keys");
/// Position -> content that changed last there. A content without a record in CONTENTS is
/// a tombstone.
pub(super) const CATALOG: TableDefinition<u64, &[u8; 32]> = TableDefinition::new("catalog");
/// Content -> its only position in the catalog.
pub(super) const POSITIONS: TableDefinition<&[u8; 32], u64> = TableDefinition::new("positions");
/// Image ++ content ++ holder -> `Held`. The holder is a peer id, or nothing for this node:
/// so its own row sorts first, and a new identity invalidates no row.
pub(super) const SWARM: TableDefinition<&[u8], &[u8]> = TableDefinition::new("swarm");
/// Content ++ holder -> image.
pub(super) const BY_CONTENT: TableDefinition<&[u8], &[u8; ImageId::LEN]> = TableDefinition::new("by_content");
/// Peer ++ content -> generation of the peer's catalog that the row is of. Peer ids are
/// multihashes, which carry their length: none is the beginning of another.
pub(super) const BY_PEER: TableDefinition<&[u8], u64> = TableDefinition::new("by_peer");
/// Peer -> `PeerState`.
pub(super) const PEERS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("peers");

/// Content held for the swarm -> the path it once had.
pub(super) const REPLICAS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("replicas");
/// Contents that somebody wants kept, whether they are here or not.
pub(super) const PINNED: TableDefinition<&[u8; 32], ()> = TableDefinition::new("pinned");

/// Keys of META.
const EPOCH: &str = "epoch";
const SEQ: &str = "seq";
/// Bytes of all contents of the folder.
pub(super) const OWN_BYTES: &str = "own_bytes";
/// Bytes of all replicas.
pub(super) const REPLICA_BYTES: &str = "replica_bytes";
/// Contents that are replicas and no file of the folder.
pub(super) const REPLICAS_ONLY: &str = "replicas_only";
/// In the order of `StoredContent::size`.
pub(super) const SIZES: [&str; 3] = [OWN_BYTES, REPLICA_BYTES, REPLICAS_ONLY];
/// Distinct contents in SWARM.
pub(super) const SWARM_CONTENTS: &str = "swarm_contents";
/// The last generation given to a peer's catalog.
pub(super) const GENERATION: &str = "generation";

/// Makes the tables of a new file, or brings an older file to the newest format. A newer
/// file and a file of another program stay untouched.
pub(super) fn prepare(db: &Database, migrations: &[Migration]) -> Result<(), Fault> {
    database::prepare(db, migrations, create)
}

fn create(txn: &WriteTransaction) -> Result<(), Fault> {
    for table in [FILES, SWARM, PEERS] {
        txn.open_table(table)?;
    }
    for table in [UNPROTECTED, PATHS] {
        txn.open_table(table)?;
    }
    txn.open_table(PROBLEMS)?;
    txn.open_table(DAMAGED)?;
    txn.open_table(CONTENTS)?;
    txn.open_table(SIGNATURES)?;
    txn.open_table(OWN)?;
    txn.open_table(KEYS)?;
    txn.open_table(REPLICAS)?;
    txn.open_table(PINNED)?;
    txn.open_table(CATALOG)?;
    txn.open_table(POSITIONS)?;
    txn.open_table(BY_CONTENT)?;
    txn.open_table(BY_PEER)?;
    set_head(txn, CatalogHead { epoch: new_epoch(), seq: Seq(0) })
}

/// A random number. The standard library seeds its hash maps from the operating system;
/// nothing secret hangs on this one.
pub(super) fn new_epoch() -> Epoch {
    Epoch(RandomState::new().hash_one(std::time::SystemTime::now()))
}

/// Changes a number of META by a difference.
pub(super) fn add_number(txn: &WriteTransaction, key: &str, by: i64) -> Result<(), Fault> {
    let sum = number_mut(txn, key)?.saturating_add_signed(by);
    set_number(txn, key, sum)
}

pub(super) fn head(txn: &ReadTransaction) -> Result<CatalogHead, Fault> {
    Ok(CatalogHead { epoch: Epoch(number(txn, EPOCH)?), seq: Seq(number(txn, SEQ)?) })
}

pub(super) fn head_mut(txn: &WriteTransaction) -> Result<CatalogHead, Fault> {
    Ok(CatalogHead { epoch: Epoch(number_mut(txn, EPOCH)?), seq: Seq(number_mut(txn, SEQ)?) })
}

pub(super) fn set_head(txn: &WriteTransaction, head: CatalogHead) -> Result<(), Fault> {
    set_number(txn, EPOCH, head.epoch.0)?;
    set_number(txn, SEQ, head.seq.0)
}

/// A value as it is stored in `table`.
pub(super) fn encode<T: Serialize>(table: &'static str, value: &T) -> Result<Vec<u8>, Fault> {
    serde_cbor::to_vec(value).map_err(|_| Fault::Value(table))
}

/// The inverse of [`encode`].
pub(super) fn decode<T: DeserializeOwned>(table: &'static str, bytes: &[u8]) -> Result<T, Fault> {
    serde_cbor::from_slice(bytes).map_err(|_| Fault::Value(table))
}

/// Image ++ content.
pub(super) fn group_key(image: ImageId, content: ContentId) -> [u8; GROUP] {
    let mut key = [0; GROUP];
    let (left, right) = key.split_at_mut(ImageId::LEN);
    left.copy_from_slice(&image.to_bytes());
    right.copy_from_slice(&content.0);
    key
}

/// A row of KEYS.
pub(super) fn key_row(key: &OwnKey) -> [u8; OWN_KEY] {
    let mut row = [0; OWN_KEY];
    let (left, right) = row.split_at_mut(8);
    left.copy_from_slice(&key.place.to_be_bytes());
    right.copy_from_slice(&key.digest);
    row
}

/// One key after another.
pub(super) fn join(first: &[u8], second: &[u8]) -> Vec<u8> {
    [first, second].concat()
}

/// A key above every key that starts with `prefix` and goes on with a path or a peer id:
/// these are shorter than what is appended here, or start with a byte below 0xff.
pub(super) fn past(prefix: &[u8]) -> Vec<u8> {
    let mut key = prefix.to_vec();
    key.extend([0xff; crate::types::RelPath::MAX_BYTES + 1]);
    key
}
