//! Proving that a file's bytes are here, by reading them.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use crate::types::ContentId;

/// Bytes read at a time.
const PIECE_BYTES: usize = 512 * 1024;

/// Reads all of a regular file once: what its bytes are, and their BLAKE3 under `key`.
///
/// Not guaranteed: that they are still on the disk and not only in the system's memory. Bit
/// rot is found by whoever reads what was not read for long.
///
/// # Errors
/// The disk's, and when it is no regular file.
pub fn prove(path: &Path, key: &[u8; 32]) -> io::Result<(ContentId, [u8; 32])> {
    // Opening a named pipe would wait for a writer forever.
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file any more"));
    }
    let mut file = File::open(path)?;
    let (mut plain, mut keyed) = (blake3::Hasher::new(), blake3::Hasher::new_keyed(key));
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok((ContentId(*plain.finalize().as_bytes()), *keyed.finalize().as_bytes())),
            Ok(read) => {
                let read = piece.get(..read).unwrap_or_default();
                plain.update(read);
                keyed.update(read);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_is_of_the_bytes_and_of_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        for bytes in [0, 1, PIECE_BYTES, PIECE_BYTES + 1] {
            let data: Vec<u8> = (0..bytes).map(|i| (i * 7 / 3) as u8).collect();
            fs::write(&path, &data).unwrap();
            let (content, proof) = prove(&path, &[7; 32]).unwrap();
            assert_eq!(content, ContentId(*blake3::hash(&data).as_bytes()));
            assert_eq!(proof, *blake3::keyed_hash(&[7; 32], &data).as_bytes());
            assert_ne!(prove(&path, &[8; 32]).unwrap().1, proof);
        }
        assert!(prove(dir.path(), &[7; 32]).is_err());
    }
}
