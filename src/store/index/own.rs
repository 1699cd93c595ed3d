//! This node's own files and contents, and the one way in which they change.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use redb::{ReadTransaction, ReadableTable as _, ReadableTableMetadata as _, Table, WriteTransaction};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::catalog::{self, Catalog};
use super::error::Fault;
use super::schema::{self, CONTENTS, FILES, GROUP, OWN, PATHS, PROBLEMS, SIGNATURES, UNPROTECTED};
use super::schema::{group_key, join, past};
use super::swarm::{SELF, Swarm};
use super::{Applied, Change, ContentRecord, FileKind, FileRecord, Fingerprint, Found, Totals};
use crate::limits::{MAX_PAGE_ENTRIES, MAX_PROBLEM_BYTES, PAGE_BYTES};
use crate::picture::Signature;
use crate::protocol::{CatalogEntry, Held};
use crate::transfer::outline::Outline;
use crate::types::{ContentId, Facts, ImageId, RelPath, Seq};

/// What CONTENTS keeps of a content.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredContent {
    facts: Facts,
    outline: ByteBuf,
    /// First path in byte order.
    path: RelPath,
    files: u32,
}

impl StoredContent {
    pub(super) fn into_held(self) -> Held {
        Held { facts: self.facts, path: self.path, files: self.files }
    }
}

/// A content that a batch has touched: as it was, and as it is so far.
struct Touched {
    before: Option<StoredContent>,
    facts: Option<(Facts, ByteBuf)>,
    files: u32,
}

/// See `Index::apply`.
pub(super) fn apply(txn: &WriteTransaction, changes: Vec<Change>) -> Result<Applied, Fault> {
    let mut batch = Batch::open(txn)?;
    for change in changes {
        match change {
            Change::Seen { path, fingerprint, found } => batch.seen(&path, fingerprint, found)?,
            Change::Gone { path } => batch.gone(&path)?,
        }
    }
    batch.finish(txn)
}

/// The tables of files and contents open for writing, and what was touched. Contents are
/// judged at the end of the batch: a rename (gone here, seen there) is one change of a path.
struct Batch<'t> {
    files: Table<'t, &'static [u8], &'static [u8]>,
    problems: Table<'t, &'static [u8], &'static str>,
    unprotected: Table<'t, &'static [u8], ()>,
    contents: Table<'t, &'static [u8; 32], &'static [u8]>,
    paths: Table<'t, &'static [u8], ()>,
    signatures: Table<'t, &'static [u8; 32], &'static [u8; 1536]>,
    own: Table<'t, &'static [u8; GROUP], ()>,
    touched: BTreeMap<ContentId, Touched>,
    bytes: i64,
}

impl<'t> Batch<'t> {
    fn open(txn: &'t WriteTransaction) -> Result<Self, Fault> {
        Ok(Self {
            files: txn.open_table(FILES)?,
            problems: txn.open_table(PROBLEMS)?,
            unprotected: txn.open_table(UNPROTECTED)?,
            contents: txn.open_table(CONTENTS)?,
            paths: txn.open_table(PATHS)?,
            signatures: txn.open_table(SIGNATURES)?,
            own: txn.open_table(OWN)?,
            touched: BTreeMap::new(),
            bytes: 0,
        })
    }

    fn seen(&mut self, path: &RelPath, fingerprint: Fingerprint, found: Found) -> Result<(), Fault> {
        let kind = match &found {
            Found::Picture { outline, problem, .. } => {
                FileKind::Picture { content: outline.content(), problem: problem.as_deref().map(shorten) }
            }
            Found::Unprotected { kind } => FileKind::Unprotected { kind: shorten(kind) },
            Found::NotPicture { problem } => {
                FileKind::NotPicture { problem: problem.as_deref().map(shorten) }
            }
        };
        self.replace_file(path, Some(&FileRecord { fingerprint, kind }))?;
        if let Found::Picture { facts, outline, signature, .. } = found {
            self.link(path, facts, &outline, signature.as_ref())?;
        }
        Ok(())
    }

    fn gone(&mut self, path: &RelPath) -> Result<(), Fault> {
        self.replace_file(path, None)
    }

    /// Writes or removes the record of a file and what hangs on it, and takes the file away
    /// from the content that it no longer has.
    fn replace_file(&mut self, path: &RelPath, record: Option<&FileRecord>) -> Result<(), Fault> {
        let bytes = path.as_bytes();
        let old = match record {
            Some(record) => self.files.insert(bytes, &*encode_file(record)?)?,
            None => self.files.remove(bytes)?,
        };
        let old = old.map(|old| decode_file(old.value())).transpose()?;
        match record.and_then(|record| record.kind.problem()) {
            Some(problem) => drop(self.problems.insert(bytes, problem)?),
            None => drop(self.problems.remove(bytes)?),
        }
        match record.map(|record| &record.kind) {
            Some(FileKind::Unprotected { .. }) => drop(self.unprotected.insert(bytes, ())?),
            _ => drop(self.unprotected.remove(bytes)?),
        }
        let content = |kind: &FileKind| match kind {
            FileKind::Picture { content, .. } => Some(*content),
            _ => None,
        };
        let before = old.and_then(|old| content(&old.kind));
        let now = record.and_then(|record| content(&record.kind));
        match before {
            Some(before) if now != Some(before) => self.unlink(before, path),
            _ => Ok(()),
        }
    }

    fn link(
        &mut self,
        path: &RelPath,
        facts: Facts,
        outline: &Outline,
        signature: Option<&Signature>,
    ) -> Result<(), Fault> {
        let content = outline.content();
        let new = self.paths.insert(&*join(&content.0, path.as_bytes()), ())?.is_none();
        match signature {
            Some(signature) => drop(self.signatures.insert(&content.0, signature.as_array())?),
            None => drop(self.signatures.remove(&content.0)?),
        }
        let touched = self.touch(content)?;
        touched.facts = Some((facts, ByteBuf::from(outline.values())));
        touched.files = touched.files.saturating_add(u32::from(new));
        Ok(())
    }

    fn unlink(&mut self, content: ContentId, path: &RelPath) -> Result<(), Fault> {
        let had = self.paths.remove(&*join(&content.0, path.as_bytes()))?.is_some();
        let touched = self.touch(content)?;
        touched.files = touched.files.saturating_sub(u32::from(had));
        Ok(())
    }

    fn touch(&mut self, content: ContentId) -> Result<&mut Touched, Fault> {
        Ok(match self.touched.entry(content) {
            Entry::Occupied(touched) => touched.into_mut(),
            Entry::Vacant(place) => {
                let before = self.contents.get(&content.0)?;
                let before = before.map(|before| schema::decode::<StoredContent>("contents", before.value()));
                let before = before.transpose()?;
                let facts = before.as_ref().map(|before| (before.facts.clone(), before.outline.clone()));
                let files = before.as_ref().map_or(0, |before| before.files);
                place.insert(Touched { before, facts, files })
            }
        })
    }

    /// Brings contents, catalog and merged table to what the files now say.
    fn finish(mut self, txn: &WriteTransaction) -> Result<Applied, Fault> {
        let mut applied = Applied::default();
        let mut catalog = Catalog::open(txn)?;
        let mut swarm = Swarm::open(txn)?;
        let mut changed = false;
        for (content, touched) in std::mem::take(&mut self.touched) {
            let after = self.settle(content, touched.facts, touched.files)?;
            let before = touched.before.map(StoredContent::into_held);
            let after = after.map(StoredContent::into_held);
            if before == after {
                continue;
            }
            changed = true;
            catalog.changed(content)?;
            match &after {
                Some(held) => drop(swarm.put(content, SELF, 0, held)?),
                None => drop(swarm.remove(content, SELF)?),
            }
            self.note_image(content, before.as_ref(), after.as_ref(), &mut applied)?;
        }
        let bytes = self.bytes;
        // Tables can be open once only; the catalog looks at CONTENTS when it finishes.
        drop(self);
        swarm.finish(txn)?;
        if changed {
            schema::add_number(txn, schema::OWN_BYTES, bytes)?;
            applied.head = Some(catalog.finish()?);
        }
        Ok(applied)
    }

    /// Writes or removes the record of a touched content.
    fn settle(
        &mut self,
        content: ContentId,
        facts: Option<(Facts, ByteBuf)>,
        files: u32,
    ) -> Result<Option<StoredContent>, Fault> {
        let Some((facts, outline)) = facts.filter(|_| files > 0) else {
            self.contents.remove(&content.0)?;
            self.signatures.remove(&content.0)?;
            return Ok(None);
        };
        let path = first_paths(&self.paths, content, 1)?.pop().ok_or(Fault::Value("paths"))?;
        let stored = StoredContent { facts, outline, path, files };
        self.contents.insert(&content.0, &*schema::encode("contents", &stored)?)?;
        Ok(Some(stored))
    }

    fn note_image(
        &mut self,
        content: ContentId,
        before: Option<&Held>,
        after: Option<&Held>,
        applied: &mut Applied,
    ) -> Result<(), Fault> {
        let size = |held: Option<&Held>| held.map_or(0, |held| held.facts.bytes.cast_signed());
        self.bytes += size(after) - size(before);
        let image = |held: Option<&Held>| held.map(|held| held.facts.image);
        let (before, after) = (image(before), image(after));
        if before == after {
            return Ok(());
        }
        if let Some(image) = before {
            self.own.remove(&group_key(image, content))?;
            applied.removed.push((image, content));
        }
        if let Some(image) = after {
            self.own.insert(&group_key(image, content), ())?;
            applied.added.push((image, content));
        }
        Ok(())
    }
}

/// Bytes of a fingerprint in front of the rest of a file's record. Not CBOR, whose integers
/// end at 64 bits: a file system may give any 128-bit time.
const FINGERPRINT: usize = 56;

fn encode_file(record: &FileRecord) -> Result<Vec<u8>, Fault> {
    let print = &record.fingerprint;
    let mut bytes = Vec::with_capacity(FINGERPRINT + 64);
    bytes.extend(print.bytes.to_be_bytes());
    bytes.extend(print.mtime_ns.to_be_bytes());
    bytes.extend(print.ctime_ns.to_be_bytes());
    bytes.extend(print.inode.to_be_bytes());
    bytes.extend(print.device.to_be_bytes());
    bytes.extend(schema::encode("files", &record.kind)?);
    Ok(bytes)
}

fn decode_file(mut bytes: &[u8]) -> Result<FileRecord, Fault> {
    fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Fault> {
        let (first, rest) = bytes.split_first_chunk().ok_or(Fault::Value("files"))?;
        *bytes = rest;
        Ok(*first)
    }
    let fingerprint = Fingerprint {
        bytes: u64::from_be_bytes(take(&mut bytes)?),
        mtime_ns: i128::from_be_bytes(take(&mut bytes)?),
        ctime_ns: i128::from_be_bytes(take(&mut bytes)?),
        inode: u64::from_be_bytes(take(&mut bytes)?),
        device: u64::from_be_bytes(take(&mut bytes)?),
    };
    Ok(FileRecord { fingerprint, kind: schema::decode("files", bytes)? })
}

/// `text`, cut at [`MAX_PROBLEM_BYTES`].
fn shorten(text: &str) -> String {
    let end = (0..=MAX_PROBLEM_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text[..end.unwrap_or(0)].to_owned()
}

fn path(table: &'static str, bytes: &[u8]) -> Result<RelPath, Fault> {
    RelPath::from_bytes(bytes.to_vec()).ok_or(Fault::Value(table))
}

fn first_paths(
    paths: &impl redb::ReadableTable<&'static [u8], ()>,
    content: ContentId,
    limit: usize,
) -> Result<Vec<RelPath>, Fault> {
    let mut found = Vec::new();
    for entry in paths.range(&content.0[..]..&*past(&content.0))?.take(limit) {
        let key = entry?.0;
        found.push(path("paths", key.value().get(content.0.len()..).unwrap_or_default())?);
    }
    Ok(found)
}

pub(super) fn file(txn: &ReadTransaction, path: &RelPath) -> Result<Option<FileRecord>, Fault> {
    let files = txn.open_table(FILES)?;
    let record = files.get(path.as_bytes())?;
    record.map(|record| decode_file(record.value())).transpose()
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
    let outline = Outline::verify(*id, stored.facts.bytes, &stored.outline);
    let signatures = txn.open_table(SIGNATURES)?;
    let signature = signatures.get(&id.0)?.map(|bytes| Signature::from_array(*bytes.value()));
    Ok(Some(ContentRecord {
        facts: stored.facts,
        outline: outline.ok_or(Fault::Value("contents"))?,
        signature,
        paths: first_paths(&txn.open_table(PATHS)?, *id, MAX_PAGE_ENTRIES)?,
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

fn content_of(key: &[u8; GROUP]) -> Result<ContentId, Fault> {
    let id = key.get(ImageId::LEN..).and_then(|id| id.try_into().ok());
    id.map(ContentId).ok_or(Fault::Value("own"))
}

pub(super) fn totals(txn: &ReadTransaction) -> Result<Totals, Fault> {
    Ok(Totals {
        images: txn.open_table(CONTENTS)?.len()?,
        bytes: schema::number(txn, schema::OWN_BYTES)?,
        unprotected: txn.open_table(UNPROTECTED)?.len()?,
        problems: txn.open_table(PROBLEMS)?.len()?,
    })
}

pub(super) fn problems(txn: &ReadTransaction, limit: usize) -> Result<Vec<(RelPath, String)>, Fault> {
    let mut found = Vec::new();
    for entry in txn.open_table(PROBLEMS)?.iter()?.take(limit) {
        let (key, problem) = entry?;
        found.push((path("problems", key.value())?, problem.value().to_owned()));
    }
    Ok(found)
}
