//! This node's catalog: the last change of each content in the order of the changes, so
//! that another node can ask for what is new since a position.
//!
//! A content has one position at most, that of its last change. A content that is gone
//! keeps one too (a tombstone), until there are more tombstones than live contents; then
//! the catalog begins a new epoch without them and everybody reads it from the start.
//! A tombstone that was dropped silently would leave its row with the others for ever.

use redb::{ReadTransaction, ReadableTable as _, ReadableTableMetadata as _, Table, WriteTransaction};

use super::PageLimits;
use super::error::Fault;
use super::own::StoredContent;
use super::schema::{self, CATALOG, CONTENTS, POSITIONS};
use crate::limits::{MIN_TOMBSTONES, ROW_BYTES};
use crate::protocol::{CatalogEntry, CatalogPage};
use crate::types::{CatalogHead, ContentId, Epoch, RelPath, Seq};

/// The catalog open for writing.
pub(super) struct Catalog<'t> {
    txn: &'t WriteTransaction,
    entries: Table<'t, u64, &'static [u8; 32]>,
    positions: Table<'t, &'static [u8; 32], u64>,
    head: CatalogHead,
}

impl<'t> Catalog<'t> {
    pub(super) fn open(txn: &'t WriteTransaction) -> Result<Self, Fault> {
        let head = schema::head_mut(txn)?;
        Ok(Self { txn, entries: txn.open_table(CATALOG)?, positions: txn.open_table(POSITIONS)?, head })
    }

    /// `content` has changed: it moves to the end.
    pub(super) fn changed(&mut self, content: ContentId) -> Result<(), Fault> {
        self.head.seq.0 += 1;
        let old = self.positions.insert(&content.0, self.head.seq.0)?.map(|old| old.value());
        if let Some(old) = old {
            self.entries.remove(old)?;
        }
        self.entries.insert(self.head.seq.0, &content.0)?;
        Ok(())
    }

    /// Stores the head, after beginning a new epoch if there are too many tombstones.
    pub(super) fn finish(self) -> Result<CatalogHead, Fault> {
        let contents = self.txn.open_table(CONTENTS)?;
        let live = contents.len()?;
        let tombstones = self.entries.len()?.saturating_sub(live);
        let txn = self.txn;
        let mut head = self.head;
        if tombstones > live.max(MIN_TOMBSTONES) {
            let mut order = Vec::with_capacity(live as usize);
            for entry in self.entries.iter()? {
                let content = *entry?.1.value();
                if contents.get(&content)?.is_some() {
                    order.push(content);
                }
            }
            drop(self);
            head = begin_epoch(txn, &order)?;
        }
        schema::set_head(txn, head)?;
        Ok(head)
    }
}

fn begin_epoch(txn: &WriteTransaction, order: &[[u8; 32]]) -> Result<CatalogHead, Fault> {
    txn.delete_table(CATALOG)?;
    txn.delete_table(POSITIONS)?;
    let mut entries = txn.open_table(CATALOG)?;
    let mut positions = txn.open_table(POSITIONS)?;
    for (seq, content) in (1..).zip(order) {
        entries.insert(seq, content)?;
        positions.insert(content, seq)?;
    }
    Ok(CatalogHead { epoch: schema::new_epoch(), seq: Seq(order.len() as u64) })
}

/// See `Index::catalog_page`.
pub(super) fn page(
    txn: &ReadTransaction,
    limits: PageLimits,
    epoch: Epoch,
    after: Seq,
) -> Result<CatalogPage, Fault> {
    let head = schema::head(txn)?;
    let from = if epoch == head.epoch && after <= head.seq { after } else { Seq(0) };
    let contents = txn.open_table(CONTENTS)?;
    let mut page = CatalogPage { head, upto: head.seq, from, entries: Vec::new() };
    let mut bytes = 0;
    for entry in txn.open_table(CATALOG)?.range(from.0.saturating_add(1)..)? {
        let (seq, content) = entry?;
        let (seq, content) = (Seq(seq.value()), ContentId(*content.value()));
        let stored = contents.get(&content.0)?;
        let held = stored.map(|stored| schema::decode::<StoredContent>("contents", stored.value()));
        let held = held.transpose()?.map(StoredContent::into_held);
        bytes += entry_bytes(held.as_ref().map(|held| &held.path));
        if page.entries.len() == limits.entries || (bytes > limits.bytes && !page.entries.is_empty()) {
            // Complete up to the last entry that went in.
            page.upto = page.entries.last().map_or(from, |entry| entry.seq);
            break;
        }
        page.entries.push(CatalogEntry { seq, content, held });
    }
    Ok(page)
}

/// Most bytes that an entry with this path takes on the wire.
pub(super) fn entry_bytes(path: Option<&RelPath>) -> usize {
    ROW_BYTES + path.map_or(0, |path| path.as_bytes().len())
}
