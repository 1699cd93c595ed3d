//! Having the disk begin with a file while the rest of it still comes.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::{CHUNK_BYTES, CHUNK_WINDOW, WRITE_BACK_BYTES};

/// How far a growing file is, and how much of it the disk was told to write. Only speed
/// depends on it: whoever wants the bytes to be durable syncs the file at the end.
#[derive(Debug, Default)]
pub struct WriteBack {
    written: AtomicU64,
    begun: AtomicU64,
}

impl WriteBack {
    /// `bytes` more were written to `file`, from its beginning to its end but for a window of
    /// chunks that may come in any order.
    pub fn wrote(&self, file: &File, bytes: usize) {
        let bytes = bytes as u64;
        let written = self.written.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let settled = written.saturating_sub((CHUNK_WINDOW * CHUNK_BYTES) as u64);
        let begun = self.begun.load(Ordering::Relaxed);
        if settled < begun + WRITE_BACK_BYTES {
            return;
        }
        // Another thread may have seen the same: one of them does it.
        let mine = self.begun.compare_exchange(begun, settled, Ordering::Relaxed, Ordering::Relaxed);
        if mine.is_ok() {
            begin(file, begun, settled - begun);
        }
    }
}

/// Has the disk begin with all of a short file that is complete.
pub fn begin_writing(file: &File, bytes: usize) {
    if bytes > 0 {
        begin(file, 0, bytes as u64);
    }
}

/// Linux begins to write what is said not to be needed, and does not wait for it; what is
/// being written stays in memory. (`sync_file_range`, which is meant for this, has no safe
/// binding; `fdatasync` would wait for the disk.)
#[cfg(target_os = "linux")]
fn begin(file: &File, offset: u64, length: u64) {
    use rustix::fs::{Advice, fadvise};
    // A file system that knows no advice loses nothing but time.
    let _ = fadvise(file, offset, std::num::NonZeroU64::new(length), Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn begin(_: &File, _: u64, _: u64) {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt as _;

    #[test]
    fn every_byte_is_begun_with_once_and_none_is_lost() {
        let file = tempfile::tempfile().unwrap();
        let back = WriteBack::default();
        let chunk = vec![7; CHUNK_BYTES];
        let chunks = 100;
        for index in 0..chunks {
            file.write_all_at(&chunk, index * CHUNK_BYTES as u64).unwrap();
            back.wrote(&file, chunk.len());
            let (written, begun) = (back.written.load(Ordering::Relaxed), back.begun.load(Ordering::Relaxed));
            assert_eq!(written, (index + 1) * CHUNK_BYTES as u64);
            assert!(begun == 0 || written - begun >= (CHUNK_WINDOW * CHUNK_BYTES) as u64);
            assert!(written - begun < (CHUNK_WINDOW * CHUNK_BYTES) as u64 + WRITE_BACK_BYTES);
        }
        let mut read = vec![0; chunks as usize * CHUNK_BYTES];
        file.read_exact_at(&mut read, 0).unwrap();
        assert!(read.iter().all(|byte| *byte == 7));
    }
}
