//! Carries out what the membership and catalog planners decide.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use libp2p::PeerId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use tokio::task::JoinError;

use crate::catalog;
use crate::membership::{self, Target};
use crate::protocol::PeerRequest;
use crate::replication::stabilize;
use crate::types::Standing;

use super::NodeEvent;
use super::event_loop::{EventLoop, Purpose};
use super::pull::{self, Page, Pulled};

impl EventLoop {
    pub(super) fn on_membership(&mut self, action: membership::Action) {
        use membership::Action;
        match action {
            Action::Dial { peer, addresses } => {
                let addresses = addresses.into_iter().filter(|a| self.reach.allows(a)).collect();
                let options = DialOpts::peer_id(peer)
                    .condition(PeerCondition::Disconnected)
                    .addresses(addresses)
                    .build();
                self.dial(options, Target::Peer(peer));
            }
            Action::DialAddress(address) => {
                self.dial(DialOpts::from(address.clone()), Target::Address(address));
            }
            Action::SayHello { peer } => {
                let hello = PeerRequest::Hello(self.hello_to(&peer));
                self.ask(peer, hello, Purpose::Hello);
            }
            Action::AskMembers { peer } => self.ask(peer, PeerRequest::Members, Purpose::Members),
            Action::Close { peer, reason } => {
                tracing::info!(%peer, reason, "closing the connection");
                let _ = self.swarm.disconnect_peer_id(peer);
            }
            Action::MemberUp { peer, hello } => {
                let standing = if self.is_trusted(&peer) { Standing::Trusted } else { Standing::Stranger };
                self.change_live(|live| live.insert(peer, standing));
                let trusted = standing == Standing::Trusted;
                self.swarm.behaviour_mut().kad.store_mut().member_up(peer, trusted);
                if trusted {
                    self.bands_member(peer, true);
                }
                self.drop_members_changed();
                self.copies_heard(peer, &hello);
                let (images, head) = (hello.images, hello.head);
                let known = self.services.index.peer_position(&peer).unwrap_or_else(|error| {
                    tracing::error!(%error, "index");
                    None
                });
                self.catalogs
                    .on_event(Instant::now(), catalog::Event::MemberUp { peer, head, known, images });
                self.emit(NodeEvent::PeerUp { peer, images });
                if standing == Standing::Trusted {
                    let services = Arc::clone(&self.services);
                    tokio::spawn(async move { services.tell_newcomer(peer).await });
                }
                self.members_changed();
                self.keyspace_changed();
            }
            Action::MemberDown { peer } => {
                self.change_live(|live| live.remove(&peer));
                self.swarm.behaviour_mut().kad.store_mut().member_down(peer);
                self.bands_member(peer, false);
                self.folders.remove(&peer);
                self.desk.gone(&peer);
                self.drop_members_changed();
                self.copies.on_event(Instant::now(), stabilize::Event::Gone(peer));
                self.catalogs.on_event(Instant::now(), catalog::Event::MemberDown(peer));
                self.emit(NodeEvent::PeerDown { peer });
                self.publishing.gone(&peer);
                self.publishing.nodes_changed();
                self.members_changed();
                self.keyspace_changed();
            }
            Action::Note(message) => {
                tracing::debug!("{message}");
                self.emit(NodeEvent::Notice { message });
            }
        }
    }

    /// Who may be asked for leases, and whose requests count.
    pub(super) fn drop_members_changed(&mut self) {
        let live = Arc::clone(&self.live.borrow());
        if self.desk.set_members(&live, &self.folders) {
            self.look_soon();
        }
    }

    /// How many members the search for others in the DHT is to take for known.
    fn members_changed(&mut self) {
        let members = self.membership.member_count();
        self.meetings.on_event(membership::meeting::Event::Members(members));
    }

    fn dial(&mut self, options: DialOpts, target: Target) {
        let connection = options.connection_id();
        self.dials.insert(connection, target);
        // Membership finds out whether a silent peer is back.
        self.swarm.behaviour_mut().avoid.allow(connection);
        // A dial that can't even start is one that failed.
        if let Err(error) = self.swarm.dial(options) {
            self.on_dial_error(connection, &error);
        }
    }

    fn change_live<T>(&self, change: impl FnOnce(&mut HashMap<PeerId, Standing>) -> T) {
        self.live.send_modify(|live| drop(change(Arc::make_mut(live))));
    }

    pub(super) fn on_catalogs(&mut self, action: catalog::Action) {
        match action {
            catalog::Action::Pull(peer) => {
                let Some(folder) = self.folders.get(&peer).copied() else { return };
                self.pulls.spawn(pull::pull(Arc::clone(&self.services), peer, folder));
            }
            catalog::Action::Compare(peer) => self.begin_comparison(peer),
            catalog::Action::Forget(peer) => self.forget_catalog(peer),
            catalog::Action::Announce(peer) => {
                let hello = PeerRequest::Hello(self.hello_to(&peer));
                self.ask(peer, hello, Purpose::Announcement);
            }
            catalog::Action::Synced(peer) => {
                self.look_soon();
                self.survey_soon();
                // It may have what is damaged here.
                self.heal_soon();
                let swarm_images = self.swarm_images();
                self.emit(NodeEvent::Synced { peer, swarm_images });
            }
        }
    }

    pub(super) fn on_pulled(&mut self, pulled: Result<Pulled, JoinError>) {
        let Pulled { peer, outcome } = match pulled {
            Ok(pulled) => pulled,
            Err(error) => {
                if !error.is_cancelled() {
                    tracing::error!(%error, "pulling a catalog");
                }
                return;
            }
        };
        let event = match outcome {
            Ok(Page::Stored { position, head, rows }) => {
                catalog::Event::Pulled { peer, position, head, rows }
            }
            Ok(Page::TooLong) => catalog::Event::TooLong(peer),
            Err(reason) => {
                tracing::debug!(%peer, reason, "pulling its catalog");
                catalog::Event::PullFailed(peer)
            }
        };
        self.catalogs.on_event(Instant::now(), event);
    }
}
