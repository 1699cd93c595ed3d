//! Records and lookups of the DHT on streams of many, against libp2p's own queries, in one run: ten
//! nodes in this process, over loopback TCP, with the node's behaviours and record store.
//!
//!     cargo bench --bench sweep

#![allow(clippy::unwrap_used, reason = "a bench may fail so")]

#[path = "kit/mod.rs"]
mod kit;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use libp2p::identity::Keypair;
use libp2p::kad::{self, QueryId, QueryResult, RecordKey};
use libp2p::swarm::{Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, identify, ping};
use libp2p_stream::Control;
use tokio::sync::{mpsc, oneshot};

use kit::{MIB, Usage, forget_peak};
use p2pimg::behaviour::nat::{Nat, NatOptions};
use p2pimg::behaviour::{NodeBehaviour, NodeBehaviourEvent, swarm};
use p2pimg::dht_index::keyspace::Keyspace;
use p2pimg::store::records::Records;
use p2pimg::wire::kad_stream::many::providers_of_many;
use p2pimg::wire::kad_stream::publish;

const NODES: usize = 10;
const KEYS: u64 = 10_000;
const MANY_KEYS: u64 = 100_000;
const LOOKUPS: u64 = 1_000;
/// Publications by queries under way at once.
const AT_ONCE: usize = 64;
/// Peers that are sent to at once.
const PEERS_AT_ONCE: usize = 8;

type Key = [u8; 34];

/// Number `n` of the keys that begin at `from`; evenly spread, as SHA-256 spreads them.
fn key(n: u64) -> Key {
    let mut key = [0; 34];
    key[..2].copy_from_slice(&[0x12, 0x20]);
    key[2..].copy_from_slice(blake3::hash(&n.to_le_bytes()).as_bytes());
    key
}

fn record_key(n: u64) -> RecordKey {
    RecordKey::new(&key(n))
}

/// A query that is to be run.
enum Query {
    Provide(u64),
    Providers { key: u64, first: bool },
}

struct Asked {
    query: Query,
    done: oneshot::Sender<usize>,
}

/// A node that is driven by a task, or by a thread of its own that can be frozen.
struct Node {
    peer: PeerId,
    address: Multiaddr,
    queries: mpsc::Sender<Asked>,
    control: Control,
    freeze: mpsc::Sender<()>,
    /// How often a peer fell silent.
    silent: Arc<AtomicUsize>,
    driver: Option<tokio::task::JoinHandle<()>>,
}

fn new_swarm() -> Swarm<NodeBehaviour> {
    let keypair = Keypair::generate_ed25519();
    let records = Records::new(keypair.public().to_peer_id());
    let (nat, _) = Nat::new(&keypair, NatOptions::default());
    let mut swarm = swarm(&keypair, None, NodeBehaviour::new(&keypair, records, nat)).unwrap();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    swarm
}

async fn listening(swarm: &mut Swarm<NodeBehaviour>) -> Multiaddr {
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            swarm.add_external_address(address.clone());
            return address;
        }
    }
}

async fn drive(
    mut swarm: Swarm<NodeBehaviour>,
    mut queries: mpsc::Receiver<Asked>,
    mut freeze: mpsc::Receiver<()>,
    silent: Arc<AtomicUsize>,
) {
    let mut running: HashMap<QueryId, (bool, usize, oneshot::Sender<usize>)> = HashMap::new();
    loop {
        tokio::select! {
            Some(()) = freeze.recv() => {
                // All of this node is on this thread: nothing answers any more.
                std::thread::sleep(Duration::from_secs(3600));
            }
            Some(Asked { query, done }) = queries.recv() => {
                let kad = &mut swarm.behaviour_mut().kad;
                let (id, first) = match query {
                    Query::Provide(n) => (kad.start_providing(record_key(n)).unwrap(), false),
                    Query::Providers { key, first } => (kad.get_providers(record_key(key)), first),
                };
                running.insert(id, (first, 0, done));
            }
            event = swarm.select_next_some() => {
                let (id, result, step) = match event {
                    SwarmEvent::Behaviour(NodeBehaviourEvent::Kad(
                        kad::Event::OutboundQueryProgressed { id, result, step, .. },
                    )) => (id, result, step),
                    SwarmEvent::Behaviour(NodeBehaviourEvent::Identify(
                        identify::Event::Received { peer_id, info, .. },
                    )) => {
                        for address in info.listen_addrs {
                            swarm.behaviour_mut().kad.add_address(&peer_id, address);
                        }
                        continue;
                    }
                    // As a node does it.
                    SwarmEvent::Behaviour(NodeBehaviourEvent::Ping(ping::Event { peer, result: Err(_), .. })) => {
                        swarm.behaviour_mut().avoid.fell_silent(peer, Instant::now());
                        let _ = swarm.disconnect_peer_id(peer);
                        silent.fetch_add(1, Relaxed);
                        continue;
                    }
                    _ => continue,
                };
                let Some((first, found, _)) = running.get_mut(&id) else { continue };
                if let QueryResult::GetProviders(Ok(kad::GetProvidersOk::FoundProviders { providers, .. })) = result {
                    *found += providers.len();
                }
                if step.last || (*first && *found > 0) {
                    let (_, found, done) = running.remove(&id).unwrap();
                    let _ = done.send(found);
                    if let Some(mut query) = swarm.behaviour_mut().kad.query_mut(&id) {
                        query.finish();
                    }
                }
            }
        }
    }
}

impl Node {
    async fn start(others: &[(PeerId, Multiaddr)]) -> Self {
        let mut swarm = new_swarm();
        let address = listening(&mut swarm).await;
        let (peer, control) = (*swarm.local_peer_id(), swarm.behaviour().streams.new_control());
        for (other, at) in others {
            swarm.behaviour_mut().kad.add_address(other, at.clone());
            swarm.dial(at.clone()).unwrap();
        }
        while swarm.connected_peers().count() < others.len() {
            swarm.select_next_some().await;
        }
        let (queries, asked) = mpsc::channel(AT_ONCE);
        let (freeze, frozen) = mpsc::channel(1);
        let silent = Arc::new(AtomicUsize::new(0));
        let driver = Some(tokio::spawn(drive(swarm, asked, frozen, Arc::clone(&silent))));
        Self { peer, address, queries, control, freeze, silent, driver }
    }

    /// On a thread of its own, which can be frozen.
    fn start_apart(others: Vec<(PeerId, Multiaddr)>) -> Self {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut node = Self::start(&others).await;
                let driver = node.driver.take().unwrap();
                tell.send(node).unwrap();
                let _ = driver.await;
            });
        });
        told.recv().unwrap()
    }

    async fn query(&self, query: Query) -> usize {
        let (done, result) = oneshot::channel();
        assert!(self.queries.send(Asked { query, done }).await.is_ok());
        result.await.unwrap()
    }
}

/// Time and CPU of the whole process: sender and receivers.
struct Cost {
    seconds: f64,
    cpu: f64,
}

impl Cost {
    async fn of(work: impl Future<Output = ()>) -> Self {
        let (start, before) = (Instant::now(), Usage::of(std::process::id()));
        work.await;
        let cpu = Usage::of(std::process::id()).cpu - before.cpu;
        Self { seconds: start.elapsed().as_secs_f64(), cpu }
    }

    fn tell(&self, what: &str, count: u64) {
        println!(
            "{what}: {count} in {:.2} s, {:.0} a second, {:.3} CPU ms each",
            self.seconds,
            count as f64 / self.seconds,
            self.cpu * 1000.0 / count as f64
        );
    }
}

async fn publish_all(me: &Node, to: &[PeerId], keys: std::ops::Range<u64>) {
    let sending = futures::stream::iter(to).map(|peer| {
        let (mut control, keys) = (me.control.clone(), keys.clone());
        async move {
            let count = keys.end - keys.start;
            let done = publish(
                &mut control,
                *peer,
                me.peer,
                std::slice::from_ref(&me.address),
                keys.map(key),
                |_| {},
            )
            .await;
            assert_eq!(done.unwrap() as u64, count);
        }
    });
    sending.buffer_unordered(PEERS_AT_ONCE).collect::<()>().await;
}

async fn provide_one_by_one(me: &Node, keys: std::ops::Range<u64>) {
    let queries = futures::stream::iter(keys).map(|n| me.query(Query::Provide(n)));
    queries.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
}

async fn publishing(me: &Node, peers: &[PeerId]) {
    let streams = Cost::of(publish_all(me, peers, 0..KEYS)).await;
    streams.tell("publish on streams", KEYS);
    let queries = Cost::of(provide_one_by_one(me, KEYS..2 * KEYS)).await;
    queries.tell("start_providing, 64 in flight", KEYS);
    println!(
        "ratio: {:.0} times faster, a {:.0}th of the CPU",
        queries.seconds / streams.seconds,
        queries.cpu / streams.cpu
    );
    // The first round fills the stores; the second, of the same keys, shows what the sending takes.
    let many = 2 * KEYS..2 * KEYS + MANY_KEYS;
    Cost::of(publish_all(me, peers, many.clone())).await.tell("publish on streams", MANY_KEYS);
    let before = Usage::of(std::process::id()).resident;
    forget_peak(std::process::id());
    Cost::of(publish_all(me, peers, many)).await.tell("the same again", MANY_KEYS);
    let after = Usage::of(std::process::id());
    println!(
        "resident, sender and {NODES} receivers: {} MiB before it, {} MiB after, {} MiB at the peak",
        before / MIB,
        after.resident / MIB,
        after.peak / MIB
    );
}

async fn looking_up(asker: &Node, space: &Keyspace) {
    // Their closest node has all of them: those of the streams.
    let streams = Cost::of(async {
        let found = providers_of_many(&asker.control, space, |_| true, (0..LOOKUPS).map(key)).await;
        assert_eq!(found.providers.len() as u64, LOOKUPS);
    })
    .await;
    streams.tell("lookups batched", LOOKUPS);
    for (first, what) in
        [(false, "get_providers, to the end"), (true, "get_providers, until the first answer")]
    {
        let queries = Cost::of(async {
            for n in 0..LOOKUPS {
                assert!(asker.query(Query::Providers { key: n, first }).await > 0);
            }
        })
        .await;
        queries.tell(what, LOOKUPS);
        println!("ratio: {:.1} times faster", queries.seconds / streams.seconds);
    }
}

/// Lookups one after the other, until the first answer and to the end: the slowest and all of them.
async fn after(what: &str, asker: &Node) {
    for (first, count, how) in [(true, 50, "until the first answer"), (false, 10, "to the end")] {
        let mut slowest = Duration::ZERO;
        let all = Instant::now();
        for key in 0..count {
            let one = Instant::now();
            assert!(asker.query(Query::Providers { key, first }).await > 0);
            slowest = slowest.max(one.elapsed());
        }
        println!("{what}: {count} lookups {how} in {:.0?}, the slowest {slowest:.0?}", all.elapsed());
    }
}

#[tokio::main]
async fn main() {
    let mut nodes: Vec<Node> = Vec::new();
    let mut known: Vec<(PeerId, Multiaddr)> = Vec::new();
    for n in 0..NODES {
        // Two that can be frozen, and two that can be killed.
        let node = if n < 2 { Node::start_apart(known.clone()) } else { Node::start(&known).await };
        known.push((node.peer, node.address.clone()));
        nodes.push(node);
    }
    let (me, asker) = (Node::start(&known).await, Node::start(&known).await);
    let peers: Vec<PeerId> = nodes.iter().map(|node| node.peer).collect();
    publishing(&me, &peers).await;
    looking_up(&asker, &Keyspace::new(peers.iter().copied())).await;
    after("all alive", &asker).await;
    for node in &nodes[2..4] {
        node.driver.as_ref().unwrap().abort();
    }
    after("2 of 10 killed just now", &asker).await;
    for node in &nodes[..2] {
        node.freeze.send(()).await.unwrap();
    }
    after("2 more frozen just now", &asker).await;
    let batch = Instant::now();
    let killed: HashSet<PeerId> = peers[2..4].iter().copied().collect();
    let space = Keyspace::new(peers.iter().copied());
    let found =
        providers_of_many(&asker.control, &space, |peer| !killed.contains(peer), (0..LOOKUPS).map(key)).await;
    println!(
        "a batch of {LOOKUPS} meanwhile: {} found in {:.0?}, {} nodes silent",
        found.providers.len(),
        batch.elapsed(),
        found.failed.len()
    );
    while asker.silent.load(Relaxed) < 2 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    after("both noticed by their pings", &asker).await;
    // The frozen threads never end.
    std::process::exit(0);
}
