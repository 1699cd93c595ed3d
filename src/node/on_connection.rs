//! Connections and own addresses that come and go.

use std::time::Instant;

use libp2p::core::ConnectedPoint;
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId};

use crate::behaviour::NodeBehaviourEvent;
use crate::limits;
use crate::membership::{self, Target, is_relayed, relays};
use crate::wire::transport::is_keyless;
use crate::wire::trouble;

use super::NodeEvent;
use super::event_loop::EventLoop;
use super::links::{Closed, Opened, Told};
use super::reach::{is_name, is_usable};

impl EventLoop {
    pub(super) fn on_connection(&mut self, event: SwarmEvent<NodeBehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, connection_id, .. } => {
                self.dials.remove(&connection_id);
                self.on_opened(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, num_established, "disconnected");
                self.on_closed(peer_id, connection_id, num_established == 0);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                if let Some(peer) = peer_id {
                    self.publishing.connected(&peer, self.swarm.is_connected(&peer));
                }
                self.on_dial_error(connection_id, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => self.on_new_address(&address),
            SwarmEvent::ExpiredListenAddr { address, .. } => self.on_expired_address(&address),
            SwarmEvent::ListenerClosed { listener_id, .. } if self.places.contains_key(&listener_id) => {
                self.on_place_lost(listener_id);
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener"),
            SwarmEvent::ListenerClosed { reason: Err(error), .. } => {
                let message = format!("stopped listening: {error}");
                tracing::debug!("{message}");
                self.emit(NodeEvent::Warning { message });
            }
            _ => {}
        }
    }

    fn on_opened(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        if !self.reach.allows(endpoint.get_remote_address()) {
            self.swarm.close_connection(connection);
            return;
        }
        let Opened { tell, close } = self.links.opened(Instant::now(), peer, connection, endpoint);
        for useless in close {
            tracing::debug!(%peer, "there is a direct connection: closing the relayed one");
            self.swarm.close_connection(useless);
        }
        self.tell_connected(tell);
        self.publishing.connected(&peer, true);
    }

    pub(super) fn tell_connected(&mut self, told: Option<Told>) {
        if let Some((peer, address)) = told {
            self.member(membership::Event::Connected { peer, address });
        }
    }

    fn on_closed(&mut self, peer: PeerId, connection: ConnectionId, last: bool) {
        let Closed { untold, no_more_local } = self.links.closed(peer, connection);
        // A dial that came to something, and then to nothing.
        self.tell_connected(untold);
        if no_more_local && !self.keyed {
            // What it may do was decided when it was on this machine: it begins anew.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        if last {
            self.admission.forget_idle();
            self.folders.remove(&peer);
            self.desk.gone(&peer);
            self.relays.on_event(Instant::now(), relays::Event::Gone(peer));
            self.member(membership::Event::Disconnected { peer });
        }
    }

    fn on_new_address(&mut self, address: &Multiaddr) {
        let relayed = is_relayed(address);
        // A link-local address means nothing to others without the name of a network card, nor
        // does the relay's own loopback.
        let usable = is_usable(address, !relayed);
        if usable || !relayed {
            // Other nodes learn it through identify, kad through provider records.
            self.swarm.add_external_address(address.clone());
        }
        // A relay may name any number.
        if !usable || self.status.addresses.len() >= limits::MAX_OWN_ADDRESSES {
            return;
        }
        let address = self.full_address(address);
        self.status.addresses.push(address.to_string());
        self.own_addresses_changed(relayed);
        self.emit(NodeEvent::Listening { address });
    }

    fn on_expired_address(&mut self, address: &Multiaddr) {
        self.swarm.remove_external_address(address);
        let full = self.full_address(address).to_string();
        self.status.addresses.retain(|known| *known != full);
        self.own_addresses_changed(is_relayed(address));
    }

    fn own_addresses_changed(&mut self, relayed: bool) {
        if !relayed {
            self.relays.on_event(Instant::now(), relays::Event::Moved);
        }
        let own: Vec<_> = self.swarm.listeners().cloned().collect();
        // For clients on this machine, which need no relay. A short write to the local disk, and rare.
        let mut direct: Vec<_> = own.iter().filter(|address| !is_relayed(address)).cloned().collect();
        // TCP costs less than QUIC, and the first one is tried first.
        direct.sort_by_key(is_keyless);
        if let Err(error) = self.folder.announce(&direct) {
            let message = error.to_string();
            tracing::debug!("{message}");
            self.emit(NodeEvent::Warning { message });
        }
        self.member(membership::Event::OwnAddresses(own));
    }

    pub(super) fn on_dial_error(&mut self, connection: ConnectionId, error: &DialError) {
        // Dials that kad or request-response began are not membership's.
        let Some(target) = self.dials.remove(&connection) else { return };
        let reason = trouble::dial_failure(error, self.keyed);
        tracing::debug!(?target, %error, "dial failed");
        let event = match (error, target) {
            // A name may lead to others too, another time.
            (DialError::LocalPeerId { .. }, Target::Address(address)) if !is_name(&address) => {
                membership::Event::DialledSelf { address }
            }
            (error, target) => {
                let permanent = matches!(error, DialError::WrongPeerId { .. });
                membership::Event::DialFailed { target, permanent, reason }
            }
        };
        self.member(event);
    }
}
