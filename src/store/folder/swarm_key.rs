//! The swarm's pre-shared key in the file format of IPFS (`swarm.key`):
//!
//! ```text
//! /key/swarm/psk/1.0.0/
//! /base16/
//! (64 hexadecimal digits)
//! ```

use std::io;
use std::path::{Path, PathBuf};

use libp2p::pnet::PreSharedKey;
use thiserror::Error;

use super::home::read_small;
use super::{identity, make_private, random_bytes};
use crate::store::files::{AtomicFile, Overwrite, WriteError};

const KEY_TYPE: &str = "/key/swarm/psk/1.0.0/";
const ENCODING: &str = "/base16/";
const MAX_BYTES: u64 = 4096;

/// Why there is no usable swarm key.
#[derive(Debug, Error)]
pub enum SwarmKeyError {
    /// The file is missing or can't be read.
    #[error("can't read the swarm key {}: {source}", path.display())]
    Unreadable {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not a swarm key.
    #[error("{} is not a usable swarm key: {reason}", path.display())]
    Malformed {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The new key could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The new key's folder could not be made.
    #[error("can't make the folder for the swarm key {}: {source}", path.display())]
    Folder {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Reads the swarm key at `path`; the text warns when others can read it.
///
/// # Errors
/// When the file can't be read or is no base16 swarm key of 32 bytes.
pub fn read_swarm_key(path: &Path) -> Result<(PreSharedKey, Option<String>), SwarmKeyError> {
    let malformed = |reason| SwarmKeyError::Malformed { path: path.to_path_buf(), reason };
    let data = match read_small(path, MAX_BYTES) {
        Err(e) if e.kind() == io::ErrorKind::InvalidData => {
            return Err(malformed("it is not a small text file"));
        }
        data => data.map_err(|source| SwarmKeyError::Unreadable { path: path.to_path_buf(), source })?,
    };
    let key = parse(&data).map_err(malformed)?;
    Ok((PreSharedKey::new(key), identity::warn_if_readable(path)))
}

/// Makes a random key and writes it to `path` (mode 0600), making its folder when needed.
///
/// # Errors
/// An existing file is an error unless `overwrite` says otherwise: whoever shares the old
/// key would be shut out.
pub fn create_swarm_key(path: &Path, overwrite: Overwrite) -> Result<PreSharedKey, SwarmKeyError> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|f| !f.exists()) {
        make_private(folder).map_err(|source| SwarmKeyError::Folder { path: path.to_path_buf(), source })?;
    }
    let key = PreSharedKey::new(random_bytes());
    let file = AtomicFile::create(path, 0o600)?;
    file.write_at(0, key.to_key_file().as_bytes())?;
    file.commit(overwrite)?;
    Ok(key)
}

/// libp2p's own parser panics on some input and takes signs for digits, so the text is
/// checked to the last character here.
fn parse(data: &[u8]) -> Result<[u8; 32], &'static str> {
    let text = std::str::from_utf8(data).map_err(|_| "it is not text")?;
    let mut lines = text.lines().map(|line| line.trim_end_matches(['\r', ' ', '\t']));
    if text.trim().is_empty() {
        return Err("it is empty");
    }
    if lines.next() != Some(KEY_TYPE) {
        return Err("its first line is not /key/swarm/psk/1.0.0/");
    }
    match lines.next() {
        Some(ENCODING) => {}
        Some("/base64/" | "/bin/") => return Err("only the encoding /base16/ is supported"),
        _ => return Err("its second line is not /base16/"),
    }
    let digits = lines.next().unwrap_or("").as_bytes();
    if lines.any(|line| !line.is_empty()) {
        return Err("there is more after the third line");
    }
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err("its third line has something else than hexadecimal digits");
    }
    if digits.len() != 64 {
        return Err("its third line does not have 64 hexadecimal digits");
    }
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().fold(0, |byte, d| byte << 4 | (*d as char).to_digit(16).unwrap_or(0) as u8);
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF";

    #[test]
    fn keys_of_other_programs_are_read() {
        let plain = format!("/key/swarm/psk/1.0.0/\n/base16/\n{HEX}\n");
        let key = parse(plain.as_bytes()).unwrap();
        assert_eq!(crate::types::to_hex(&key), HEX.to_lowercase());
        for same in [plain.trim_end().to_owned(), plain.replace('\n', "\r\n"), plain.clone() + "\n\n"] {
            assert_eq!(parse(same.as_bytes()), Ok(key), "{same:?}");
        }
        let theirs: PreSharedKey = plain.to_lowercase().parse().unwrap();
        assert_eq!(theirs, PreSharedKey::new(key), "the library reads it alike");
    }

    #[test]
    fn other_texts_are_refused_with_a_reason() {
        let head = "/key/swarm/psk/1.0.0/\n";
        for (bad, reason) in [
            (String::new(), "empty"),
            (" \n\n".into(), "empty"),
            (HEX.into(), "first line"),
            (format!("/key/swarm/psk/2.0.0/\n/base16/\n{HEX}"), "first line"),
            (head.into(), "second line"),
            (format!("{head}/base64/\nAAAA"), "only the encoding"),
            (format!("{head}/base16/\n"), "64"),
            (format!("{head}/base16/\n{}", &HEX[1..]), "64"),
            (format!("{head}/base16/\n{HEX}00"), "64"),
            (format!("{head}/base16/\n+{}", &HEX[1..]), "something else"),
            (format!("{head}/base16/\n{}é", &HEX[2..]), "something else"),
            (format!("{head}/base16/\n{HEX}\n{HEX}"), "more after"),
        ] {
            let error = parse(bad.as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{bad:?}: {error}");
        }
        assert!(parse(&[0xff]).is_err());
    }

    proptest! {
        #[test]
        fn no_input_panics(data: Vec<u8>) {
            let _ = parse(&data);
            let _ = parse(&[b"/key/swarm/psk/1.0.0/\n/base16/\n", &data[..]].concat());
        }
    }

    #[test]
    fn a_new_key_is_private_and_replaces_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config/p2pimg/swarm.key");
        let key = create_swarm_key(&path, Overwrite::Never).unwrap();
        assert_eq!(read_swarm_key(&path).unwrap(), (key, None));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = create_swarm_key(&path, Overwrite::Never).unwrap_err();
        assert!(matches!(error, SwarmKeyError::Write(WriteError::Exists { .. })), "{error}");
        assert_eq!(read_swarm_key(&path).unwrap().0, key);
        let other = create_swarm_key(&path, Overwrite::Replace).unwrap();
        assert_ne!(other, key);
        assert_eq!(read_swarm_key(&path).unwrap().0, other);
    }

    #[test]
    fn a_missing_key_file_is_named() {
        let error = read_swarm_key(Path::new("/no/such/swarm.key")).unwrap_err();
        assert!(error.to_string().contains("/no/such/swarm.key"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(read_swarm_key(dir.path()), Err(SwarmKeyError::Malformed { .. })));
    }
}
