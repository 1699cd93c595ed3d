//! Bounds of what has to do with duplicates: looking for them, dropping them, the trash, replicas.

use std::time::Duration;

use super::{KIB, MIB};

// ---------------------------------------------------------------- trash

/// Bytes of the file that describes a file in the trash. Holds [`MAX_TRASH_PROOFS`] as
/// hexadecimal digits, with room for two of the longest paths.
pub const MAX_ENTRY_BYTES: usize = MIB;

/// Proofs kept with a trashed file, and bytes of each: `copies` holders sign once before
/// the drop and once after it.
pub const MAX_TRASH_PROOFS: usize = 64;
/// See [`MAX_TRASH_PROOFS`].
pub const MAX_PROOF_BYTES: usize = 4 * KIB;

/// Holders named, and numbers for people, in the description of a trashed file.
pub const MAX_ENTRY_ITEMS: usize = 64;

/// Free names tried for a file whose place is taken.
pub const MAX_FREE_NAMES: u32 = 10_000;

/// Bytes of the file of pins: more than six million. Read whole at the start.
pub const MAX_PINS_BYTES: usize = 512 * MIB;

/// Files that a run of drops may always take, whatever share of the folder they are.
pub const BRAKE_FREE_FILES: u64 = 20;

/// Share of the folder, in percent, that a run of drops may take without being approved:
/// a wrong rule or a broken decoder would empty the folder.
pub const BRAKE_PERCENT: u8 = 30;

/// What was dropped within this time belongs to one run.
pub const BRAKE_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// `--keep` patterns.
pub const MAX_KEEP_GLOBS: usize = 256;

// ---------------------------------------------------------------- replicas

/// Bytes of the disk that replicas leave free, and percent of it: the larger of the two. A
/// swarm that fills a person's disk breaks their other programs.
pub const MIN_FREE_BYTES: u64 = 256 * MIB as u64;
/// See [`MIN_FREE_BYTES`].
pub const MIN_FREE_PERCENT: u8 = 2;

/// Replicas that a node keeps: their names are read into memory at the start, 32 MB for so
/// many.
pub const MAX_REPLICAS: usize = 1_000_000;

/// Bytes of the file that describes a replica: the longest path as hexadecimal digits, with
/// room.
pub const MAX_SIDECAR_BYTES: usize = 16 * KIB;

// ---------------------------------------------------------------- duplicates

/// Contents gone for it that a keeper remembers. Each is 74 KiB of planes that travel with
/// the keeper; one with more of them is never dropped.
pub const MAX_WITNESSES: usize = 16;

/// Contents that may be one picture, some through others between them, compared together:
/// each with each, a few seconds at worst. Larger clumps are taken apart by stricter rules.
pub const MAX_ALIKE: usize = 2048;

/// Pairs of hashes that one look compares: some forty seconds of one core. A million need
/// half; a member whose hashes are all alike would keep a core busy for days.
pub const MAX_NEAR_STEPS: u64 = 4_000_000_000;

/// Descriptions remembered from look to look: 2 KB each.
pub const MAX_DESCRIPTIONS: usize = 16_384;

/// How long a description is believed: what is pinned, edited or carried may change.
pub const DESCRIPTION_FRESH: Duration = Duration::from_secs(600);

/// `Describe` requests under way at once: 100 KB of answer each.
pub const MAX_DESCRIBING: usize = 8;

/// Contents that a look compares at a time, with all that is known of them: some 10 MB.
pub const LOOK_BATCH: usize = 4096;

/// Groups of duplicates remembered to be shown, those that free most: 10 KB each at worst,
/// 1 KB as a rule.
pub const MAX_FOUND_GROUPS: usize = 8192;

/// Holders of the keeper that a wish names: a few more than there are copies. With all of
/// them the wishes of a large folder would fill the memory.
pub const MAX_WISH_HOLDERS: usize = 16;

/// Pause after a look, at least; as many times its duration; and at most. A look reads all
/// rows: a large swarm that changes all the time must not be looked at all the time.
pub const LOOK_REST_LEAST: Duration = Duration::from_secs(2);
/// See [`LOOK_REST_LEAST`].
pub const LOOK_REST_TIMES: u32 = 20;

/// How long a look waits for files that are still arriving.
pub const LOOK_PATIENCE: Duration = Duration::from_secs(120);

/// Contents below which a look costs so little (some 10 ms) that it is followed by the least
/// rest.
pub const LOOK_SMALL: u64 = 2_000;
/// See [`LOOK_REST_LEAST`].
pub const LOOK_REST_LONGEST: Duration = Duration::from_secs(600);

/// Pause after a look that failed (the index can't be read).
pub const LOOK_RETRY: Duration = Duration::from_secs(60);

/// Members asked for their history at once, and how long all of them together may take.
pub const MAX_HISTORIANS: usize = 16;
/// Contents of the asked picture whose history `why` asks for as well, of every member: a
/// prefix may mean many.
pub const MAX_WHY_CONTENTS: usize = 8;

/// See [`MAX_HISTORIANS`].
pub const HISTORY_DEADLINE: Duration = Duration::from_secs(12);

/// Bytes of the drops told in one answer: with the rows beside it, within
/// [`MAX_HEADER_BYTES`](super::MAX_HEADER_BYTES).
pub const HISTORY_BYTES: usize = 256 * KIB;

/// Confirmations of holders remembered for `why`, the newest.
pub const MAX_CONFIRMATIONS: usize = 4096;

/// Of these, told in one answer.
pub const MAX_TOLD_CONFIRMATIONS: usize = 1024;

/// Bytes of a witness's header: twice the longest there is, for fields to come.
pub const MAX_WITNESS_HEADER_BYTES: usize = 1024;

/// Contents that one is known to be related to by edits in place. One with more of them takes
/// no part in drops: following them all would read the whole table for one comparison.
pub const MAX_EDITS: usize = 16;

/// Edits that are remembered, the newest: 250 MB of ledger. A program that writes a rating
/// into every photo again and again would fill the disk.
pub const MAX_EDIT_RECORDS: u64 = 1_000_000;

/// Drops that the history remembers, the newest.
pub const MAX_HISTORY: u64 = 100_000;

/// Page cache of the ledger. redb's default is 1 GiB; this one is seldom read.
pub const LEDGER_CACHE_BYTES: usize = 4 * MIB;

// ---------------------------------------------------------------- leases and drops

/// Length of a lease. Long enough to read a large keeper, rename and ask again; short
/// enough that a started node, which removes nothing for as long, is soon useful.
pub const LEASE_TIME: Duration = Duration::from_secs(120);

/// By how much the asker counts a lease shorter. Crystals are off by 1 in 10,000 at worst, a
/// clock being steered by 1 in 2,000: a tenth of a second in [`LEASE_TIME`]. The rest is for
/// the way from the last look at the clock to the rename.
pub const LEASE_MARGIN: Duration = Duration::from_secs(10);

/// How long a holder may take to re-read its bytes and answer. Below [`LEASE_TIME`] less
/// [`LEASE_MARGIN`], or the last answer would come when the first lease is over.
pub const LEASE_ANSWER: Duration = Duration::from_secs(40);

/// Pause after a drop that failed for the first time. Doubles with each failure.
pub const DROP_PAUSE_FIRST: Duration = Duration::from_secs(15);

/// Longest pause between attempts at one drop. Without pauses two nodes that can't agree
/// would have their disks re-read for ever.
pub const DROP_PAUSE_LONGEST: Duration = Duration::from_secs(60 * 60);

/// Leases that a node has out at once. Members are trusted, but may be broken: without it a
/// member that asks for everything would fill the memory.
pub const MAX_LEASES: usize = 4096;

/// Drops a node works on at once. Each may hold a keeper's bytes in the temporary folder.
pub const MAX_DROPS: usize = 16;

/// Of these, drops of duplicates; the rest is for the trash. Those that get nowhere make room
/// for others after [`DROP_TURN`].
pub const MAX_WISHED_DROPS: usize = 12;

/// Of these, files of the trash whose time is over, and how often the trash is asked for some.
pub const MAX_PURGES: usize = 4;
/// See [`MAX_PURGES`].
pub const PURGE_EVERY: Duration = Duration::from_secs(600);

/// Files whose time is over that one look at the trash deals with. Those with their keeper in
/// the folder are read and deleted one after the other.
pub const MAX_EXPIRED: usize = 256;

/// How long a drop is tried when others wait.
pub const DROP_TURN: Duration = Duration::from_secs(600);

/// Pairs remembered as not the same picture. More are compared again at each look.
pub const MAX_REFUSALS: usize = 65_536;

/// Actions of the drop planner that wait to be taken. The event loop takes them all
/// after each event; this is for one that does not.
pub const MAX_DROP_ACTIONS: usize = 256;

/// Attempts to prove the keeper of a trashed file at the end of its time before the file
/// comes back.
pub const MAX_PURGE_ATTEMPTS: u8 = 8;
