//! Bounds of what is known of others' catalogs, and of asking the others for theirs.

use std::time::Duration;

// ---------------------------------------------------------------- catalogs that are kept

/// Entries of all other nodes' catalogs that are kept on the disk, unless told otherwise
/// (`--catalog-limit`): a million pictures in two copies, some 1.5 GB. Without a limit a
/// laptop's disk would fill with the list of a swarm that it holds a small part of.
pub const MAX_CACHED_ENTRIES: u64 = 2_000_000;

/// A catalog that is not kept is taken up again when the limit would leave this part of itself free
/// (as a divisor): at the very limit one picture more or less would have a catalog thrown away
/// and pulled again each time.
pub const CACHE_SLACK_DIVISOR: u64 = 8;

/// Bytes of a row or a catalog entry on the wire besides its path and holders, rounded up: names of
/// the fields, two identifiers, numbers, capture time. A test compares it with real ones.
pub const ROW_BYTES: usize = 320;

/// Bytes of one holder of a row on the wire.
pub const HOLDER_BYTES: usize = 44;

// ---------------------------------------------------------------- asking instead

/// Least entries asked of a node for one page of the list. Less, and one node with many pictures in
/// a row would make a page of a few.
pub const MIN_ASKED_ENTRIES: usize = 16;

/// Nodes asked at once for a page, or for the nodes that they know.
pub const MAX_ASKING: usize = 32;

/// How long one node may take for its part of a page. It reads some hundred rows of its index;
/// the dial may be in it. A node that is frozen costs each list this long, once a [`SILENT_FOR`].
pub const ASKED_DEADLINE: Duration = Duration::from_secs(3);

/// A node that did not answer is not asked again for so long: the list has many pages.
pub const SILENT_FOR: Duration = Duration::from_secs(30);

/// How long finding out who is there may take, and for how long the answer is used again: a list of
/// many pages goes by one roll call.
pub const ROLL_CALL_DEADLINE: Duration = Duration::from_secs(6);
/// See [`ROLL_CALL_DEADLINE`].
pub const ROLL_CALL_FRESH: Duration = Duration::from_secs(10);

/// A connection to a node that is no member is closed when nothing was asked for so long: a node
/// that looks at a large swarm would stay connected to all of it.
pub const VISIT_LASTS: Duration = Duration::from_secs(60);

// ---------------------------------------------------------------- members through the DHT

/// First and longest pause between two looks at the DHT for members, and the longest of a node
/// that knows fewer than [`FEW_MEMBERS`].
pub const MEET_FIRST: Duration = Duration::from_secs(2);
/// See [`MEET_FIRST`].
pub const MEET_LONGEST: Duration = Duration::from_secs(900);
/// See [`MEET_FIRST`].
pub const MEET_LONGEST_ALONE: Duration = Duration::from_secs(60);
/// See [`MEET_FIRST`].
pub const FEW_MEMBERS: usize = 4;

// ---------------------------------------------------------------- comparing

/// A member that comes back is compared with what is believed of it at once, and so often again when
/// it doesn't answer yet: it may not know this node as a member so soon.
pub const MAX_COMPARISONS: u32 = 5;
/// Pause between these.
pub const COMPARE_AGAIN: Duration = Duration::from_secs(1);

// ---------------------------------------------------------------- copies

/// How long a member whose catalog is not kept is believed to hold what it said that it holds; then it
/// is offered again.
pub const HELD_BELIEVED: Duration = Duration::from_secs(1800);

/// When a member whose catalog is not kept is asked whether what it took on has come: each so long after
/// the one before, all of them within [`OFFER_PATIENCE`](super::OFFER_PATIENCE), after which it would be
/// offered to others.
pub const ASK_WHETHER_COME: [Duration; 3] =
    [Duration::from_secs(2), Duration::from_secs(6), Duration::from_secs(16)];

/// Contents of which that is remembered, some 100 bytes each. Those beyond look short, and are offered
/// again and again.
pub const MAX_HELD_ELSEWHERE: usize = 262_144;
