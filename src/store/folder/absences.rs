//! How long other nodes stayed away, written down: a node that starts again is as patient as before.

use std::path::Path;
use std::time::Duration;

use libp2p::PeerId;

use super::Folder;
use super::home::read_small;
use crate::limits::{MAX_ABSENCES, MAX_ABSENCES_BYTES};
use crate::store::files::{AtomicFile, Overwrite, WriteError};

/// Name of the file in the state.
const NAME: &str = "absences";

impl Folder {
    /// Writes down how long other nodes stayed away.
    ///
    /// # Errors
    /// The disk's.
    pub fn remember_absences(&self, absences: &[(PeerId, Duration)]) -> Result<(), WriteError> {
        write(&self.root.state.join(NAME), absences)
    }

    /// What was written down last, as far as it can be read.
    #[must_use]
    pub fn remembered_absences(&self) -> Vec<(PeerId, Duration)> {
        read(&self.root.state.join(NAME))
    }
}

/// A line each: who, and for how many seconds.
fn write(path: &Path, absences: &[(PeerId, Duration)]) -> Result<(), WriteError> {
    let lines = absences
        .iter()
        .take(MAX_ABSENCES)
        .fold(String::new(), |lines, (peer, away)| lines + &format!("{peer} {}\n", away.as_secs()));
    let file = AtomicFile::create(path, 0o600)?;
    file.write_at(0, lines.as_bytes())?;
    file.commit(Overwrite::Replace)
}

/// Only a help: what can't be read is left out.
fn read(path: &Path) -> Vec<(PeerId, Duration)> {
    let data = read_small(path, MAX_ABSENCES_BYTES).unwrap_or_default();
    let line = |line: &str| {
        let (peer, seconds) = line.split_once(' ')?;
        Some((peer.parse().ok()?, Duration::from_secs(seconds.parse().ok()?)))
    };
    String::from_utf8_lossy(&data).lines().filter_map(line).take(MAX_ABSENCES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nonsense_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        assert_eq!(read(&path), []);
        let absences = [(PeerId::random(), Duration::from_secs(70)), (PeerId::random(), Duration::ZERO)];
        write(&path, &absences).unwrap();
        assert_eq!(read(&path), absences);
        let good = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("nobody 3\n{good}\u{fffd}\n{} x\n", absences[0].0)).unwrap();
        assert_eq!(read(&path), absences);
    }
}
