//! Bounds of the provider records, in memory and in their file.

use std::time::Duration;

use super::{MAX_KNOWN_PEERS, MAX_MEMBERS, RECORD_TTL};

/// Records of others in all: pairs of a key and a provider. Keys alone would bound nothing: each
/// may have `MAX_PROVIDERS_PER_KEY`.
pub const MAX_RECORDS: usize = 3_000_000;

/// Trusted peers named beyond `MAX_RECORD_PEERS`: strangers that name themselves in great number
/// shut no member out.
pub const MAX_RECORD_MEMBERS: usize = MAX_MEMBERS;

/// Keys looked at for a record that gives way to a new one. A flood of records that find no
/// room would cost the swarm's poll a walk through a million keys each.
pub const EVICTION_STEPS: usize = 64;

/// A peer named for this long has renewed its records at least once. Those that nobody knew
/// before give way to it: new names cost nothing.
pub const RECORD_SETTLES: Duration = RECORD_TTL;

/// Bytes of all addresses kept of one provider: sixteen long ones of thousands of peers would
/// take more memory than a million keys.
pub const MAX_RECORD_ADDRESS_BYTES: usize = 1024;

/// Peers remembered as gone, whose records are not told.
pub const MAX_AWAY_PROVIDERS: usize = MAX_KNOWN_PEERS;

/// A renewal is written to the disk only when the record ends in another of these steps than
/// before: who renews every second makes nobody's disk work. After a restart a record may end
/// so much early, with two renewals still to come.
pub const RECORD_RENEWAL_STEP: Duration = Duration::from_secs(RECORD_TTL.as_secs() / 4);

/// Page cache of the file of records. Memory answers; the file is read once.
pub const RECORD_CACHE_BYTES: usize = 2 * 1024 * 1024;

/// Keys copied out of memory, or into it, at once: a millisecond or two of the swarm's poll.
pub const RECORD_CHUNK: usize = 4096;

/// Chunks read from the file ahead of the node.
pub const RECORD_QUEUE: usize = 2;

/// Chunks written without waiting for the disk before one waits.
pub const MAX_LAZY_RECORD_CHUNKS: u32 = 16;

/// Pause after writing records, at least; a crash loses that much.
pub const RECORD_SAVE_EVERY: Duration = Duration::from_secs(60);

/// And at least so many times as long as the writing took: a slow disk is left to others.
pub const RECORD_SAVE_SHARE: u32 = 60;

/// First and longest pause after the file could not be written.
pub const RECORD_RETRY_FIRST: Duration = Duration::from_secs(60);
/// See [`RECORD_RETRY_FIRST`].
pub const RECORD_RETRY_LONGEST: Duration = Duration::from_secs(3600);

/// How long a start waits for the records of before; with more of them, or a slow disk, the
/// rest comes while the node runs.
pub const RECORD_LOAD_PATIENCE: Duration = Duration::from_millis(500);
