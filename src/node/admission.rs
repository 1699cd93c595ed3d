//! Who is served when: bounds on the requests of others that a node works on.
//!
//! A request takes a place of its peer and a place of the node, in this order, and gives
//! (for several chunks as many of each), and gives
//! both back when its answer has left the process, not when it was computed: the bytes
//! are in memory until then, and a reader that does not read must not make them pile up.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use libp2p::PeerId;
use libp2p::request_response::{InboundRequestId, ResponseChannel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits;
use crate::protocol::{ClientResponse, PeerResponse};
use crate::wire::codec::Frame;

/// Which stream an answer goes to.
#[derive(Debug)]
pub(super) enum Answer {
    /// To another node.
    Peer(ResponseChannel<Frame<PeerResponse>>, Frame<PeerResponse>),
    /// To a client.
    Client(ResponseChannel<Frame<ClientResponse>>, Frame<ClientResponse>),
}

/// Names a request until its answer has left: the two protocols count on their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum RequestKey {
    /// Of another node.
    Peer(InboundRequestId),
    /// Of a client.
    Client(InboundRequestId),
}

/// An answer with the places that its request holds.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) key: RequestKey,
    pub(super) answer: Answer,
    pub(super) places: Option<Places>,
}

/// The right to be worked on; given back on drop.
#[derive(Debug)]
pub(super) struct Places {
    _of_peer: OwnedSemaphorePermit,
    _of_node: OwnedSemaphorePermit,
    _memory: Option<OwnedSemaphorePermit>,
}

/// Places, and the requests that wait for one.
#[derive(Debug)]
struct Counter {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Counter {
    fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { places: Arc::new(Semaphore::new(places)), waiting: AtomicUsize::new(0) })
    }

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// The right to wait for a place; [`Ticket::enter`] takes it.
#[derive(Debug)]
pub(super) struct Ticket {
    peer: Arc<Counter>,
    node: Arc<Counter>,
    /// For what came with the request.
    memory: Option<OwnedSemaphorePermit>,
}

impl Ticket {
    /// Waits for places of both kinds, as many as the answer may hold chunks in memory.
    pub(super) async fn enter(mut self, weight: u32) -> Option<Places> {
        let of_peer = Arc::clone(&self.peer.places).acquire_many_owned(weight).await.ok()?;
        let of_node = Arc::clone(&self.node.places).acquire_many_owned(weight).await.ok()?;
        Some(Places { _of_peer: of_peer, _of_node: of_node, _memory: self.memory.take() })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        for counter in [&self.peer, &self.node] {
            counter.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Hands out places. Owned by the event loop.
#[derive(Debug)]
pub(super) struct Admission {
    node: Arc<Counter>,
    /// Chunks that clients sent, and that are in memory until they are written.
    unwritten: Arc<Semaphore>,
    peers: HashMap<PeerId, Arc<Counter>>,
}

impl Admission {
    pub(super) fn new() -> Self {
        let unwritten = Arc::new(Semaphore::new(limits::MAX_UNWRITTEN));
        Self { node: Counter::new(limits::MAX_SERVED), unwritten, peers: HashMap::new() }
    }

    /// A ticket for a request of `peer`; `None` when too many wait already.
    pub(super) fn ticket(&mut self, peer: PeerId) -> Option<Ticket> {
        let of_peer = self.peers.entry(peer).or_insert_with(|| Counter::new(limits::MAX_SERVED_PER_PEER));
        if self.node.waiting() >= limits::MAX_WAITING || of_peer.waiting() >= limits::MAX_WAITING_PER_PEER {
            return None;
        }
        for counter in [&self.node, &*of_peer] {
            counter.waiting.fetch_add(1, Ordering::Relaxed);
        }
        Some(Ticket { peer: Arc::clone(of_peer), node: Arc::clone(&self.node), memory: None })
    }

    /// The same for a request that came with `bytes` bytes, which wait in memory with it; `None`
    /// also when too many do.
    pub(super) fn ticket_with(&mut self, peer: PeerId, bytes: usize) -> Option<Ticket> {
        let chunks = u32::try_from(bytes.div_ceil(limits::CHUNK_BYTES)).ok()?;
        let memory = match chunks {
            0 => None,
            chunks => Some(Arc::clone(&self.unwritten).try_acquire_many_owned(chunks).ok()?),
        };
        let mut ticket = self.ticket(peer)?;
        ticket.memory = memory;
        Some(ticket)
    }

    /// A connection is closed: peers whose places are all free are forgotten. One that has
    /// gone and left work behind is not, or it would get new places by coming back.
    pub(super) fn forget_idle(&mut self) {
        self.peers.retain(|_, peer| {
            peer.waiting() > 0 || peer.places.available_permits() < limits::MAX_SERVED_PER_PEER
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[test]
    fn one_peer_cannot_take_all_places() {
        let mut admission = Admission::new();
        let (greedy, modest) = (PeerId::random(), PeerId::random());
        let mut held = Vec::new();
        for _ in 0..limits::MAX_SERVED_PER_PEER {
            held.push(admission.ticket(greedy).unwrap().enter(1).now_or_never().expect("a free place"));
        }
        assert!(admission.ticket(greedy).unwrap().enter(1).now_or_never().is_none(), "its share is used up");
        assert!(admission.ticket(modest).unwrap().enter(1).now_or_never().is_some(), "others are served");
        held.pop();
        assert!(admission.ticket(greedy).unwrap().enter(1).now_or_never().is_some(), "a place came back");
    }

    #[test]
    fn an_answer_of_several_chunks_takes_as_many_places() {
        let mut admission = Admission::new();
        let peer = PeerId::random();
        let runs = limits::MAX_SERVED_PER_PEER / limits::RUN_CHUNKS as usize;
        let mut enter = || admission.ticket(peer).unwrap().enter(limits::RUN_CHUNKS).now_or_never().flatten();
        let held: Vec<_> = (0..runs).map(|_| enter().expect("free places")).collect();
        assert!(enter().is_none(), "its share is used up");
        drop(held);
        assert!(enter().is_some(), "all came back");
    }

    /// A peer that broke its connection and came back had all its places free again while
    /// the node still worked on what it had asked before.
    #[test]
    fn coming_back_brings_no_new_places() {
        let mut admission = Admission::new();
        let peer = PeerId::random();
        let held: Vec<_> = (0..limits::MAX_SERVED_PER_PEER)
            .map(|_| admission.ticket(peer).unwrap().enter(1).now_or_never().expect("a free place"))
            .collect();
        admission.forget_idle();
        assert!(admission.ticket(peer).unwrap().enter(1).now_or_never().is_none(), "its share is used up");
        drop(held);
        admission.forget_idle();
        assert!(admission.peers.is_empty(), "nothing is remembered of idle peers");
    }

    /// Chunks that clients send wait in memory until they are written: the bound on requests
    /// alone would let them be half a gigabyte.
    #[test]
    fn what_comes_with_requests_is_bounded_by_its_bytes() {
        let mut admission = Admission::new();
        let peers: Vec<PeerId> = (0..limits::MAX_UNWRITTEN).map(|_| PeerId::random()).collect();
        let chunk = limits::CHUNK_BYTES;
        let mut tickets: Vec<_> =
            peers.iter().map(|peer| admission.ticket_with(*peer, chunk).unwrap()).collect();
        assert!(admission.ticket_with(peers[0], 1).is_none());
        assert!(admission.ticket_with(peers[0], 0).is_some(), "a question costs nothing");
        let places = tickets.pop().unwrap().enter(1).now_or_never().unwrap();
        assert!(admission.ticket_with(peers[0], 1).is_none(), "it is still being written");
        drop(places);
        assert!(admission.ticket_with(peers[0], 1).is_some());
    }

    #[test]
    fn waiting_is_bounded_for_each_peer_and_in_all_and_comes_back() {
        let mut admission = Admission::new();
        let peers: Vec<PeerId> = (0..=limits::MAX_WAITING.div_ceil(limits::MAX_WAITING_PER_PEER))
            .map(|_| PeerId::random())
            .collect();
        let mut tickets = Vec::new();
        for _ in 0..limits::MAX_WAITING_PER_PEER {
            tickets.push(admission.ticket(peers[0]).unwrap());
        }
        assert!(admission.ticket(peers[0]).is_none(), "its share is used up");
        for peer in &peers[1..peers.len() - 1] {
            tickets.extend((0..limits::MAX_WAITING_PER_PEER).map(|_| admission.ticket(*peer).unwrap()));
        }
        assert!(admission.ticket(peers[peers.len() - 1]).is_none(), "all are used up");
        drop(tickets);
        assert!(admission.ticket(peers[0]).is_some());
    }
}
