//! Bounds of finding near-duplicates through bands ([`crate::dht_index::bands`]).

use std::time::Duration;

/// Nodes that keep the entries of a band. Two may go within eight hours before anything is
/// missed.
pub const BAND_REPLICAS: usize = 3;

/// Of these, nodes that are asked: one may have come only now.
pub const BANDS_ASKED_OF: usize = 2;

/// Pictures that a node keeps bands of, for all nodes: 175 bytes each, 170 MB in all. In a swarm of
/// a few nodes each keeps nearly every picture of the swarm.
pub const MAX_BAND_PICTURES: usize = 1_000_000;

/// Share of [`MAX_BAND_PICTURES`] that one node may fill, as a divisor: one that sends without
/// end can't push the others out.
pub const BAND_QUOTA_DIVISOR: usize = 2;

/// Nodes remembered as the holder of a picture. Who asks needs one or two that are there.
pub const MAX_BAND_HOLDERS: usize = 3;

/// Nodes that pictures are kept of.
pub const MAX_BAND_SENDERS: usize = 4096;

/// Pictures of one band with the same bits; further ones are not found by this band. Skies, pages
/// and snow share bits: without it each question would compare a large part of the swarm.
pub const MAX_BUCKET: u16 = 1024;

/// Pictures in one `store_bands` message: 540 KB.
pub const MAX_BANDS_STORED: usize = 8192;

/// Pictures asked about in one `ask_bands` message.
pub const MAX_BANDS_ASKED: usize = 512;

/// Largest distance that can be asked for: beyond it bands find too little to be asked.
pub const MAX_NEAR_DISTANCE: u32 = 64;

/// Pictures told for one picture that is asked about, the nearest first; beyond them: `cut`.
pub const MAX_NEAR: usize = 256;

/// Pictures told in one answer: 590 KB.
pub const MAX_NEAR_TOLD: usize = 8192;

/// Entries compared for one `ask_bands` message: less than a tenth of a second. 512 pictures whose
/// every band is hot would be eight million.
pub const MAX_BAND_STEPS: usize = 2_000_000;

/// Entries looked at at once when expired ones are removed, once a minute.
pub const BAND_SWEEP: usize = 20_000;

/// Own pictures that wait to be told; with more, everything is told again.
pub const MAX_BANDS_FRESH: usize = 16_384;

/// Own pictures read from the index at once, with their share of messages in memory: three times
/// 66 bytes each, and some more in a large swarm.
pub const BAND_PAGE: usize = 2048;

/// How long the membership has to be the same before bands are moved: nodes come in bunches.
pub const BANDS_SETTLE: Duration = Duration::from_secs(2);

/// How long a node that has gone is waited for before its bands are given to others. There are two
/// more that have them, and a restart takes less.
pub const BANDS_PATIENCE: Duration = Duration::from_secs(60);

/// First and longest pause before those are told again that did not take what they were told.
pub const BANDS_RETRY_FIRST: Duration = Duration::from_secs(5);
/// See [`BANDS_RETRY_FIRST`].
pub const BANDS_RETRY_LONGEST: Duration = Duration::from_secs(600);

/// How long the node rests after each page of a renewal that nobody waits for, in times of what
/// the page took: a tenth of a core at most.
pub const BANDS_REST_TIMES: u32 = 9;

/// Messages about bands under way at once, each to another node.
pub const MAX_BAND_MESSAGES: usize = 4;

/// How long an answer about bands is waited for before others are asked: they are in memory there.
pub const BANDS_DEADLINE: Duration = Duration::from_secs(2);

/// Foreign pictures remembered that are near to own ones and in no catalog here. Some 400 bytes
/// each.
pub const MAX_BEYOND: usize = 16_384;

/// How long one of them is remembered without being found again.
pub const BEYOND_FRESH: Duration = Duration::from_secs(12 * 3600);
