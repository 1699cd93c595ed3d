//! What this node dropped, when and for what: so that `why` can tell.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;
use redb::{ReadTransaction, ReadableTable as _, ReadableTableMetadata as _, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::error::Fault;
use super::schema::{DROPS, DROPS_BY, NAMED};
use crate::limits::{MAX_ENTRY_ITEMS, MAX_TEXT_BYTES};
use crate::store::trash::{Cause, EntryId};
use crate::types::{ContentId, ImageId, Prefix, RelPath};

/// One drop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropRecord {
    /// What went.
    pub loser: ContentId,
    /// Its picture.
    pub loser_image: ImageId,
    /// What it went for.
    pub keeper: ContentId,
    /// Why.
    pub cause: Cause,
    /// For people: what was measured, by name.
    pub numbers: BTreeMap<String, String>,
    /// Where it was.
    pub path: RelPath,
    /// When, in seconds since 1970.
    pub at: u64,
    /// Its name in the trash.
    #[serde(with = "entry_form")]
    pub trash: Option<EntryId>,
    /// Who promised to hold the keeper.
    pub holders: Vec<PeerId>,
}

impl DropRecord {
    /// Within the limits of the trash's own description.
    fn cut(&self) -> Self {
        let fits = |text: &&String| text.len() <= MAX_TEXT_BYTES;
        let numbers = self.numbers.iter().filter(|(name, value)| fits(name) && fits(value));
        Self {
            numbers: numbers.take(MAX_ENTRY_ITEMS).map(|(k, v)| (k.clone(), v.clone())).collect(),
            holders: self.holders.iter().take(MAX_ENTRY_ITEMS).copied().collect(),
            ..self.clone()
        }
    }

    /// What it is found by. Contents are named as pictures without a hash are.
    fn names(&self) -> BTreeSet<ImageId> {
        [self.loser_image, ImageId::Content(self.loser), ImageId::Content(self.keeper)].into()
    }
}

/// As its text, read as strictly as one that a person types.
mod entry_form {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};

    use crate::store::trash::EntryId;

    // The form that serde calls.
    #[allow(clippy::ref_option)]
    pub(super) fn serialize<S: Serializer>(id: &Option<EntryId>, to: S) -> Result<S::Ok, S::Error> {
        id.as_ref().map(EntryId::as_str).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<EntryId>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

fn key(name: ImageId, number: u64) -> [u8; NAMED] {
    let mut key = [0; NAMED];
    let (left, right) = key.split_at_mut(ImageId::LEN);
    left.copy_from_slice(&name.to_bytes());
    right.copy_from_slice(&number.to_be_bytes());
    key
}

fn number_of(key: &[u8; NAMED]) -> Result<u64, Fault> {
    key.last_chunk().map(|number| u64::from_be_bytes(*number)).ok_or(Fault::Value("drops_by"))
}

fn decode(bytes: &[u8]) -> Result<DropRecord, Fault> {
    serde_cbor::from_slice(bytes).map_err(|_| Fault::Value("drops"))
}

/// Adds a drop, unless it is there. Beyond `most` the oldest go.
pub(super) fn record(txn: &WriteTransaction, record: &DropRecord, most: u64) -> Result<(), Fault> {
    let record = record.cut();
    let mut drops = txn.open_table(DROPS)?;
    let mut by = txn.open_table(DROPS_BY)?;
    let name = ImageId::Content(record.loser);
    for row in by.range::<&[u8; NAMED]>(&key(name, 0)..=&key(name, u64::MAX))?.rev() {
        let known = drops.get(number_of(row?.0.value())?)?.ok_or(Fault::Value("drops_by"))?;
        let known = decode(known.value())?;
        if known == record || known.trash.is_some() && known.trash == record.trash {
            return Ok(());
        }
    }
    let number = drops.last()?.map_or(1, |(last, _)| last.value().saturating_add(1));
    let bytes = serde_cbor::to_vec(&record).map_err(|_| Fault::Value("drops"))?;
    drops.insert(number, &*bytes)?;
    for name in record.names() {
        by.insert(&key(name, number), ())?;
    }
    while drops.len()? > most {
        let Some((number, old)) = drops.pop_first()?.map(|(n, old)| (n.value(), decode(old.value()))) else {
            break;
        };
        for name in old?.names() {
            by.remove(&key(name, number))?;
        }
    }
    Ok(())
}

pub(super) fn of(txn: &ReadTransaction, prefix: &Prefix, limit: usize) -> Result<Vec<DropRecord>, Fault> {
    let Some((low, high)) = prefix.bounds() else { return Ok(Vec::new()) };
    let name = |bytes| match prefix {
        Prefix::Image(_) => ImageId::Hash(bytes),
        Prefix::Content(_) => ImageId::Content(ContentId(bytes)),
    };
    let mut numbers = BTreeSet::new();
    let (low, high) = (key(name(low), 0), key(name(high), u64::MAX));
    for row in txn.open_table(DROPS_BY)?.range::<&[u8; NAMED]>(&low..=&high)? {
        numbers.insert(number_of(row?.0.value())?);
        if numbers.len() > limit {
            numbers.pop_first();
        }
    }
    let drops = txn.open_table(DROPS)?;
    let mut found = Vec::new();
    for number in numbers.into_iter().rev() {
        let record = drops.get(number)?.ok_or(Fault::Value("drops_by"))?;
        found.push(decode(record.value())?);
    }
    Ok(found)
}
