//! What went for a keeper, and what it has to match before it may go itself (promise P5b).
//!
//! Who carries what is a small table; the planes are in another one, once for each witness:
//! when a keeper goes for a better one, that carries all of its witnesses too. Rows are never
//! removed: the old keeper may come back from the trash, and then has to carry them still.

use std::collections::BTreeSet;

use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use super::error::{Fault, LedgerError};
use super::pack;
use super::schema::{CARRIED, Pair, WITNESSES, pair, pairs_of, unpair};
use crate::limits::MAX_WITNESSES;
use crate::picture::Witness;
use crate::types::ContentId;

/// A witness that a keeper does not carry yet; packed, unless its planes are here already.
pub(super) struct News {
    content: ContentId,
    packed: Option<Vec<u8>>,
}

/// What of `witnesses` is news to `keeper`; `None` when nothing is.
pub(super) fn missing(
    txn: &ReadTransaction,
    keeper: ContentId,
    witnesses: &[Witness],
) -> Result<Option<Vec<News>>, Fault> {
    let carried = txn.open_table(CARRIED)?;
    let planes = txn.open_table(WITNESSES)?;
    let mut all = ids_in(&carried, keeper)?;
    let mut news = Vec::new();
    for witness in witnesses {
        if witness.content == keeper || !all.insert(witness.content) {
            continue;
        }
        check(keeper, all.len())?;
        let known = planes.get(&witness.content.0)?.is_some();
        let packed = (!known).then(|| pack::pack(witness)).transpose()?;
        news.push(News { content: witness.content, packed });
    }
    Ok((!news.is_empty()).then_some(news))
}

/// Adds them. Counts anew: another thread may have added some meanwhile.
pub(super) fn add(txn: &WriteTransaction, keeper: ContentId, news: &[News], at: u64) -> Result<usize, Fault> {
    let mut carried = txn.open_table(CARRIED)?;
    let mut planes = txn.open_table(WITNESSES)?;
    for News { content, packed } in news {
        let key = pair(keeper, *content);
        if carried.get(&key)?.is_none() {
            carried.insert(&key, at)?;
        }
        // What was written first stays: others may have been compared with it.
        if let Some(packed) = packed
            && planes.get(&content.0)?.is_none()
        {
            planes.insert(&content.0, &**packed)?;
        }
    }
    let count = ids_in(&carried, keeper)?.len();
    check(keeper, count)?;
    Ok(count)
}

fn check(keeper: ContentId, count: usize) -> Result<(), Fault> {
    if count > MAX_WITNESSES {
        return Err(Fault::Refused(Box::new(LedgerError::TooMany { keeper })));
    }
    Ok(())
}

pub(super) fn ids(txn: &ReadTransaction, keeper: ContentId) -> Result<BTreeSet<ContentId>, Fault> {
    ids_in(&txn.open_table(CARRIED)?, keeper)
}

/// Bounded whatever is in the file; enough to see that there are too many.
fn ids_in(
    carried: &impl ReadableTable<&'static Pair, u64>,
    keeper: ContentId,
) -> Result<BTreeSet<ContentId>, Fault> {
    let (low, high) = pairs_of(keeper);
    let rows = carried.range::<&Pair>(&low..=&high)?.take(2 * MAX_WITNESSES);
    rows.map(|row| Ok(unpair(row?.0.value()).1)).collect()
}

pub(super) fn of(txn: &ReadTransaction, keeper: ContentId) -> Result<Vec<Witness>, Fault> {
    let planes = txn.open_table(WITNESSES)?;
    let mut found = Vec::new();
    for content in ids(txn, keeper)? {
        let packed = planes.get(&content.0)?.ok_or(Fault::Value("witnesses"))?;
        let witness = pack::unpack(packed.value())?;
        if witness.content != content {
            return Err(Fault::Value("witnesses"));
        }
        found.push(witness);
    }
    Ok(found)
}
