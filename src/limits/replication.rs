//! Bounds of where copies lie and of how long a member may be away.

use std::time::Duration;

use super::MIB;

// ---------------------------------------------------------------- placement

/// Bytes of the name of a zone. It travels with every member's introduction.
pub const MAX_ZONE_BYTES: usize = 64;

/// What a member that tells no capacity is taken to offer: the part of a usual disk that
/// photos get. Only its proportion to what others tell matters.
pub const DEFAULT_CAPACITY_BYTES: u64 = 256 * 1024 * MIB as u64;

// ---------------------------------------------------------------- absence

/// How long a member that never came back before may be away until its copies stop
/// counting. A restart and a moment without network fit in; shorter, and each of them would
/// copy all that the member holds.
pub const REPAIR_AFTER: Duration = Duration::from_secs(60);

/// How long a member that is not reached is only suspect: connections break and are made
/// again. Nothing is told of it.
pub const SUSPECT_AFTER: Duration = Duration::from_secs(15);

/// Longest time that a member is given, however long it used to be away: two disks that fail
/// within it lose what only they held.
pub const MAX_PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Absences remembered of each member, the newest. With all of them the machine that was once
/// a laptop would be waited for for ever.
pub const MAX_STAYS: usize = 8;

/// A member that stays this long is expected to be away half as long the next time, and again
/// half for each further one.
pub const STAY_HALVES: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long a member that failed its fetches or proofs is not counted, when it never shows
/// that it works again. For ever, and one bad hour of a disk would take a member out.
pub const FAILING_FORGIVEN: Duration = Duration::from_secs(600);

/// Fewest members that a node believes rather than itself: of two others one is often away.
pub const CUT_OFF_LEAST: usize = 3;

/// Members that vanish within this time vanish together: pings see a dead network within 5 s,
/// a stuck connection later.
pub const CUT_OFF_WINDOW: Duration = Duration::from_secs(30);

/// By how much a node that believes itself cut off waits longer. Without it the machine whose
/// cable was pulled would begin to copy all that it still finds; with a larger one a swarm
/// that has really lost its half would stay without copies.
pub const CUT_OFF_FACTOR: u32 = 5;

/// Longest [`REPAIR_AFTER`] that can be chosen. A swarm that waits longer repairs nothing, and
/// far times can't be added to a clock.
pub const MAX_REPAIR_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);
