//! The node's private key on disk.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use libp2p::identity::Keypair;

use super::FolderError;
use super::home::read_small;
use crate::store::files::{AtomicFile, Overwrite};

/// An ed25519 key in libp2p's protobuf form has 68 bytes.
const MAX_BYTES: u64 = 4096;

/// Loads the key at `path`, or makes one when there is none. A damaged file is never
/// overwritten: the key is this node's name in every catalog of the swarm. The second
/// value warns when others can read the file.
pub(super) fn load_or_create(path: &Path) -> Result<(Keypair, Option<String>), FolderError> {
    match read_small(path, MAX_BYTES) {
        Ok(data) => {
            let key = Keypair::from_protobuf_encoding(&data)
                .map_err(|e| FolderError::BadIdentity { path: path.to_path_buf(), reason: e.to_string() })?;
            Ok((key, warn_if_readable(path)))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => create(path).map(|key| (key, None)),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => {
            Err(FolderError::BadIdentity { path: path.to_path_buf(), reason: e.to_string() })
        }
        Err(source) => {
            Err(FolderError::Io { what: "read the node's identity", path: path.to_path_buf(), source })
        }
    }
}

fn create(path: &Path) -> Result<Keypair, FolderError> {
    let fail = |reason: String| FolderError::BadIdentity { path: path.to_path_buf(), reason };
    let key = Keypair::generate_ed25519();
    let encoded = key.to_protobuf_encoding().map_err(|e| fail(e.to_string()))?;
    let file = AtomicFile::create(path, 0o600)?;
    file.write_at(0, &encoded)?;
    file.commit(Overwrite::Never)?;
    Ok(key)
}

/// A warning when others than the owner may read the secret at `path`.
pub(super) fn warn_if_readable(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        format!("{} is a secret, and others can read it (mode {mode:03o}): chmod 600 it", path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity.key");
        let (first, warning) = load_or_create(&path).unwrap();
        assert_eq!(warning, None);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (second, warning) = load_or_create(&path).unwrap();
        assert_eq!(first.public(), second.public());
        assert_eq!(warning, None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load_or_create(&path).unwrap().1.unwrap().contains("chmod 600"));
    }

    #[test]
    fn a_damaged_key_is_an_error_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity.key");
        for damage in [&b""[..], b"not a key", &[8, 1, 18, 64, 0], &[7; 9000]] {
            fs::write(&path, damage).unwrap();
            let error = load_or_create(&path).unwrap_err();
            assert!(matches!(error, FolderError::BadIdentity { .. }), "{error}");
            assert_eq!(fs::read(&path).unwrap(), damage);
        }
    }
}
