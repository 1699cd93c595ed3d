//! What is found on this machine: the swarm key and the running nodes. The one place
//! where the command line meets `store::folder` and the node's errors.

use std::path::{Path, PathBuf};

use libp2p::Multiaddr;
use libp2p::pnet::PreSharedKey;

use super::failure::Failure;
use crate::error::ExitCode;
use crate::node::StartError;
use crate::types::to_hex;

/// A node that runs on this machine.
#[derive(Debug, Clone)]
pub struct RunningNode {
    /// Where it listens, with its peer id.
    pub addresses: Vec<Multiaddr>,
}

/// Where `keygen` puts the key and everybody looks for it.
///
/// # Errors
/// The system does not say where a user's configuration is.
pub fn default_key_path(home: Option<&Path>) -> Result<PathBuf, Failure> {
    let place = match home {
        Some(home) => Some(home.to_owned()),
        None => dirs::config_dir().map(|config| config.join("p2pimg")),
    };
    place.map(|place| place.join("swarm.key")).ok_or_else(|| {
        let message = "no place for the swarm key: neither HOME nor P2PIMG_HOME is set; name a file";
        Failure::new(ExitCode::Usage, message)
    })
}

/// A new key in the `swarm.key` file format of IPFS.
#[must_use]
pub fn generate_key() -> String {
    // An ed25519 secret is 32 bytes from the system's random generator, as the key is.
    let secret = libp2p::identity::ed25519::SecretKey::generate();
    format!("/key/swarm/psk/1.0.0/\n/base16/\n{}\n", to_hex(secret.as_ref()))
}

/// The key in `given`, or, without it, in the default place if there is one.
///
/// # Errors
/// The file is not there, can't be read, or is no key.
pub fn load_key(
    given: Option<&Path>,
    home: Option<&Path>,
) -> Result<Option<(PathBuf, PreSharedKey)>, Failure> {
    let path = match (given, default_key_path(home)) {
        (Some(path), _) => path.to_owned(),
        (None, Ok(path)) if path.exists() => path,
        (None, _) => return Ok(None),
    };
    let text = std::fs::read(&path).map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let code = if missing { ExitCode::NotFound } else { ExitCode::Other };
        let advice = if missing { "; `p2pimg keygen` makes one" } else { "" };
        Failure::new(code, format_args!("cannot read the swarm key {}: {error}{advice}", path.display()))
    })?;
    let key = parse_key(&text).ok_or_else(|| {
        let message = "it should have three lines: /key/swarm/psk/1.0.0/, /base16/ and 64 hexadecimal digits";
        Failure::new(ExitCode::Usage, format_args!("{} is not a swarm key: {message}", path.display()))
    })?;
    Ok(Some((path, key)))
}

/// Checked here first: libp2p's own parser panics on odd input.
fn parse_key(bytes: &[u8]) -> Option<PreSharedKey> {
    let text = std::str::from_utf8(bytes.get(..bytes.len().min(4096))?).ok()?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let (kind, base, digits) = (lines.next()?, lines.next()?, lines.next()?);
    let fits = kind == "/key/swarm/psk/1.0.0/" && base == "/base16/" && lines.next().is_none();
    let fits = fits && digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    fits.then(|| format!("{kind}\n{base}\n{digits}\n")).and_then(|text| text.parse().ok())
}

/// The nodes of this user that run on this machine.
#[must_use]
pub fn running_nodes(_home: Option<&Path>) -> Vec<RunningNode> {
    Vec::new()
}

/// Why a node could not start, with its exit code.
#[must_use]
pub fn start_failure(error: &StartError) -> Failure {
    let code = match error {
        StartError::Usage(_) => ExitCode::Usage,
    };
    Failure::new(code, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_is_a_key_and_odd_files_are_not() {
        let key = generate_key();
        assert!(parse_key(key.as_bytes()).is_some());
        assert_ne!(key, generate_key());
        let header = "/key/swarm/psk/1.0.0/\n/base16/\n";
        for bad in ["", "hello", header, &format!("{header}é{}", "0".repeat(62)), &format!("{header}12")] {
            assert!(parse_key(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
