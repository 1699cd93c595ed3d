//! The marker: a small text file that names a folder. The same form is used for what the
//! state and the user's list remember of it.
//!
//! ```text
//! p2pimg folder 1
//! id 3f0c...(32 hexadecimal digits)
//! # comments
//! ```

use std::io;
use std::path::Path;

use thiserror::Error;

use super::home::read_small;
use crate::store::files::{AtomicFile, Overwrite, WriteError};
use crate::types::FolderId;

const FIRST_LINE: &str = "p2pimg folder 1";
/// A marker is about 200 bytes; a person may add comments.
const MAX_BYTES: u64 = 4096;
/// Leftovers of a crash while a marker was written begin like this.
pub(super) const MARKER_TEMP_PREFIX: &str = ".p2pimg-folder-";

pub(super) const NOTE: &str = "\
# This file tells p2pimg that this folder is really there, and not the empty mount point
# of a drive that is away. Keep it; without it the node for this folder does not start.
";

/// Why a marker can't be used.
#[derive(Debug, Error)]
pub(super) enum Malformed {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("written by a newer p2pimg ('{0}'): update this one")]
    Newer(String),
    #[error("damaged: it does not have the form of a folder marker")]
    Damaged,
}

/// The id in the marker at `path`; `None` when there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<FolderId>, Malformed> {
    match read_small(path, MAX_BYTES) {
        Ok(data) => parse(&data).map(Some),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(Malformed::Damaged),
        Err(e) => Err(Malformed::Io(e)),
    }
}

fn parse(data: &[u8]) -> Result<FolderId, Malformed> {
    let text = std::str::from_utf8(data).map_err(|_| Malformed::Damaged)?;
    let mut lines = text.lines().map(str::trim_end);
    match lines.next() {
        Some(FIRST_LINE) => {}
        Some(other) if other.starts_with("p2pimg folder ") && other.len() < 40 => {
            return Err(Malformed::Newer(other.to_owned()));
        }
        _ => return Err(Malformed::Damaged),
    }
    let digits = lines.find_map(|line| line.strip_prefix("id ")).ok_or(Malformed::Damaged)?;
    let plain = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let id = plain.then(|| u128::from_str_radix(digits, 16).ok()).flatten();
    id.map(FolderId).ok_or(Malformed::Damaged)
}

pub(super) fn write(path: &Path, id: FolderId, note: &str, overwrite: Overwrite) -> Result<(), WriteError> {
    let file = AtomicFile::with_prefix(path, 0o644, MARKER_TEMP_PREFIX)?;
    file.write_at(0, format!("{FIRST_LINE}\nid {id}\n{note}").as_bytes())?;
    file.commit(overwrite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_survive_writing_and_editors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("marker");
        assert_eq!(read(&path).unwrap(), None);
        write(&path, FolderId(42), NOTE, Overwrite::Never).unwrap();
        assert_eq!(read(&path).unwrap(), Some(FolderId(42)));
        let text = std::fs::read_to_string(&path).unwrap().replace('\n', "\r\n");
        std::fs::write(
            &path,
            text.to_uppercase().replace("P2PIMG FOLDER", "p2pimg folder").replace("ID ", "id "),
        )
        .unwrap();
        assert_eq!(read(&path).unwrap(), Some(FolderId(42)), "CRLF and upper-case digits");
    }

    #[test]
    fn other_files_are_no_markers() {
        let id = "00000000000000000000000000000001";
        for bad in [
            String::new(),
            "p2pimg folder 1\n".into(),
            format!("p2pimg folder 1\nid +{}", &id[1..]),
            format!("p2pimg folder 1\nid {id}0"),
            format!("id {id}\n"),
            "x".repeat(5000),
        ] {
            assert!(matches!(parse(bad.as_bytes()), Err(Malformed::Damaged)), "{bad:?}");
        }
        assert!(matches!(parse(&[0xff, 0xfe]), Err(Malformed::Damaged)));
        assert!(matches!(parse(b"p2pimg folder 2\nid 7"), Err(Malformed::Newer(_))));
    }
}
