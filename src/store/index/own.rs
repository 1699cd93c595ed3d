//! This node's own files and contents, and the one way in which they change.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadableTable as _, Table, WriteTransaction};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::catalog::Catalog;
use super::error::Fault;
use super::schema::{self, CONTENTS, DAMAGED, FILES, GROUP, KEYS, OWN, OWN_KEY, PATHS, PINNED, PROBLEMS};
use super::schema::{REPLICAS, SIGNATURES, UNPROTECTED, group_key, join, key_row, past};
use super::swarm::{SELF, Swarm};
use super::{Applied, Change, FileKind, FileRecord, Fingerprint, Found};
use crate::dht_index::keys::OwnKey;
use crate::limits::MAX_PROBLEM_BYTES;
use crate::picture::Signature;
use crate::picture::quality::{Encoding, Fidelity, Metadata};
use crate::protocol::Held;
use crate::transfer::outline::Outline;
use crate::types::{ContentId, Facts, RelPath};

/// What CONTENTS keeps of a content.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredContent {
    facts: Facts,
    outline: ByteBuf,
    /// Not in format 1.
    #[serde(default = "unknown")]
    encoding: Encoding,
    /// First path in byte order.
    path: RelPath,
    files: u32,
    /// A replica is there too, or instead of files.
    #[serde(default)]
    replica: bool,
    #[serde(default)]
    pinned: bool,
}

/// What the bytes of a content tell.
pub(super) struct Told {
    pub(super) facts: Facts,
    pub(super) outline: ByteBuf,
    pub(super) encoding: Encoding,
}

fn unknown() -> Encoding {
    Encoding { fidelity: Fidelity::UNKNOWN, metadata: Metadata::default() }
}

impl StoredContent {
    pub(super) fn into_held(self) -> Held {
        let Self { facts, path, files, replica, pinned, .. } = self;
        Held { facts, path, files, replica: replica && files == 0, pinned }
    }

    pub(super) fn told(&self) -> Told {
        Told { facts: self.facts.clone(), outline: self.outline.clone(), encoding: self.encoding }
    }

    /// Bytes counted for the folder, bytes counted for the replicas, and contents that are
    /// replicas only.
    fn size(&self) -> [i64; 3] {
        let bytes = self.facts.bytes.cast_signed();
        let count = |bytes: i64, counted: bool| if counted { bytes } else { 0 };
        [count(bytes, self.files > 0), count(bytes, self.replica), count(1, self.files == 0)]
    }
}

/// A content that a batch has touched: as it was, and as it is so far.
struct Touched {
    before: Option<StoredContent>,
    told: Option<Told>,
    files: u32,
    replica: bool,
}

/// See `Index::apply`.
pub(super) fn apply(txn: &WriteTransaction, changes: Vec<Change>) -> Result<Applied, Fault> {
    let mut batch = Batch::open(txn)?;
    for change in changes {
        match change {
            Change::Seen { path, fingerprint, found } => batch.seen(&path, fingerprint, found)?,
            Change::Gone { path } => batch.replace_file(&path, None)?,
            Change::Replica { facts, encoding, outline, signature, path } => {
                batch.replicas.insert(&outline.content().0, path.as_bytes())?;
                batch.tell(facts, encoding, &outline, signature.as_ref())?.replica = true;
            }
            Change::ReplicaGone { content } => {
                batch.replicas.remove(&content.0)?;
                batch.touch(content)?.replica = false;
            }
        }
    }
    batch.finish(txn)
}

/// See `Index::set_pinned`.
pub(super) fn set_pinned(txn: &WriteTransaction, content: ContentId, pinned: bool) -> Result<Applied, Fault> {
    let mut batch = Batch::open(txn)?;
    batch.pin(content, pinned)?;
    batch.finish(txn)
}

/// See `Index::set_pins`.
pub(super) fn set_pins(txn: &WriteTransaction, all: &BTreeSet<ContentId>) -> Result<Applied, Fault> {
    let mut batch = Batch::open(txn)?;
    let known = batch.pinned.iter()?.map(|entry| Ok(ContentId(*entry?.0.value())));
    let known = known.collect::<Result<BTreeSet<_>, Fault>>()?;
    for content in known.symmetric_difference(all) {
        batch.pin(*content, all.contains(content))?;
    }
    batch.finish(txn)
}

/// The tables of files and contents open for writing, and what was touched. Contents are
/// judged at the end of the batch: a rename (gone here, seen there) is one change of a path.
struct Batch<'t> {
    files: Table<'t, &'static [u8], &'static [u8]>,
    problems: Table<'t, &'static [u8], &'static str>,
    unprotected: Table<'t, &'static [u8], ()>,
    damaged: Table<'t, &'static [u8], &'static [u8; 32]>,
    contents: Table<'t, &'static [u8; 32], &'static [u8]>,
    paths: Table<'t, &'static [u8], ()>,
    signatures: Table<'t, &'static [u8; 32], &'static [u8; 1536]>,
    own: Table<'t, &'static [u8; GROUP], ()>,
    keys: Table<'t, &'static [u8; OWN_KEY], ()>,
    replicas: Table<'t, &'static [u8; 32], &'static [u8]>,
    pinned: Table<'t, &'static [u8; 32], ()>,
    touched: BTreeMap<ContentId, Touched>,
    edited: Vec<(ContentId, ContentId)>,
    newly_damaged: Vec<(RelPath, ContentId)>,
    /// Difference to what was counted: see [`StoredContent::size`].
    size: [i64; 3],
}

impl<'t> Batch<'t> {
    fn open(txn: &'t WriteTransaction) -> Result<Self, Fault> {
        Ok(Self {
            files: txn.open_table(FILES)?,
            problems: txn.open_table(PROBLEMS)?,
            unprotected: txn.open_table(UNPROTECTED)?,
            damaged: txn.open_table(DAMAGED)?,
            contents: txn.open_table(CONTENTS)?,
            paths: txn.open_table(PATHS)?,
            signatures: txn.open_table(SIGNATURES)?,
            own: txn.open_table(OWN)?,
            keys: txn.open_table(KEYS)?,
            replicas: txn.open_table(REPLICAS)?,
            pinned: txn.open_table(PINNED)?,
            touched: BTreeMap::new(),
            edited: Vec::new(),
            newly_damaged: Vec::new(),
            size: [0; 3],
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
            Found::Damaged { content, problem } => {
                FileKind::Damaged { content: *content, problem: shorten(problem) }
            }
        };
        self.replace_file(path, Some(&FileRecord { fingerprint, kind }))?;
        if let Found::Picture { facts, encoding, outline, signature, .. } = found {
            let new = self.paths.insert(&*join(&outline.content().0, path.as_bytes()), ())?.is_none();
            let touched = self.tell(facts, encoding, &outline, signature.as_ref())?;
            touched.files = touched.files.saturating_add(u32::from(new));
        }
        Ok(())
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
        match record.map(|record| &record.kind) {
            Some(FileKind::Damaged { content, .. }) => {
                if self.damaged.insert(bytes, &content.0)?.is_none() {
                    self.newly_damaged.push((path.clone(), *content));
                }
            }
            _ => drop(self.damaged.remove(bytes)?),
        }
        let before = old.and_then(|old| old.kind.content());
        let now = record.and_then(|record| record.kind.content());
        if let (Some(before), Some(now)) = (before, now)
            && before != now
        {
            self.edited.push((before, now));
        }
        match before {
            Some(before) if now != Some(before) => self.unlink(before, path),
            _ => Ok(()),
        }
    }

    /// Takes in what the bytes of a content tell.
    fn tell(
        &mut self,
        facts: Facts,
        encoding: Encoding,
        outline: &Outline,
        signature: Option<&Signature>,
    ) -> Result<&mut Touched, Fault> {
        let content = outline.content();
        match signature {
            Some(signature) => drop(self.signatures.insert(&content.0, signature.as_array())?),
            None => drop(self.signatures.remove(&content.0)?),
        }
        let touched = self.touch(content)?;
        touched.told = Some(Told { facts, outline: ByteBuf::from(outline.values()), encoding });
        Ok(touched)
    }

    fn unlink(&mut self, content: ContentId, path: &RelPath) -> Result<(), Fault> {
        let had = self.paths.remove(&*join(&content.0, path.as_bytes()))?.is_some();
        let touched = self.touch(content)?;
        touched.files = touched.files.saturating_sub(u32::from(had));
        Ok(())
    }

    fn pin(&mut self, content: ContentId, pinned: bool) -> Result<(), Fault> {
        if pinned {
            self.pinned.insert(&content.0, ())?;
        } else {
            self.pinned.remove(&content.0)?;
        }
        self.touch(content)?;
        Ok(())
    }

    fn touch(&mut self, content: ContentId) -> Result<&mut Touched, Fault> {
        Ok(match self.touched.entry(content) {
            Entry::Occupied(touched) => touched.into_mut(),
            Entry::Vacant(place) => {
                let before = self.contents.get(&content.0)?;
                let before = before.map(|before| schema::decode::<StoredContent>("contents", before.value()));
                let before = before.transpose()?;
                let told = before.as_ref().map(StoredContent::told);
                let files = before.as_ref().map_or(0, |before| before.files);
                let replica = before.as_ref().is_some_and(|before| before.replica);
                place.insert(Touched { before, told, files, replica })
            }
        })
    }

    /// Brings contents, catalog and merged table to what the files now say.
    fn finish(mut self, txn: &WriteTransaction) -> Result<Applied, Fault> {
        let mut applied = Applied {
            edited: std::mem::take(&mut self.edited),
            damaged: std::mem::take(&mut self.newly_damaged),
            ..Applied::default()
        };
        let mut catalog = Catalog::open(txn)?;
        let mut swarm = Swarm::open(txn)?;
        let mut changed = false;
        for (content, mut touched) in std::mem::take(&mut self.touched) {
            let before = touched.before.take();
            let after = self.settle(content, touched)?;
            self.count(before.as_ref(), after.as_ref());
            let before = before.map(StoredContent::into_held);
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
        let size = self.size;
        // Tables can be open once only; the catalog looks at CONTENTS when it finishes.
        drop(self);
        swarm.finish(txn)?;
        for (number, by) in schema::SIZES.into_iter().zip(size).filter(|(_, by)| *by != 0) {
            schema::add_number(txn, number, by)?;
        }
        if changed {
            applied.head = Some(catalog.finish()?);
        }
        Ok(applied)
    }

    /// Writes or removes the record of a touched content.
    fn settle(&mut self, content: ContentId, touched: Touched) -> Result<Option<StoredContent>, Fault> {
        let Touched { told, files, replica, .. } = touched;
        let Some(told) = told.filter(|_| files > 0 || replica) else {
            self.contents.remove(&content.0)?;
            self.signatures.remove(&content.0)?;
            return Ok(None);
        };
        let first = first_paths(&self.paths, content, 1)?.pop();
        let path = match self.replicas.get(&content.0)? {
            Some(once_at) if files == 0 => path("replicas", once_at.value())?,
            _ => first.ok_or(Fault::Value("paths"))?,
        };
        let pinned = self.pinned.get(&content.0)?.is_some();
        let Told { facts, outline, encoding } = told;
        let stored = StoredContent { facts, outline, encoding, path, files, replica, pinned };
        self.contents.insert(&content.0, &*schema::encode("contents", &stored)?)?;
        Ok(Some(stored))
    }

    fn count(&mut self, before: Option<&StoredContent>, after: Option<&StoredContent>) {
        let size = |stored: Option<&StoredContent>| stored.map_or([0; 3], StoredContent::size);
        for ((sum, before), after) in self.size.iter_mut().zip(size(before)).zip(size(after)) {
            *sum += after - before;
        }
    }

    fn note_image(
        &mut self,
        content: ContentId,
        before: Option<&Held>,
        after: Option<&Held>,
        applied: &mut Applied,
    ) -> Result<(), Fault> {
        let image = |held: Option<&Held>| held.map(|held| held.facts.image);
        let (before, after) = (image(before), image(after));
        if before == after {
            return Ok(());
        }
        if let Some(image) = before {
            self.own.remove(&group_key(image, content))?;
            applied.removed.push((image, content));
            let (low, high) = (group_key(image, ContentId([0; 32])), group_key(image, ContentId([0xff; 32])));
            let last = self.own.range::<&[u8; GROUP]>(&low..=&high)?.next().is_none();
            let key = OwnKey::of(&image);
            if last && self.keys.remove(&key_row(&key))?.is_some() {
                applied.keys.push((key, false));
            }
        }
        if let Some(image) = after {
            self.own.insert(&group_key(image, content), ())?;
            applied.added.push((image, content));
            let key = OwnKey::of(&image);
            if self.keys.insert(&key_row(&key), ())?.is_none() {
                applied.keys.push((key, true));
            }
        }
        Ok(())
    }
}

/// Bytes of a fingerprint in front of the rest of a file's record. Not CBOR, whose integers
/// end at 64 bits: a file system may give any 128-bit time.
const FINGERPRINT: usize = 56;

pub(super) fn encode_file(record: &FileRecord) -> Result<Vec<u8>, Fault> {
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

pub(super) fn decode_file(mut bytes: &[u8]) -> Result<FileRecord, Fault> {
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

pub(super) fn path(table: &'static str, bytes: &[u8]) -> Result<RelPath, Fault> {
    RelPath::from_bytes(bytes.to_vec()).ok_or(Fault::Value(table))
}

pub(super) fn first_paths(
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
