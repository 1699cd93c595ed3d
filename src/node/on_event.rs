//! One function per protocol: turns what the swarm reports into a planner's input, or into
//! a task that answers.

use std::sync::Arc;
use std::time::Instant;

use libp2p::multiaddr::Protocol;
use libp2p::request_response::{self, Message, OutboundFailure, ResponseChannel};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, identify, kad, mdns, ping, relay};

use crate::behaviour::NodeBehaviourEvent;
use crate::catalog;
use crate::membership::{self, Source};
use crate::protocol::{
    ClientRequest, ClientResponse, Hello, KAD_PROTOCOL, PEER_PROTOCOL, PeerRequest, PeerResponse, Refusal,
    RefusalCode,
};
use crate::wire::codec::Frame;

use super::admission::{Answer, Reply, RequestKey};
use super::event_loop::{EventLoop, Purpose};
use super::network::AskError;
use super::reach::is_usable;

type PeerEvent = request_response::Event<Frame<PeerRequest>, Frame<PeerResponse>>;
type ClientEvent = request_response::Event<Frame<ClientRequest>, Frame<ClientResponse>>;

impl EventLoop {
    pub(super) fn on_swarm(&mut self, event: SwarmEvent<NodeBehaviourEvent>) {
        use NodeBehaviourEvent as Of;
        match event {
            SwarmEvent::Behaviour(Of::Peer(event)) => self.on_peer(event),
            SwarmEvent::Behaviour(Of::Client(event)) => self.on_client(event),
            SwarmEvent::Behaviour(Of::Kad(event)) => self.on_kad(event),
            SwarmEvent::Behaviour(Of::Identify(event)) => self.on_identify(event),
            SwarmEvent::Behaviour(Of::Ping(event)) => self.on_ping(&event),
            SwarmEvent::Behaviour(Of::Mdns4(event) | Of::Mdns6(event)) => self.on_mdns(event),
            SwarmEvent::Behaviour(Of::Nat(event)) => self.on_nat(event),
            SwarmEvent::Behaviour(Of::Connections(never)) => match never {},
            other => self.on_connection(other),
        }
    }

    pub(super) fn member(&mut self, event: membership::Event) {
        self.membership.on_event(Instant::now(), event);
    }

    fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        if !info.protocols.iter().any(|p| p.as_ref() == PEER_PROTOCOL) {
            // A client, or something else that speaks libp2p.
            return;
        }
        let addresses = self.reachable(info.listen_addrs, self.links.is_local(&peer_id));
        if info.protocols.contains(&relay::HOP_PROTOCOL_NAME) {
            self.on_relay(peer_id, addresses.first());
        }
        if info.protocols.iter().any(|p| p.as_ref() == KAD_PROTOCOL) {
            for address in &addresses {
                // The routing table held 1 of 9 peers without this.
                self.swarm.behaviour_mut().kad.add_address(&peer_id, address.clone());
            }
        }
        self.member(membership::Event::Discovered { peer: peer_id, addresses, source: Source::Identify });
    }

    fn on_mdns(&mut self, event: mdns::Event) {
        let mdns::Event::Discovered(found) = event else { return };
        for (peer, address) in found {
            let addresses = self.reachable(vec![address], false);
            if !addresses.is_empty() {
                self.member(membership::Event::Discovered { peer, addresses, source: Source::Mdns });
            }
        }
    }

    fn on_ping(&mut self, event: &ping::Event) {
        let peer = event.peer;
        match &event.result {
            Ok(rtt) => self.member(membership::Event::PingOk { peer, rtt: *rtt }),
            Err(ping::Failure::Unsupported) => {}
            // One of several connections is dead, as after a change of address: the peer
            // is fine on the other, which answers its pings.
            Err(failure) if self.links.is_doubled(&peer) => {
                tracing::debug!(%peer, %failure, "ping: closing one connection of several");
                self.swarm.close_connection(event.connection);
            }
            Err(failure) => {
                tracing::debug!(%peer, %failure, "ping");
                self.swarm.behaviour_mut().avoid.fell_silent(peer, Instant::now());
                self.member(membership::Event::PingFailed { peer });
            }
        }
    }

    fn on_kad(&mut self, event: kad::Event) {
        use kad::{GetProvidersOk, QueryResult};
        let Some(event) = self.on_meeting(event) else { return };
        match event {
            kad::Event::OutboundQueryProgressed {
                id, result: QueryResult::GetClosestPeers(result), ..
            } => self.on_explored(id, result),
            kad::Event::OutboundQueryProgressed {
                id,
                result: QueryResult::GetProviders(result),
                step,
                ..
            } => {
                if let Ok(GetProvidersOk::FoundProviders { providers, key }) = result {
                    self.on_providers(id, &key, providers.into_iter().collect());
                }
                if step.last
                    && let Some(lookup) = self.lookups.remove(&id)
                {
                    let _ = lookup.reply.send(lookup.away);
                }
            }
            kad::Event::RoutingUpdated { is_new_peer, .. } => {
                self.on_routing_table();
                if is_new_peer {
                    self.publishing.nodes_changed();
                }
            }
            _ => {}
        }
    }

    /// The first answer that names somebody who is there is enough.
    fn on_providers(&mut self, query: kad::QueryId, key: &kad::RecordKey, providers: Vec<PeerId>) {
        let me = *self.swarm.local_peer_id();
        for peer in &providers {
            self.provider_named(key, *peer);
        }
        let kad = &mut self.swarm.behaviour_mut().kad;
        let records = kad.store_mut();
        let (away, here): (Vec<_>, Vec<_>) = providers.into_iter().partition(|peer| records.is_away(peer));
        if here.iter().any(|peer| *peer != me) {
            let Some(lookup) = self.lookups.remove(&query) else { return };
            let _ = lookup.reply.send(here);
            if let Some(mut query) = kad.query_mut(&query) {
                query.finish();
            }
        } else if let Some(lookup) = self.lookups.get_mut(&query) {
            let new = away.into_iter().filter(|peer| !lookup.away.contains(peer)).collect::<Vec<_>>();
            lookup.away.extend(new);
        }
    }

    fn on_routing_table(&mut self) {
        let peers: usize = self.swarm.behaviour_mut().kad.kbuckets().map(|bucket| bucket.num_entries()).sum();
        self.meetings.on_event(crate::membership::meeting::Event::Reachable(peers > 0));
    }

    fn on_peer(&mut self, event: PeerEvent) {
        use request_response::Event;
        match event {
            Event::Message { peer, message: Message::Request { request_id, request, channel }, .. } => {
                self.on_peer_request(peer, RequestKey::Peer(request_id), request, channel);
            }
            Event::Message { message: Message::Response { request_id, response }, .. } => {
                if let Some((peer, purpose)) = self.asked.remove(&request_id) {
                    self.on_answer(peer, purpose, Ok(response));
                }
            }
            Event::OutboundFailure { request_id, error, .. } => match self.asked.remove(&request_id) {
                // Its connection was closed and another one is left, as after hole punching:
                // nothing is wrong with the peer.
                Some((peer, Purpose::Hello))
                    if matches!(error, OutboundFailure::ConnectionClosed)
                        && self.swarm.is_connected(&peer) =>
                {
                    let hello = PeerRequest::Hello(self.hello.clone());
                    self.ask(peer, hello, Purpose::Hello);
                }
                Some((peer, purpose)) => self.on_answer(peer, purpose, Err(error.into())),
                None => {}
            },
            Event::InboundFailure { request_id, .. } | Event::ResponseSent { request_id, .. } => {
                self.serving.remove(&RequestKey::Peer(request_id));
            }
        }
    }

    fn on_peer_request(
        &mut self,
        peer: PeerId,
        key: RequestKey,
        Frame { header: request, payload }: Frame<PeerRequest>,
        channel: ResponseChannel<Frame<PeerResponse>>,
    ) {
        let header = match request {
            PeerRequest::Hello(hello) => {
                // A peer is a member once it has answered; until then its own hello says nothing.
                if self.live.borrow().contains_key(&peer) {
                    self.on_hello(peer, hello);
                }
                PeerResponse::Hello(self.hello_to(&peer))
            }
            PeerRequest::Members => PeerResponse::Members(self.membership.member_addresses()),
            request => {
                let Some(ticket) = self.admission.ticket(peer) else {
                    let _ =
                        self.swarm.behaviour_mut().peer.send_response(channel, PeerResponse::busy().into());
                    return;
                };
                let services = Arc::clone(&self.services);
                let weight = if let PeerRequest::Chunks { count, .. } = request { count } else { 1 };
                tokio::spawn(async move {
                    let Some(places) = ticket.enter(weight).await else { return };
                    if !channel.is_open() {
                        return;
                    }
                    let frame = services.answer_peer(peer, Frame::new(request, payload)).await;
                    let answer = Answer::Peer(channel, frame);
                    services.net.answer(Reply { key, answer, places: Some(places) }).await;
                });
                return;
            }
        };
        let _ = self.swarm.behaviour_mut().peer.send_response(channel, header.into());
    }

    fn on_client(&mut self, event: ClientEvent) {
        use request_response::Event;
        match event {
            Event::Message { peer, message: Message::Request { request_id, request, channel }, .. } => {
                let key = RequestKey::Client(request_id);
                let Some(ticket) = self.admission.ticket_with(peer, request.payload.len()) else {
                    let _ = self
                        .swarm
                        .behaviour_mut()
                        .client
                        .send_response(channel, ClientResponse::busy().into());
                    return;
                };
                let services = Arc::clone(&self.services);
                let trusted = self.is_trusted(&peer);
                let weight = if let ClientRequest::Chunks { count, .. } = request.header { count } else { 1 };
                tokio::spawn(async move {
                    let Some(places) = ticket.enter(weight).await else { return };
                    // Whoever waited in vain has gone; nothing is fetched for nobody.
                    if !channel.is_open() {
                        return;
                    }
                    let frame = services.answer_client(peer, request, trusted).await;
                    let answer = Answer::Client(channel, frame);
                    services.net.answer(Reply { key, answer, places: Some(places) }).await;
                });
            }
            Event::InboundFailure { request_id, .. } | Event::ResponseSent { request_id, .. } => {
                self.serving.remove(&RequestKey::Client(request_id));
            }
            Event::Message { message: Message::Response { .. }, .. } | Event::OutboundFailure { .. } => {}
        }
    }

    pub(super) fn on_answer(
        &mut self,
        peer: PeerId,
        purpose: Purpose,
        answer: Result<Frame<PeerResponse>, AskError>,
    ) {
        match (purpose, answer) {
            (Purpose::Task(reply), answer) => {
                // The task may have given up.
                let _ = reply.send(answer);
            }
            (Purpose::Hello, Ok(Frame { header: PeerResponse::Hello(hello), .. })) => {
                self.on_hello(peer, hello);
            }
            (Purpose::Hello, Ok(_)) => {
                self.member(membership::Event::HelloBad { peer, reason: AskError::Nonsense.to_string() });
            }
            (Purpose::Hello, Err(error)) => {
                self.member(membership::Event::HelloBad { peer, reason: error.to_string() });
            }
            (Purpose::Announcement, answer) => {
                let ok = matches!(&answer, Ok(Frame { header: PeerResponse::Hello(_), .. }));
                if let Ok(Frame { header: PeerResponse::Hello(hello), .. }) = answer {
                    self.on_hello(peer, hello);
                }
                self.catalogs.on_event(Instant::now(), catalog::Event::Announced { peer, ok });
            }
            (Purpose::Members, Ok(Frame { header: PeerResponse::Members(members), .. })) => {
                self.on_named(members);
            }
            (Purpose::Members, _) => {}
        }
    }

    fn on_hello(&mut self, peer: PeerId, hello: Hello) {
        // An answer can arrive after its connection has closed; nothing would remove it again.
        if !self.swarm.is_connected(&peer) {
            return;
        }
        let now = Instant::now();
        self.folders.insert(peer, hello.folder);
        self.desk.heard(peer, hello.decides);
        if self.live.borrow().contains_key(&peer) {
            self.copies_heard(peer, &hello);
        }
        self.catalogs.on_event(now, catalog::Event::Head { peer, head: hello.head });
        self.member(membership::Event::HelloOk { peer, hello });
        self.drop_members_changed();
    }

    /// The swarm key was shown by connecting at all; without one, only this machine is
    /// trusted.
    pub(super) fn is_trusted(&self, peer: &PeerId) -> bool {
        self.keyed || self.links.is_local(peer)
    }

    /// Another node of this user on this machine.
    pub(super) fn on_running(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let addresses = self.reachable(addresses, true);
        self.member(membership::Event::Discovered { peer, addresses, source: Source::Mdns });
    }

    /// A member of the swarm as this node last knew it.
    pub(super) fn remembered(&mut self, address: Multiaddr) {
        let Some(Protocol::P2p(peer)) = address.iter().last() else { return };
        let addresses = self.reachable(vec![address], true);
        self.member(membership::Event::Discovered { peer, addresses, source: Source::Members });
    }

    /// The addresses that this node may dial, without a trailing peer id.
    pub(super) fn reachable(&self, addresses: Vec<Multiaddr>, peer_is_local: bool) -> Vec<Multiaddr> {
        let mut addresses: Vec<_> = addresses
            .into_iter()
            .map(without_peer)
            .filter(|address| is_usable(address, peer_is_local) && self.reach.allows(address))
            .collect();
        addresses.truncate(crate::limits::MAX_ADDRESSES_PER_PEER);
        addresses
    }
}

/// `address` without `/p2p/<peer id>` at its end.
pub(super) fn without_peer(mut address: Multiaddr) -> Multiaddr {
    if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
        address.pop();
    }
    address
}

impl PeerResponse {
    fn busy() -> Self {
        Self::Refused(busy())
    }
}

impl ClientResponse {
    fn busy() -> Self {
        Self::Refused(busy())
    }
}

fn busy() -> Refusal {
    Refusal::new(RefusalCode::Busy, "this node has too much to do now")
}
