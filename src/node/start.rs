//! Puts a node together.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use libp2p::core::transport::ListenerId;
use libp2p::swarm::SwarmEvent;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;

use crate::behaviour::nat::{Nat, NatOptions};
use crate::behaviour::{self, NodeBehaviour};
use crate::catalog::CatalogPull;
use crate::dedup::looks::Looks;
use crate::limits;
use crate::membership::relays::Relays;
use crate::membership::{self, Membership};
use crate::protocol::{
    CopiesStatus, Decides, DedupMode, DedupStatus, HASH_VERSION, Hello, Keeps, NodeStatus, ScrubStatus,
};
use crate::replication::placement::Weight;
use crate::replication::stabilize::{self, Stabilize};
use crate::store::decode::Inspector;
use crate::store::folder::{self, Folder, Home};
use crate::store::index::{Index, IndexError};
use crate::store::ledger::Ledger;
use crate::store::recording::RecordingShelf;
use crate::store::records::{Lasting, Records};
use crate::store::replicas::Replicas;
use crate::store::watch::{FolderTask, TaskSettings};
use crate::types::FolderId;
use crate::wire::transport::{is_keyless, looks_up_names};

use super::admission::Admission;
use super::asking::RollCalls;
use super::bands::{BandDesk, Bands};
use super::beyond::Meetings;
use super::copies::{AddedUp, HeldElsewhere, Taking};
use super::drops::{Desk, Setup, set_up};
use super::event_loop::EventLoop;
use super::heal::Damage;
use super::housekeeping::Housekeeping;
use super::links::Links;
use super::local_discovery::LocalDiscovery;
use super::network::{Live, Network};
use super::publishing::Publishing;
use super::put::Uploads;
use super::reach::{Reach, is_name, is_usable};
use super::recent::Recent;
use super::scrubbing::Scrubbing;
use super::serve::Services;
use super::settling::Settling;
use super::similar::Turns;
use super::why::Confirmations;
use super::{NodeConfig, NodeEvent, NodeEvents, NodeHandle, StartError, listen};

/// How long the first addresses may take: the system's list of network cards is read
/// asynchronously.
const FIRST_ADDRESSES: Duration = Duration::from_secs(2);

/// Starts a node and returns when it listens. The scan of the folder goes on behind.
///
/// # Errors
/// Folder, key, addresses or index unusable: see [`StartError`].
pub async fn start(config: NodeConfig) -> Result<(NodeHandle, NodeEvents), StartError> {
    // On the heap: the swarm alone is some kilobytes, which callers would carry in theirs.
    Box::pin(assemble(config)).await
}

async fn assemble(config: NodeConfig) -> Result<(NodeHandle, NodeEvents), StartError> {
    let reach = reach_of(&config)?;
    let home = match &config.home {
        Some(path) => Home::at(path),
        None => Home::of_user()?,
    };
    let options = folder::Options {
        state: config.state.clone(),
        home: home.clone(),
        accept_new: config.accept_new_folder,
    };
    let folder = Arc::new(Folder::open(&config.dir, &options)?);
    let keypair = folder.keypair().clone();
    let me = keypair.public().to_peer_id();
    let index = Arc::new(Index::open(&folder.index_path(), me)?);
    index.set_folder(folder.root().id());
    let (replicas, replica_warnings) = Replicas::open(folder.root())?;
    let mut records = Records::new(me);
    let mut lasting = Lasting::start(folder.records_path()).map_err(StartError::Thread)?;
    let of_records = lasting.read(&mut records, limits::RECORD_LOAD_PATIENCE).await;
    let options = NatOptions { anywhere: reach == Reach::Anywhere, relay: config.relay, upnp: config.upnp };
    let (nat, relayed) = Nat::new(&keypair, options);
    let behaviour = NodeBehaviour::new(&keypair, records, nat);
    let mut swarm = behaviour::swarm_with_relays(&keypair, config.swarm_key, behaviour, relayed)
        .map_err(|error| StartError::Transport(error.to_string()))?;
    let listening = listen::listen(&mut swarm, &config, reach, &home)?;

    let (events, receiver) = broadcast::channel(limits::EVENT_QUEUE);
    let (commands, command_inbox) = mpsc::channel(limits::COMMAND_QUEUE);
    let (live, live_view) = watch::channel(Live::default());
    let publishing = Publishing::new(Instant::now(), seed(folder.root().id()), &index, &folder)?;
    let inspector = Arc::new(Inspector::new(config.decode_budget, config.max_pixels));
    let ledger = Ledger::open(&folder.ledger_path()).map(Arc::new);
    let shelf = Arc::new(RecordingShelf::new(Arc::clone(&index), ledger.as_ref().ok().map(Arc::clone)));
    let Setup { tools, desk, notices, warnings } =
        set_up(&config, folder.root(), ledger, Arc::clone(&inspector), &index)?;
    let services = Arc::new(Services {
        net: Network::new(me, commands, live_view),
        index: Arc::clone(&index),
        folder: folder.root().dir().to_path_buf(),
        root: folder.root().clone(),
        replicas,
        drops: tools,
        damage: Damage::default(),
        shelf: Arc::clone(&shelf),
        memory: Arc::default(),
        confirmations: Confirmations::default(),
        uploads: Uploads::default(),
        // With a key only its owners can connect, whatever else is said.
        allow_write: config.swarm_key.is_some() || !config.open || config.allow_write,
        held_elsewhere: HeldElsewhere::default(),
        roll_calls: RollCalls::default(),
        relays: Recent::default(),
        reading: Recent::default(),
        added_up: AddedUp::default(),
        turns: Turns::default(),
        taking: Taking::new(config.max_bandwidth),
        bands: Bands::new(Instant::now()),
        started: Instant::now(),
    });
    let keeps = Keeps {
        weight: config.capacity.map_or_else(Weight::default, Weight::of_capacity).0,
        zone: config.zone.clone(),
        takes: true,
        draining: false,
        room: services.replicas.room().unwrap_or(0),
    };
    let copies = stabilize::Settings {
        me,
        folder: folder.root().id(),
        keeps: keeps.clone(),
        copies: config.copies,
        repair_after: config.repair_after,
        trim_after: config.trim_after,
        known: index.folders()?,
        absences: folder.remembered_absences(),
    };
    let hello = own_hello(&index, &folder, desk.own, keeps)?;
    let settings = TaskSettings { rescan_every: config.rescan_every, ..TaskSettings::default() };
    let (folder_task, folder_events) =
        FolderTask::start(folder.root(), shelf, Arc::clone(&inspector), settings)
            .map_err(StartError::Thread)?;
    let settling =
        Settling::start(Arc::clone(&services), inspector, config.rescan_every).map_err(StartError::Thread)?;
    let now = Instant::now();
    let seed = seed(folder.root().id());
    let mut event_loop = EventLoop {
        swarm,
        reach,
        keyed: config.swarm_key.is_some(),
        status: first_status(&config, &folder, &hello),
        membership: Membership::new(me, seed).with_limit(config.max_members),
        catalogs: catalogs(&index, &config, now, seed)?,
        meetings: Meetings::new(now, seed),
        publishing,
        discovery: (config.mdns && reach == Reach::Anywhere).then(|| LocalDiscovery::new(me)),
        commands: command_inbox,
        folder_task,
        folder_events,
        settling,
        lasting,
        folder: Arc::clone(&folder),
        events,
        live,
        services: Arc::clone(&services),
        admission: Admission::new(),
        serving: HashMap::new(),
        asked: HashMap::new(),
        asked_at: VecDeque::new(),
        lookups: HashMap::new(),
        pulls: JoinSet::new(),
        dials: HashMap::new(),
        links: Links::default(),
        relays: Relays::new(reach == Reach::Anywhere && !config.relay, seed),
        places: HashMap::new(),
        folders: HashMap::new(),
        desk: Desk::new(me, folder.root().id(), desk),
        looks: Looks::new(now),
        copies: Stabilize::new(now, copies),
        looking: JoinSet::new(),
        bands: BandDesk::new(now, seed, config.dedup != DedupMode::Off),
        telling: JoinSet::new(),
        scrubbing: Scrubbing::new(config.scrub_every, folder.root()),
        housekeeping: Housekeeping::new(now, config.mdns.then(|| home.clone()), folder.remembered_peers()),
        hello,
        _ports: listening.ports,
    };
    event_loop.emit(NodeEvent::Started { peer: me, folder: folder.root().dir().display().to_string() });
    for address in &config.bootstrap {
        event_loop.membership.on_event(now, membership::Event::Bootstrap(address.clone()));
    }
    for address in folder.remembered_peers() {
        event_loop.remembered(address);
    }
    event_loop.find_running();
    first_addresses(&mut event_loop, listening.listeners).await;
    for message in warnings.into_iter().chain(replica_warnings) {
        event_loop.emit(NodeEvent::Warning { message });
    }
    if let Some(message) = no_names(&config) {
        event_loop.emit(NodeEvent::Warning { message });
    }
    for said in of_records {
        event_loop.say(said);
    }
    for message in listening.notices.into_iter().chain(folder.warnings().iter().cloned()).chain(notices) {
        event_loop.emit(NodeEvent::Notice { message });
    }
    event_loop.hold_known_keys()?;
    let listeners = event_loop.swarm.listeners().filter(|address| is_usable(address, true));
    let addresses = listeners.map(|address| event_loop.full_address(address)).collect();
    tokio::spawn(event_loop.run());
    Ok((NodeHandle { services, addresses }, NodeEvents(receiver)))
}

/// Without a key and without `--open` nothing leaves this machine, and asking for more is
/// an error, not a silent exposure.
fn reach_of(config: &NodeConfig) -> Result<Reach, StartError> {
    let mut addresses = config.listen.iter().chain(&config.bootstrap);
    if config.swarm_key.is_some()
        && let Some(address) = addresses.find(|address| is_keyless(address))
    {
        return Err(StartError::Keyless { address: address.clone() });
    }
    if config.swarm_key.is_some() || config.open {
        return Ok(Reach::Anywhere);
    }
    match config.listen.iter().chain(&config.bootstrap).find(|address| !Reach::Loopback.allows(address)) {
        Some(address) => Err(StartError::Exposed { address: address.clone() }),
        None => Ok(Reach::Loopback),
    }
}

/// Names on a machine that does not say where to look them up.
fn no_names(config: &NodeConfig) -> Option<String> {
    let named = config.bootstrap.iter().find(|address| is_name(address))?;
    let error = looks_up_names().err()?;
    Some(format!("{named} can't be looked up on this machine: {error}"))
}

fn own_hello(index: &Index, folder: &Folder, decides: Decides, keeps: Keeps) -> Result<Hello, IndexError> {
    let totals = index.totals()?;
    Ok(Hello {
        hash_version: HASH_VERSION,
        folder: folder.root().id(),
        head: index.head()?,
        images: totals.images,
        bytes: totals.bytes,
        decides,
        keeps,
        crowded: false,
        guest: false,
    })
}

fn first_status(config: &NodeConfig, folder: &Folder, hello: &Hello) -> NodeStatus {
    NodeStatus {
        peer: folder.keypair().public().to_peer_id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_s: 0,
        folder: folder.root().dir().display().to_string(),
        folder_id: hello.folder,
        images: hello.images,
        bytes: hello.bytes,
        swarm_images: 0,
        asked: 0,
        peers: 0,
        relays: 0,
        relaying: config.relay,
        records_held: 0,
        published: 0,
        to_publish: 0,
        scanning: Some((0, 0)),
        unprotected: 0,
        problems: Vec::new(),
        problem_count: 0,
        unreached: Vec::new(),
        private: config.swarm_key.is_some(),
        open: config.open,
        addresses: Vec::new(),
        dedup: DedupStatus::default(),
        copies: CopiesStatus::default(),
        scrub: ScrubStatus::default(),
    }
}

/// What is known of others from before counts.
fn catalogs(index: &Index, config: &NodeConfig, now: Instant, seed: u64) -> Result<CatalogPull, IndexError> {
    let mut catalogs = CatalogPull::new(seed).with_limit(config.max_cached);
    let rows = index.cached()?.into_iter().collect();
    catalogs.on_event(now, crate::catalog::Event::Cached(rows));
    Ok(catalogs)
}

/// Waits until every listener has told an address.
async fn first_addresses(event_loop: &mut EventLoop, listeners: Vec<ListenerId>) {
    let mut silent: HashSet<ListenerId> = listeners.into_iter().collect();
    let wait = async {
        while !silent.is_empty() {
            let event = event_loop.swarm.select_next_some().await;
            if let SwarmEvent::NewListenAddr { listener_id, .. } = &event {
                silent.remove(listener_id);
            }
            event_loop.on_swarm(event);
        }
    };
    // A machine whose network is down has no address to tell yet.
    let _ = tokio::time::timeout(FIRST_ADDRESSES, wait).await;
}

/// Differs between nodes and between starts, so that they don't all act at once. Not a
/// secret.
fn seed(folder: FolderId) -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(folder)
}
