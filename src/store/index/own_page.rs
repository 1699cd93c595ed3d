//! What this node holds itself, page by page in the order of the list: for nodes that don't keep
//! its catalog.

use redb::{ReadOnlyTable, ReadTransaction};
use serde_bytes::ByteBuf;

use super::catalog::entry_bytes;
use super::error::{Fault, IndexError};
use super::own::StoredContent;
use super::schema::{self, CONTENTS, GROUP, OWN, POSITIONS, group_key};
use super::{Index, PageLimits};
use crate::limits::MAX_LIST_STEPS;
use crate::protocol::{CatalogEntry, OwnPage};
use crate::types::{ContentId, FolderId, ImageId, Prefix, Seq};

impl Index {
    /// A page of what this node holds, in the order of (image, content), after a position that an
    /// earlier page gave; only what `prefix` means, if there is one. At most `most` entries, at
    /// least one if there is one.
    ///
    /// # Errors
    /// [`IndexError::BadCursor`] when `after` is no such position; else when the index can't be read.
    pub fn own_page(
        &self,
        after: Option<&[u8]>,
        prefix: Option<&Prefix>,
        most: usize,
    ) -> Result<OwnPage, IndexError> {
        let limits = PageLimits { entries: most.clamp(1, self.limits.entries), ..self.limits };
        let after = after.map(<&[u8; GROUP]>::try_from).transpose().map_err(|_| IndexError::BadCursor)?;
        let folder = self.view(&|_| crate::types::Standing::Away).folder;
        self.read("reading what is here", |txn| match prefix {
            Some(Prefix::Content(_)) => by_content(txn, folder, limits, after, prefix),
            _ => page(txn, folder, limits, after, prefix),
        })
    }
}

/// All, or those of a prefix of hashes: the table has them in this order.
fn page(
    txn: &ReadTransaction,
    folder: FolderId,
    limits: PageLimits,
    after: Option<&[u8; GROUP]>,
    prefix: Option<&Prefix>,
) -> Result<OwnPage, Fault> {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let mut made = Page::new(txn, folder, limits)?;
    let (low, high) = match prefix.map(Prefix::bounds) {
        None => (None, None),
        Some(None) => return Ok(made.page),
        Some(Some((low, high))) => (
            Some(group_key(ImageId::Hash(low), ContentId([0; 32]))),
            Some(group_key(ImageId::Hash(high), ContentId([0xff; 32]))),
        ),
    };
    let start = match (after, &low) {
        (Some(after), Some(low)) if low > after => Included(low),
        (Some(after), _) => Excluded(after),
        (None, Some(low)) => Included(low),
        (None, None) => Unbounded,
    };
    if let (Some(after), Some(high)) = (after, &high)
        && after >= high
    {
        return Ok(made.page);
    }
    let end = high.as_ref().map_or(Unbounded, Included);
    for entry in txn.open_table(OWN)?.range::<&[u8; GROUP]>((start, end))? {
        if !made.add(entry?.0.value())? {
            break;
        }
    }
    Ok(made.page)
}

/// Those of a prefix of content ids: few, and sorted here.
fn by_content(
    txn: &ReadTransaction,
    folder: FolderId,
    limits: PageLimits,
    after: Option<&[u8; GROUP]>,
    prefix: Option<&Prefix>,
) -> Result<OwnPage, Fault> {
    let mut made = Page::new(txn, folder, limits)?;
    let Some((low, high)) = prefix.and_then(Prefix::bounds) else { return Ok(made.page) };
    let mut keys = Vec::new();
    for entry in txn.open_table(CONTENTS)?.range::<&[u8; 32]>(&low..=&high)?.take(MAX_LIST_STEPS) {
        let (content, stored) = entry?;
        let stored: StoredContent = schema::decode("contents", stored.value())?;
        keys.push(group_key(stored.into_held().facts.image, ContentId(*content.value())));
    }
    keys.sort_unstable();
    for key in keys.iter().filter(|key| after.is_none_or(|after| *key > after)) {
        if !made.add(key)? {
            break;
        }
    }
    Ok(made.page)
}

/// A page while it is made.
struct Page {
    contents: ReadOnlyTable<&'static [u8; 32], &'static [u8]>,
    positions: ReadOnlyTable<&'static [u8; 32], u64>,
    page: OwnPage,
    limits: PageLimits,
    bytes: usize,
}

impl Page {
    fn new(txn: &ReadTransaction, folder: FolderId, limits: PageLimits) -> Result<Self, Fault> {
        let page = OwnPage { folder, head: schema::head(txn)?, entries: Vec::new(), next: None };
        let (contents, positions) = (txn.open_table(CONTENTS)?, txn.open_table(POSITIONS)?);
        Ok(Self { contents, positions, page, limits, bytes: 0 })
    }

    /// False when it is full: then it says where the next one begins.
    fn add(&mut self, key: &[u8; GROUP]) -> Result<bool, Fault> {
        let content = key.get(ImageId::LEN..).and_then(|id| id.try_into().ok());
        let content = ContentId(content.ok_or(Fault::Value("own"))?);
        let stored = self.contents.get(&content.0)?.ok_or(Fault::Value("own"))?;
        let held = schema::decode::<StoredContent>("contents", stored.value())?.into_held();
        let seq = self.positions.get(&content.0)?.ok_or(Fault::Value("positions"))?.value();
        self.bytes += entry_bytes(Some(&held.path));
        let entries = &mut self.page.entries;
        if entries.len() == self.limits.entries || (self.bytes > self.limits.bytes && !entries.is_empty()) {
            let last =
                entries.last().and_then(|entry| Some((entry.held.as_ref()?.facts.image, entry.content)));
            self.page.next = last.map(|(image, content)| ByteBuf::from(group_key(image, content)));
            return Ok(false);
        }
        entries.push(CatalogEntry { seq: Seq(seq), content, held: Some(held) });
        Ok(true)
    }
}
