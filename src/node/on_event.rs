//! One function per protocol: turns what the swarm reports into a planner's input, or into
//! a task that answers.

use std::sync::Arc;
use std::time::Instant;

use libp2p::multiaddr::Protocol;
use libp2p::request_response::{self, Message, ResponseChannel};
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, identify, kad, mdns, ping};

use crate::behaviour::NodeBehaviourEvent;
use crate::catalog;
use crate::membership::{self, Source, Target};
use crate::protocol::{
    ClientRequest, ClientResponse, Hello, KAD_PROTOCOL, PEER_PROTOCOL, PeerRequest, PeerResponse, Refusal,
    RefusalCode,
};
use crate::replication::republish;
use crate::wire::codec::Frame;
use crate::wire::trouble;

use super::NodeEvent;
use super::admission::{Answer, Reply, RequestKey};
use super::event_loop::{EventLoop, Purpose};
use super::network::AskError;
use super::reach::{is_loopback, is_usable};

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
            SwarmEvent::Behaviour(Of::Connections(never)) => match never {},
            other => self.on_connection(other),
        }
    }

    fn member(&mut self, event: membership::Event) {
        self.membership.on_event(Instant::now(), event);
    }

    fn on_connection(&mut self, event: SwarmEvent<NodeBehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished {
                peer_id, endpoint, connection_id, num_established, ..
            } => {
                self.dials.remove(&connection_id);
                if num_established.get() > 1 {
                    self.doubled.insert(peer_id);
                }
                if self.reach.allows(endpoint.get_remote_address()) {
                    if is_loopback(endpoint.get_remote_address()) {
                        self.on_this_machine.insert(peer_id);
                    }
                    let address = endpoint.is_dialer().then(|| endpoint.get_remote_address().clone());
                    self.member(membership::Event::Connected { peer: peer_id, address });
                } else {
                    self.swarm.close_connection(connection_id);
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 1, .. } => {
                self.doubled.remove(&peer_id);
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                self.doubled.remove(&peer_id);
                tracing::debug!(peer = %peer_id, ?cause, "disconnected");
                self.admission.forget_idle();
                self.folders.remove(&peer_id);
                self.desk.gone(&peer_id);
                self.on_this_machine.remove(&peer_id);
                self.member(membership::Event::Disconnected { peer: peer_id });
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.on_dial_error(connection_id, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                // Other nodes learn it through identify, kad through provider records.
                self.swarm.add_external_address(address.clone());
                // A link-local address means nothing to others without the name of a network card.
                if !is_usable(&address, true) {
                    return;
                }
                let address = self.full_address(&address);
                self.status.addresses.push(address.to_string());
                self.own_addresses_changed();
                self.emit(NodeEvent::Listening { address });
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.swarm.remove_external_address(&address);
                let address = self.full_address(&address).to_string();
                self.status.addresses.retain(|known| *known != address);
                self.own_addresses_changed();
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

    fn own_addresses_changed(&mut self) {
        let own: Vec<_> = self.swarm.listeners().cloned().collect();
        // For clients on this machine. A short write to the local disk, and rare.
        if let Err(error) = self.folder.announce(&own) {
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
            (DialError::LocalPeerId { .. }, Target::Address(address)) => {
                membership::Event::DialledSelf { address }
            }
            (error, target) => {
                let permanent =
                    matches!(error, DialError::WrongPeerId { .. } | DialError::LocalPeerId { .. });
                membership::Event::DialFailed { target, permanent, reason }
            }
        };
        self.member(event);
    }

    fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        if !info.protocols.iter().any(|p| p.as_ref() == PEER_PROTOCOL) {
            // A client, or something else that speaks libp2p.
            return;
        }
        let local = is_loopback(&info.observed_addr);
        let addresses = self.reachable(info.listen_addrs, local);
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
            Err(failure) if self.doubled.contains(&peer) => {
                tracing::debug!(%peer, %failure, "ping: closing one connection of several");
                self.swarm.close_connection(event.connection);
            }
            Err(failure) => {
                tracing::debug!(%peer, %failure, "ping");
                self.member(membership::Event::PingFailed { peer });
            }
        }
    }

    fn on_kad(&mut self, event: kad::Event) {
        use kad::{GetProvidersOk, QueryResult};
        match event {
            kad::Event::OutboundQueryProgressed {
                id,
                result: QueryResult::StartProviding(result),
                step,
                ..
            } => {
                if !step.last {
                    return;
                }
                let Some(image) = self.publishing.remove(&id) else { return };
                let waited = self.republish.to_publish() > 0;
                self.republish.on_event(Instant::now(), republish::Event::Done { image, ok: result.is_ok() });
                // A renewal is no news.
                if waited && self.republish.to_publish() == 0 {
                    self.emit(NodeEvent::Published { keys: self.republish.published() });
                }
            }
            kad::Event::OutboundQueryProgressed {
                id,
                result: QueryResult::GetProviders(result),
                step,
                ..
            } => {
                if let Ok(GetProvidersOk::FoundProviders { providers, .. }) = result {
                    self.on_providers(id, providers.into_iter().collect());
                }
                if step.last
                    && let Some(lookup) = self.lookups.remove(&id)
                {
                    let _ = lookup.reply.send(lookup.away);
                }
            }
            kad::Event::RoutingUpdated { .. } => self.on_routing_table(),
            _ => {}
        }
    }

    /// The first answer that names somebody who is there is enough.
    fn on_providers(&mut self, query: kad::QueryId, providers: Vec<PeerId>) {
        let me = *self.swarm.local_peer_id();
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
        self.republish.on_event(Instant::now(), republish::Event::PeersAvailable(peers > 0));
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
            Event::OutboundFailure { request_id, error, .. } => {
                if let Some((peer, purpose)) = self.asked.remove(&request_id) {
                    self.on_answer(peer, purpose, Err(error.into()));
                }
            }
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
                PeerResponse::Hello(self.hello.clone())
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
                for member in members {
                    let addresses =
                        member.addresses.into_iter().filter_map(|a| Multiaddr::try_from(a.into_vec()).ok());
                    // Whether loopback addresses make sense depends on where the peer that
                    // names them is; when they don't, another node answers, and the id tells.
                    let addresses = self.reachable(addresses.collect(), true);
                    self.member(membership::Event::Discovered {
                        peer: member.peer,
                        addresses,
                        source: Source::Members,
                    });
                }
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
        self.keyed || self.on_this_machine.contains(peer)
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
    fn reachable(&self, addresses: Vec<Multiaddr>, peer_is_local: bool) -> Vec<Multiaddr> {
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
