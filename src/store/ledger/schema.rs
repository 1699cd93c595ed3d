//! The tables, and the way from one format to the next.

use redb::{Database, TableDefinition, WriteTransaction};

use super::error::{Fault, LedgerError};
use crate::store::database::{self, Migration};
use crate::types::{ContentId, ImageId};

/// Two contents, one after the other.
pub(super) type Pair = [u8; 64];

/// Image (as [`ImageId::to_bytes`]) and number of a drop.
pub(super) const NAMED: usize = ImageId::LEN + 8;

/// Keeper ++ witness -> seconds since 1970 when it was added.
pub(super) const CARRIED: TableDefinition<&Pair, u64> = TableDefinition::new("carried");
/// Witness -> what is kept of it, packed (`pack`).
pub(super) const WITNESSES: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("witnesses");
/// Content ++ content, and the other way round -> number of the edit.
pub(super) const EDITS: TableDefinition<&Pair, u64> = TableDefinition::new("edits");
/// Number of an edit -> content ++ content.
pub(super) const EDIT_LOG: TableDefinition<u64, &Pair> = TableDefinition::new("edit_log");
/// Number of a drop -> CBOR of it.
pub(super) const DROPS: TableDefinition<u64, &[u8]> = TableDefinition::new("drops");
/// What a drop can be found by ++ its number.
pub(super) const DROPS_BY: TableDefinition<&[u8; NAMED], ()> = TableDefinition::new("drops_by");

/// Holder (a peer id) ++ content -> CBOR of what was removed there.
pub(super) const REMOVALS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("removals");

/// Element `i` goes from format `1 + i` to the next. Append only.
pub(super) const MIGRATIONS: &[Migration<LedgerError>] = &[add_removals];

/// Format 2 knows what people had removed.
fn add_removals(txn: &WriteTransaction) -> Result<(), Fault> {
    txn.open_table(REMOVALS)?;
    Ok(())
}

/// See [`database::prepare`].
pub(super) fn prepare(db: &Database, migrations: &[Migration<LedgerError>]) -> Result<(), Fault> {
    database::prepare(db, migrations, create)
}

fn create(txn: &WriteTransaction) -> Result<(), Fault> {
    for table in [CARRIED, EDITS] {
        txn.open_table(table)?;
    }
    txn.open_table(WITNESSES)?;
    txn.open_table(EDIT_LOG)?;
    txn.open_table(DROPS)?;
    txn.open_table(DROPS_BY)?;
    txn.open_table(REMOVALS)?;
    Ok(())
}

pub(super) fn pair(first: ContentId, second: ContentId) -> Pair {
    let mut key = [0; 64];
    let (left, right) = key.split_at_mut(32);
    left.copy_from_slice(&first.0);
    right.copy_from_slice(&second.0);
    key
}

/// The inverse of [`pair`].
pub(super) fn unpair(key: &Pair) -> (ContentId, ContentId) {
    let (mut first, mut second) = (ContentId([0; 32]), ContentId([0; 32]));
    let (left, right) = key.split_at(32);
    first.0.copy_from_slice(left);
    second.0.copy_from_slice(right);
    (first, second)
}

/// The pairs that begin with `first`.
pub(super) fn pairs_of(first: ContentId) -> (Pair, Pair) {
    (pair(first, ContentId([0; 32])), pair(first, ContentId([0xff; 32])))
}
