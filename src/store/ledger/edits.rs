//! Which content replaced which in place.
//!
//! A pair is written in both directions. Chains are followed when they are read: what a
//! chain of edits leads to changes with each edit, and writing all pairs of a chain would
//! square it.

use std::collections::VecDeque;

use redb::{ReadTransaction, ReadableTable as _, ReadableTableMetadata as _, WriteTransaction};

use super::error::Fault;
use super::schema::{EDIT_LOG, EDITS, Pair, pair, pairs_of, unpair};
use crate::limits::MAX_EDITS;
use crate::picture::same::Edits;
use crate::types::ContentId;

/// Whether all of these are known.
pub(super) fn are_known(txn: &ReadTransaction, edits: &[(ContentId, ContentId)]) -> Result<bool, Fault> {
    let table = txn.open_table(EDITS)?;
    for (a, b) in edits.iter().filter(|(a, b)| a != b) {
        if table.get(&pair(*a, *b))?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Adds these. Beyond `most` the oldest go.
pub(super) fn record(
    txn: &WriteTransaction,
    edits: &[(ContentId, ContentId)],
    most: u64,
) -> Result<(), Fault> {
    let mut table = txn.open_table(EDITS)?;
    let mut log = txn.open_table(EDIT_LOG)?;
    let mut number = log.last()?.map_or(0, |(last, _)| last.value());
    for (a, b) in edits.iter().filter(|(a, b)| a != b) {
        if table.get(&pair(*a, *b))?.is_some() {
            continue;
        }
        number += 1;
        log.insert(number, &pair(*a, *b))?;
        table.insert(&pair(*a, *b), number)?;
        table.insert(&pair(*b, *a), number)?;
    }
    while log.len()? > most {
        let Some((a, b)) = log.pop_first()?.map(|(_, edit)| unpair(edit.value())) else { break };
        table.remove(&pair(a, b))?;
        table.remove(&pair(b, a))?;
    }
    Ok(())
}

/// What `content` is related to, the nearest first, until there are too many.
pub(super) fn of(txn: &ReadTransaction, content: ContentId) -> Result<Edits, Fault> {
    let table = txn.open_table(EDITS)?;
    let mut edits = Edits::default();
    let mut waiting = VecDeque::from([content]);
    while let Some(next) = waiting.pop_front() {
        let (low, high) = pairs_of(next);
        for row in table.range::<&Pair>(&low..=&high)? {
            let (_, other) = unpair(row?.0.value());
            if other == content || edits.contents.contains(&other) {
                continue;
            }
            if edits.contents.len() == MAX_EDITS {
                edits.more = true;
                return Ok(edits);
            }
            edits.contents.insert(other);
            waiting.push_back(other);
        }
    }
    Ok(edits)
}
