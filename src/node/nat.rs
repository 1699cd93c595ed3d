//! What relays, hole punching and the trying of addresses report, and what is done about it.

use std::time::Instant;

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, autonat, dcutr, relay, upnp};

use crate::behaviour::nat::NatEvent;
use crate::membership::relays::{Event, Reserve};

use super::NodeEvent;
use super::event_loop::EventLoop;
use super::on_event::without_peer;
use super::reach::is_public;

impl EventLoop {
    pub(super) fn on_nat(&mut self, event: NatEvent) {
        match event {
            NatEvent::Relayed(relay::client::Event::ReservationReqAccepted {
                relay_peer_id,
                renewal,
                ..
            }) => {
                tracing::debug!(relay = %relay_peer_id, renewal, "a place at a relay");
                self.relays.on_event(Instant::now(), Event::Placed(relay_peer_id));
            }
            NatEvent::Relayed(event) => tracing::debug!(?event, "relayed"),
            NatEvent::Relay(event) => tracing::debug!(?event, "relaying"),
            NatEvent::Punch(event) => self.on_punched(event),
            NatEvent::Tried(event) => self.on_tried(event),
            NatEvent::Tries(event) => self.on_tries(&event),
            NatEvent::Upnp(event) => self.on_upnp(event),
        }
    }

    /// A connected node relays for others.
    pub(super) fn on_relay(&mut self, relay: PeerId, says: Option<&Multiaddr>) {
        // Not through another one.
        if self.links.is_relayed(&relay) {
            return;
        }
        let reached = self.links.reached_at(&relay).cloned().map(without_peer);
        if let Some(address) = reached.or_else(|| says.cloned()) {
            self.relays.on_event(Instant::now(), Event::Offered { relay, address });
        }
    }

    /// Takes places at relays, and tells of relayed connections that no direct one has replaced.
    pub(super) fn act_on_relays(&mut self, now: Instant) {
        for told in self.links.due(now) {
            self.tell_connected(Some(told));
        }
        while let Some(Reserve { relay, address }) = self.relays.next_action(now) {
            match self.swarm.listen_on(address.with(Protocol::P2p(relay)).with(Protocol::P2pCircuit)) {
                Ok(listener) => drop(self.places.insert(listener, relay)),
                Err(error) => {
                    tracing::debug!(%relay, %error, "no place at a relay");
                    self.relays.on_event(now, Event::Lost(relay));
                }
            }
        }
    }

    pub(super) fn on_place_lost(&mut self, listener: ListenerId) {
        if let Some(relay) = self.places.remove(&listener) {
            tracing::debug!(%relay, "no place at a relay any more");
            self.relays.on_event(Instant::now(), Event::Lost(relay));
        }
    }

    fn on_punched(&mut self, event: dcutr::Event) {
        let peer = event.remote_peer_id;
        match event.result {
            // The connection is reported as any other.
            Ok(_) => tracing::info!(%peer, "reached without the relay"),
            Err(error) => {
                tracing::debug!(%peer, %error, "only reached through a relay");
                let told = self.links.give_up(peer);
                self.tell_connected(told);
            }
        }
    }

    fn on_tried(&mut self, event: autonat::v2::client::Event) {
        let autonat::v2::client::Event { tested_addr, server, result, .. } = event;
        tracing::debug!(address = %tested_addr, %server, ?result, "an own address was tried");
        if result.is_ok() && is_public(&tested_addr) {
            self.relays.on_event(Instant::now(), Event::Reached(tested_addr));
        }
    }

    /// The connection that was made to try an address of another node would stay.
    fn on_tries(&mut self, event: &autonat::v2::server::Event) {
        if let Some(spare) = self.links.spare(&event.client, &event.tested_addr) {
            self.swarm.close_connection(spare);
        }
    }

    fn on_upnp(&mut self, event: upnp::Event) {
        let message = match event {
            upnp::Event::NewExternalAddr { external_addr, .. } => {
                let address = self.full_address(&external_addr);
                format!("the router lets others in at {address}")
            }
            upnp::Event::ExpiredExternalAddr { external_addr, .. } => {
                format!("the router lets nobody in at {external_addr} any more")
            }
            upnp::Event::GatewayNotFound => "--upnp: no router answers".to_owned(),
            upnp::Event::NonRoutableGateway => {
                "--upnp: the router has no public address itself: others need a --relay".to_owned()
            }
        };
        tracing::debug!("{message}");
        self.emit(NodeEvent::Notice { message });
    }
}
