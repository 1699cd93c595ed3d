//! Bounds of reading everything again.

use std::time::Duration;

/// Days in which each copy is read again. Disks lose bits in years; a month finds the loss
/// while the other copy is good.
pub const SCRUB_DAYS: u32 = 30;

/// Contents read from the index at once: a pass over a million of them is never in memory.
pub const SCRUB_PAGE: usize = 256;

/// Rest between two reads of a pass that nobody asked for, at least: one that is late does not take
/// the disk for itself.
pub const SCRUB_REST: Duration = Duration::from_millis(100);

/// Time left to others for each unit of time that such a pass reads.
pub const SCRUB_SHARE: u32 = 4;

/// Rest after a pass, and after the index could not be read: an empty folder is no endless loop.
pub const SCRUB_IDLE: Duration = Duration::from_secs(600);

/// Longest time until the planner looks at the clock again: a machine may sleep.
pub const SCRUB_LOOK: Duration = Duration::from_secs(600);

/// Time between two notes of how far a pass is: a crash repeats so much reading.
pub const SCRUB_SAVE: Duration = Duration::from_secs(60);

/// Bytes of that note.
pub const MAX_SCRUB_BYTES: u64 = 4096;

/// Damaged files read from the index at once.
pub const MAX_HEALED: usize = 256;

/// Pause before healing is tried again because a node is there that may help: hundreds come at
/// once when a swarm starts.
pub const HEAL_REST: Duration = Duration::from_secs(2);

/// Time until healing is tried again for what no node could heal.
pub const HEAL_EVERY: Duration = Duration::from_secs(600);

/// Files with the same bytes that a holder reads to prove one content: more of them would take
/// longer than anybody waits.
pub const MAX_PROVED_FILES: usize = 16;

/// How long a node takes to compute what the proofs of a content's holders have to be. What
/// takes longer is told as not checked.
pub const PROVE_DEADLINE: Duration = Duration::from_secs(20);
