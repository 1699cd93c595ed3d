//! Reading what this node holds.

use std::collections::HashMap;

use redb::{ReadTransaction, ReadableTable as _, ReadableTableMetadata as _};

use super::catalog;
use super::error::Fault;
use super::own::{StoredContent, Told, decode_file, first_paths, path};
use super::schema::{self, CONTENTS, DAMAGED, FILES, GROUP, KEYS, OWN, OWN_KEY, PATHS, PROBLEMS, REPLICAS};
use super::schema::{SIGNATURES, UNPROTECTED, group_key, key_row};
use super::{Change, ContentRecord, FileRecord, Found, Totals};
use crate::dht_index::keys::OwnKey;
use crate::dht_index::spans::Spans;
use crate::limits::{MAX_PAGE_ENTRIES, PAGE_BYTES};
use crate::picture::Signature;
use crate::protocol::CatalogEntry;
use crate::transfer::outline::Outline;
use crate::types::{ContentId, ImageId, RelPath, Seq};

pub(super) fn file(txn: &ReadTransaction, path: &RelPath) -> Result<Option<FileRecord>, Fault> {
    let files = txn.open_table(FILES)?;
    let record = files.get(path.as_bytes())?;
    record.map(|record| decode_file(record.value())).transpose()
}

pub(super) fn would_edit(
    txn: &ReadTransaction,
    changes: &[Change],
) -> Result<Vec<(ContentId, ContentId)>, Fault> {
    let mut edited = Vec::new();
    // What the changes so far have made of a path.
    let mut now = HashMap::new();
    for change in changes {
        let (path, after) = match change {
            Change::Seen { path, found: Found::Picture { outline, .. }, .. } => {
                (path, Some(outline.content()))
            }
            Change::Seen { path, .. } | Change::Gone { path } => (path, None),
            Change::Replica { .. } | Change::ReplicaGone { .. } => continue,
        };
        let before = match now.insert(path, after) {
            Some(before) => before,
            None => file(txn, path)?.and_then(|file| file.kind.content()),
        };
        edited.extend(before.zip(after).filter(|(before, after)| before != after));
    }
    Ok(edited)
}

pub(super) fn files(
    txn: &ReadTransaction,
    after: Option<&RelPath>,
    limit: usize,
) -> Result<Vec<(RelPath, FileRecord)>, Fault> {
    use std::ops::Bound::{Excluded, Unbounded};
    let start = after.map_or(Unbounded, |after| Excluded(after.as_bytes()));
    let mut found = Vec::new();
    for entry in txn.open_table(FILES)?.range::<&[u8]>((start, Unbounded))?.take(limit) {
        let (key, record) = entry?;
        found.push((path("files", key.value())?, decode_file(record.value())?));
    }
    Ok(found)
}

pub(super) fn content(txn: &ReadTransaction, id: &ContentId) -> Result<Option<ContentRecord>, Fault> {
    let contents = txn.open_table(CONTENTS)?;
    let Some(stored) = contents.get(&id.0)? else { return Ok(None) };
    let stored: StoredContent = schema::decode("contents", stored.value())?;
    let Told { facts, outline, encoding } = stored.told();
    let replica = txn.open_table(REPLICAS)?.get(&id.0)?.is_some();
    let outline = Outline::verify(*id, facts.bytes, &outline);
    let signatures = txn.open_table(SIGNATURES)?;
    let signature = signatures.get(&id.0)?.map(|bytes| Signature::from_array(*bytes.value()));
    Ok(Some(ContentRecord {
        facts,
        encoding,
        outline: outline.ok_or(Fault::Value("contents"))?,
        signature,
        paths: first_paths(&txn.open_table(PATHS)?, *id, MAX_PAGE_ENTRIES)?,
        path: stored.into_held().path,
        replica,
    }))
}

pub(super) fn held(txn: &ReadTransaction, image: &ImageId) -> Result<Vec<CatalogEntry>, Fault> {
    let contents = txn.open_table(CONTENTS)?;
    let positions = txn.open_table(schema::POSITIONS)?;
    let (low, high) = (group_key(*image, ContentId([0; 32])), group_key(*image, ContentId([0xff; 32])));
    let mut entries = Vec::new();
    let mut bytes = 0;
    for entry in txn.open_table(OWN)?.range::<&[u8; GROUP]>(&low..=&high)?.take(MAX_PAGE_ENTRIES) {
        let content = content_of(entry?.0.value())?;
        let stored = contents.get(&content.0)?.ok_or(Fault::Value("own"))?;
        let seq = positions.get(&content.0)?.ok_or(Fault::Value("positions"))?.value();
        let held = schema::decode::<StoredContent>("contents", stored.value())?.into_held();
        bytes += catalog::entry_bytes(Some(&held.path));
        if bytes > PAGE_BYTES {
            break;
        }
        entries.push(CatalogEntry { seq: Seq(seq), content, held: Some(held) });
    }
    Ok(entries)
}

pub(super) fn holds_image(txn: &ReadTransaction, image: &ImageId) -> Result<bool, Fault> {
    let (low, high) = (group_key(*image, ContentId([0; 32])), group_key(*image, ContentId([0xff; 32])));
    let found = txn.open_table(OWN)?.range::<&[u8; GROUP]>(&low..=&high)?.next().transpose()?.is_some();
    Ok(found)
}

pub(super) fn images(
    txn: &ReadTransaction,
    after: Option<ImageId>,
    limit: usize,
) -> Result<Vec<ImageId>, Fault> {
    use std::ops::Bound::{Excluded, Unbounded};
    let last = after.map(|after| group_key(after, ContentId([0xff; 32])));
    let start = last.as_ref().map_or(Unbounded, Excluded);
    let mut found: Vec<ImageId> = Vec::new();
    for entry in txn.open_table(OWN)?.range::<&[u8; GROUP]>((start, Unbounded))? {
        let key = entry?.0;
        let image = key.value().get(..ImageId::LEN).and_then(ImageId::from_bytes);
        let image = image.ok_or(Fault::Value("own"))?;
        if found.last() == Some(&image) {
            continue;
        }
        if found.len() >= limit {
            break;
        }
        found.push(image);
    }
    Ok(found)
}

pub(super) fn key_count(txn: &ReadTransaction) -> Result<u64, Fault> {
    Ok(txn.open_table(KEYS)?.len()?)
}

pub(super) fn keys(
    txn: &ReadTransaction,
    spans: &Spans,
    after: Option<&OwnKey>,
    limit: usize,
) -> Result<Vec<OwnKey>, Fault> {
    use std::ops::Bound::{Excluded, Included};
    let table = txn.open_table(KEYS)?;
    let mut found = Vec::new();
    for (from, to) in spans.iter() {
        let low = match after {
            Some(after) if to < after.place => continue,
            Some(after) if from <= after.place => Excluded(key_row(after)),
            _ => Included(key_row(&OwnKey { place: from, digest: [0; 32] })),
        };
        let high = key_row(&OwnKey { place: to, digest: [0xff; 32] });
        let rows = table.range::<&[u8; OWN_KEY]>((low.as_ref(), Included(&high)))?;
        for row in rows.take(limit - found.len()) {
            let row = row?.0;
            let (place, digest) = row.value().split_at(8);
            let key = place.try_into().map(u64::from_be_bytes).ok().zip(digest.try_into().ok());
            let (place, digest) = key.ok_or(Fault::Value("keys"))?;
            found.push(OwnKey { place, digest });
        }
        if found.len() >= limit {
            break;
        }
    }
    Ok(found)
}

/// Own contents with a hash after one of them, in the order of (image, content).
pub(super) fn hashed(
    txn: &ReadTransaction,
    after: Option<([u8; 32], ContentId)>,
    limit: usize,
) -> Result<Vec<([u8; 32], ContentId)>, Fault> {
    use std::ops::Bound::{Excluded, Unbounded};
    let last = after.map(|(hash, content)| group_key(ImageId::Hash(hash), content));
    let start = last.as_ref().map_or(Unbounded, Excluded);
    let mut found = Vec::new();
    for entry in txn.open_table(OWN)?.range::<&[u8; GROUP]>((start, Unbounded))?.take(limit) {
        let key = entry?.0;
        let image = key.value().get(..ImageId::LEN).and_then(ImageId::from_bytes);
        // Those without a hash come after all that have one.
        let ImageId::Hash(hash) = image.ok_or(Fault::Value("own"))? else { break };
        found.push((hash, content_of(key.value())?));
    }
    Ok(found)
}

fn content_of(key: &[u8; GROUP]) -> Result<ContentId, Fault> {
    let id = key.get(ImageId::LEN..).and_then(|id| id.try_into().ok());
    id.map(ContentId).ok_or(Fault::Value("own"))
}

pub(super) fn totals(txn: &ReadTransaction) -> Result<Totals, Fault> {
    let contents = txn.open_table(CONTENTS)?.len()?;
    Ok(Totals {
        images: contents.saturating_sub(schema::number(txn, schema::REPLICAS_ONLY)?),
        bytes: schema::number(txn, schema::OWN_BYTES)?,
        replicas: txn.open_table(REPLICAS)?.len()?,
        replica_bytes: schema::number(txn, schema::REPLICA_BYTES)?,
        unprotected: txn.open_table(UNPROTECTED)?.len()?,
        problems: txn.open_table(PROBLEMS)?.len()?,
        damaged: txn.open_table(DAMAGED)?.len()?,
    })
}

pub(super) fn replicas(
    txn: &ReadTransaction,
    after: Option<&ContentId>,
    limit: usize,
) -> Result<Vec<ContentId>, Fault> {
    use std::ops::Bound::{Excluded, Unbounded};
    let start = after.map_or(Unbounded, |after| Excluded(&after.0));
    let table = txn.open_table(REPLICAS)?;
    let entries = table.range::<&[u8; 32]>((start, Unbounded))?.take(limit);
    entries.map(|entry| Ok(ContentId(*entry?.0.value()))).collect()
}

pub(super) fn problems(txn: &ReadTransaction, limit: usize) -> Result<Vec<(RelPath, String)>, Fault> {
    let mut found = Vec::new();
    for entry in txn.open_table(PROBLEMS)?.iter()?.take(limit) {
        let (key, problem) = entry?;
        found.push((path("problems", key.value())?, problem.value().to_owned()));
    }
    Ok(found)
}

pub(super) fn contents(
    txn: &ReadTransaction,
    after: Option<&ContentId>,
    limit: usize,
) -> Result<Vec<(ContentId, u64)>, Fault> {
    use std::ops::Bound::{Excluded, Unbounded};
    let start = after.map_or(Unbounded, |after| Excluded(&after.0));
    let table = txn.open_table(CONTENTS)?;
    let entries = table.range::<&[u8; 32]>((start, Unbounded))?.take(limit);
    let one = |entry: Result<_, redb::StorageError>| {
        let (key, stored): (redb::AccessGuard<'_, &[u8; 32]>, redb::AccessGuard<'_, &[u8]>) = entry?;
        let stored: StoredContent = schema::decode("contents", stored.value())?;
        Ok((ContentId(*key.value()), stored.told().facts.bytes))
    };
    entries.map(one).collect()
}

pub(super) fn damaged(
    txn: &ReadTransaction,
    after: Option<&RelPath>,
    limit: usize,
) -> Result<Vec<(RelPath, ContentId)>, Fault> {
    use std::ops::Bound::{Excluded, Unbounded};
    let start = after.map_or(Unbounded, |after| Excluded(after.as_bytes()));
    let mut found = Vec::new();
    for entry in txn.open_table(DAMAGED)?.range::<&[u8]>((start, Unbounded))?.take(limit) {
        let (key, content) = entry?;
        found.push((path("damaged", key.value())?, ContentId(*content.value())));
    }
    Ok(found)
}
