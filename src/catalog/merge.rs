//! One page of the list from many: what is known here, and what nodes answer whose catalogs are not.
//!
//! Every source tells its part in the order of (image, content), from the same position on, and how
//! far its page reaches. The merged page reaches as far as the shortest of them: beyond that, somebody
//! may hold something that is not here yet. So nothing is left out and nothing is listed twice,
//! whatever the sizes of the pages, and the position to go on from is the only state there is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use libp2p::PeerId;

use crate::limits::{HOLDER_BYTES, MAX_MEMBERS, ROW_BYTES};
use crate::protocol::{CatalogEntry, Held, ImageRow, OwnPage};
use crate::types::{ContentId, FolderId, ImageId};

/// Bytes of a position: image and content.
pub const POSITION: usize = ImageId::LEN + 32;

/// Where a row is in the list.
pub type Position = [u8; POSITION];

/// What a page may hold.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Rows.
    pub rows: usize,
    /// Bytes of them on the wire.
    pub bytes: usize,
}

/// What is known of holders.
pub struct Known<'a> {
    /// Who makes the list.
    pub me: PeerId,
    /// Whose rows count as copies.
    pub counts: &'a dyn Fn(&PeerId) -> bool,
    /// The folders of the nodes whose catalogs are here, this one's too.
    pub folders: &'a HashMap<PeerId, FolderId>,
}

/// A page of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// In the order of the list.
    pub rows: Vec<ImageRow>,
    /// Where to go on; `None` at the end.
    pub next: Option<Vec<u8>>,
}

/// Where a content of a picture is in the list.
#[must_use]
pub fn position(image: ImageId, content: ContentId) -> Position {
    let mut position = [0; POSITION];
    let (left, right) = position.split_at_mut(ImageId::LEN);
    left.copy_from_slice(&image.to_bytes());
    right.copy_from_slice(&content.0);
    position
}

/// Whether a node's page is one that can be merged: in order, after the position asked for, within
/// what was asked, and leading on.
#[must_use]
pub fn is_sound(page: &OwnPage, after: Option<&[u8]>, most: usize) -> bool {
    let mut last = after.map(<[u8]>::to_vec);
    for entry in &page.entries {
        let Some(at) = position_of(entry) else { return false };
        if last.as_deref().is_some_and(|last| at.as_slice() <= last) {
            return false;
        }
        last = Some(at.to_vec());
    }
    let leads_on =
        |next: &[u8]| next.len() == POSITION && last.as_deref() == Some(next) && !page.entries.is_empty();
    page.entries.len() <= most && page.next.as_ref().is_none_or(|next| leads_on(next))
}

/// Whether `text` is part of `path`, ignoring the case of ASCII letters.
#[must_use]
pub fn contains(path: &[u8], text: &str) -> bool {
    let text = text.as_bytes();
    text.is_empty() || path.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text))
}

/// `None` for an entry that is no row.
fn position_of(entry: &CatalogEntry) -> Option<Position> {
    let image = entry.held.as_ref()?.facts.image;
    let own = !matches!(image, ImageId::Content(id) if id != entry.content);
    own.then(|| position(image, entry.content))
}

/// A row while it is put together.
#[derive(Debug)]
struct Row {
    row: ImageRow,
    folders: BTreeSet<FolderId>,
    matches: bool,
}

/// Merges the rows that are known here, each with whether the filter matches it, with the pages of
/// others. All start at the same position, and all pages are sound.
#[must_use]
pub fn merge(
    known: &Known<'_>,
    (rows, next): (Vec<(ImageRow, bool)>, Option<Vec<u8>>),
    told: Vec<(PeerId, OwnPage)>,
    filter: Option<&str>,
    most: Most,
) -> Merged {
    let reaches = told.iter().filter_map(|(_, page)| page.next.as_ref().map(|next| next.to_vec()));
    let reach = reaches.chain(next).min();
    let beyond = |at: &Position| reach.as_deref().is_some_and(|reach| at.as_slice() > reach);
    let mut all: BTreeMap<Position, Row> = BTreeMap::new();
    for (row, matches) in rows {
        let at = position(row.facts.image, row.content);
        if !beyond(&at) {
            let counted = row.holders.iter().filter(|holder| (known.counts)(holder));
            let folders = counted.filter_map(|holder| known.folders.get(holder)).copied().collect();
            all.insert(at, Row { row, folders, matches });
        }
    }
    for (peer, page) in told {
        let counts = (known.counts)(&peer).then_some(page.folder);
        for entry in page.entries {
            let Some(at) = position_of(&entry).filter(|at| !beyond(at)) else { continue };
            let Some(held) = entry.held else { continue };
            let matches = filter.is_none_or(|text| contains(held.path.as_bytes(), text));
            let row = all.entry(at).or_insert_with(|| Row::new(entry.content, &held));
            row.add(known.me, peer, counts, &held, matches);
        }
    }
    cut(all, reach, most)
}

/// As much as fits. What does not is asked for again.
fn cut(all: BTreeMap<Position, Row>, reach: Option<Vec<u8>>, most: Most) -> Merged {
    let (mut rows, mut bytes, mut last) = (Vec::new(), 0, None);
    for (at, Row { row, matches, .. }) in all {
        if matches {
            bytes += ROW_BYTES + row.path.as_bytes().len() + row.holders.len() * HOLDER_BYTES;
            if rows.len() == most.rows || (bytes > most.bytes && !rows.is_empty()) {
                return Merged { rows, next: last };
            }
            rows.push(row);
        }
        last = Some(at.to_vec());
    }
    Merged { rows, next: reach }
}

impl Row {
    fn new(content: ContentId, held: &Held) -> Self {
        let row = ImageRow {
            content,
            facts: held.facts.clone(),
            path: held.path.clone(),
            holders: Vec::new(),
            copies: 0,
            pinned: false,
        };
        Self { row, folders: BTreeSet::new(), matches: false }
    }

    /// One more holder. `counts`: its folder, when what it holds counts as a copy.
    fn add(&mut self, me: PeerId, peer: PeerId, counts: Option<FolderId>, held: &Held, matches: bool) {
        self.matches |= matches;
        let row = &mut self.row;
        let after = |other: &PeerId| (*other != me, *other) < (peer != me, peer);
        let place = row.holders.partition_point(after);
        // A catalog that is just being thrown away may have named it.
        if row.holders.get(place) == Some(&peer) || row.holders.len() > MAX_MEMBERS {
            return;
        }
        row.holders.insert(place, peer);
        if place == 0 {
            row.path = held.path.clone();
            row.facts = held.facts.clone();
        }
        self.folders.extend(counts);
        row.copies = row.copies.max(u32::try_from(self.folders.len()).unwrap_or(u32::MAX));
        row.pinned |= held.pinned && counts.is_some();
    }
}

#[cfg(test)]
mod tests;
