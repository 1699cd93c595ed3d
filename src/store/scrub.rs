//! What scrubbing does on the disk: reading a file as it lies there, and remembering how far
//! a pass is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::files::{AtomicFile, Overwrite, WriteError};
use super::folder::Root;
use super::index::Fingerprint;
use super::scan::fingerprint;
use crate::limits::{MAX_SCRUB_BYTES, SCRUB_SHARE};
use crate::replication::scrub::Position;
use crate::types::ContentId;

/// Bytes read at a time, and between two rests.
const PIECE_BYTES: usize = 1024 * 1024;

/// No rest is longer: a disk that hung for a minute would be left alone for a quarter of an hour.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// Name of the file in the state.
const POSITION_NAME: &str = "scrub.json";

/// Reads all of a regular file from the disk, and not from what the system still has in
/// memory, as far as the system lets itself be asked (Linux). `gently`: with rests, so that others
/// have most of the disk.
///
/// # Errors
/// `Interrupted` as soon as `stop` says so, `ResourceBusy` when it changed while it was read,
/// `InvalidInput` when it is no regular file, or the disk's.
pub fn reread(path: &Path, gently: bool, stop: &dyn Fn() -> bool) -> io::Result<(ContentId, Fingerprint)> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let mut file = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let before = fingerprint(&meta);
    forget_cached(&file);
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        if stop() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let began = Instant::now();
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => drop(hasher.update(piece.get(..read).unwrap_or_default())),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        if gently {
            thread::sleep((began.elapsed() * SCRUB_SHARE).min(LONGEST_REST));
        }
    }
    // What nobody else wants must not push out what somebody does.
    forget_cached(&file);
    if fingerprint(&file.metadata()?) != before {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "it changed while it was read"));
    }
    Ok((ContentId(*hasher.finalize().as_bytes()), before))
}

#[cfg(target_os = "linux")]
fn forget_cached(file: &File) {
    // A wish, not a need: what can't be dropped is read from memory.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn forget_cached(_: &File) {}

/// Where a node remembers how far its pass is.
#[must_use]
pub fn position_file(root: &Root) -> PathBuf {
    root.state().join(POSITION_NAME)
}

#[derive(Serialize, Deserialize)]
struct Written {
    began_ms: u64,
    after: Option<String>,
    bytes: u64,
    contents: u64,
    read_ms: u64,
    asked: bool,
    last_full_ms: Option<u64>,
}

/// What was remembered. `None` when that can't be used: nothing is lost but the place.
#[must_use]
pub fn load_position(file: &Path) -> Option<Position> {
    if fs::metadata(file).ok()?.len() > MAX_SCRUB_BYTES {
        return None;
    }
    let Written { began_ms, after, bytes, contents, read_ms, asked, last_full_ms } =
        serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    let after = match after {
        Some(after) => Some(after.parse().ok()?),
        None => None,
    };
    Some(Position { began_ms, after, bytes, contents, read_ms, asked, last_full_ms })
}

/// Remembers how far a pass is, whole or not at all.
///
/// # Errors
/// The disk's.
pub fn save_position(file: &Path, position: &Position) -> Result<(), WriteError> {
    let Position { began_ms, after, bytes, contents, read_ms, asked, last_full_ms } = *position;
    let after = after.map(|after| after.to_string());
    let written = Written { began_ms, after, bytes, contents, read_ms, asked, last_full_ms };
    let data = serde_json::to_vec(&written)
        .map_err(|e| WriteError::Io { path: file.to_path_buf(), source: io::Error::other(e) })?;
    let target = AtomicFile::create(file, 0o600)?;
    target.write_at(0, &data)?;
    target.commit(Overwrite::Replace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.jpg");
        let data: Vec<u8> = (0..PIECE_BYTES + 9).map(|i| (i / 3) as u8).collect();
        fs::write(&file, &data).unwrap();
        let (content, print) = reread(&file, true, &|| false).unwrap();
        assert_eq!(content, ContentId(*blake3::hash(&data).as_bytes()));
        assert_eq!(print.bytes, data.len() as u64);
        let stopped = reread(&file, false, &|| true).unwrap_err();
        assert_eq!(stopped.kind(), io::ErrorKind::Interrupted);
        assert!(reread(dir.path(), false, &|| false).is_err());
    }

    #[test]
    fn a_position_comes_back_and_nonsense_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(POSITION_NAME);
        assert_eq!(load_position(&file), None);
        let position = Position {
            began_ms: 7,
            after: Some(ContentId([9; 32])),
            bytes: 8,
            contents: 2,
            read_ms: 9,
            asked: true,
            last_full_ms: None,
        };
        save_position(&file, &position).unwrap();
        assert_eq!(load_position(&file), Some(position));
        fs::write(&file, "{\"began_ms\":1").unwrap();
        assert_eq!(load_position(&file), None);
    }
}
