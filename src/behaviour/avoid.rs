//! Keeps the DHT from dialling peers that have just fallen silent.
//!
//! A frozen peer's machine still accepts connections, and nothing comes after that. The routing
//! tables of all others name it for minutes, so each lookup near it would dial it and wait for a
//! handshake. Taking it out of the own table does not help: the next answer names it again.
//!
//! Not `allow_block_list`: that refuses the peer's own connections too, and membership's attempts.
//! Either of these is how a node learns that the peer is back.

use std::collections::HashMap;
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Instant;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use thiserror::Error;

use crate::limits::{AVOID_SILENT, MAX_KNOWN_PEERS};

/// Why a dial is not even tried.
#[derive(Debug, Clone, Copy, Error)]
#[error("the peer has been silent just now")]
pub struct Avoided;

/// See the module.
#[derive(Debug, Default)]
pub struct Behaviour {
    /// Silent peers, and since when.
    silent: HashMap<PeerId, Instant>,
    /// The dial that is allowed to find out whether its peer is back.
    probe: Option<ConnectionId>,
}

impl Behaviour {
    /// A peer did not answer. Until it is connected again, or [`AVOID_SILENT`] is over, only probes
    /// dial it.
    pub fn fell_silent(&mut self, peer: PeerId, now: Instant) {
        self.silent.retain(|_, since| now.duration_since(*since) < AVOID_SILENT);
        // One that is not remembered costs time, no more.
        if self.silent.len() < MAX_KNOWN_PEERS {
            self.silent.insert(peer, now);
        }
    }

    /// The next dial, with this id, is to be tried whoever it is for.
    pub fn allow(&mut self, probe: ConnectionId) {
        self.probe = Some(probe);
    }

    fn avoids(&self, peer: &PeerId, now: Instant) -> bool {
        self.silent.get(peer).is_some_and(|since| now.duration_since(*since) < AVOID_SILENT)
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.probe.take_if(|probe| *probe == connection).is_some() {
            return Ok(Vec::new());
        }
        match peer {
            Some(peer) if self.avoids(&peer, Instant::now()) => Err(ConnectionDenied::new(Avoided)),
            _ => Ok(Vec::new()),
        }
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.silent.remove(&peer);
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.silent.remove(&peer);
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dials(behaviour: &mut Behaviour, id: usize, peer: PeerId) -> bool {
        let id = ConnectionId::new_unchecked(id);
        behaviour.handle_pending_outbound_connection(id, Some(peer), &[], Endpoint::Dialer).is_ok()
    }

    #[test]
    fn a_silent_peer_is_dialled_by_probes_only_until_it_is_back() {
        let (silent, other) = (PeerId::random(), PeerId::random());
        let mut behaviour = Behaviour::default();
        behaviour.fell_silent(silent, Instant::now());
        assert!(!dials(&mut behaviour, 1, silent));
        assert!(dials(&mut behaviour, 2, other));
        behaviour.allow(ConnectionId::new_unchecked(3));
        assert!(!dials(&mut behaviour, 4, silent), "another dial");
        assert!(dials(&mut behaviour, 3, silent));
        assert!(!dials(&mut behaviour, 3, silent), "once");
        let here = Multiaddr::empty();
        let back = behaviour.handle_established_inbound_connection(
            ConnectionId::new_unchecked(5),
            silent,
            &here,
            &here,
        );
        assert!(back.is_ok() && dials(&mut behaviour, 6, silent));
    }

    #[test]
    fn it_is_forgotten_after_a_while() {
        let (silent, now) = (PeerId::random(), Instant::now());
        let mut behaviour = Behaviour::default();
        behaviour.fell_silent(silent, now);
        assert!(behaviour.avoids(&silent, now));
        assert!(!behaviour.avoids(&silent, now + AVOID_SILENT));
        behaviour.fell_silent(PeerId::random(), now + AVOID_SILENT);
        assert_eq!(behaviour.silent.len(), 1);
    }
}
