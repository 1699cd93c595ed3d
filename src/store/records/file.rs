//! The file of the records: `records.redb`.
//!
//! One row a key: 12 bytes for each provider, which is named by its serial in a second table.
//! A serial is never given to another peer, so rows and peers need not be written at one moment:
//! a serial that nobody has is a record that has gone.
//!
//! Everything in it comes again by itself. So a file that can't be read is set aside and
//! begun anew, whatever is wrong with it.

use std::collections::HashSet;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use libp2p::{Multiaddr, PeerId};
use redb::{Builder, Database, Durability, ReadableDatabase as _, ReadableTable as _};
use redb::{Table, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::Digest;
use super::passing::{Batch, Clock, Opened, PeerRow, Row, Span};
use crate::limits::{MAX_ADDRESSES_PER_PEER, RECORD_CACHE_BYTES, RECORD_CHUNK};
use crate::store::database::{self, Sorted};

/// Key to its providers.
const RECORDS: TableDefinition<&Digest, &[u8]> = TableDefinition::new("records");
/// Serial to a [`StoredPeer`] in CBOR.
const PEERS: TableDefinition<u64, &[u8]> = TableDefinition::new("peers");

/// Numbers of the file: see [`Clock`].
const FILE_SECONDS: &str = "seconds";
const UNIX_SECONDS: &str = "unix";
const NEXT_SERIAL: &str = "next_serial";

/// redb met a page that makes no sense to it.
const ROTTEN: &str = "a page";

pub(super) type Fault = database::Fault<Infallible>;

/// Why the file can't be used.
#[derive(Debug)]
pub(super) enum Unusable {
    /// For good: another file has to take its place.
    Damaged(String),
    /// Maybe not for long: a full disk, a permission.
    Storage(String),
}

impl Unusable {
    pub(super) fn reason(self) -> String {
        let (Self::Damaged(reason) | Self::Storage(reason)) = self;
        reason
    }
}

impl From<Fault> for Unusable {
    fn from(fault: Fault) -> Self {
        match fault.sorted() {
            Sorted::Damaged(reason) => Self::Damaged(reason),
            Sorted::Newer { found, known } => {
                Self::Damaged(format!("it has format {found}, this program knows {known}"))
            }
            Sorted::InUse => Self::Storage("another process has it open".to_owned()),
            Sorted::Storage(source) => Self::Storage(source.to_string()),
            Sorted::Refused(never) => match *never {},
        }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredPeer {
    id: ByteBuf,
    addresses: Vec<ByteBuf>,
    trusted: bool,
    away: bool,
    settles: u32,
}

/// The open file.
#[derive(Debug)]
pub(super) struct RecordFile(Database);

impl RecordFile {
    pub(super) fn open(opened: impl FnOnce() -> Result<Database, Fault>) -> Result<Self, Unusable> {
        caught(|| {
            let db = opened()?;
            database::prepare::<Infallible>(&db, &[], |txn: &WriteTransaction| {
                txn.open_table(RECORDS)?;
                txn.open_table(PEERS)?;
                Ok(())
            })?;
            Ok(Self(db))
        })
    }

    pub(super) fn opened(&self) -> Result<Opened, Unusable> {
        caught(|| {
            let txn = self.0.begin_read()?;
            let clock = Clock {
                file: u32::try_from(database::number::<Infallible>(&txn, FILE_SECONDS)?).unwrap_or(u32::MAX),
                unix: database::number::<Infallible>(&txn, UNIX_SECONDS)?,
                next_serial: database::number::<Infallible>(&txn, NEXT_SERIAL)?,
            };
            let mut peers = Vec::new();
            for row in txn.open_table(PEERS)?.iter()? {
                let (serial, stored) = row?;
                // What makes no sense is a peer less.
                peers.extend(peer(serial.value(), stored.value()));
            }
            Ok(Opened { clock, peers })
        })
    }

    /// Hands over all rows in their order, until `take` wants no more.
    pub(super) fn read(&self, mut take: impl FnMut(Vec<Row>) -> bool) -> Result<(), Unusable> {
        caught(|| {
            let table = self.0.begin_read()?.open_table(RECORDS)?;
            let mut chunk = Vec::new();
            for row in table.iter()? {
                let (digest, packed) = row?;
                chunk.push((*digest.value(), packed.value().into()));
                if chunk.len() >= RECORD_CHUNK && !take(std::mem::take(&mut chunk)) {
                    return Ok(());
                }
            }
            take(chunk);
            Ok(())
        })
    }

    /// Makes the file agree with `batch`, wholly or not at all.
    pub(super) fn write(&self, batch: &Batch, durability: Durability) -> Result<(), Unusable> {
        caught(|| {
            let mut txn = self.0.begin_write()?;
            txn.set_durability(durability)?;
            database::set_number::<Infallible>(&txn, FILE_SECONDS, u64::from(batch.clock.file))?;
            database::set_number::<Infallible>(&txn, UNIX_SECONDS, batch.clock.unix)?;
            database::set_number::<Infallible>(&txn, NEXT_SERIAL, batch.clock.next_serial)?;
            if let Some(peers) = &batch.peers {
                write_peers(&mut txn.open_table(PEERS)?, peers)?;
            }
            {
                let mut table = txn.open_table(RECORDS)?;
                for span in &batch.spans {
                    write_span(&mut table, span)?;
                }
            }
            txn.commit()?;
            Ok(())
        })
    }
}

fn write_peers(table: &mut Table<'_, u64, &'static [u8]>, peers: &[PeerRow]) -> Result<(), Fault> {
    let kept: HashSet<u64> = peers.iter().map(|row| row.serial).collect();
    table.retain(|serial, _| kept.contains(&serial))?;
    for row in peers {
        let stored = StoredPeer {
            id: ByteBuf::from(row.id.to_bytes()),
            addresses: row.addresses.iter().map(|address| ByteBuf::from(address.to_vec())).collect(),
            trusted: row.trusted,
            away: row.away,
            settles: row.settles,
        };
        let stored = serde_cbor::to_vec(&stored).map_err(|_| Fault::Value("peers"))?;
        let same = table.get(row.serial)?.is_some_and(|known| known.value() == stored.as_slice());
        if !same {
            table.insert(row.serial, stored.as_slice())?;
        }
    }
    Ok(())
}

/// Only what differs is written: of a part of the keys mostly one or two.
fn write_span(table: &mut Table<'_, &'static Digest, &'static [u8]>, span: &Span) -> Result<(), Fault> {
    let mut rows = span.rows.iter().map(|(digest, packed)| (digest, &**packed)).peekable();
    let (mut gone, mut new) = (Vec::new(), Vec::new());
    for stored in table.range::<&Digest>(&span.first..=&span.last)? {
        let (digest, packed) = stored?;
        let digest = digest.value();
        while let Some(row) = rows.next_if(|(next, _)| *next < digest) {
            new.push(row);
        }
        match rows.next_if(|(next, _)| *next == digest) {
            Some(row) if row.1 == packed.value() => {}
            Some(row) => new.push(row),
            None => gone.push(*digest),
        }
    }
    for digest in gone {
        table.remove(&digest)?;
    }
    for (digest, packed) in new.into_iter().chain(rows) {
        table.insert(digest, packed)?;
    }
    Ok(())
}

fn peer(serial: u64, stored: &[u8]) -> Option<PeerRow> {
    let stored: StoredPeer = serde_cbor::from_slice(stored).ok()?;
    let addresses = stored.addresses.into_iter().take(MAX_ADDRESSES_PER_PEER);
    Some(PeerRow {
        serial,
        id: PeerId::from_bytes(&stored.id).ok()?,
        addresses: addresses.filter_map(|address| Multiaddr::try_from(address.into_vec()).ok()).collect(),
        trusted: stored.trusted,
        away: stored.away,
        settles: stored.settles,
    })
}

/// redb panics at some pages that have rotted. A panic would end the thread.
fn caught<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Unusable> {
    let outcome = catch_unwind(AssertUnwindSafe(work));
    Ok(outcome.unwrap_or(Err(Fault::Value(ROTTEN)))?)
}

pub(super) fn database(path: &Path) -> Result<Database, Fault> {
    Ok(builder().create(path)?)
}

pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(RECORD_CACHE_BYTES);
    builder
}

/// Moves a file out of the way of a new one. One that was set aside before goes.
pub(super) fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let aside = path.with_extension("redb.damaged");
    std::fs::rename(path, &aside)?;
    Ok(aside)
}
