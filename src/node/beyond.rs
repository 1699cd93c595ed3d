//! The event loop's part of what lies beyond the members' catalogs that are kept here: members whose
//! catalogs are not, nodes that are no members, and finding nodes through the DHT.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use libp2p::core::Endpoint;
use libp2p::kad::store::RecordStore as _;
use libp2p::kad::{self, GetProvidersOk, QueryId, QueryResult, RecordKey};
use libp2p::swarm::{ConnectionId, NetworkBehaviour as _};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;

use crate::catalog;
use crate::dht_index::keys;
use crate::membership::meeting::{self, Meeting};
use crate::membership::{self, Source};
use crate::protocol::{Hello, MemberAddress};
use crate::types::Standing;

use super::NodeEvent;
use super::event_loop::EventLoop;
use super::network::Command;

/// What tasks tell and ask.
#[derive(Debug)]
pub(super) enum Beyond {
    /// Who is there besides the members whose catalogs are kept.
    Others(oneshot::Sender<Others>),
    /// A node named these as its members.
    Named(Vec<MemberAddress>),
    /// A node that may be no member was asked something, and answered or not.
    Visited { peer: PeerId, ok: bool },
    /// What these are to this node, as far as it is connected to them.
    Standings { peers: Vec<PeerId>, reply: oneshot::Sender<Vec<Standing>> },
    /// How many entries of whose catalogs are on the disk.
    Cached(BTreeMap<PeerId, u64>),
    /// A catalog was removed.
    Forgot(PeerId),
}

/// Who is there besides the members whose catalogs are kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Others {
    /// Members whose catalogs are not kept.
    pub(super) asked: Vec<PeerId>,
    /// Nodes that are no members.
    pub(super) elsewhere: Vec<PeerId>,
    /// There may be more of these, whom others know.
    pub(super) partial: bool,
}

/// Meeting others through the DHT, and the queries under way for it.
#[derive(Debug)]
pub(super) struct Meetings {
    plan: Meeting,
    providing: Option<QueryId>,
    looking: Option<Look>,
}

#[derive(Debug)]
struct Look {
    query: QueryId,
    news: bool,
}

impl Meetings {
    pub(super) fn new(now: Instant, seed: u64) -> Self {
        Self { plan: Meeting::new(now, seed), providing: None, looking: None }
    }

    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        self.plan.next_wakeup()
    }

    pub(super) fn on_event(&mut self, event: meeting::Event) {
        self.plan.on_event(Instant::now(), event);
    }
}

impl EventLoop {
    pub(super) fn on_beyond(&mut self, what: Beyond) {
        let now = Instant::now();
        match what {
            Beyond::Others(reply) => drop(reply.send(self.others())),
            Beyond::Named(members) => self.on_named(members),
            Beyond::Visited { peer, ok } => {
                self.membership.on_event(now, membership::Event::Visited { peer, ok });
            }
            Beyond::Standings { peers, reply } => {
                let standings = peers.iter().map(|peer| self.standing_of(peer)).collect();
                let _ = reply.send(standings);
            }
            Beyond::Cached(rows) => self.catalogs.on_event(now, catalog::Event::Cached(rows)),
            Beyond::Forgot(peer) => {
                self.catalogs.on_event(now, catalog::Event::Forgot(peer));
                self.survey_soon();
            }
        }
    }

    fn others(&self) -> Others {
        Others {
            asked: self.catalogs.asked().copied().collect(),
            elsewhere: self.membership.others().copied().collect(),
            partial: self.membership.is_partial(),
        }
    }

    /// How many nodes are asked for each list.
    pub(super) fn asked_nodes(&self) -> u32 {
        let others = self.others();
        u32::try_from(others.asked.len() + others.elsewhere.len()).unwrap_or(u32::MAX)
    }

    /// Whoever is connected has shown the key, if there is one; else only this machine is trusted.
    fn standing_of(&self, peer: &PeerId) -> Standing {
        if !self.swarm.is_connected(peer) {
            Standing::Away
        } else if self.is_trusted(peer) {
            Standing::Trusted
        } else {
            Standing::Stranger
        }
    }

    /// What this node says of itself to `peer`.
    pub(super) fn hello_to(&self, peer: &PeerId) -> Hello {
        let (crowded, guest) = (self.membership.is_full(), self.membership.is_guest(peer));
        Hello { crowded, guest, ..self.hello.clone() }
    }

    pub(super) fn on_named(&mut self, members: Vec<MemberAddress>) {
        for member in members {
            let addresses =
                member.addresses.into_iter().filter_map(|a| Multiaddr::try_from(a.into_vec()).ok());
            // Whether loopback addresses make sense depends on where the peer that
            // names them is; when they don't, another node answers, and the id tells.
            let addresses = self.reachable(addresses.collect(), true);
            self.named(member.peer, addresses, Source::Members);
        }
    }

    fn named(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, source: Source) {
        let event = membership::Event::Discovered { peer, addresses, source };
        self.membership.on_event(Instant::now(), event);
    }

    /// A member's catalog has no room any more.
    pub(super) fn forget_catalog(&self, peer: PeerId) {
        let message = format!(
            "the swarm's catalogs have more entries than --catalog-limit: {peer} is asked for what it holds \
             each time instead"
        );
        self.emit(NodeEvent::Notice { message });
        let services = Arc::clone(&self.services);
        tokio::spawn(async move {
            // What can't be removed now is at the next change.
            let _ = services.on_disk(move |index| index.forget_peer(&peer)).await;
            services.net.beyond(Beyond::Forgot(peer)).await;
        });
    }

    /// What is on the disk, counted anew: catalogs of nodes that are gone for good leave it.
    pub(super) fn count_catalogs(&self) {
        let services = Arc::clone(&self.services);
        tokio::spawn(async move {
            if let Ok(rows) = services.on_disk(crate::store::index::Index::cached).await {
                services.net.beyond(Beyond::Cached(rows.into_iter().collect())).await;
            }
        });
    }

    /// Publishes and looks up who is in the swarm, when it is time.
    pub(super) fn act_on_meetings(&mut self, now: Instant) {
        while let Some(action) = self.meetings.plan.next_action(now) {
            let kad = &mut self.swarm.behaviour_mut().kad;
            match action {
                meeting::Action::Provide => match kad.start_providing(keys::members_key()) {
                    Ok(query) => self.meetings.providing = Some(query),
                    Err(error) => {
                        tracing::warn!(%error, "cannot publish this node as a member");
                        self.meetings.plan.on_event(now, meeting::Event::Provided { ok: false });
                    }
                },
                meeting::Action::Look => {
                    let query = kad.get_providers(keys::members_key());
                    self.meetings.looking = Some(Look { query, news: false });
                }
            }
        }
    }

    /// Takes what belongs to a meeting; gives back all else.
    pub(super) fn on_meeting(&mut self, event: kad::Event) -> Option<kad::Event> {
        let kad::Event::OutboundQueryProgressed { id, result, step, .. } = &event else { return Some(event) };
        if self.meetings.providing == Some(*id) {
            if let QueryResult::StartProviding(result) = result
                && step.last
            {
                self.meetings.providing = None;
                self.meetings.on_event(meeting::Event::Provided { ok: result.is_ok() });
            }
            return None;
        }
        if self.meetings.looking.as_ref().is_none_or(|look| look.query != *id) {
            return Some(event);
        }
        let mut news = false;
        if let QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) = result {
            for peer in providers {
                news |= self.provider_named(&keys::members_key(), *peer);
            }
        }
        if let Some(look) = &mut self.meetings.looking {
            look.news |= news;
            if step.last {
                let news = look.news;
                self.meetings.looking = None;
                self.meetings.on_event(meeting::Event::Looked { news });
            }
        }
        None
    }

    /// A provider that the DHT names: where it is has to be taken down at once, because kad forgets it
    /// with the query. Whether nothing was known of it before.
    pub(super) fn provider_named(&mut self, key: &RecordKey, peer: PeerId) -> bool {
        if peer == *self.swarm.local_peer_id() || self.swarm.is_connected(&peer) {
            return false;
        }
        let new = self.membership.addresses(&peer).is_empty();
        let kad = &mut self.swarm.behaviour_mut().kad;
        // Of records in its own store kad says nothing but the provider's id.
        let stored = kad.store_mut().providers(key).into_iter().filter(|record| record.provider == peer);
        let mut addresses: Vec<Multiaddr> = stored.flat_map(|record| record.addresses).collect();
        // What kad would give to a dial: the only way to what the query has heard.
        let dial = kad.handle_pending_outbound_connection(
            ConnectionId::new_unchecked(0),
            Some(peer),
            &[],
            Endpoint::Dialer,
        );
        addresses.extend(dial.unwrap_or_default());
        let addresses = self.reachable(addresses, true);
        let new = new && !addresses.is_empty();
        self.named(peer, addresses, Source::Kad);
        new
    }
}

impl super::network::Network {
    /// Tells the loop.
    pub(super) async fn beyond(&self, what: Beyond) {
        self.tell_loop(Command::Beyond(what)).await;
    }

    /// See [`Beyond::Others`].
    pub(super) async fn others(&self) -> Others {
        self.call(|reply| Command::Beyond(Beyond::Others(reply))).await.unwrap_or_default()
    }

    /// See [`Beyond::Standings`].
    pub(super) async fn standings(&self, peers: Vec<PeerId>) -> Vec<(PeerId, Standing)> {
        let asked = peers.clone();
        let standings = self.call(|reply| Command::Beyond(Beyond::Standings { peers, reply })).await;
        asked.into_iter().zip(standings.unwrap_or_default()).collect()
    }
}
