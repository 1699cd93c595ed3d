//! The peers that records name, each kept once with its addresses.

use std::collections::HashMap;

use libp2p::kad::KBucketKey;
use libp2p::{Multiaddr, PeerId};

use crate::limits::{MAX_ADDRESS_BYTES, MAX_ADDRESSES_PER_PEER};

/// A peer's place in [`Names`]; valid as long as a record names it.
pub(super) type PeerIndex = u32;

/// The node itself: always there, whether it provides anything or not.
pub(super) const ME: PeerIndex = 0;

#[derive(Debug)]
struct Name {
    id: PeerId,
    /// Where the peer is in the keyspace: hashed once, compared often.
    kad_key: KBucketKey<PeerId>,
    addresses: Box<[Multiaddr]>,
    /// Records that name it; the name goes with the last one.
    records: usize,
}

#[derive(Debug)]
pub(super) struct Names {
    names: Vec<Option<Name>>,
    free: Vec<PeerIndex>,
    by_id: HashMap<PeerId, PeerIndex>,
    me: PeerId,
}

impl Names {
    pub(super) fn new(me: PeerId) -> Self {
        let mut names = Self { names: Vec::new(), free: Vec::new(), by_id: HashMap::new(), me };
        let index = names.intern(me);
        debug_assert_eq!(index, ME);
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

    pub(super) fn records(&self, index: PeerIndex) -> usize {
        self.name(index).map_or(0, |name| name.records)
    }

    /// Peers besides this node.
    pub(super) fn others(&self) -> usize {
        self.by_id.len() - 1
    }

    pub(super) fn intern(&mut self, id: PeerId) -> PeerIndex {
        if let Some(index) = self.find(&id) {
            return index;
        }
        let name = Some(Name { id, kad_key: KBucketKey::from(id), addresses: Box::default(), records: 0 });
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
        let short = addresses.iter().filter(|address| address.len() <= MAX_ADDRESS_BYTES);
        name.addresses = short.take(MAX_ADDRESSES_PER_PEER).cloned().collect();
    }

    pub(super) fn count(&mut self, index: PeerIndex) {
        if let Some(Some(name)) = self.names.get_mut(index as usize) {
            name.records += 1;
        }
    }

    /// One record less; the last one takes the name with it.
    pub(super) fn uncount(&mut self, index: PeerIndex) {
        let Some(place) = self.names.get_mut(index as usize) else { return };
        let Some(name) = place else { return };
        name.records = name.records.saturating_sub(1);
        if name.records == 0 && index != ME {
            self.by_id.remove(&name.id);
            *place = None;
            self.free.push(index);
        }
    }

    fn name(&self, index: PeerIndex) -> Option<&Name> {
        self.names.get(index as usize)?.as_ref()
    }
}
