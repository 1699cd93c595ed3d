//! What is known of a replica beside its bytes: a small JSON file, because a person must be
//! able to read it when there is no p2pimg around.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::error::{ReplicaError, at};
use crate::limits::MAX_SIDECAR_BYTES;
use crate::store::files::{AtomicFile, WriteError};
use crate::store::trash::{Disk as _, RealDisk};
use crate::types::RelPath;

/// The form written and read.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Sidecar {
    p2pimg_replica: u32,
    /// Where the node that it came from had it.
    #[serde(with = "crate::store::trash::path_form")]
    path: RelPath,
    /// Seconds since 1970: for people.
    since: u64,
}

/// Writes the file, whole or not at all; when it is durable is left to the system.
pub(super) fn write(file: &Path, path: &RelPath) -> Result<(), ReplicaError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let sidecar = Sidecar { p2pimg_replica: VERSION, path: path.clone(), since };
    let fail = at("write", file);
    let mut data = serde_json::to_vec(&sidecar).map_err(|e| fail(e.into()))?;
    data.push(b'\n');
    let write = || {
        let new = AtomicFile::create(file, 0o600)?;
        new.write_at(0, &data)?;
        new.commit_without_sync()
    };
    write().map_err(|e| match e {
        WriteError::Full { path } => ReplicaError::Full { path },
        WriteError::Io { source, .. } => fail(source),
        other => fail(std::io::Error::other(other)),
    })
}

/// The path that the file names. Only shown to people, so what can't be read is as good
/// as missing.
pub(super) fn read(file: &Path) -> Option<RelPath> {
    let data = RealDisk.read(file, MAX_SIDECAR_BYTES).ok()?;
    let sidecar: Sidecar = serde_json::from_slice(&data).ok()?;
    (sidecar.p2pimg_replica == VERSION).then_some(sidecar.path)
}
