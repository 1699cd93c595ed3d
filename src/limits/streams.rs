//! Bounds of the streams that carry many messages of Kademlia's protocol.

use std::time::Duration;

/// Bytes of one message that is read: libp2p reads 16 KiB, and others may write longer answers with
/// more addresses. A peer that announces more would have the reader take the memory for it.
pub const MAX_KAD_MESSAGE: usize = 64 * 1024;

/// Bytes of the messages collected for one write: a write a message would be a frame of the
/// multiplexer each.
pub const KAD_WRITE_BYTES: usize = 64 * 1024;

/// Records between two questions whose answer shows that the ones before were processed: a broken
/// stream repeats no more than twice so many.
pub const KAD_ACK_EVERY: usize = 2000;

/// Questions under way on one stream: the answers to more of them fill both sides' windows, and
/// neither goes on.
pub const KAD_ASK_WINDOW: usize = 64;

/// How long one step on such a stream may take (opening, one write, one answer): a frozen peer
/// would hold its stream for ever.
pub const KAD_STEP_DEADLINE: Duration = Duration::from_secs(5);

/// Peers read of each kind in one answer, and addresses of each: a message has room for two
/// thousand.
pub const MAX_KAD_PEERS: usize = 20;

/// Keys asked of one node on one stream: bounds the answers that are lost when it breaks.
pub const MAX_LOOKUPS_AT_ONCE: usize = 1024;

/// Nodes closest to a key that a batch asks before it takes a query for the key: nodes differ a
/// little in whom they know, and some of them are dead.
pub const LOOKUP_ROUNDS: usize = 3;

/// Nodes that a batch asks at once.
pub const MAX_ASKED_AT_ONCE: usize = 8;

/// How long lookups don't dial a node that fell silent. Long enough that
/// a frozen one costs its time-out seldom, short enough that one that is back is used again.
pub const AVOID_SILENT: Duration = Duration::from_secs(180);
