//! Whose catalogs are kept, when there is not room for all.
//!
//! Whoever is kept stays until the entries of all are too many; then the one whose page was the last
//! straw goes, and is asked instead. The rejected alternative, to keep a part of each, would make every
//! list a matter of asking all. Members that are away count too: what they hold is awaited.

use std::collections::BTreeMap;

use libp2p::PeerId;

use crate::limits::CACHE_SLACK_DIVISOR;

/// How many entries are kept, and of whom.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    rows: BTreeMap<PeerId, u64>,
    total: u64,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, rows: BTreeMap::new(), total: 0 }
    }

    /// What is on the disk, of everybody.
    pub(super) fn is(&mut self, rows: BTreeMap<PeerId, u64>) {
        self.total = rows.values().fold(0, |sum, rows| sum.saturating_add(*rows));
        self.rows = rows;
    }

    /// So many entries of one are here now.
    pub(super) fn set(&mut self, peer: PeerId, rows: u64) {
        let before = self.rows.insert(peer, rows).unwrap_or(0);
        self.total = self.total.saturating_sub(before).saturating_add(rows);
    }

    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.total = self.total.saturating_sub(self.rows.remove(peer).unwrap_or(0));
    }

    pub(super) fn of(&self, peer: &PeerId) -> u64 {
        self.rows.get(peer).copied().unwrap_or(0)
    }

    pub(super) fn is_over(&self) -> bool {
        self.total > self.limit
    }

    /// Whether a catalog with so many entries, of which nothing is here, has room.
    pub(super) fn has_room(&self, entries: u64) -> bool {
        self.total.saturating_add(entries) <= self.limit
    }

    /// The same, and some room is left.
    pub(super) fn has_ample_room(&self, entries: u64) -> bool {
        self.has_room(entries.saturating_add(self.limit / CACHE_SLACK_DIVISOR))
    }
}
