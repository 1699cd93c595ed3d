//! What a node is started with.

use std::path::PathBuf;
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::pnet::PreSharedKey;

use crate::brake::Keep;
use crate::limits;
use crate::protocol::DedupMode;
use crate::types::Zone;

/// The port that a node listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 4011;

/// Nodes that each picture is to be on: with two of them one disk may fail.
pub const DEFAULT_COPIES: u16 = 2;

/// Days that a dropped file stays in the trash: a holiday, and some time to miss it.
pub const DEFAULT_TRASH_DAYS: u32 = 30;

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The folder of pictures.
    pub dir: PathBuf,
    /// Its state; `None`: `DIR/.p2pimg`.
    pub state: Option<PathBuf>,
    /// Where to listen; empty: [`DEFAULT_PORT`] on IPv4 and IPv6 (any free port when it is
    /// taken), on loopback only unless there is a swarm key or `open`.
    pub listen: Vec<Multiaddr>,
    /// Nodes to join by, with or without `/p2p/<peer id>`.
    pub bootstrap: Vec<Multiaddr>,
    /// Look for other nodes: by mDNS on the local network, and this user's on this machine.
    pub mdns: bool,
    /// Relay for nodes that can't reach each other.
    pub relay: bool,
    /// Ask the router for a port.
    pub upnp: bool,
    /// Only members with the same key can connect.
    pub swarm_key: Option<PreSharedKey>,
    /// Anybody may connect.
    pub open: bool,
    /// Clients may add and remove pictures although anybody may connect.
    pub allow_write: bool,
    /// Bytes for pictures being decoded, all workers together.
    pub decode_budget: u64,
    /// Pixels beyond which a picture is not decoded.
    pub max_pixels: u64,
    /// Time between two full looks at the folder.
    pub rescan_every: Duration,
    /// Take the folder as a new one although it is known with another marker, or without
    /// one.
    pub accept_new_folder: bool,
    /// Where this user's list of folders and running nodes is; `None`: the system's place.
    pub home: Option<PathBuf>,
    /// What is done with duplicates.
    pub dedup: DedupMode,
    /// Files that are never dropped.
    pub keep: Keep,
    /// A better version that this node keeps for the swarm goes into the folder, in place of
    /// the worse one, and not into the state.
    pub adopt: bool,
    /// How long a dropped file stays in the trash.
    pub trash_for: Duration,
    /// Share of the folder that a run of drops may take without being approved; 100: any.
    pub max_drop_percent: u8,
    /// Nodes that each picture is to be on.
    pub copies: u16,
    /// Share of the copies that it takes, in bytes; `None`: the default, 0: none.
    pub capacity: Option<u64>,
    /// Where it stands.
    pub zone: Option<Zone>,
    /// How long a node may be away before its copies don't count any more.
    pub repair_after: Duration,
    /// How long an original has to be excess before it goes.
    pub trim_after: Duration,
    /// Bytes of copies fetched each second, at most; `None`: as fast as it goes.
    pub max_bandwidth: Option<u64>,
    /// Length of a lease. All nodes of a swarm must agree: those that don't, never drop
    /// against each other.
    pub lease: Duration,
    /// Time in which each copy is read again; nothing: only when asked.
    pub scrub_every: Duration,
    /// Entries of all other nodes' catalogs that are kept; what is beyond them is asked for each time.
    pub max_cached: u64,
    /// Nodes to stay connected to. Fewer only in tests, which can't run hundreds of nodes.
    pub max_members: usize,
}

impl NodeConfig {
    /// A node for `dir` with everything else as the command line's defaults.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            state: None,
            listen: Vec::new(),
            bootstrap: Vec::new(),
            mdns: true,
            relay: false,
            upnp: false,
            swarm_key: None,
            open: false,
            allow_write: false,
            decode_budget: limits::DEFAULT_DECODE_BUDGET,
            max_pixels: limits::DEFAULT_MAX_PIXELS,
            rescan_every: Duration::from_secs(600),
            accept_new_folder: false,
            home: None,
            dedup: DedupMode::Trash,
            keep: Keep::default(),
            adopt: false,
            trash_for: Duration::from_secs(u64::from(DEFAULT_TRASH_DAYS) * 86_400),
            max_drop_percent: limits::BRAKE_PERCENT,
            copies: DEFAULT_COPIES,
            capacity: None,
            zone: None,
            repair_after: limits::REPAIR_AFTER,
            trim_after: limits::TRIM_AFTER,
            max_bandwidth: None,
            lease: limits::LEASE_TIME,
            scrub_every: Duration::from_secs(u64::from(limits::SCRUB_DAYS) * 86_400),
            max_cached: limits::MAX_CACHED_ENTRIES,
            max_members: limits::MAX_MEMBERS,
        }
    }
}
