//! Own contents that are in more than one file.

use std::ops::Bound::{Excluded, Unbounded};

use redb::ReadTransaction;

use super::error::Fault;
use super::schema::{PATHS, past};
use crate::types::ContentId;

/// See `Index::repeated`.
pub(super) fn page(
    txn: &ReadTransaction,
    after: Option<&ContentId>,
    steps: usize,
) -> Result<(Vec<ContentId>, Option<ContentId>), Fault> {
    let last = after.map(|content| past(&content.0));
    let start = last.as_deref().map_or(Unbounded, Excluded);
    let (mut found, mut current) = (Vec::new(), None);
    for (step, entry) in txn.open_table(PATHS)?.range::<&[u8]>((start, Unbounded))?.enumerate() {
        let key = entry?.0;
        let content = key.value().first_chunk().copied().map(ContentId).ok_or(Fault::Value("paths"))?;
        if current != Some(content) {
            // Between two contents only: no page ends within one.
            if step >= steps.max(1) {
                return Ok((found, current));
            }
            current = Some(content);
        } else if found.last() != Some(&content) {
            found.push(content);
        }
    }
    Ok((found, None))
}
