//! Bounds of what joins machines beyond one network: relays, hole punching, QUIC.

use std::time::Duration;

use super::MIB;

/// Relays that a node keeps a place at: one may go away. Each one costs the relay a connection, and
/// everybody some addresses.
pub const MAX_OWN_RELAYS: usize = 2;

/// Relays remembered, of those that are connected: any number may offer it.
pub const MAX_RELAYS_KNOWN: usize = 64;

/// First and longest pause before a relay that gave no place, or took it back, is asked again.
pub const RELAY_RETRY_FIRST: Duration = Duration::from_secs(2);
/// See [`RELAY_RETRY_FIRST`].
pub const RELAY_RETRY_LONGEST: Duration = Duration::from_secs(300);

/// How long a relayed connection waits for a direct one before it is used. Hole punching takes a few
/// round trips; what is under way on the relayed connection fails when the direct one takes its place.
pub const HOLE_PUNCH_WAIT: Duration = Duration::from_secs(6);

/// Nodes that have a place at a relay: each is a connection that the relay has anyway.
pub const MAX_RELAYED_NODES: usize = 256;

/// Places of one node, one a connection.
pub const MAX_PLACES_PER_NODE: usize = 4;

/// How long a place lasts unless it is renewed; a node that is gone loses it with its connection.
pub const RELAY_PLACE_TIME: Duration = Duration::from_secs(3600);

/// Relayed connections at once. Each has two buffers of 8 KiB and two Yamux streams.
pub const MAX_CIRCUITS: usize = 256;

/// Of these, those of one node: a swarm of 32 nodes behind as many routers works, and one node can't
/// use up all.
pub const MAX_CIRCUITS_PER_NODE: usize = 32;

/// How long a relayed connection may last. libp2p's 2 minutes are for coordinating hole punching only;
/// here some homes can't be punched, and their pictures go this way. The two ends connect anew.
pub const MAX_CIRCUIT_TIME: Duration = Duration::from_secs(12 * 3600);

/// Bytes that a relayed connection may carry, both directions: the longest content and as much again
/// (libp2p's 128 KiB are not one chunk). Without a bound one that never ends would cost its owner any
/// amount of traffic.
pub const MAX_CIRCUIT_BYTES: u64 = 32 * 1024 * MIB as u64;

/// Relayed connections, or places, that one node may ask for in a row, and the time in which it may ask
/// for one more. A node with many members that are away tries each of them every minute.
pub const RELAY_BURST: u32 = 128;
/// See [`RELAY_BURST`].
pub const RELAY_REFILL: Duration = Duration::from_secs(1);

/// Bytes of a QUIC stream, and of a whole QUIC connection, that a peer may send before they are read.
pub const QUIC_STREAM_WINDOW: u32 = 4 * MIB as u32;
/// See [`QUIC_STREAM_WINDOW`].
pub const QUIC_CONNECTION_WINDOW: u32 = 16 * MIB as u32;
