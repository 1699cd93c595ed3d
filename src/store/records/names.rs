//! The peers that records name, each kept once with its addresses.

use std::collections::{HashMap, HashSet};

use libp2p::kad::KBucketKey;
use libp2p::{Multiaddr, PeerId};

use super::passing::PeerRow;
use super::slot::Seconds;
use crate::limits::{MAX_ADDRESS_BYTES, MAX_ADDRESSES_PER_PEER, MAX_RECORD_ADDRESS_BYTES};

/// A peer's place in [`Names`]; valid as long as a record names it.
pub(super) type PeerIndex = u32;

/// The node itself: always there, whether it provides anything or not.
pub(super) const ME: PeerIndex = 0;

/// Whose records stay when there is no room for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Nobody knew it a day ago.
    Fresh,
    /// Has renewed its records.
    Settled,
    /// A member of the swarm that has the key, now or since it is named.
    Trusted,
}

#[derive(Debug)]
struct Name {
    id: PeerId,
    /// Where the peer is in the keyspace: hashed once, compared often.
    kad_key: KBucketKey<PeerId>,
    addresses: Box<[Multiaddr]>,
    /// Records that name it; the name goes with the last one.
    records: usize,
    /// What the file calls it. Never given to another, as places are.
    serial: u64,
    trusted: bool,
    /// When it becomes [`Rank::Settled`].
    settles: Seconds,
}

#[derive(Debug)]
pub(super) struct Names {
    names: Vec<Option<Name>>,
    free: Vec<PeerIndex>,
    by_id: HashMap<PeerId, PeerIndex>,
    me: PeerId,
    next_serial: u64,
    /// The file does not have them as they are.
    changed: bool,
    /// While the file is read, names wait for the records that it has of them.
    keep_unused: bool,
}

impl Names {
    pub(super) fn new(me: PeerId) -> Self {
        let (names, free, by_id) = (Vec::new(), Vec::new(), HashMap::new());
        let mut names = Self { names, free, by_id, me, next_serial: 0, changed: false, keep_unused: false };
        let index = names.intern(me, 0, false);
        debug_assert_eq!(index, ME);
        names.changed = false;
        names
    }

    pub(super) fn me(&self) -> PeerId {
        self.me
    }

    pub(super) fn find(&self, id: &PeerId) -> Option<PeerIndex> {
        self.by_id.get(id).copied()
    }

    pub(super) fn get(&self, index: PeerIndex) -> Option<(PeerId, &[Multiaddr])> {
        self.name(index).map(|name| (name.id, &*name.addresses))
    }

    pub(super) fn kad_key(&self, index: PeerIndex) -> Option<&KBucketKey<PeerId>> {
        self.name(index).map(|name| &name.kad_key)
    }

    pub(super) fn serial(&self, index: PeerIndex) -> Option<u64> {
        self.name(index).map(|name| name.serial)
    }

    pub(super) fn records(&self, index: PeerIndex) -> usize {
        self.name(index).map_or(0, |name| name.records)
    }

    pub(super) fn rank(&self, index: PeerIndex, now: Seconds) -> Rank {
        match self.name(index) {
            Some(name) if name.trusted => Rank::Trusted,
            Some(name) if name.settles <= now => Rank::Settled,
            _ => Rank::Fresh,
        }
    }

    /// Peers besides this node.
    pub(super) fn others(&self) -> usize {
        self.by_id.len() - 1
    }

    pub(super) fn intern(&mut self, id: PeerId, settles: Seconds, trusted: bool) -> PeerIndex {
        if let Some(index) = self.find(&id) {
            return index;
        }
        let serial = self.next_serial;
        self.next_serial += 1;
        self.changed = true;
        let kad_key = KBucketKey::from(id);
        let name =
            Some(Name { id, kad_key, addresses: Box::default(), records: 0, serial, trusted, settles });
        let reused = self.free.pop();
        let index = reused.unwrap_or(self.names.len() as PeerIndex);
        match self.names.get_mut(index as usize) {
            Some(place) => *place = name,
            None => self.names.push(name),
        }
        self.by_id.insert(id, index);
        index
    }

    /// Replaces the addresses, unless there are none. The node's own are never kept: kad
    /// fills in its present ones when it answers.
    pub(super) fn set_addresses(&mut self, index: PeerIndex, addresses: &[Multiaddr]) {
        if index == ME || addresses.is_empty() {
            return;
        }
        let Some(Some(name)) = self.names.get_mut(index as usize) else { return };
        // Nearly every renewal brings the same addresses again.
        if *name.addresses == *addresses {
            return;
        }
        let mut room = MAX_RECORD_ADDRESS_BYTES;
        let fits = |address: &&Multiaddr| {
            let fits = address.len() <= MAX_ADDRESS_BYTES.min(room);
            room -= if fits { address.len() } else { 0 };
            fits
        };
        let kept: Box<[Multiaddr]> =
            addresses.iter().filter(fits).take(MAX_ADDRESSES_PER_PEER).cloned().collect();
        if name.addresses != kept {
            name.addresses = kept;
            self.changed = true;
        }
    }

    pub(super) fn trust(&mut self, id: &PeerId) {
        let Some(index) = self.find(id) else { return };
        if let Some(Some(name)) = self.names.get_mut(index as usize)
            && !name.trusted
        {
            name.trusted = true;
            self.changed = true;
        }
    }

    pub(super) fn count(&mut self, index: PeerIndex) {
        if let Some(Some(name)) = self.names.get_mut(index as usize) {
            name.records += 1;
        }
    }

    /// One record less; the last one takes the name with it.
    pub(super) fn uncount(&mut self, index: PeerIndex) {
        let Some(Some(name)) = self.names.get_mut(index as usize) else { return };
        name.records = name.records.saturating_sub(1);
        if name.records == 0 && !self.keep_unused {
            self.remove(index);
        }
    }

    fn remove(&mut self, index: PeerIndex) {
        if index == ME {
            return;
        }
        if let Some(name) = self.names.get_mut(index as usize).and_then(Option::take) {
            self.by_id.remove(&name.id);
            self.free.push(index);
            self.changed = true;
        }
    }

    /// Whether the file has to be told; asked once.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    pub(super) fn set_changed(&mut self) {
        self.changed = true;
    }

    pub(super) fn next_serial(&self) -> u64 {
        self.next_serial
    }

    /// All other peers, as the file keeps them.
    pub(super) fn rows(&self, away: &HashSet<PeerId>, to_file: impl Fn(Seconds) -> u32) -> Vec<PeerRow> {
        let others = self.names.iter().flatten().filter(|name| name.id != self.me);
        let row = |name: &Name| PeerRow {
            serial: name.serial,
            id: name.id,
            addresses: name.addresses.to_vec(),
            trusted: name.trusted,
            away: away.contains(&name.id),
            settles: to_file(name.settles),
        };
        others.map(row).collect()
    }

    /// Takes in the peers of the file; tells where each of its serials is now. Those that got
    /// a name since the start get the serial that the file has for them, the others one that
    /// it never had. Until [`Names::drop_unused`] no name goes.
    pub(super) fn restore(
        &mut self,
        next_serial: u64,
        peers: &[PeerRow],
        limit: usize,
        to_memory: impl Fn(u32) -> Seconds,
    ) -> HashMap<u64, PeerIndex> {
        self.keep_unused = true;
        let highest = peers.iter().map(|row| row.serial.saturating_add(1)).max().unwrap_or(0);
        let mut next = next_serial.max(highest);
        for name in self.names.iter_mut().flatten() {
            name.serial = next;
            next += 1;
        }
        self.next_serial = next;
        let mut places = HashMap::new();
        let me = self.me;
        for row in peers.iter().filter(|row| row.id != me).take(limit) {
            let index = self.intern(row.id, to_memory(row.settles), row.trusted);
            let Some(Some(name)) = self.names.get_mut(index as usize) else { continue };
            name.serial = row.serial;
            name.trusted |= row.trusted;
            name.settles = name.settles.min(to_memory(row.settles));
            if name.addresses.is_empty() {
                self.set_addresses(index, &row.addresses);
            }
            places.insert(row.serial, index);
        }
        places
    }

    pub(super) fn drop_unused(&mut self) {
        self.keep_unused = false;
        let unused = |name: &Option<Name>| name.as_ref().is_some_and(|name| name.records == 0);
        let indexes: Vec<usize> =
            self.names.iter().enumerate().filter(|(_, name)| unused(name)).map(|(index, _)| index).collect();
        for index in indexes {
            self.remove(index as PeerIndex);
        }
    }

    fn name(&self, index: PeerIndex) -> Option<&Name> {
        self.names.get(index as usize)?.as_ref()
    }
}
