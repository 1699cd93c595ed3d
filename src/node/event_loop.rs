//! The loop that owns the swarm. It carries out what the planners decide, then waits for
//! the next event and hands it to them. It holds no rule of its own.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use libp2p::core::transport::ListenerId;
use libp2p::kad::QueryId;
use libp2p::kad::store::RecordStore as _;
use libp2p::request_response::{OutboundFailure, OutboundRequestId};
use libp2p::swarm::{ConnectionId, Swarm};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::behaviour::NodeBehaviour;
use crate::catalog::{self, CatalogPull};
use crate::dedup::looks::Looks;
use crate::dht_index::keys;
use crate::limits;
use crate::membership::relays::Relays;
use crate::membership::{self, Membership, Target};
use crate::protocol::{DedupMode, Hello, NodeStatus, PeerRequest, PeerResponse};
use crate::replication::stabilize::{self, Stabilize};
use crate::store::folder::Folder;
use crate::store::records::{Lasting, Records};
use crate::store::watch::{FolderEvent, FolderTask};
use crate::types::{FolderId, Seq};
use crate::wire::codec::Frame;

use super::NodeEvent;
use super::admission::{Admission, Answer, Places, Reply, RequestKey};
use super::bands::{BandDesk, Told};
use super::beyond::Meetings;
use super::drops::{Desk, Looked};
use super::housekeeping::Housekeeping;
use super::links::Links;
use super::local_discovery::LocalDiscovery;
use super::network::{AskError, Command, Live};
use super::publishing::Publishing;
use super::pull::Pulled;
use super::reach::Reach;
use super::scrubbing::Scrubbing;
use super::serve::Services;
use super::settling::Settling;

/// What an answer of another node is for.
pub(super) enum Purpose {
    /// A task waits for it.
    Task(oneshot::Sender<Result<Frame<PeerResponse>, AskError>>),
    /// Membership said hello.
    Hello,
    /// Membership asked for members.
    Members,
    /// A member was told that the own catalog has grown.
    Announcement,
}

/// A question to the DHT that somebody waits for.
pub(super) struct Lookup {
    pub(super) reply: oneshot::Sender<Vec<PeerId>>,
    /// Providers that seem to be gone: told when there is no other.
    pub(super) away: Vec<PeerId>,
}

/// The event loop's state.
pub(super) struct EventLoop {
    pub(super) swarm: Swarm<NodeBehaviour>,
    pub(super) reach: Reach,
    pub(super) keyed: bool,
    pub(super) services: Arc<Services>,
    /// What this node says of itself; `head`, `images` and `bytes` follow the index.
    pub(super) hello: Hello,
    pub(super) status: NodeStatus,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) folder: Arc<Folder>,
    pub(super) folder_task: FolderTask,
    pub(super) folder_events: mpsc::Receiver<FolderEvent>,
    pub(super) settling: Settling,
    /// The copy on the disk of the DHT's records, which the swarm has.
    pub(super) lasting: Lasting,
    pub(super) events: broadcast::Sender<NodeEvent>,
    pub(super) live: watch::Sender<Live>,
    // Planners.
    pub(super) membership: Membership,
    pub(super) catalogs: CatalogPull,
    pub(super) publishing: Publishing,
    pub(super) discovery: Option<LocalDiscovery>,
    pub(super) meetings: Meetings,
    // What is under way.
    pub(super) admission: Admission,
    pub(super) serving: HashMap<RequestKey, Option<Places>>,
    pub(super) asked: HashMap<OutboundRequestId, (PeerId, Purpose)>,
    /// The same in the order of time; answered ones too, until they are old.
    pub(super) asked_at: VecDeque<(Instant, OutboundRequestId)>,
    pub(super) lookups: HashMap<QueryId, Lookup>,
    pub(super) pulls: JoinSet<Pulled>,
    /// What dials under way are for.
    pub(super) dials: HashMap<ConnectionId, Target>,
    /// All connections.
    pub(super) links: Links,
    /// Relays to be reached through, and the listener of each place there.
    pub(super) relays: Relays,
    pub(super) places: HashMap<ListenerId, PeerId>,
    /// The folders of live members.
    pub(super) folders: HashMap<PeerId, FolderId>,
    /// Drops and leases.
    pub(super) desk: Desk,
    pub(super) looks: Looks,
    /// How many copies everything has.
    pub(super) copies: Stabilize,
    pub(super) looking: JoinSet<Looked>,
    /// Bands: what is told when, and the telling.
    pub(super) bands: BandDesk,
    pub(super) telling: JoinSet<Told>,
    pub(super) scrubbing: Scrubbing,
    pub(super) housekeeping: Housekeeping,
    /// Held, never read: see `listen`.
    pub(super) _ports: Vec<File>,
}

impl EventLoop {
    /// Runs until a [`Command::Shutdown`].
    pub(super) async fn run(mut self) {
        let done = loop {
            self.act();
            let wakeup = tokio::time::Instant::from_std(self.next_wakeup());
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                Some(command) = self.commands.recv() => match command {
                    Command::Shutdown { done } => break done,
                    command => self.on_command(command),
                },
                Some(event) = self.folder_events.recv() => self.on_folder(event),
                Some(pulled) = self.pulls.join_next() => self.on_pulled(pulled),
                Some(looked) = self.looking.join_next() => self.on_looked(looked),
                Some(told) = self.telling.join_next() => self.on_told(told),
                Some(step) = self.scrubbing.next_step() => self.on_scrubbed(step),
                Some(sent) = self.publishing.next_delivered() => self.on_delivered(sent),
                Some(news) = self.lasting.next() => self.on_records(news),
                () = tokio::time::sleep_until(wakeup) => {}
            }
        };
        self.say_goodbye().await;
        let none = Records::new(self.services.net.me());
        let records = std::mem::replace(self.swarm.behaviour_mut().kad.store_mut(), none);
        let Self { folder, folder_task, settling, services, swarm, lasting, .. } = self;
        drop(swarm);
        // The folder's lock goes last: whoever takes it next finds nobody writing any more.
        let closing = tokio::task::spawn_blocking(move || {
            folder_task.stop();
            settling.stop();
            if let Err(error) = services.index.flush() {
                tracing::error!(%error, "index");
            }
            lasting.finish(records);
            drop(folder);
        });
        if tokio::time::timeout(limits::SHUTDOWN_DEADLINE, closing).await.is_err() {
            tracing::warn!("the folder is still busy; the index is safe, and its lock goes with the process");
        }
        let _ = done.send(());
    }

    /// Carries out all that the planners want done now.
    fn act(&mut self) {
        let now = Instant::now();
        self.give_up_old_questions(now);
        self.act_on_relays(now);
        while let Some(action) = self.membership.next_action(now) {
            self.on_membership(action);
        }
        while let Some(action) = self.catalogs.next_action(now) {
            self.on_catalogs(action);
        }
        self.act_on_publishing(now);
        self.act_on_meetings(now);
        self.act_on_bands(now);
        self.act_on_looks();
        self.act_on_drops();
        self.act_on_copies();
        self.act_on_scrub();
        if let Some(discovery) = &mut self.discovery
            && let Some(message) = discovery.update(self.swarm.behaviour_mut())
        {
            self.emit(NodeEvent::Notice { message });
        }
        self.keep_house(now);
    }

    fn next_wakeup(&self) -> Instant {
        [
            self.membership.next_wakeup(),
            self.links.next_wakeup(),
            self.relays.next_wakeup(),
            self.catalogs.next_wakeup(),
            self.meetings.next_wakeup(),
            self.publishing.next_wakeup(),
            self.bands.next_wakeup(),
            self.desk.next_wakeup(),
            self.copies.next_wakeup(),
            self.scrubbing.next_wakeup(),
            self.looks.next_wakeup().filter(|_| self.desk.mode != DedupMode::Off),
            self.asked_at.front().map(|(at, _)| *at + limits::ASKED_LONGEST),
            self.discovery.as_ref().and_then(LocalDiscovery::next_wakeup).map(tokio::time::Instant::into_std),
        ]
        .into_iter()
        .flatten()
        .fold(self.housekeeping.next_wakeup(), Instant::min)
    }

    pub(super) fn emit(&self, event: NodeEvent) {
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    pub(super) fn ask(&mut self, peer: PeerId, request: impl Into<Frame<PeerRequest>>, purpose: Purpose) {
        // Where it is, should there be no connection: not all nodes are members.
        let addresses = if self.swarm.is_connected(&peer) {
            Vec::new()
        } else {
            self.membership.addresses(&peer).iter().filter(|a| self.reach.allows(a)).cloned().collect()
        };
        if matches!(purpose, Purpose::Task(_)) {
            self.membership.on_event(Instant::now(), membership::Event::Visiting { peer });
        }
        let behaviour = &mut self.swarm.behaviour_mut().peer;
        let id = behaviour.send_request_with_addresses(&peer, request.into(), addresses);
        self.asked.insert(id, (peer, purpose));
        self.asked_at.push_back((Instant::now(), id));
    }

    /// request-response drops an outbound stream that is one too many for its connection
    /// without an event: the question would never be answered, and a pull of a catalog
    /// or an announcement would stay under way for ever.
    fn give_up_old_questions(&mut self, now: Instant) {
        while let Some((at, id)) = self.asked_at.front().copied() {
            if !self.asked.contains_key(&id) {
                self.asked_at.pop_front();
            } else if now.duration_since(at) >= limits::ASKED_LONGEST {
                self.asked_at.pop_front();
                if let Some((peer, purpose)) = self.asked.remove(&id) {
                    self.on_answer(peer, purpose, Err(OutboundFailure::Timeout.into()));
                }
            } else {
                return;
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Ask { peer, request, reply } => self.ask(peer, request, Purpose::Task(reply)),
            Command::Providers { image, reply } => {
                self.end_abandoned_lookups();
                let kad = &mut self.swarm.behaviour_mut().kad;
                let key = keys::image_key(&image);
                let away = kad.store_mut().away_providers(&key);
                self.lookups.insert(kad.get_providers(key), Lookup { reply, away });
            }
            Command::Denied { peer, image } => {
                self.swarm.behaviour_mut().kad.store_mut().remove_provider(&keys::image_key(&image), &peer);
            }
            Command::Connect { peer, addresses, reply } => self.connect(peer, addresses, reply),
            Command::Answer(reply) => self.send_answer(reply),
            Command::WrongBytes { peer, content } => {
                tracing::debug!(%peer, %content, "sent bytes that are not the content's");
                self.emit(NodeEvent::WrongBytes { peer, content: content.to_string() });
            }
            Command::LookAgain { paths } => {
                for path in paths {
                    self.folder_task.distrust(path);
                }
            }
            Command::Applied(applied) => self.on_applied(&applied),
            Command::Dropped(event) => self.desk.on_drop(*event),
            Command::Lease { request, reply } => self.desk.asked(*request, reply),
            Command::Purge { plan, entry } => self.on_purge(*plan, entry),
            Command::BeginRemoval { content, files, reply } => {
                let _ = reply.send(self.desk.begin_removal(content, files, self.hello.images));
            }
            Command::Removed { content, files } => self.desk.removed(content, files),
            Command::WantedCopies { holders, reply } => {
                let _ = reply.send(self.desk.most_copies(&holders));
            }
            Command::Approve { reply } => {
                let _ = reply.send(self.desk.approve());
            }
            Command::Copies(news) => self.on_copies(*news),
            Command::Beyond(what) => self.on_beyond(what),
            Command::Scrub { now, reply } => {
                let _ = reply.send(self.scrub(now));
            }
            Command::Tell(event) => self.emit(event),
            Command::Status { reply } => {
                let _ = reply.send(self.status_now());
            }
            Command::Peers { reply } => {
                let _ = reply.send(self.peers_now());
            }
            Command::Shutdown { .. } => {}
        }
    }

    /// Lookups whose asker has gone on without them would run to their end.
    fn end_abandoned_lookups(&mut self) {
        let kad = &mut self.swarm.behaviour_mut().kad;
        self.lookups.retain(|id, Lookup { reply, .. }| {
            if reply.is_closed()
                && let Some(mut query) = kad.query_mut(id)
            {
                query.finish();
            }
            !reply.is_closed()
        });
    }

    fn send_answer(&mut self, Reply { key, answer, places }: Reply) {
        let behaviour = self.swarm.behaviour_mut();
        let sent = match answer {
            Answer::Peer(channel, frame) => behaviour.peer.send_response(channel, frame).is_ok(),
            Answer::Client(channel, frame) => behaviour.client.send_response(channel, frame).is_ok(),
        };
        // The places are kept until the bytes have left the process; an answer whose
        // stream is gone leaves at once.
        if sent {
            self.serving.insert(key, places);
        }
    }

    fn on_folder(&mut self, event: FolderEvent) {
        match event {
            FolderEvent::Progress(progress) => {
                let (done, total) = (progress.looked_at, progress.found);
                self.status.scanning = Some((done, total));
                self.emit(NodeEvent::ScanProgress { done, total });
            }
            FolderEvent::Applied(applied) => self.on_applied(&applied),
            FolderEvent::ScanDone { full, report } => {
                if full {
                    self.status.scanning = None;
                    self.copies.on_event(Instant::now(), stabilize::Event::FolderKnown);
                }
                self.folder_known(report.counts.unsettled);
                let undecodable = self.refresh_totals();
                self.status.problem_count = report.problem_count;
                self.status.problems = report.problems;
                self.emit(NodeEvent::ScanDone {
                    full,
                    images: self.hello.images,
                    bytes: self.hello.bytes,
                    looked_at: report.counts.looked_at,
                    inspected: report.counts.inspected,
                    unsettled: report.counts.unsettled,
                    unprotected: report.counts.unprotected,
                    problems: report.problem_count + undecodable,
                });
            }
            FolderEvent::Problem { path, reason } => self.emit(NodeEvent::problem(&path, reason)),
            FolderEvent::Warning(message) | FolderEvent::Trouble(message) => {
                // The event is what people read: in the log too, it would stand there twice.
                tracing::debug!("{message}");
                self.emit(NodeEvent::Warning { message });
            }
            FolderEvent::Recovered => {
                self.emit(NodeEvent::Notice { message: "the folder is usable again".to_owned() });
            }
        }
    }

    /// The own catalog has changed.
    fn on_applied(&mut self, applied: &crate::store::index::Applied) {
        if applied.head.is_some() {
            self.refresh_head();
        }
        self.refresh_totals();
        self.publish_changes(applied);
        self.bands_applied(applied);
        self.note_damage(applied);
        self.look_soon();
        self.survey_soon();
    }

    /// Not the head that came with the change: another change may have overtaken it.
    fn refresh_head(&mut self) {
        match self.services.index.head() {
            Ok(head) => {
                self.hello.head = head;
                self.hello.keeps.room = self.services.replicas.room().unwrap_or(0);
                self.catalogs.on_event(Instant::now(), catalog::Event::OwnHead(head));
            }
            Err(error) => tracing::error!(%error, "index"),
        }
    }

    /// Returns how many files can't be decoded.
    fn refresh_totals(&mut self) -> u64 {
        match self.services.index.totals() {
            Ok(totals) => {
                self.hello.images = totals.images;
                self.hello.bytes = totals.bytes;
                totals.problems
            }
            Err(error) => {
                tracing::error!(%error, "index");
                0
            }
        }
    }

    fn status_now(&mut self) -> NodeStatus {
        let mut status = self.status.clone();
        status.images = self.hello.images;
        status.bytes = self.hello.bytes;
        status.peers = self.live.borrow().len() as u32;
        status.relays = self.relays.held().count() as u32;
        status.records_held = self.swarm.behaviour_mut().kad.store_mut().keys() as u64;
        (status.published, status.to_publish) = self.publishing.counts();
        status.swarm_images = self.swarm_images();
        status.asked = self.asked_nodes();
        self.desk.tell(&mut status.dedup);
        status.copies = self.copies_status();
        status.scrub = self.scrub(false);
        let unreached = self.membership.unreached_bootstraps();
        status.unreached =
            unreached.filter_map(|(address, why)| Some((address.to_string(), why?.to_owned()))).collect();
        status
    }

    /// Contents of the live swarm that are known here; what can't be read counts as none.
    pub(super) fn swarm_images(&self) -> u64 {
        self.services.index.swarm_images().unwrap_or_else(|error| {
            tracing::error!(%error, "index");
            0
        })
    }

    fn peers_now(&self) -> Vec<crate::protocol::PeerStatus> {
        let mut peers = self.membership.status(Instant::now());
        for peer in &mut peers {
            peer.state = self.copies.state(&peer.peer);
            peer.relayed = peer.connected && self.links.is_relayed(&peer.peer);
            if let Some((known, head)) = self.catalogs.progress(&peer.peer) {
                peer.catalog_known = if known.epoch == head.epoch { known.seq } else { Seq(0) };
                peer.catalog_head = head.seq;
            }
        }
        peers
    }

    pub(super) fn full_address(&self, address: &Multiaddr) -> Multiaddr {
        address.clone().with_p2p(*self.swarm.local_peer_id()).unwrap_or_else(|address| address)
    }

    /// Takes nothing new and closes the connections.
    async fn say_goodbye(&mut self) {
        self.emit(NodeEvent::Stopping);
        self.pulls.abort_all();
        self.looking.abort_all();
        self.telling.abort_all();
        self.scrubbing.stop();
        self.stop_publishing();
        self.folder_events.close();
        self.folder_task.cancel();
        self.settling.cancel();
        self.remember_members();
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        // Lets the closing handshakes out; a peer that doesn't read is not waited for.
        let closing = async {
            while self.swarm.network_info().num_peers() > 0 {
                self.swarm.next().await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(500), closing).await;
    }
}
