//! The way from one format to the next. A migration sees the tables as the format before it
//! left them, so nothing here may rely on what a later one changes.

use redb::{ReadableTable as _, WriteTransaction};

use super::FileKind;
use super::error::{Fault, IndexError};
use super::own::{decode_file, encode_file};
use super::schema::{DAMAGED, FILES, KEYS, OWN, PINNED, REPLICAS, SIGNATURES, key_row};
use crate::dht_index::keys::OwnKey;
use crate::store::database;
use crate::types::ImageId;

/// Makes format `n + 1` of format `n`.
pub(super) type Migration = database::Migration<IndexError>;

/// Element `i` goes from format `1 + i` to the next. Append only.
pub(super) const MIGRATIONS: &[Migration] = &[remember_encodings, know_damage, sort_by_keyspace];

/// A length that no file has.
const NO_LENGTH: u64 = u64::MAX;

/// Format 2 knows how each content is encoded. Of the old ones nobody wrote it down: their
/// fingerprints are spoilt, so that the next scan looks at each picture again, and they stay
/// listed meanwhile. Their signatures go until then: a content that can't be compared can't
/// be dropped, nor another for it, while its metadata are taken for missing.
fn remember_encodings(txn: &WriteTransaction) -> Result<(), Fault> {
    /// Files read at once.
    const PIECE: usize = 4096;
    txn.delete_table(SIGNATURES)?;
    txn.open_table(SIGNATURES)?;
    txn.open_table(REPLICAS)?;
    txn.open_table(PINNED)?;
    let mut files = txn.open_table(FILES)?;
    let mut after = Vec::new();
    loop {
        use std::ops::Bound::{Excluded, Unbounded};
        let mut piece = Vec::new();
        // No path is empty, so the first piece misses none.
        for entry in files.range::<&[u8]>((Excluded(&*after), Unbounded))?.take(PIECE) {
            let (path, record) = entry?;
            piece.push((path.value().to_vec(), decode_file(record.value())?));
        }
        for (path, record) in &mut piece {
            if matches!(record.kind, FileKind::Picture { .. }) {
                record.fingerprint.bytes = NO_LENGTH;
                files.insert(&**path, &*encode_file(record)?)?;
            }
        }
        match piece.pop() {
            Some((last, _)) => after = last,
            None => return Ok(()),
        }
    }
}

/// Format 3 knows files that their disk has damaged. Before, there were none.
fn know_damage(txn: &WriteTransaction) -> Result<(), Fault> {
    txn.open_table(DAMAGED)?;
    Ok(())
}

/// Format 4 has the keys of own images in the order of the keyspace.
fn sort_by_keyspace(txn: &WriteTransaction) -> Result<(), Fault> {
    let mut keys = txn.open_table(KEYS)?;
    for entry in txn.open_table(OWN)?.iter()? {
        let group = entry?.0;
        let image = group.value().get(..ImageId::LEN).and_then(ImageId::from_bytes);
        keys.insert(&key_row(&OwnKey::of(&image.ok_or(Fault::Value("own"))?)), ())?;
    }
    Ok(())
}
