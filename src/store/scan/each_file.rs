//! Every file of a folder inspected once, for whoever keeps no index.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use super::pool::{Done, Outcome, Pool, Shared};
use super::walk::{self, Item, Skipped, Walk};
use crate::store::decode::Inspector;
use crate::store::folder::Root;
use crate::store::survey::{Counting, Look, Progress};

/// How long the walk waits for a file to be inspected before it looks again.
const PATIENCE: Duration = Duration::from_millis(100);

/// Inspects all files below `dir`, in no certain order.
///
/// # Errors
/// The folder can't be listed; or what `take` says.
pub(in crate::store) fn each_file(
    dir: &Path,
    inspector: &Inspector,
    threads: usize,
    progress: Progress<'_>,
    take: &mut dyn FnMut(Look) -> io::Result<()>,
) -> io::Result<()> {
    let root = Root::unmarked(dir);
    let (counting, cancel, over) = (Counting::default(), AtomicBool::new(false), AtomicBool::new(false));
    let shared = Shared { inspector, dir: root.dir(), cancel: &cancel, over: &over };
    thread::scope(|scope| {
        scope.spawn(|| walk::count(&root, walk::list, &counting.found, &|| counting.is_over()));
        let mut pool = Pool::new(scope, shared, threads);
        let mut looked_at = 0u64;
        let mut run = || {
            for item in Walk::all(&root, walk::list, &|_| {})? {
                match item {
                    Item::File { path, fingerprint } => {
                        while pool.is_full() {
                            if let Some(done) = pool.next(PATIENCE) {
                                looked_at += 1;
                                take(look(done))?;
                            }
                        }
                        pool.submit(path, fingerprint);
                    }
                    Item::Unreadable { path, reason } => {
                        take(Look::Failed { path: path.to_string(), reason })?;
                    }
                    Item::Hole(hole) => {
                        // An empty folder has no reason.
                        if let Some(reason) = hole.reason {
                            take(Look::Failed { path: hole.dir.to_string(), reason })?;
                        }
                    }
                    Item::Skipped(Skipped::OtherFolder(dir)) => {
                        let reason = "another node's folder: left out".to_owned();
                        take(Look::Failed { path: dir.to_string(), reason })?;
                    }
                    Item::Skipped(Skipped::Link) => {}
                    Item::Odd { shown, reason } => take(Look::Failed { path: shown, reason })?,
                }
                progress(looked_at, counting.found.load(Relaxed));
            }
            while pool.under_way() > 0 {
                if let Some(done) = pool.next(PATIENCE) {
                    looked_at += 1;
                    take(look(done))?;
                }
                progress(looked_at, counting.found.load(Relaxed));
            }
            Ok(())
        };
        let result = run();
        counting.over.store(true, Relaxed);
        over.store(true, Relaxed);
        result
    })
}

fn look(done: Done) -> Look {
    let failed = |reason: String| Look::Failed { path: done.path.to_string(), reason };
    match done.outcome {
        Outcome::Inspected(inspection) => {
            let file = (done.fingerprint.device, done.fingerprint.inode);
            Look::Seen { path: done.path, file, inspection }
        }
        Outcome::Changed => failed("it changed while it was looked at".to_owned()),
        Outcome::Failed(error) => failed(error.to_string()),
    }
}
