//! Every bound of the program, each with the failure it prevents (promise P9).
//!
//! A bound that protects the other side of a connection is part of the protocol and is
//! repeated in `docs/protocol.md`; a test compares the two.

use std::time::Duration;

mod bands;
mod changes;
mod copies;
mod duplicates;
mod lists;
mod nat;
mod records;
mod replication;
mod scrub;
mod similar;
mod streams;
mod sweep;

pub use bands::*;
pub use changes::*;
pub use copies::*;
pub use duplicates::*;
pub use lists::*;
pub use nat::*;
pub use records::*;
pub use replication::*;
pub use scrub::*;
pub use similar::*;
pub use streams::*;
pub use sweep::*;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

// ---------------------------------------------------------------- contents and chunks

/// Bytes of one chunk, the unit of transfer and verification. A power of two times
/// BLAKE3's own 1 KiB, so that a chunk is a subtree of the hash. Larger chunks make a
/// relay hold more before it can verify; smaller ones cost a header and a request each.
pub const CHUNK_BYTES: usize = 256 * KIB;

/// Longest content that is indexed and transferred. Bounds the outline (32 bytes a
/// chunk) to [`MAX_PAYLOAD_BYTES`].
pub const MAX_CONTENT_BYTES: u64 = 16 * 1024 * MIB as u64;

/// Chunks of one picture asked for at once. 16 * 256 KiB fill 4 MiB: 80 MB/s at 50 ms
/// round trip, and well below the 32 MiB that a transfer may cost any process.
pub const CHUNK_WINDOW: usize = 16;

/// Chunks in one answer, while the other side is near: each request costs both sides a
/// stream, a timer and some wake-ups, a tenth of the CPU at 256 KiB. More would keep the
/// verified bytes of a fast sender waiting for the end of a run.
pub const RUN_CHUNKS: u32 = 4;

/// The other side is near when it answers the first question within this. Far away, a
/// [`CHUNK_WINDOW`] of chunks goes over as many streams: each may have only Yamux's first
/// 256 KiB under way, so fewer streams would be slower there.
pub const NEAR: Duration = Duration::from_millis(20);

/// Bytes of a growing file after which the disk is told to begin with them. Left to the
/// end, the disk would be idle during the transfer, and all the writing would be waited for
/// in one `fsync`.
pub const WRITE_BACK_BYTES: u64 = 8 * MIB as u64;

/// Contents for which a node remembers what it needs to relay them (outline and last
/// chunk), and as many outlines of own contents it serves; the least recently used goes.
/// Without it every relayed chunk would ask the holder for the outline again, and every
/// own chunk would verify its outline again, an eighth of the CPU at 300 MB.
pub const MAX_OPEN_RELAYS: usize = 256;

/// Bytes remembered for them, of either kind all together: 256 outlines of 16 GiB files
/// would be half a gigabyte.
pub const MAX_OPEN_RELAY_BYTES: usize = 16 * MIB;

// ---------------------------------------------------------------- messages

/// Largest CBOR header of a frame. A peer that announces more is cut off before a byte
/// of it is read.
pub const MAX_HEADER_BYTES: usize = MIB;

/// Largest raw payload of a frame: the outline of a content of [`MAX_CONTENT_BYTES`].
pub const MAX_PAYLOAD_BYTES: usize = 2 * MIB;

/// Deepest nesting accepted in a CBOR header.
pub const MAX_CBOR_DEPTH: u8 = 16;

/// Values (numbers, texts, keys, lists, maps) in a CBOR header. A one-byte empty text
/// costs 24 bytes once decoded: without this a header of 1 MiB would grow to 24 MiB.
pub const MAX_CBOR_ITEMS: usize = 128 * KIB;

/// Bytes of a text for people in a message (refusals, troubles). Longer ones are cut.
pub const MAX_TEXT_BYTES: usize = 1024;

/// Bytes of what a client asks to resolve: `c:` and 64 digits, with room for white space.
pub const MAX_QUERY_BYTES: usize = 128;

/// Bytes of a list's cursor (`ListPage::next`), which the node reads back.
pub const MAX_CURSOR_BYTES: usize = 256;

/// Bytes of one multiaddress; DNS names end at 255. Addresses are multiplied by peers in
/// `Members` and `Peers`.
pub const MAX_ADDRESS_BYTES: usize = 384;

/// Own addresses that a node names in its status: machines with container bridges have
/// dozens.
pub const MAX_OWN_ADDRESSES: usize = 64;

/// Entries in one page of a catalog or a list.
pub const MAX_PAGE_ENTRIES: usize = 1024;

/// Bytes after which a page is closed even with fewer entries: 1,024 paths of 4 KiB
/// would not fit into [`MAX_HEADER_BYTES`].
pub const PAGE_BYTES: usize = 512 * KIB;

/// Contents that one prefix or hash may bring back before the answer only says "more".
pub const MAX_MATCHES: usize = 64;

/// Entries of the index looked at for one page of a list. Without it a filter that matches
/// nothing, or members that are all away, would make one request read a million rows.
pub const MAX_LIST_STEPS: usize = 8192;

/// Entries of one peer's catalog that are kept: twice the largest folder that p2pimg is made
/// for. One broken or hostile member could fill the disk otherwise.
pub const MAX_CATALOG_ENTRIES_PER_PEER: u64 = 2_000_000;

/// Tombstones that a catalog may always have; beyond it as many as live contents. More, and
/// the catalog begins anew: it would grow with every picture there ever was.
pub const MIN_TOMBSTONES: u64 = 1000;

/// Pages of peers' catalogs committed without waiting for the disk before one waits: redb
/// can reuse no page that became free since the last durable commit.
pub const MAX_LAZY_COMMITS: u32 = 64;

/// Bytes kept of the reason why a file has a problem: a hundred of them travel in one
/// status answer.
pub const MAX_PROBLEM_BYTES: usize = 512;

/// Fewest digits of a hash prefix: five digits would match by chance in a folder of a
/// thousand pictures.
pub const MIN_PREFIX_DIGITS: usize = 6;

/// Bytes of a `--filter` text.
pub const MAX_FILTER_BYTES: usize = 256;

/// Images asked about in one `Holding` request.
pub const MAX_HOLDING_KEYS: usize = 256;

/// Contents asked about in one `Describe` request: with their signatures 100 KB.
pub const MAX_DESCRIBED: usize = 64;

/// Groups in one page of duplicates, and worse versions told of each: a screenful each, well
/// below [`MAX_HEADER_BYTES`] with the longest paths.
pub const MAX_GROUPS: usize = 16;
/// See [`MAX_GROUPS`].
pub const MAX_GROUP_LOSERS: usize = 8;

/// Numbers told with a drop, and bytes of their name and value.
pub const MAX_HISTORY_NUMBERS: usize = 16;

/// Rows that `list --sort` keeps in memory to sort them; more is refused with advice.
pub const MAX_SORTED_ROWS: usize = 1_000_000;

// ---------------------------------------------------------------- deadlines

/// How long a holder may take to read one chunk from its disk.
pub const HOLDER_DEADLINE: Duration = Duration::from_secs(6);

/// How long a node waits for another node's answer. Longer than [`HOLDER_DEADLINE`], so
/// that a slow disk is reported by the holder and not taken for a dead one.
pub const PEER_DEADLINE: Duration = Duration::from_secs(8);

/// How long a holder may be silent before the next one is asked as well: some silent ones
/// would use up all of [`RELAY_DEADLINE`] otherwise.
pub const HEDGE_AFTER: Duration = Duration::from_secs(2);

/// How long a question to another node is remembered: libp2p answers each within
/// [`PEER_DEADLINE`], but forgets those that a connection has no stream left for.
pub const ASKED_LONGEST: Duration = Duration::from_secs(10);

/// How long a node works for one request of a client: time to try a second and a third
/// holder, each [`PEER_DEADLINE`].
pub const RELAY_DEADLINE: Duration = Duration::from_secs(25);

/// How long a client waits for its node. Longer than [`RELAY_DEADLINE`], so that the
/// node's reason arrives instead of a time-out.
pub const CLIENT_DEADLINE: Duration = Duration::from_secs(30);

/// How long one DHT lookup may take before what was found so far is used.
pub const LOOKUP_DEADLINE: Duration = Duration::from_secs(5);

/// How long a client waits for the connection.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// How long a client waits for one address before it tries the next one beside it.
pub const CONNECT_STAGGER: Duration = Duration::from_millis(300);

/// Addresses that a client tries at once: a machine may have listed a thousand nodes.
pub const MAX_CONNECTING: usize = 8;

/// How long a clean shutdown may take before the process ends anyway.
pub const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(3);

// ---------------------------------------------------------------- requests at once

/// Requests of others that a node works on at once. 64 chunks of 256 KiB are 16 MiB; a
/// request for several chunks counts as so many.
pub const MAX_SERVED: usize = 64;

/// Requests of one connection that a node works on at once: one client can't starve the
/// others.
pub const MAX_SERVED_PER_PEER: usize = 32;

/// Requests that wait for their turn beyond [`MAX_SERVED`]; the next is answered `busy`.
pub const MAX_WAITING: usize = 2048;

/// Of these, requests of one peer: one that asks without end can't make the node answer
/// `busy` to all others.
pub const MAX_WAITING_PER_PEER: usize = 256;

/// Streams of one request-response protocol on one connection, both directions together
/// (libp2p's default of 100 drops the excess without a word).
pub const MAX_STREAMS_PER_CONNECTION: usize = 256;

/// Times that a request answered `busy` or reset is repeated, with growing pauses.
pub const MAX_BUSY_RETRIES: u32 = 6;

/// First and longest pause after a `busy` answer; six of them are three seconds.
pub const BUSY_PAUSE_FIRST: Duration = Duration::from_millis(100);
/// See [`BUSY_PAUSE_FIRST`].
pub const BUSY_PAUSE_LONGEST: Duration = Duration::from_secs(1);

/// Requests in a row without an answer after which a holder is not asked for more of a
/// content.
pub const MAX_TIMEOUTS: u32 = 2;

/// Commands waiting for the event loop. A full queue makes the caller wait.
pub const COMMAND_QUEUE: usize = 256;

/// Events (for `--json` and embedding programs) waiting to be read; when nobody reads,
/// the oldest are dropped and counted, and the node goes on.
pub const EVENT_QUEUE: usize = 1024;

// ---------------------------------------------------------------- connections and members

/// Connections in all, and per peer (two nodes dialling each other at once make two).
pub const MAX_CONNECTIONS: u32 = 1024;
/// See [`MAX_CONNECTIONS`].
pub const MAX_CONNECTIONS_PER_PEER: u32 = 4;
/// Handshakes under way, each direction: a flood of half-open connections costs no more.
pub const MAX_PENDING_CONNECTIONS: u32 = 128;

/// Members that a node knows and stays connected to.
pub const MAX_MEMBERS: usize = 512;

/// Addresses kept for one peer; identify and mDNS may offer any number.
pub const MAX_ADDRESSES_PER_PEER: usize = 16;

/// First and longest pause between two attempts to reach a peer.
pub const REDIAL_FIRST: Duration = Duration::from_secs(1);
/// See [`REDIAL_FIRST`].
pub const REDIAL_LONGEST: Duration = Duration::from_secs(60);

/// Peers known by address, members or not: anybody can name any number of others. The
/// longest unseen goes.
pub const MAX_KNOWN_PEERS: usize = 2 * MAX_MEMBERS;

/// Bootstrap addresses, on the command line and in the environment.
pub const MAX_BOOTSTRAPS: usize = 64;

/// Dials under way at once: a list of members that are all gone would open hundreds.
pub const MAX_DIALS: usize = 32;

/// A dial that reported nothing for this long counts as failed.
pub const DIAL_DEADLINE: Duration = Duration::from_secs(60);

/// Members whose addresses are written down for the next start: any one of them is enough.
pub const MAX_REMEMBERED_PEERS: usize = 64;

/// A peer that nobody reached for this long is forgotten (bootstrap peers never are).
pub const FORGET_AFTER: Duration = Duration::from_secs(24 * 3600);

/// First and longest pause before a peer that gave no proper `hello` is tried again:
/// clients connect too, and other programs may listen on a remembered address.
pub const STRANGER_FIRST: Duration = Duration::from_secs(10);
/// See [`STRANGER_FIRST`].
pub const STRANGER_LONGEST: Duration = Duration::from_secs(600);

/// First and longest pause between two questions to one member for its members.
pub const ASK_MEMBERS_FIRST: Duration = Duration::from_secs(5);
/// See [`ASK_MEMBERS_FIRST`].
pub const ASK_MEMBERS_LONGEST: Duration = Duration::from_secs(300);

/// Reported ping failures in a row after which the connection is closed. libp2p keeps the
/// first failure to itself and then waits 10 s for a new stream, so a frozen peer is seen
/// after 15 to 17 s with the interval and the time-out below.
pub const MAX_PING_FAILURES: u32 = 1;

/// Catalogs pulled at once, and members told of an own change at once.
pub const MAX_PULLS: usize = 8;

/// First and longest pause after a failed pull.
pub const PULL_RETRY_FIRST: Duration = Duration::from_secs(1);
/// See [`PULL_RETRY_FIRST`].
pub const PULL_RETRY_LONGEST: Duration = Duration::from_secs(60);

/// Least pause between two announcements of the own catalog to one member: a scan changes
/// it hundreds of times a second.
pub const ANNOUNCE_EVERY: Duration = Duration::from_millis(200);

/// Added to [`ANNOUNCE_EVERY`] for each member, so that a scan in a large swarm sends some
/// 40 announcements a second in all.
pub const ANNOUNCE_PER_MEMBER: Duration = Duration::from_millis(25);

/// Ping interval and time-out. libp2p's own 15 s / 20 s see a frozen peer after 55 s,
/// and ping never closes a TCP connection by itself: the node does.
pub const PING_INTERVAL: Duration = Duration::from_secs(2);
/// See [`PING_INTERVAL`].
pub const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection without any stream is closed after this long: clients that hang and
/// strangers go. Members stay, because they ask each other for members more often.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(3600);

// ---------------------------------------------------------------- DHT

/// Provider records held for others and for this node.
pub const MAX_RECORD_KEYS: usize = 2_000_000;

/// Providers kept for one key: Kademlia's replication factor.
pub const MAX_PROVIDERS_PER_KEY: usize = 20;

/// Peers named in provider records.
pub const MAX_RECORD_PEERS: usize = 4096;

/// Share of [`MAX_RECORD_KEYS`] that one remote peer may ever fill, as a divisor. When there is
/// no room left, those that have most give way long before.
pub const RECORD_QUOTA_DIVISOR: usize = 2;

/// Provider records live this long and are renewed three times in it, so that two lost
/// renewals in a row do no harm.
pub const RECORD_TTL: Duration = Duration::from_secs(24 * 3600);
/// See [`RECORD_TTL`].
pub const REPUBLISH_EVERY: Duration = Duration::from_secs(8 * 3600);

/// First and longest pause before a node is sent to again that could not be.
pub const PUBLISH_RETRY_FIRST: Duration = Duration::from_secs(5);
/// See [`PUBLISH_RETRY_FIRST`].
pub const PUBLISH_RETRY_LONGEST: Duration = Duration::from_secs(600);

/// Time-out of Kademlia substreams: frozen peers cost each lookup this long.
pub const KAD_SUBSTREAM_TIMEOUT: Duration = Duration::from_secs(2);

// ---------------------------------------------------------------- scanning

/// Memory for pictures being decoded, all workers together. One budget, because the
/// decoders' own limits are per picture: eight bombs at once would be eight times that.
pub const DEFAULT_DECODE_BUDGET: u64 = 512 * MIB as u64;

/// Longest file that is read into memory to be hashed and decoded in one go; a longer one
/// is read twice. JPEGs are always read whole, within [`DEFAULT_DECODE_BUDGET`]. A larger
/// limit would fill the budget with undecoded bytes.
pub const MAX_BUFFERED_FILE: u64 = 64 * MIB as u64;

/// Pixels beyond which a picture is not decoded (it is still indexed by content).
pub const DEFAULT_MAX_PIXELS: u64 = 200_000_000;

/// Files handed to the workers ahead of them.
pub const SCAN_QUEUE: usize = 64;

/// Changes written to the index in one transaction: enough to spread the cost of the
/// fsync, few enough that a crash repeats little work.
pub const INDEX_BATCH: usize = 256;

/// Page cache of the index. redb's default is 1 GiB.
pub const INDEX_CACHE_BYTES: usize = 16 * MIB;

/// A file is taken up when it has not changed for this long.
pub const SETTLE: Duration = Duration::from_secs(1);

/// A file that looks truncated may still be arriving: it waits this long since its last
/// change before it is taken as it is.
pub const SETTLE_TRUNCATED: Duration = Duration::from_secs(60);

/// Changed paths remembered between two looks at the folder; more than that makes the
/// next look a full rescan.
pub const MAX_DIRTY_PATHS: usize = 65_536;

/// Problems kept for `status`; further ones are counted only.
pub const MAX_REPORTED_PROBLEMS: usize = 100;

/// Waiting time of the scanner before it writes an incomplete batch: the first pictures
/// of a slow folder are listed after a second, not after [`INDEX_BATCH`] pictures.
pub const BATCH_AGE: Duration = Duration::from_secs(1);

/// Bytes of outlines in one batch: an outline of a long content has 2 MiB, and
/// [`INDEX_BATCH`] of them half a gigabyte.
pub const BATCH_BYTES: usize = 4 * MIB;

/// Time between two looks at the whole folder, for changes that the system did not tell.
pub const RESCAN_EVERY: Duration = Duration::from_secs(600);

/// Time between two tries when the folder can't be used (its drive is away).
pub const TROUBLE_RETRY: Duration = Duration::from_secs(10);

/// Time to collect changed paths before they are looked at: one look for the many events
/// of one copied file.
pub const DEBOUNCE: Duration = Duration::from_millis(200);

/// Progress is reported at most this often.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Events of the folder waiting for the node. A full queue makes the scan wait.
pub const FOLDER_QUEUE: usize = 64;

/// Entries read from the list of this user's running nodes.
pub const MAX_RUNNING_NODES: usize = 1024;

// ---------------------------------------------------------------- command line

/// Pictures that `get` fetches at once when it gets several. Each has [`CHUNK_WINDOW`]
/// chunks under way: four hide the disk's and the holders' pauses without taking all of
/// the node's [`MAX_SERVED_PER_PEER`].
pub const MAX_DOWNLOADS: usize = 4;

/// Failures in a row, of the kind that does not go away (node gone, disk full), after
/// which `get` of many pictures gives up instead of failing 100,000 times.
pub const MAX_FRUITLESS_DOWNLOADS: usize = 8;
