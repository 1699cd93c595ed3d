//! Bounds of the provide sweep: how pictures are published in the DHT.

use std::time::Duration;

/// Nodes that one key is published to, while there are no more than [`SMALL_SWARM`] of them:
/// Kademlia's replication factor. Then every node has every record.
pub const MOST_RECORD_HOLDERS: usize = 20;

/// Nodes that one key is published to in a larger swarm. Lookups, which ask 20, found 1,000 of
/// 1,000 keys so; 20 would be two and a half times the messages.
pub const RECORD_HOLDERS: usize = 8;

/// See [`MOST_RECORD_HOLDERS`].
pub const SMALL_SWARM: usize = 20;

/// Nodes that a lookup brings back at most (libp2p's `K_VALUE`).
pub const NODES_PER_LOOKUP: usize = 20;

/// Lookups of an exploration under way at once: it is never urgent, and shares its connections
/// with the questions that people wait for.
pub const MAX_EXPLORING: usize = 3;

/// Times that one lookup of an exploration is tried.
pub const MAX_LOOKUP_TRIES: u8 = 3;

/// Nodes that an exploration finds before it ends with what it has. Nobody can make a node
/// explore without end by answering with made-up nodes.
pub const MAX_EXPLORED: usize = 32_768;

/// Bits of a prefix for which bytes are searched whose SHA-256 begins with it: 65,536 hashes on
/// average, some 20 ms. Only a swarm of a million nodes has longer ones without a known node.
pub const MAX_SEARCHED_BITS: usize = 16;

/// Least and longest pause between two explorations: a large swarm changes less, seen from one
/// of its nodes, and costs more to explore.
pub const EXPLORE_EVERY: Duration = Duration::from_secs(300);
/// See [`EXPLORE_EVERY`].
pub const EXPLORE_LONGEST: Duration = Duration::from_secs(2 * 3600);

/// Added to the pause for each known node, so that exploring costs a lookup in half a minute.
pub const EXPLORE_PER_NODE: Duration = Duration::from_secs(2);

/// How long after a change of the members an exploration begins: several come together.
pub const EXPLORE_AFTER_CHANGE: Duration = Duration::from_secs(2);

/// Least pause between two explorations, whatever changes.
pub const EXPLORE_LEAST: Duration = Duration::from_secs(20);

/// Nodes that are sent to at once.
pub const MAX_SENDING: usize = 8;

/// Keys of one delivery to one node. A new picture waits for the delivery under way before it,
/// some tenths of a second.
pub const DELIVERY_KEYS: usize = 4096;

/// New keys remembered one by one until they are published. Beyond it the part of the keyspace
/// that they are in is published whole.
pub const MAX_NEW_KEYS: usize = 16_384;

/// Ranges that what a node lacks is remembered in. Gaps are filled, the shortest first: what is
/// in them is sent once more.
pub const MAX_SPANS: usize = 256;

/// Bits to which the keyspace is cut up among the nodes. Without it crowded nodes, which a
/// stranger can make, would cut it into any number of pieces; so it is 65,536 at most.
pub const SHARE_BITS: usize = 16;

/// Keys looked at for one delivery: few of those in a range may be for the node.
pub const MAX_DELIVERY_READ: usize = 16 * DELIVERY_KEYS;

/// Nodes remembered that are gone: they still hold what they were sent when they come back.
pub const MAX_REMEMBERED_HOLDERS: usize = 4096;

/// How long a node that is gone stays responsible for its keys: the other holders are enough
/// for the while, and one that restarts would change them twice.
pub const GONE_AFTER: Duration = Duration::from_secs(600);

/// How long what a node that is gone holds is remembered: it misses a round of renewals then.
pub const FORGET_HOLDER_AFTER: Duration = crate::limits::REPUBLISH_EVERY;

/// Keys that are renewed together. More in one go would be a burst, fewer a connection and a
/// stream for a handful of keys.
pub const RENEWAL_KEYS: u64 = 8192;

/// How often it is written down what has been published, at most.
pub const REMEMBER_SWEEP_EVERY: Duration = Duration::from_secs(600);

/// Bytes read of what was written down.
pub const MAX_SWEEP_BYTES: u64 = 16 * 1024 * 1024;
