//! The provide sweep, carried out: finds the nodes of the DHT, and sends them the records of
//! this node's pictures.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use libp2p::kad::store::RecordStore as _;
use libp2p::kad::{GetClosestPeersError, GetClosestPeersResult, ProviderRecord, QueryId, RecordKey};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};

use crate::dht_index::explore::{self, Explore, Schedule};
use crate::dht_index::keys::OwnKey;
use crate::dht_index::keyspace::Keyspace;
use crate::dht_index::spans::Spans;
use crate::dht_index::sweep::{Action, Delivery, Event, Remembered, Sent, Sweep};
use crate::limits::{
    CONNECT_DEADLINE, DELIVERY_KEYS, MAX_ADDRESSES_PER_PEER, MAX_DELIVERY_READ, REMEMBER_SWEEP_EVERY,
};
use crate::store::folder::{Folder, Published};
use crate::store::index::{Applied, Index, IndexError};
use crate::types::CatalogHead;
use crate::wire::kad_stream;

use super::NodeEvent;
use super::event_loop::EventLoop;
use super::network::Network;
use super::serve::Services;

/// Own keys read from the index at once when the node starts.
const KEYS_AT_ONCE: usize = 10_000;

/// What the event loop knows of publishing.
pub(super) struct Publishing {
    plan: Sweep,
    exploration: Option<Explore>,
    schedule: Schedule,
    /// The targets of lookups under way.
    lookups: HashMap<QueryId, Vec<u8>>,
    /// What the last exploration found; `None`: there was none yet.
    explored: Option<HashMap<PeerId, Vec<Multiaddr>>>,
    keyspace: Arc<Keyspace>,
    deliveries: JoinSet<Sent>,
    /// Who waits for a connection to whom.
    connecting: HashMap<PeerId, Vec<oneshot::Sender<bool>>>,
    /// Up to where in the own catalog the plan knows.
    head: CatalogHead,
    /// Whether keys waited for being published when it was looked at last.
    waited: bool,
    remembered_at: Instant,
}

impl Publishing {
    /// Goes on where the node stopped. To be called before anything changes the index.
    pub(super) fn new(now: Instant, seed: u64, index: &Index, folder: &Folder) -> Result<Self, IndexError> {
        let head = index.head()?;
        // Another epoch is another numbering: which keys are new can't be told.
        let published = folder
            .remembered_published()
            .filter(|known| known.head.epoch == head.epoch && known.head.seq <= head.seq);
        let (known, remembered) = match published {
            Some(Published { head, sweep, .. }) => (head.seq, sweep),
            None => (head.seq, Remembered::default()),
        };
        let mut plan = Sweep::new(now, seed, index.own_key_count()?, &remembered);
        add_since(&mut plan, now, index, CatalogHead { seq: known, ..head })?;
        Ok(Self {
            plan,
            exploration: None,
            schedule: Schedule::default(),
            lookups: HashMap::new(),
            explored: None,
            keyspace: Arc::default(),
            deliveries: JoinSet::new(),
            connecting: HashMap::new(),
            head,
            waited: false,
            remembered_at: now,
        })
    }

    /// The end of a delivery.
    pub(super) async fn next_delivered(&mut self) -> Option<Result<Sent, JoinError>> {
        self.deliveries.join_next().await
    }

    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        let explore = self.schedule.next().filter(|_| self.exploration.is_none());
        self.plan.next_wakeup().into_iter().chain(explore).min()
    }

    /// Keys that other nodes have the records of, and those that wait for it.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.plan.published(), self.plan.to_publish())
    }

    /// Whoever waited for a connection to `peer` has it, or never will.
    pub(super) fn connected(&mut self, peer: &PeerId, there: bool) {
        for waiting in self.connecting.remove(peer).into_iter().flatten() {
            let _ = waiting.send(there);
        }
    }

    /// A node is gone; until the next exploration nobody says otherwise.
    pub(super) fn gone(&mut self, peer: &PeerId) {
        if let Some(explored) = &mut self.explored {
            explored.remove(peer);
        }
    }

    /// Nodes came or went.
    pub(super) fn nodes_changed(&mut self) {
        self.schedule.changed(Instant::now());
    }

    fn published(&self, now: Instant, node: PeerId) -> Option<Published> {
        let published = || Published { node, head: self.head, sweep: self.plan.remember(now) };
        self.plan.is_settled().then(published)
    }
}

/// Tells the plan of all own keys that came after a position of the catalog.
fn add_since(plan: &mut Sweep, now: Instant, index: &Index, since: CatalogHead) -> Result<(), IndexError> {
    let mut after = since.seq;
    loop {
        let page = index.catalog_page(since.epoch, after)?;
        for held in page.entries.iter().filter_map(|entry| entry.held.as_ref()) {
            plan.on_event(now, Event::Again(OwnKey::of(&held.facts.image)));
        }
        if page.upto <= after || page.upto >= page.head.seq {
            return Ok(());
        }
        after = page.upto;
    }
}

impl EventLoop {
    /// What the index knew at the last shutdown is answered for at once; the scan corrects it.
    pub(super) fn hold_known_keys(&mut self) -> Result<(), IndexError> {
        let mut after = None;
        loop {
            let keys = self.services.index.own_keys(&Spans::all(), after.as_ref(), KEYS_AT_ONCE)?;
            let Some(last) = keys.last() else { return Ok(()) };
            after = Some(*last);
            for key in &keys {
                self.hold_own(key);
            }
        }
    }

    /// Asked itself, the node names itself, as any holder does.
    fn hold_own(&mut self, key: &OwnKey) {
        let me = *self.swarm.local_peer_id();
        let addresses = self.told_addresses();
        let record =
            ProviderRecord { key: RecordKey::new(&key.bytes()), provider: me, expires: None, addresses };
        if let Err(error) = self.swarm.behaviour_mut().kad.store_mut().add_provider(record) {
            tracing::warn!(?error, "can't hold an own record");
        }
    }

    /// The addresses that records of this node carry.
    fn told_addresses(&self) -> Vec<Multiaddr> {
        self.swarm.external_addresses().take(MAX_ADDRESSES_PER_PEER).cloned().collect()
    }

    pub(super) fn publish_changes(&mut self, applied: &Applied) {
        let now = Instant::now();
        for (key, came) in &applied.keys {
            if *came {
                self.hold_own(key);
                self.publishing.plan.on_event(now, Event::Added(*key));
            } else {
                let me = *self.swarm.local_peer_id();
                let store = self.swarm.behaviour_mut().kad.store_mut();
                store.remove_provider(&RecordKey::new(&key.bytes()), &me);
                self.publishing.plan.on_event(now, Event::Removed(*key));
            }
        }
        if let Some(head) = applied.head
            && (head.epoch != self.publishing.head.epoch || head.seq > self.publishing.head.seq)
        {
            self.publishing.head = head;
        }
    }

    pub(super) fn act_on_publishing(&mut self, now: Instant) {
        let publishing = &mut self.publishing;
        if publishing.exploration.is_none() && publishing.schedule.next().is_some_and(|at| at <= now) {
            publishing.schedule.started();
            publishing.exploration = Some(Explore::new());
        }
        self.explore(now);
        while let Some(Action::Deliver(delivery)) = self.publishing.plan.next_action(now) {
            self.deliver(delivery);
        }
        let waits = self.publishing.plan.to_publish() > 0;
        if self.publishing.waited && !waits {
            self.emit(NodeEvent::Published { keys: self.publishing.plan.published() });
        }
        self.publishing.waited = waits;
    }

    fn explore(&mut self, now: Instant) {
        let Some(exploration) = &mut self.publishing.exploration else { return };
        while let Some(explore::Action::Lookup(target)) = exploration.next_action() {
            let query = self.swarm.behaviour_mut().kad.get_closest_peers(target.clone());
            self.publishing.lookups.insert(query, target);
        }
        if !exploration.is_done() {
            return;
        }
        let complete = exploration.is_complete();
        tracing::debug!(
            nodes = exploration.found().count(),
            lookups = exploration.lookups(),
            complete,
            "explored the keyspace"
        );
        let mut found: HashMap<_, _> = exploration.found().cloned().collect();
        if !complete && let Some(before) = self.publishing.explored.take() {
            // Whom an incomplete exploration missed may be there all the same.
            for (peer, addresses) in before {
                found.entry(peer).or_insert(addresses);
            }
        }
        self.publishing.schedule.ended(now, found.len(), complete);
        self.publishing.exploration = None;
        self.publishing.explored = Some(found);
        self.keyspace_changed();
    }

    /// A lookup of an exploration ended.
    pub(super) fn on_explored(&mut self, query: QueryId, result: GetClosestPeersResult) {
        let Some(target) = self.publishing.lookups.remove(&query) else { return };
        let (nodes, whole) = match result {
            Ok(found) => (found.peers, true),
            Err(GetClosestPeersError::Timeout { peers, .. }) => (peers, false),
        };
        let nodes = nodes.into_iter().map(|node| (node.peer_id, self.reachable(node.addrs, true))).collect();
        let event = if whole {
            explore::Event::Found { target, nodes }
        } else {
            explore::Event::Failed { target, nodes }
        };
        if let Some(exploration) = &mut self.publishing.exploration {
            exploration.on_event(event);
        }
    }

    /// Members are there, whether an exploration has met them or not. Before the first one
    /// nothing is published: who happens to be known first would get what is others' to hold.
    pub(super) fn keyspace_changed(&mut self) {
        let Some(explored) = &self.publishing.explored else { return };
        let live = self.live.borrow();
        let space = Keyspace::new(live.keys().chain(explored.keys()).copied());
        drop(live);
        if *self.publishing.keyspace == space {
            return;
        }
        let space = Arc::new(space);
        self.publishing.keyspace = Arc::clone(&space);
        self.publishing.plan.on_event(Instant::now(), Event::Keyspace(space));
    }

    fn deliver(&mut self, delivery: Delivery) {
        let addresses =
            self.publishing.explored.as_ref().and_then(|explored| explored.get(&delivery.peer)).cloned();
        let post = Post {
            services: Arc::clone(&self.services),
            control: self.swarm.behaviour().streams.new_control(),
            addresses: addresses.unwrap_or_default(),
            from: self.told_addresses(),
        };
        self.publishing.deliveries.spawn(post.deliver(delivery));
    }

    pub(super) fn on_delivered(&mut self, sent: Result<Sent, JoinError>) {
        match sent {
            Ok(sent) => self.publishing.plan.on_event(Instant::now(), Event::Sent(sent)),
            Err(error) if error.is_cancelled() => {}
            Err(error) => tracing::error!(%error, "publishing"),
        }
    }

    /// Somebody needs a connection to a node that is perhaps no member.
    pub(super) fn connect(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, reply: oneshot::Sender<bool>) {
        if self.swarm.is_connected(&peer) {
            let _ = reply.send(true);
            return;
        }
        self.publishing.connecting.entry(peer).or_default().push(reply);
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .build();
        match self.swarm.dial(options) {
            // Under way already: its end is told all the same.
            Ok(()) | Err(libp2p::swarm::DialError::DialPeerConditionFalse(_)) => {}
            Err(error) => {
                tracing::debug!(%peer, %error, "can't be dialled");
                self.publishing.connected(&peer, false);
            }
        }
    }

    /// A restart goes on from here.
    pub(super) fn remember_published(&mut self, now: Instant) {
        if now.duration_since(self.publishing.remembered_at) < REMEMBER_SWEEP_EVERY {
            return;
        }
        let Some(published) = self.publishing.published(now, *self.swarm.local_peer_id()) else { return };
        self.publishing.remembered_at = now;
        let folder = Arc::clone(&self.folder);
        tokio::task::spawn_blocking(move || write_down(&folder, &published));
    }

    /// The node stops.
    pub(super) fn stop_publishing(&mut self) {
        self.publishing.deliveries.abort_all();
        if let Some(published) = self.publishing.published(Instant::now(), *self.swarm.local_peer_id()) {
            write_down(&self.folder, &published);
        }
    }
}

fn write_down(folder: &Folder, published: &Published) {
    if let Err(error) = folder.remember_published(published) {
        tracing::warn!(%error, "cannot write down what is published");
    }
}

/// The keys of a delivery, and up to which place these are all.
fn read(index: &Index, delivery: &Delivery) -> Result<(Vec<OwnKey>, Option<u64>), IndexError> {
    let (mut keys, mut looked_at, mut last) = (Vec::new(), 0, None::<OwnKey>);
    while looked_at < MAX_DELIVERY_READ && keys.len() < DELIVERY_KEYS {
        let most = DELIVERY_KEYS - keys.len();
        let page = index.own_keys(&delivery.spans, last.as_ref(), most)?;
        looked_at += page.len();
        last = page.last().copied().or(last);
        let end = page.len() < most;
        keys.extend(page.into_iter().filter(|key| delivery.concerns(key)));
        if end {
            return Ok((keys, Some(u64::MAX)));
        }
    }
    // A key at the same place may be the next one.
    Ok((keys, last.and_then(|key| key.place.checked_sub(1))))
}

/// What a delivery needs.
struct Post {
    services: Arc<Services>,
    control: libp2p_stream::Control,
    /// Where the node was last seen.
    addresses: Vec<Multiaddr>,
    /// What the records say.
    from: Vec<Multiaddr>,
}

impl Post {
    async fn deliver(self, delivery: Delivery) -> Sent {
        let peer = delivery.peer;
        let nothing = Sent { peer, keys: 0, reached: None, ok: false };
        let of_spans = delivery.keys.is_empty();
        let (keys, read_to) = if of_spans {
            match self.services.on_disk(move |index| read(index, &delivery)).await {
                Ok(read) => read,
                Err(error) => {
                    tracing::error!(error = error.message, "reading what to publish");
                    return nothing;
                }
            }
        } else {
            (delivery.keys, None)
        };
        let arrived = if keys.is_empty() { 0 } else { self.send(peer, &keys).await };
        let ok = arrived == keys.len();
        // A key at the same place may be the next one.
        let before = |key: &OwnKey| key.place.checked_sub(1);
        let last = arrived.checked_sub(1).and_then(|last| keys.get(last));
        let reached = if ok { read_to } else { last.and_then(before) };
        Sent { peer, keys: if of_spans { 0 } else { arrived }, reached: reached.filter(|_| of_spans), ok }
    }

    /// Returns how many arrived.
    async fn send(mut self, peer: PeerId, keys: &[OwnKey]) -> usize {
        let net: &Network = &self.services.net;
        let connected = tokio::time::timeout(CONNECT_DEADLINE, net.connect(peer, self.addresses));
        if !connected.await.unwrap_or(false) {
            tracing::debug!(%peer, "can't be reached to publish");
            return 0;
        }
        let mut arrived = 0;
        let records = keys.iter().map(OwnKey::bytes);
        let sent = kad_stream::publish(&mut self.control, peer, net.me(), &self.from, records, |acked| {
            arrived = acked;
        });
        match sent.await {
            Ok(_) => keys.len(),
            Err(error) => {
                tracing::debug!(%peer, %error, "publishing");
                arrived
            }
        }
    }
}
