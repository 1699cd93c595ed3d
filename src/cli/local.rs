//! What is found on this machine: the swarm key and the running nodes. The one place
//! where the command line meets `store::folder` and the node's errors.

use std::path::{Path, PathBuf};

use libp2p::Multiaddr;
use libp2p::pnet::PreSharedKey;

use super::failure::Failure;
use super::screen;
use crate::error::ExitCode;
use crate::node::StartError;
use crate::store::files::WriteError;
use crate::store::folder::{self, FolderError, Home, SwarmKeyError};

/// Where this user's p2pimg keeps its own files.
///
/// # Errors
/// The system does not say where a user's configuration is.
pub fn home(given: Option<&Path>) -> Result<Home, Failure> {
    match given {
        Some(path) => Ok(Home::at(path)),
        None => Home::of_user().map_err(|error| folder_failure(&error)),
    }
}

/// The key in `given`, or, without it, in the default place if there is one.
///
/// # Errors
/// The file is not there, can't be read, or is no key.
pub fn load_key(
    given: Option<&Path>,
    home_given: Option<&Path>,
) -> Result<Option<(PathBuf, PreSharedKey)>, Failure> {
    let path = match (given, home(home_given).map(|home| home.swarm_key_path())) {
        (Some(path), _) => path.to_owned(),
        (None, Ok(path)) if path.exists() => path,
        (None, _) => return Ok(None),
    };
    let (key, warning) = folder::read_swarm_key(&path).map_err(|error| key_failure(&error))?;
    if let Some(warning) = warning {
        screen::note(&format!("warning: {warning}"));
    }
    Ok(Some((path, key)))
}

/// The addresses of this user's nodes that run on this machine.
///
/// # Errors
/// The list of running nodes can't be read.
pub fn running_addresses(home_given: Option<&Path>) -> Result<Vec<Multiaddr>, Failure> {
    let nodes = folder::running_nodes(&home(home_given)?).map_err(|error| {
        Failure::new(ExitCode::Other, format_args!("cannot read the list of running nodes: {error}"))
    })?;
    let full = |peer, address: Multiaddr| address.with_p2p(peer).unwrap_or_else(|address| address);
    Ok(nodes.into_iter().flat_map(|node| node.addresses.into_iter().map(move |a| full(node.peer, a))).collect())
}

/// Why a node could not start, with its exit code.
#[must_use]
pub fn start_failure(error: &StartError) -> Failure {
    match error {
        StartError::Folder(error) => folder_failure(error),
        StartError::Exposed { .. } => Failure::new(ExitCode::Usage, error),
        error => Failure::new(ExitCode::Other, error),
    }
}

fn folder_failure(error: &FolderError) -> Failure {
    let code = match error {
        FolderError::Missing { .. } => ExitCode::NotFound,
        FolderError::NotFolder { .. } | FolderError::IsState { .. } | FolderError::NoHome => ExitCode::Usage,
        FolderError::BadIdentity { .. } | FolderError::BadMarker { .. } | FolderError::BadRecord { .. } => {
            ExitCode::Corrupt
        }
        FolderError::Locked { .. }
        | FolderError::SameIdentity { .. }
        | FolderError::MarkerMissing { .. }
        | FolderError::OtherFolder { .. } => ExitCode::Refused,
        _ => ExitCode::Other,
    };
    Failure::new(code, error)
}

/// Why there is no usable swarm key, with its exit code.
#[must_use]
pub fn key_failure(error: &SwarmKeyError) -> Failure {
    match error {
        SwarmKeyError::Unreadable { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Failure::new(ExitCode::NotFound, format_args!("{error}; `p2pimg keygen` makes one"))
        }
        SwarmKeyError::Unreadable { .. } => Failure::new(ExitCode::Other, error),
        SwarmKeyError::Malformed { .. } => Failure::new(ExitCode::Corrupt, error),
        SwarmKeyError::Write(WriteError::Exists { path }) => Failure::new(
            ExitCode::Output,
            format_args!(
                "there is a swarm key at {} already: use it, or say --force to replace it (nodes with the old key \
                 can't connect any more)",
                path.display()
            ),
        ),
        SwarmKeyError::Write(_) | SwarmKeyError::Folder { .. } => Failure::new(ExitCode::Output, error),
    }
}
