//! Copies that a person had removed, and their holders: what a node that was away has to be
//! told. One row for each copy; found by its holder.

use libp2p::PeerId;
use redb::{ReadTransaction, ReadableTable as _, ReadableTableMetadata as _, Table, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::error::Fault;
use super::schema::REMOVALS;
use crate::protocol::Removal;
use crate::replication::removal::{is_over, merged};
use crate::types::ContentId;

/// A removal as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    removal: Removal,
    /// This node has carried it out, or need not.
    done: bool,
}

type Rows<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// Holder ++ content. No peer id is the beginning of another one: they begin with their length.
fn key(peer: &PeerId, content: &ContentId) -> Vec<u8> {
    [&peer.to_bytes()[..], &content.0[..]].concat()
}

fn decode(bytes: &[u8]) -> Result<Stored, Fault> {
    serde_cbor::from_slice(bytes).map_err(|_| Fault::Value("removals"))
}

fn insert(rows: &mut Rows<'_>, stored: &Stored) -> Result<(), Fault> {
    let bytes = serde_cbor::to_vec(stored).map_err(|_| Fault::Value("removals"))?;
    rows.insert(&*key(&stored.removal.peer, &stored.removal.content), &*bytes)?;
    Ok(())
}

/// Whether any of these would be remembered.
pub(super) fn are_news(txn: &ReadTransaction, told: &[Removal], now_ms: u64) -> Result<bool, Fault> {
    for told in told {
        let known = get(txn, &told.peer, &told.content)?;
        if merged(known.as_ref(), told, now_ms).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Adds these. What is news, as it is remembered. Those that are over go, and beyond `most` the
/// oldest.
pub(super) fn note(
    txn: &WriteTransaction,
    told: &[Removal],
    now_ms: u64,
    most: usize,
) -> Result<Vec<Removal>, Fault> {
    let mut rows = txn.open_table(REMOVALS)?;
    let mut news = Vec::new();
    for told in told {
        let known = match rows.get(&*key(&told.peer, &told.content))? {
            Some(known) => Some(decode(known.value())?.removal),
            None => None,
        };
        if let Some(removal) = merged(known.as_ref(), told, now_ms) {
            insert(&mut rows, &Stored { removal: removal.clone(), done: false })?;
            news.push(removal);
        }
    }
    forget_old(&mut rows, now_ms, most)?;
    Ok(news)
}

fn forget_old(rows: &mut Rows<'_>, now_ms: u64, most: usize) -> Result<(), Fault> {
    let mut ages = Vec::new();
    for row in rows.iter()? {
        let (key, value) = row?;
        let removal = decode(value.value())?.removal;
        ages.push((!is_over(&removal, now_ms), removal.at, key.value().to_vec()));
    }
    let excess = ages.len().saturating_sub(most);
    // Those that are over first, then the oldest.
    ages.sort_unstable();
    for (at, (fresh, _, key)) in ages.iter().enumerate() {
        if *fresh && at >= excess {
            break;
        }
        rows.remove(&**key)?;
    }
    Ok(())
}

pub(super) fn get(
    txn: &ReadTransaction,
    peer: &PeerId,
    content: &ContentId,
) -> Result<Option<Removal>, Fault> {
    let row = txn.open_table(REMOVALS)?.get(&*key(peer, content))?;
    row.map(|row| decode(row.value()).map(|stored| stored.removal)).transpose()
}

/// Those of `peer` that were not carried out, as far as this node knows.
pub(super) fn open_of(txn: &ReadTransaction, peer: &PeerId) -> Result<Vec<Removal>, Fault> {
    let (low, high) = (key(peer, &ContentId([0; 32])), key(peer, &ContentId([0xff; 32])));
    let mut found = Vec::new();
    for row in txn.open_table(REMOVALS)?.range::<&[u8]>(&*low..=&*high)? {
        let stored = decode(row?.1.value())?;
        if !stored.done && !stored.removal.spared {
            found.push(stored.removal);
        }
    }
    Ok(found)
}

pub(super) fn all(txn: &ReadTransaction) -> Result<Vec<Removal>, Fault> {
    let rows = txn.open_table(REMOVALS)?;
    let mut found = Vec::with_capacity(usize::try_from(rows.len()?).unwrap_or_default());
    for row in rows.iter()? {
        found.push(decode(row?.1.value())?.removal);
    }
    Ok(found)
}

/// This order was carried out; a later one for the same copy was not.
pub(super) fn done(txn: &WriteTransaction, removal: &Removal) -> Result<(), Fault> {
    let mut rows = txn.open_table(REMOVALS)?;
    let known = match rows.get(&*key(&removal.peer, &removal.content))? {
        Some(known) => decode(known.value())?,
        None => return Ok(()),
    };
    if known.removal.at == removal.at {
        insert(&mut rows, &Stored { done: true, ..known })?;
    }
    Ok(())
}
