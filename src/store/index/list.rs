//! Reading the merged table: pages of the list, prefixes, holders of a content.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound::{self, Excluded, Included, Unbounded};

use redb::{AccessGuard, Range, ReadOnlyTable, ReadTransaction};

use super::error::{Fault, IndexError};
use super::peers;
use super::schema::{self, BY_CONTENT, GROUP, PEERS, SWARM, past};
use super::swarm::SELF;
use super::{Copies, MarkedPage, PageLimits, PeerId};
use crate::catalog::merge::contains;
use crate::limits::{HOLDER_BYTES, MAX_LIST_STEPS, MAX_MATCHES, PAGE_BYTES};
use crate::protocol::{Held, ImageRow};
use crate::types::{ContentId, FolderId, ImageId, Prefix, RelPath, Standing};

use super::catalog::entry_bytes;

/// Who asks, and whom it counts.
pub(super) struct View<'a> {
    pub(super) me: PeerId,
    pub(super) folder: FolderId,
    pub(super) standing: &'a dyn Fn(&PeerId) -> Standing,
    pub(super) limits: PageLimits,
}

impl View<'_> {
    /// Who a holder is, when it is there.
    fn holder(
        &self,
        peers: &ReadOnlyTable<&'static [u8], &'static [u8]>,
        bytes: &[u8],
    ) -> Result<Option<Holder>, Fault> {
        if bytes == SELF {
            return Ok(Some((self.me, Some(self.folder))));
        }
        let peer = peer_id(self.me, bytes)?;
        Ok(match (self.standing)(&peer) {
            Standing::Away => None,
            Standing::Stranger => Some((peer, None)),
            Standing::Trusted => {
                let state = peers::state(peers, bytes)?.ok_or(Fault::Value("peers"))?;
                Some((peer, Some(state.folder)))
            }
        })
    }
}

/// See `Index::list_marked`.
pub(super) fn list(
    txn: &ReadTransaction,
    view: &View<'_>,
    after: Option<&[u8]>,
    filter: Option<&str>,
    all: bool,
) -> Result<MarkedPage, Fault> {
    if after.is_some_and(|after| after.len() != GROUP) {
        return Err(Fault::Refused(Box::new(IndexError::BadCursor)));
    }
    let last = after.map(past);
    let start = last.as_deref().map_or(Unbounded, Excluded);
    let table = txn.open_table(SWARM)?;
    let mut groups = Groups::new(txn, &table, view, filter, (start, Unbounded))?;
    let (mut rows, mut next) = (Vec::new(), None);
    let mut bytes = 0;
    while let Some(group) = groups.next()? {
        if let Some(row) = group.row.filter(|_| all || group.matches) {
            bytes += row_bytes(&row);
            if rows.len() == view.limits.entries || (bytes > view.limits.bytes && !rows.is_empty()) {
                return Ok((rows, next));
            }
            rows.push((row, group.matches));
        }
        next = Some(group.key);
        if groups.steps >= view.limits.steps {
            return Ok((rows, next));
        }
    }
    Ok((rows, None))
}

/// See `Index::resolve`.
pub(super) fn resolve(
    txn: &ReadTransaction,
    view: &View<'_>,
    prefix: &Prefix,
) -> Result<(Vec<ImageRow>, bool), Fault> {
    let Some((low, high)) = prefix.bounds() else { return Ok((Vec::new(), false)) };
    let table = txn.open_table(SWARM)?;
    let mut matches = Matches::default();
    match prefix {
        Prefix::Image(_) => {
            let low = ImageId::Hash(low).to_bytes();
            let high = past(&ImageId::Hash(high).to_bytes());
            let range = (Included(&low[..]), Excluded(&*high));
            matches.take(&mut Groups::new(txn, &table, view, None, range)?)?;
        }
        Prefix::Content(_) => {
            let by_content = txn.open_table(BY_CONTENT)?;
            let mut found = BTreeSet::new();
            for (steps, entry) in by_content.range(&low[..]..&*past(&high))?.enumerate() {
                let (key, image) = entry?;
                let content = key.value().get(..low.len()).unwrap_or_default();
                found.insert([image.value(), content].concat());
                if found.len() > MAX_MATCHES || steps >= MAX_LIST_STEPS {
                    matches.more = true;
                    break;
                }
            }
            for key in found {
                let end = past(&key);
                let range = (Included(&*key), Excluded(&*end));
                matches.take(&mut Groups::new(txn, &table, view, None, range)?)?;
            }
        }
    }
    Ok((matches.rows, matches.more))
}

/// Rows found for a prefix, as many as one answer may hold.
#[derive(Default)]
struct Matches {
    rows: Vec<ImageRow>,
    bytes: usize,
    more: bool,
}

impl Matches {
    fn take(&mut self, groups: &mut Groups<'_>) -> Result<(), Fault> {
        while let Some(group) = groups.next()? {
            if let Some(row) = group.row {
                self.bytes += row_bytes(&row);
                if self.rows.len() == MAX_MATCHES || self.bytes > PAGE_BYTES {
                    self.more = true;
                    return Ok(());
                }
                self.rows.push(row);
            }
            if groups.steps >= MAX_LIST_STEPS {
                self.more = true;
                return Ok(());
            }
        }
        Ok(())
    }
}

/// What is known of one (image, content).
pub(super) enum Known {
    /// No node has it.
    Nobody,
    /// Only nodes that are away.
    Away,
    /// As it is listed.
    There(ImageRow),
}

/// Looks up one (image, content) after the other, until `visit` returns false.
pub(super) fn known(
    txn: &ReadTransaction,
    view: &View<'_>,
    keys: impl Iterator<Item = (ImageId, ContentId)>,
    visit: &mut dyn FnMut(Known) -> bool,
) -> Result<(), Fault> {
    let table = txn.open_table(SWARM)?;
    let mut groups = Groups::new(txn, &table, view, None, (Unbounded, Unbounded))?;
    for (image, content) in keys {
        let key = schema::group_key(image, content);
        let end = past(&key);
        groups.range = table.range(&key[..]..&*end)?;
        groups.pending = None;
        let known = match groups.next()? {
            None => Known::Nobody,
            Some(Group { row: None, .. }) => Known::Away,
            Some(Group { row: Some(row), .. }) => Known::There(row),
        };
        if !visit(known) {
            return Ok(());
        }
    }
    Ok(())
}

/// See `Index::holders`.
pub(super) fn holders(
    txn: &ReadTransaction,
    me: PeerId,
    content: &ContentId,
) -> Result<Vec<(PeerId, RelPath)>, Fault> {
    let rows = txn.open_table(SWARM)?;
    let mut found = Vec::new();
    for entry in txn.open_table(BY_CONTENT)?.range(&content.0[..]..&*past(&content.0))? {
        let (key, image) = entry?;
        let holder = key.value().get(content.0.len()..).unwrap_or_default();
        let row = rows.get(&*[image.value(), &content.0[..], holder].concat())?;
        let held: Held = schema::decode("swarm", row.ok_or(Fault::Value("by_content"))?.value())?;
        found.push((peer_id(me, holder)?, held.path));
    }
    Ok(found)
}

/// See `Index::copies`.
pub(super) fn copies(txn: &ReadTransaction, view: &View<'_>, content: &ContentId) -> Result<Copies, Fault> {
    let (rows, peers) = (txn.open_table(SWARM)?, txn.open_table(PEERS)?);
    let mut found = Copies { holders: Vec::new(), pinned: false };
    for entry in txn.open_table(BY_CONTENT)?.range(&content.0[..]..&*past(&content.0))? {
        let (key, image) = entry?;
        let holder = key.value().get(content.0.len()..).unwrap_or_default();
        let Some((peer, Some(folder))) = view.holder(&peers, holder)? else { continue };
        let row = rows.get(&*[image.value(), &content.0[..], holder].concat())?;
        found.pinned = found.pinned || says_pinned(row.ok_or(Fault::Value("by_content"))?.value())?;
        found.holders.push((peer, folder));
    }
    Ok(found)
}

/// Whether the `Held` in these bytes is pinned. Decoding is what costs most in a list, and
/// hardly any row is: one without the field's name can't be.
fn says_pinned(held: &[u8]) -> Result<bool, Fault> {
    const NAME: &[u8] = b"pinned";
    let named = held.windows(NAME.len()).any(|part| part == NAME);
    Ok(named && schema::decode::<Held>("swarm", held)?.pinned)
}

fn peer_id(me: PeerId, holder: &[u8]) -> Result<PeerId, Fault> {
    if holder == SELF {
        return Ok(me);
    }
    PeerId::from_bytes(holder).map_err(|_| Fault::Value("swarm"))
}

/// Most bytes that a row takes on the wire.
pub(super) fn row_bytes(row: &ImageRow) -> usize {
    entry_bytes(Some(&row.path)) + row.holders.len() * HOLDER_BYTES
}

/// All rows of one (image, content).
struct Group {
    key: Vec<u8>,
    /// `None`: no holder is there.
    row: Option<ImageRow>,
    /// Whether the filter, if there is one, matches a holder's path.
    matches: bool,
}

type RawRow = (AccessGuard<'static, &'static [u8]>, AccessGuard<'static, &'static [u8]>);

/// A holder that is there, and its folder when what it holds counts as a copy.
type Holder = (PeerId, Option<FolderId>);

/// Walks a range of the merged table, one (image, content) at a time.
struct Groups<'a> {
    view: &'a View<'a>,
    filter: Option<&'a str>,
    range: Range<'static, &'static [u8], &'static [u8]>,
    /// The first entry of the next group.
    pending: Option<RawRow>,
    peers: ReadOnlyTable<&'static [u8], &'static [u8]>,
    /// Holders met so far; `None` for one that is away.
    holders: HashMap<Vec<u8>, Option<Holder>>,
    /// Entries looked at.
    steps: usize,
}

impl<'a> Groups<'a> {
    fn new(
        txn: &ReadTransaction,
        table: &ReadOnlyTable<&'static [u8], &'static [u8]>,
        view: &'a View<'a>,
        filter: Option<&'a str>,
        range: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Result<Self, Fault> {
        Ok(Self {
            view,
            filter,
            range: table.range::<&[u8]>(range)?,
            pending: None,
            peers: txn.open_table(PEERS)?,
            holders: HashMap::new(),
            steps: 0,
        })
    }

    fn next(&mut self) -> Result<Option<Group>, Fault> {
        let Some(first) = self.take()? else { return Ok(None) };
        let key = first.0.value().get(..GROUP).ok_or(Fault::Value("swarm"))?.to_vec();
        let content = key.get(ImageId::LEN..).and_then(|id| id.try_into().ok());
        let content = ContentId(content.ok_or(Fault::Value("swarm"))?);
        let mut row: Option<ImageRow> = None;
        let mut folders = BTreeSet::new();
        let mut matches = self.filter.is_none();
        let mut entry = Some(first);
        while let Some((raw, value)) = entry {
            let holder = raw.value().get(GROUP..).unwrap_or_default();
            if let Some((peer, folder)) = self.holder(holder)? {
                // Only the first holder's description is shown.
                if row.is_none() || !matches {
                    let held: Held = schema::decode("swarm", value.value())?;
                    matches = matches || self.filter.is_none_or(|text| contains(held.path.as_bytes(), text));
                    row.get_or_insert_with(|| ImageRow {
                        content,
                        facts: held.facts,
                        path: held.path,
                        holders: Vec::new(),
                        copies: 0,
                        pinned: false,
                    });
                }
                folders.extend(folder);
                if let Some(row) = &mut row {
                    row.holders.push(peer);
                    row.copies = folders.len() as u32;
                    // A stranger's word keeps nothing.
                    row.pinned = row.pinned || folder.is_some() && says_pinned(value.value())?;
                }
            }
            entry = self.take()?;
            if let Some(next) = entry.take_if(|next| !next.0.value().starts_with(&key)) {
                self.pending = Some(next);
            }
        }
        Ok(Some(Group { key, row, matches }))
    }

    fn take(&mut self) -> Result<Option<RawRow>, Fault> {
        if let Some(pending) = self.pending.take() {
            return Ok(Some(pending));
        }
        self.steps += 1;
        Ok(self.range.next().transpose()?)
    }

    /// Who a holder is, when it is there. Remembered: a list asks for the same few again
    /// and again.
    fn holder(&mut self, bytes: &[u8]) -> Result<Option<Holder>, Fault> {
        if let Some(known) = self.holders.get(bytes) {
            return Ok(*known);
        }
        let found = self.view.holder(&self.peers, bytes)?;
        self.holders.insert(bytes.to_vec(), found);
        Ok(found)
    }
}
