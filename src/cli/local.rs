//! What is found on this machine: the swarm key and the running nodes. The one place
//! where the command line meets `store::folder` and the node's errors.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use libp2p::Multiaddr;
use libp2p::pnet::PreSharedKey;

use super::failure::Failure;
use super::screen;
use crate::error::ExitCode;
use crate::node::StartError;
use crate::store::files::{Overwrite, WriteError};
use crate::store::folder::{self, FolderError, Home, RunningNode, SwarmKeyError};

/// This user's own folders: those given, else the system's.
///
/// # Errors
/// The user has no home folder.
pub fn user_home(given: Option<&Path>) -> Result<Home, Failure> {
    match given {
        Some(path) => Ok(Home::at(path)),
        None => Home::of_user().map_err(|error| Failure::new(folder_code(&error), error)),
    }
}

/// Where `keygen` puts the key and everybody looks for it.
///
/// # Errors
/// The user has no home folder.
pub fn default_key_path(given_home: Option<&Path>) -> Result<PathBuf, Failure> {
    Ok(user_home(given_home)?.swarm_key_path())
}

/// Makes a new key at `path`.
///
/// # Errors
/// There is one already and it is not to be replaced, or it can't be written.
pub fn create_key(path: &Path, replace: bool) -> Result<(), Failure> {
    let overwrite = if replace { Overwrite::Replace } else { Overwrite::Never };
    folder::create_swarm_key(path, overwrite).map(drop).map_err(|error| match &error {
        SwarmKeyError::Write(WriteError::Exists { path }) => {
            let path = path.display();
            let advice =
                "use it, or say --force to replace it (nodes with the old key can't connect any more)";
            Failure::new(ExitCode::Output, format_args!("there is a file at {path} already: {advice}"))
        }
        _ => Failure::new(ExitCode::Output, error),
    })
}

/// The key in `given`, or, without it, in the default place if there is one.
///
/// # Errors
/// The file is not there, can't be read, or is no key.
pub fn load_key(
    given: Option<&Path>,
    given_home: Option<&Path>,
) -> Result<Option<(PathBuf, PreSharedKey)>, Failure> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => match default_key_path(given_home) {
            // Not there is no key; anything else that is wrong with it must be said, or
            // a node that should be private would start without it.
            Ok(path) if path.symlink_metadata().is_err_and(|e| e.kind() == ErrorKind::NotFound) => {
                return Ok(None);
            }
            Ok(path) => path,
            Err(_) => return Ok(None),
        },
    };
    match folder::read_swarm_key(&path) {
        Ok((key, warning)) => {
            if let Some(warning) = warning {
                screen::note(&format!("warning: {warning}"));
            }
            Ok(Some((path, key)))
        }
        Err(SwarmKeyError::Unreadable { source, .. }) if source.kind() == ErrorKind::NotFound => {
            let message = format!("there is no swarm key {}: `p2pimg keygen` makes one", path.display());
            Err(Failure::new(ExitCode::NotFound, message))
        }
        Err(error @ SwarmKeyError::Malformed { .. }) => Err(Failure::new(ExitCode::Usage, error)),
        Err(error) => Err(Failure::new(ExitCode::Other, error)),
    }
}

/// The nodes of this user that run on this machine.
///
/// # Errors
/// The list of them can't be read.
pub fn running(given_home: Option<&Path>) -> Result<Vec<RunningNode>, Failure> {
    folder::running_nodes(&user_home(given_home)?).map_err(|error| {
        Failure::new(ExitCode::Other, format_args!("cannot read the list of running nodes: {error}"))
    })
}

/// Where they listen, with their peer ids.
///
/// # Errors
/// The list of them can't be read.
pub fn running_nodes(given_home: Option<&Path>) -> Result<Vec<Multiaddr>, Failure> {
    let nodes = running(given_home)?;
    for node in &nodes {
        tracing::info!("node {} runs here, for {}", node.peer, node.folder.display());
    }
    let with_peer = |node: RunningNode| {
        let peer = node.peer;
        node.addresses.into_iter().filter_map(move |address| address.with_p2p(peer).ok())
    };
    Ok(nodes.into_iter().flat_map(with_peer).collect())
}

/// Why a node could not start, with its exit code.
#[must_use]
pub fn start_failure(error: &StartError) -> Failure {
    let code = match error {
        StartError::Folder(error) => folder_code(error),
        StartError::Exposed { .. } | StartError::Keyless { .. } => ExitCode::Usage,
        StartError::Index(_)
        | StartError::Replicas(_)
        | StartError::Listen { .. }
        | StartError::Thread(_)
        | StartError::Transport(_) => ExitCode::Other,
    };
    Failure::new(code, error)
}

/// The exit code for a folder that a node can't use.
#[must_use]
pub fn folder_code(error: &FolderError) -> ExitCode {
    match error {
        FolderError::Missing { .. } => ExitCode::NotFound,
        FolderError::NotFolder { .. }
        | FolderError::IsState { .. }
        | FolderError::ForeignState { .. }
        | FolderError::NoHome => ExitCode::Usage,
        _ => ExitCode::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_there_but_unusable_is_never_passed_over() {
        let home = tempfile::tempdir().unwrap();
        assert!(load_key(None, Some(home.path())).unwrap().is_none());
        let path = default_key_path(Some(home.path())).unwrap();
        create_key(&path, false).unwrap();
        assert_eq!(load_key(None, Some(home.path())).unwrap().unwrap().0, path);
        assert_eq!(create_key(&path, false).unwrap_err().code, ExitCode::Output);
        std::fs::write(&path, "no key").unwrap();
        assert_eq!(load_key(None, Some(home.path())).unwrap_err().code, ExitCode::Usage);
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        assert_eq!(load_key(None, Some(home.path())).unwrap_err().code, ExitCode::NotFound);
    }

    #[test]
    fn running_nodes_are_found_with_their_peer_ids() {
        let home = tempfile::tempdir().unwrap();
        let photos = tempfile::tempdir().unwrap();
        let options = folder::Options { state: None, home: Home::at(home.path()), accept_new: false };
        assert!(running_nodes(Some(home.path())).unwrap().is_empty());
        let open = folder::Folder::open(photos.path(), &options).unwrap();
        open.announce(&["/ip4/127.0.0.1/tcp/4011".parse().unwrap()]).unwrap();
        let peer = open.keypair().public().to_peer_id();
        let found = running_nodes(Some(home.path())).unwrap();
        assert_eq!(found, [format!("/ip4/127.0.0.1/tcp/4011/p2p/{peer}").parse().unwrap()]);
        drop(open);
        assert!(running_nodes(Some(home.path())).unwrap().is_empty());
    }
}
