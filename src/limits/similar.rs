//! Bounds of looking for pictures that look like one.

use std::time::Duration;

/// Bits of 256 within which a client may ask for pictures. Two different pictures differ in 128
/// on average: beyond this the answer would be chance.
pub const MAX_SIMILAR_DISTANCE: u32 = 64;

/// Pictures told in one answer: more than a person looks at, well below
/// [`MAX_HEADER_BYTES`](super::MAX_HEADER_BYTES).
pub const MAX_SIMILAR: usize = 256;

/// Hashes kept in memory to be compared, 64 bytes each: half more than the largest swarm that
/// p2pimg is made for, 96 MB. With more of them each question reads them from the disk.
pub const MAX_HASHES: usize = 1_500_000;

/// Hashes that may come after the others were read from the disk, at least, and as a part of
/// these; then they are read anew when they are asked for next. They are kept one by one, which
/// costs three times the memory, and what is gone is found out only by reading anew.
pub const MIN_NEW_HASHES: usize = 4096;
/// See [`MIN_NEW_HASHES`].
pub const NEW_HASHES_PART: usize = 16;

/// Questions for similar pictures worked on at once: each reads through all hashes. In a swarm too
/// large for [`MAX_HASHES`], where one takes seconds, those given up by their clients would fill
/// the threads that everything on the disk is done by.
pub const MAX_SIMILAR_ASKED: usize = 4;

/// Near hashes of which one question looks up who has them, the nearest: a fifth of a second.
/// Thousands of frames of one burst, at members that are all away, would take minutes.
pub const MAX_SIMILAR_LOOKED: usize = 16_384;

/// Near hashes that turn out to be of nobody, after which all are read anew: a large folder that
/// was removed would use up [`MAX_SIMILAR_LOOKED`].
pub const MAX_STALE_HASHES: usize = 1024;

/// How long hashes stay in memory when nobody asks: a node at rest is small.
pub const HASHES_IDLE: Duration = Duration::from_secs(300);
