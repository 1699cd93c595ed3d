//! A received content that goes into the user's folder, and not among the replicas: a person
//! sent it there.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::error::at;
use super::receive::Received;
use super::{ReplicaError, Replicas};
use crate::store::files::{AtomicFile, Overwrite, WriteError, sync_folder};
use crate::store::trash::{Disk as _, RealDisk};
use crate::types::{ContentId, RelPath};

/// What became of one name.
enum Place {
    /// The file has it now.
    Moved,
    /// A file with the same bytes has it.
    There,
    /// Another file has it.
    Taken,
    /// The folder is on another drive.
    Elsewhere,
}

impl Replicas {
    /// Gives a received content the first of `names` that is free, or that a file with the
    /// same bytes has already, in the user's `folder`; durably, and never over another file.
    ///
    /// # Errors
    /// [`ReplicaError::NoName`] when all names are taken; [`ReplicaError::NoRoom`] when the
    /// folder is on another drive without room; or the disk's. Then nothing was added, unless
    /// only the folder could not be synced: then it is there, and its name may not outlive a
    /// power cut.
    pub fn place(
        &self,
        received: Received,
        folder: &Path,
        names: impl Iterator<Item = RelPath>,
    ) -> Result<RelPath, ReplicaError> {
        let mode = readable_like(folder).map_err(at("look at", folder))?;
        let from = received.path().to_path_buf();
        fs::set_permissions(&from, Permissions::from_mode(mode)).map_err(at("open up", &from))?;
        RealDisk.sync_file(&from).map_err(at("sync", &from))?;
        for name in names {
            let to = name.in_folder(folder);
            match move_to(&received, &to)? {
                Place::Taken => continue,
                Place::Moved => received.moved(),
                // What was received goes.
                Place::There => {}
                Place::Elsewhere => {
                    if !self.copy_to(&received, folder, &to, mode)? {
                        continue;
                    }
                }
            }
            return Ok(name);
        }
        Err(ReplicaError::NoName { folder: folder.to_path_buf() })
    }

    /// False when the name was taken at the last moment.
    fn copy_to(
        &self,
        received: &Received,
        folder: &Path,
        to: &Path,
        mode: u32,
    ) -> Result<bool, ReplicaError> {
        if to.symlink_metadata().is_ok() {
            return Ok(has_content(to, received.content()));
        }
        let (bytes, room) = (received.bytes(), self.free_in(folder)?);
        if bytes > room {
            return Err(ReplicaError::NoRoom { bytes, room });
        }
        let fail = |error: WriteError| match error {
            WriteError::Full { path } => ReplicaError::Full { path },
            error => at("copy to the folder", to)(io::Error::other(error.to_string())),
        };
        let mut copy = AtomicFile::create(to, mode).map_err(fail)?;
        let mut source = File::open(received.path()).map_err(at("read", received.path()))?;
        io::copy(&mut source, &mut copy).and_then(|_| copy.flush()).map_err(at("copy to", to))?;
        if hash(copy.file()).map_err(at("read again", to))? != received.content() {
            return Err(ReplicaError::Wrong { content: received.content() });
        }
        match copy.commit(Overwrite::Never) {
            Ok(()) => Ok(true),
            Err(WriteError::Exists { .. }) => Ok(has_content(to, received.content())),
            Err(error) => Err(fail(error)),
        }
    }
}

fn move_to(received: &Received, to: &Path) -> Result<Place, ReplicaError> {
    let from = received.path();
    match RealDisk.rename_new(from, to) {
        Ok(()) => {
            // Its new name first: the old one may be forgotten, the new one not.
            for folder in [to.parent(), from.parent()].into_iter().flatten() {
                sync_folder(folder).map_err(at("sync the folder", folder))?;
            }
            Ok(Place::Moved)
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            if has_content(to, received.content()) {
                RealDisk.sync_file(to).map_err(at("sync", to))?;
                return Ok(Place::There);
            }
            Ok(Place::Taken)
        }
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => Ok(Place::Elsewhere),
        Err(e) => Err(at("move to the folder", to)(e)),
    }
}

/// Whether a file has these bytes. One that can't be read has others.
fn has_content(path: &Path, content: ContentId) -> bool {
    RealDisk.hash(path).is_ok_and(|(found, _)| found == content)
}

/// Permission bits for a file that whoever may read the folder may read: the temporary file is
/// this user's alone.
fn readable_like(folder: &Path) -> io::Result<u32> {
    Ok(fs::metadata(folder)?.permissions().mode() & 0o666 | 0o600)
}

fn hash(mut file: &File) -> io::Result<ContentId> {
    file.rewind()?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(ContentId(*hasher.finalize().as_bytes())),
            Ok(count) => drop(hasher.update(buffer.get(..count).unwrap_or_default())),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Reserve;
    use super::*;

    const NO_RESERVE: Reserve = Reserve { bytes: 0, percent: 0 };

    fn received(replicas: &Replicas, data: &[u8]) -> Received {
        let content = ContentId(*blake3::hash(data).as_bytes());
        let receiving = replicas.receive(content, data.len() as u64).unwrap();
        receiving.write_at(0, data).unwrap();
        receiving.verify().unwrap()
    }

    fn names() -> impl Iterator<Item = RelPath> {
        ["a.jpg", "a (2).jpg"].into_iter().filter_map(|name| RelPath::from_bytes(name.into()))
    }

    #[test]
    fn a_name_that_is_taken_is_not_touched_and_the_same_bytes_are_there_already() {
        let (state, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (replicas, _) = Replicas::open_in(state.path(), NO_RESERVE).unwrap();
        let place = |data: &[u8]| replicas.place(received(&replicas, data), folder.path(), names());
        let text = |path: RelPath| path.to_string();
        assert_eq!(place(b"one").map(text).unwrap(), "a.jpg");
        assert_eq!(place(b"one").map(text).unwrap(), "a.jpg", "it is there");
        assert_eq!(place(b"two").map(text).unwrap(), "a (2).jpg");
        assert!(matches!(place(b"three"), Err(ReplicaError::NoName { .. })));
        assert_eq!(fs::read(folder.path().join("a.jpg")).unwrap(), b"one");
        assert_eq!(fs::read(folder.path().join("a (2).jpg")).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        let incoming = state.path().join("replicas/incoming");
        assert_eq!(fs::read_dir(incoming).unwrap().count(), 0, "nothing is left over");
    }

    #[test]
    fn a_copy_on_another_drive_is_whole_and_replaces_nothing() {
        let (state, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (replicas, _) = Replicas::open_in(state.path(), NO_RESERVE).unwrap();
        let to = folder.path().join("a.jpg");
        let copy = |data: &[u8]| replicas.copy_to(&received(&replicas, data), folder.path(), &to, 0o644);
        assert!(copy(b"one").unwrap());
        assert!(copy(b"one").unwrap());
        assert!(!copy(b"two").unwrap());
        assert_eq!(fs::read(&to).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
