//! What the plan is told, and what it wants done.

use std::sync::Arc;
use std::time::Duration;

use libp2p::PeerId;

use crate::dht_index::keys::OwnKey;
use crate::dht_index::keyspace::Keyspace;
use crate::dht_index::spans::Spans;
use crate::limits::{MOST_RECORD_HOLDERS, RECORD_HOLDERS, SMALL_SWARM};

/// What the planner is told.
#[derive(Debug, Clone)]
pub enum Event {
    /// The node has this key now, and had not before.
    Added(OwnKey),
    /// The node had this key already, and perhaps nobody knows.
    Again(OwnKey),
    /// It has it no more.
    Removed(OwnKey),
    /// The nodes that are there.
    Keyspace(Arc<Keyspace>),
    /// A delivery ended.
    Sent(Sent),
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// To whom.
    pub peer: PeerId,
    /// How many of [`Delivery::keys`] arrived, from the first.
    pub keys: usize,
    /// Up to which place all keys of [`Delivery::spans`] arrived; `None`: nothing of them.
    pub reached: Option<u64>,
    /// Whether it ended because it was done, or had got as far as one delivery goes.
    pub ok: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send records to a node; report [`Event::Sent`].
    Deliver(Delivery),
}

/// Records for one node. Either keys or spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// For whom.
    pub peer: PeerId,
    /// New keys.
    pub keys: Vec<OwnKey>,
    /// Parts of the keyspace: all own keys there that are [`for`](Delivery::concerns) the node, in
    /// order, at most [`DELIVERY_KEYS`](crate::limits::DELIVERY_KEYS).
    pub spans: Spans,
    pub(super) placed: Arc<Keyspace>,
}

impl Delivery {
    /// Whether the node is responsible for a key.
    #[must_use]
    pub fn concerns(&self, key: &OwnKey) -> bool {
        self.placed.is_close(&self.peer, &key.bytes(), holders_of_each(self.placed.len()))
    }
}

/// What is worth knowing after a restart.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Remembered {
    /// For each section of the keyspace, in order, how long ago it was published.
    pub sections: Vec<Option<Duration>>,
    /// What each node holds.
    pub holders: Vec<(PeerId, Spans)>,
}

/// Nodes that each key is published to, of so many.
#[must_use]
pub fn holders_of_each(nodes: usize) -> usize {
    if nodes <= SMALL_SWARM { MOST_RECORD_HOLDERS } else { RECORD_HOLDERS }
}
