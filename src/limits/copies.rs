//! Bounds of what has to do with copies: surveys, offers, fetching what was offered, trimming.

use std::time::Duration;

use super::MIB;

/// Contents with too few copies that a node works on at a time: the most urgent ones. The next
/// survey finds the rest.
pub const MAX_SHORT: usize = 4096;

/// Contents of one offer. A line of some 100 bytes each.
pub const MAX_OFFERED: usize = 128;

/// How much later each further holder, by rank, begins to offer what it sees short: longer than
/// an offer, the fetch of a small picture and the news of it take.
pub const OFFER_STEP: Duration = Duration::from_secs(10);

/// How long a content that a member took on is waited for before it is offered again. It may
/// wait there in a queue: then the answer is the same, and nothing is fetched twice.
pub const OFFER_PATIENCE: Duration = Duration::from_secs(30);

/// How long a member is left in peace whose queue is full.
pub const OFFER_BUSY: Duration = Duration::from_millis(500);

/// How long a member is passed over that did not answer an offer.
pub const OFFER_FAILED: Duration = Duration::from_secs(5);

/// How long a member that has no room for a content is not offered it again: at first, because it may have
/// been a moment's trouble with its disk.
pub const OFFER_FULL_FIRST: Duration = Duration::from_secs(60);
/// And once it has said so twice.
pub const OFFER_FULL: Duration = Duration::from_secs(300);

/// The same for one that doesn't want it: it is about to drop it, or somebody removed it.
pub const OFFER_UNWANTED: Duration = Duration::from_secs(60);

/// Offered contents that wait here to be fetched, with those being fetched. Some 300 bytes each.
pub const MAX_INTAKE: usize = 512;

/// Members remembered as the source of one of them.
pub const MAX_INTAKE_SOURCES: usize = 8;

/// Contents taken at once, from the look whether they are here to the last sync: those whose bytes
/// come, and those that have come and are committed together. Fewer, and the groups are small, so that each
/// picture waits for the disk alone.
pub const MAX_PULLING: usize = 48;

/// Contents whose bytes come at once: enough to hide the holders' pauses. Each may have
/// `RUN_CHUNKS` chunks in memory, or a window of them when it is large.
pub const MAX_FETCHING: usize = 12;

/// Contents that are committed together, at most: one transaction of the index.
pub const MAX_COMMITTED: usize = 64;

/// How long a member that could not send a small picture in one answer is asked for chunks. Without it
/// each picture would wait for a deadline first, over a slow line.
pub const IN_PIECES_FOR: Duration = Duration::from_secs(600);

/// Bytes of them all together, unless one alone is larger.
pub const MAX_INTAKE_BYTES: u64 = 64 * MIB as u64;

/// Pause between two surveys, at least; and as many times as long as one took. A survey reads
/// the whole list of contents and holders.
pub const SURVEY_REST_LEAST: Duration = Duration::from_millis(500);

/// The same, at most: a survey that took minutes because the node stood still, or its disk did, must not be
/// followed by ten minutes in which it acts on what it saw before.
pub const SURVEY_REST_LONGEST: Duration = Duration::from_secs(60);

/// Excess copies that a survey proposes to trim; the next one finds the rest.
pub const MAX_EXCESS: usize = 4096;

/// How long an original has to be excess before it goes, unless told otherwise (`--trim-after`).
pub const TRIM_AFTER: Duration = Duration::from_secs(60);

/// Probes of a member that fail in a row before its copies stop counting. Fewer, and a node that is
/// busy with its disk for half a minute would have everything that it holds copied.
pub const MAX_PROBE_FAILURES: u32 = 5;

/// Pause between two probes; each asks the next member, or again the one that has just failed.
/// With 100 members each is asked every half hour, and fails within a minute more.
pub const PROBE_EVERY: Duration = Duration::from_secs(15);

/// How long a member may answer each probe with `busy` until its copies stop counting: longer than any rush,
/// and no picture should depend on a holder that gives nothing to anybody for that long.
pub const BUSY_LONGEST: Duration = Duration::from_secs(900);

/// Such answers at least: after a sleep, or among many members, one or two in a row may be far apart.
pub const MIN_BUSY: u32 = 10;

/// Pause before a member that was busy is probed again. In turn alone it could be an hour.
pub const BUSY_AGAIN: Duration = Duration::from_secs(60);

/// The time over which the rate of fetched copies is told.
pub const RATE_WINDOW: Duration = Duration::from_secs(10);

/// How long a survey waits for a look that is about to begin or under way: what that finds to be
/// superseded need not be copied.
pub const SURVEY_PATIENCE: Duration = Duration::from_secs(30);

/// How near a look has to be for that, and how often it is asked.
pub const SURVEY_NEAR: Duration = Duration::from_secs(3);

/// Members that a content may be offered to, in the order of placement: some may be full.
pub const MAX_TAKERS: usize = 16;

/// How long `client drain` waits without any picture being handed over. Some of them may be large.
pub const DRAIN_STUCK: Duration = Duration::from_secs(120);

/// Pause between two comparisons of what is believed of a member's catalog; each asks the next one.
/// It reads all rows of the member: some 5 µs each.
pub const RECONCILE_EVERY: Duration = Duration::from_secs(300);

/// Absences of other nodes that are written down, and bytes of the file: 60 a line.
pub const MAX_ABSENCES: usize = 8192;
/// See [`MAX_ABSENCES`].
pub const MAX_ABSENCES_BYTES: u64 = MIB as u64;

/// Pause before a member that failed is probed again: with [`MAX_PROBE_FAILURES`] it does not
/// count after some seconds.
pub const PROBE_AGAIN: Duration = Duration::from_secs(3);

/// Pause before a database is opened again whose disk refused a write: opening it may read all of it, and a
/// disk that is full is full for longer than that.
pub const REOPEN_AGAIN: Duration = Duration::from_secs(5);
