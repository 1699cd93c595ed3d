//! The merged table: what every known node holds, this one included, one row for each
//! (image, content, holder).

use redb::{ReadableTable as _, Table, WriteTransaction};

use super::error::Fault;
use super::schema::{self, BY_CONTENT, BY_PEER, SWARM, SWARM_CONTENTS, group_key, join, past};
use crate::protocol::Held;
use crate::types::{ContentId, ImageId};

/// The holder of own rows, in place of a peer id.
pub(super) const SELF: &[u8] = b"";

/// The merged table and its two secondary ones, open for writing.
pub(super) struct Swarm<'t> {
    rows: Table<'t, &'static [u8], &'static [u8]>,
    by_content: Table<'t, &'static [u8], &'static [u8; ImageId::LEN]>,
    by_peer: Table<'t, &'static [u8], u64>,
    /// Distinct contents more (or fewer) than before.
    contents: i64,
}

impl<'t> Swarm<'t> {
    pub(super) fn open(txn: &'t WriteTransaction) -> Result<Self, Fault> {
        Ok(Self {
            rows: txn.open_table(SWARM)?,
            by_content: txn.open_table(BY_CONTENT)?,
            by_peer: txn.open_table(BY_PEER)?,
            contents: 0,
        })
    }

    /// Writes the row of (content, holder), in place of the one there was, whatever image
    /// that one named. Returns whether it is new.
    pub(super) fn put(
        &mut self,
        content: ContentId,
        holder: &[u8],
        generation: u64,
        held: &Held,
    ) -> Result<bool, Fault> {
        let image = held.facts.image;
        let key = join(&content.0, holder);
        let old = self.by_content.insert(&*key, &image.to_bytes())?.map(|old| *old.value());
        match old {
            Some(old) if old != image.to_bytes() => self.remove_row(&old, content, holder)?,
            Some(_) => {}
            None if self.has_one_holder(content)? => self.contents += 1,
            None => {}
        }
        let row = join(&group_key(image, content), holder);
        self.rows.insert(&*row, &*schema::encode("swarm", held)?)?;
        if holder != SELF {
            self.by_peer.insert(&*join(holder, &content.0), generation)?;
        }
        Ok(old.is_none())
    }

    /// Removes the row of (content, holder). Returns whether there was one.
    pub(super) fn remove(&mut self, content: ContentId, holder: &[u8]) -> Result<bool, Fault> {
        let old = self.by_content.remove(&*join(&content.0, holder))?.map(|old| *old.value());
        let Some(image) = old else { return Ok(false) };
        self.remove_row(&image, content, holder)?;
        self.by_peer.remove(&*join(holder, &content.0))?;
        if self.holders(content, 1)? == 0 {
            self.contents -= 1;
        }
        Ok(true)
    }

    /// Removes the rows of `peer` that are not of `generation` (`None`: all). Returns how
    /// many there were.
    pub(super) fn remove_stale(&mut self, peer: &[u8], generation: Option<u64>) -> Result<u64, Fault> {
        /// Contents remembered at once while their rows are removed.
        const PIECE: usize = 4096;
        let end = past(peer);
        let mut start = peer.to_vec();
        let mut removed = 0;
        loop {
            let mut stale = Vec::new();
            for entry in self.by_peer.range(&*start..&*end)? {
                let (key, row_generation) = entry?;
                if Some(row_generation.value()) != generation {
                    let content = key.value().get(peer.len()..).and_then(|id| id.try_into().ok());
                    stale.push(ContentId(content.ok_or(Fault::Value("by_peer"))?));
                }
                if stale.len() == PIECE {
                    break;
                }
            }
            for content in &stale {
                self.remove(*content, peer)?;
            }
            removed += stale.len() as u64;
            match stale.last() {
                Some(last) if stale.len() == PIECE => start = join(peer, &last.0),
                _ => return Ok(removed),
            }
        }
    }

    /// Closes the tables and brings the count of contents up to date.
    pub(super) fn finish(self, txn: &WriteTransaction) -> Result<(), Fault> {
        let contents = self.contents;
        drop(self);
        if contents == 0 { Ok(()) } else { schema::add_number(txn, SWARM_CONTENTS, contents) }
    }

    fn remove_row(
        &mut self,
        image: &[u8; ImageId::LEN],
        content: ContentId,
        holder: &[u8],
    ) -> Result<(), Fault> {
        let image = ImageId::from_bytes(image).ok_or(Fault::Value("by_content"))?;
        self.rows.remove(&*join(&group_key(image, content), holder))?;
        Ok(())
    }

    fn has_one_holder(&self, content: ContentId) -> Result<bool, Fault> {
        Ok(self.holders(content, 2)? == 1)
    }

    /// Holders of a content, counted up to `most`.
    fn holders(&self, content: ContentId, most: usize) -> Result<usize, Fault> {
        let range = self.by_content.range(&content.0[..]..&*past(&content.0))?;
        range.take(most).try_fold(0, |count, entry| entry.map(|_| count + 1).map_err(Fault::from))
    }
}
