//! Bounds of what a client may change: pictures it adds, pictures it removes.

use std::time::Duration;

use super::CHUNK_WINDOW;

// ---------------------------------------------------------------- put

/// Pictures that are being sent to a node at once: each has a temporary file, and room on
/// the disk set aside.
pub const MAX_UPLOADS: usize = 8;

/// Chunks that clients have sent and a node has not written yet: each is in memory. As many
/// as all uploads together have under way.
pub const MAX_UNWRITTEN: usize = MAX_UPLOADS * CHUNK_WINDOW;

/// An upload of which nothing came for so long is forgotten: its client is gone.
pub const UPLOAD_SILENT: Duration = Duration::from_secs(60);

/// Bytes of the name that a client gives a picture: what file systems take.
pub const MAX_NAME_BYTES: usize = 255;

/// How long a node works on the end of an upload, or waits for copies, before it tells how
/// far it is. Below [`RELAY_DEADLINE`](super::RELAY_DEADLINE) by more than asking the holders
/// takes; the client asks again.
pub const PUT_ANSWER: Duration = Duration::from_secs(10);

/// How long the folder's own look may take to find a picture that was added: as long as a
/// scan of a large folder that is under way.
pub const PUT_INDEXED: Duration = Duration::from_secs(600);

/// Time between two looks at whether something that is waited for has come.
pub const PUT_LOOK_EVERY: Duration = Duration::from_millis(200);

// ---------------------------------------------------------------- rm

/// Removals that a node remembers, the newest, for nodes that were away: 2 MB of ledger.
pub const MAX_REMOVALS: usize = 10_000;

/// How long a removal is remembered: who was away for longer brings its copy back.
pub const REMOVAL_KEPT: Duration = Duration::from_secs(180 * 24 * 3600);

/// Removals in one message: with its peer ids some 40 KB.
pub const MAX_REMOVALS_TOLD: usize = 256;

/// Time between two tries at removals that had to wait, for a lease or after a start.
pub const REMOVAL_RETRY: Duration = Duration::from_secs(10);

/// Members that are told of removals at once.
pub const MAX_REMOVAL_ASKS: usize = 16;
