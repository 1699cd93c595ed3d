//! The threads that inspect files: as many as there are cores, started when there is work,
//! with bounded queues. Never the asynchronous runtime's: decoding would starve it.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;
use std::time::Duration;

use super::Inspect;
use super::walk::{fingerprint, is_absent};
use crate::limits::SCAN_QUEUE;
use crate::store::decode::Inspection;
use crate::store::index::Fingerprint;
use crate::types::RelPath;

#[derive(Debug)]
struct Job {
    path: RelPath,
    fingerprint: Fingerprint,
}

pub(super) enum Outcome {
    Inspected(Inspection),
    /// It is not the file that was to be inspected any more.
    Changed,
    Failed(io::Error),
}

pub(super) struct Done {
    pub(super) path: RelPath,
    pub(super) fingerprint: Fingerprint,
    pub(super) outcome: Outcome,
}

/// What every worker shares.
pub(super) struct Shared<'e, I> {
    pub(super) inspector: &'e I,
    pub(super) dir: &'e Path,
    pub(super) cancel: &'e AtomicBool,
    /// The pass is over, with or without success.
    pub(super) over: &'e AtomicBool,
}

impl<I> Clone for Shared<'_, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for Shared<'_, I> {}

pub(super) struct Pool<'s, 'e, I> {
    scope: &'s Scope<'s, 'e>,
    shared: Shared<'e, I>,
    jobs: SyncSender<Job>,
    queue: Arc<Mutex<Receiver<Job>>>,
    done: Receiver<Done>,
    report: SyncSender<Done>,
    under_way: usize,
    workers: usize,
    max_workers: usize,
}

impl<'s, 'e, I: Inspect> Pool<'s, 'e, I> {
    pub(super) fn new(scope: &'s Scope<'s, 'e>, shared: Shared<'e, I>, max_workers: usize) -> Self {
        // At most SCAN_QUEUE files are under way, so neither queue is ever full and no
        // send ever waits.
        let (jobs, queue) = sync_channel(SCAN_QUEUE);
        let (report, done) = sync_channel(SCAN_QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        Self {
            scope,
            shared,
            jobs,
            queue,
            done,
            report,
            under_way: 0,
            workers: 0,
            max_workers: max_workers.max(1),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.under_way >= SCAN_QUEUE
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    /// Hands a file to the workers. Only when not full.
    pub(super) fn submit(&mut self, path: RelPath, fingerprint: Fingerprint) {
        if self.under_way >= self.workers && self.workers < self.max_workers {
            self.workers += 1;
            let (shared, queue, report) = (self.shared, Arc::clone(&self.queue), self.report.clone());
            self.scope.spawn(move || work(shared, &queue, &report));
        }
        if self.jobs.try_send(Job { path, fingerprint }).is_ok() {
            self.under_way += 1;
        }
    }

    /// The next finished file, if one comes within `patience`.
    pub(super) fn next(&mut self, patience: Duration) -> Option<Done> {
        match self.done.recv_timeout(patience) {
            Ok(done) => {
                self.under_way -= 1;
                Some(done)
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }
}

fn work<I: Inspect>(shared: Shared<'_, I>, queue: &Mutex<Receiver<Job>>, report: &SyncSender<Done>) {
    loop {
        // The lock is held while waiting, so the others wait for the lock instead: the
        // same to them.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { path, fingerprint }) = job else { return };
        if shared.cancel.load(Relaxed) || shared.over.load(Relaxed) {
            return;
        }
        // A decoder that panics costs one file.
        let outcome = catch_unwind(AssertUnwindSafe(|| inspect(shared, &path, &fingerprint)))
            .unwrap_or_else(|_| Outcome::Failed(io::Error::other("reading it failed in an unforeseen way")));
        if report.send(Done { path, fingerprint, outcome }).is_err() {
            return;
        }
    }
}

fn inspect<I: Inspect>(shared: Shared<'_, I>, path: &RelPath, expected: &Fingerprint) -> Outcome {
    let full = path.in_folder(shared.dir);
    let look = || -> io::Result<Outcome> {
        let file = File::open(&full)?;
        if fingerprint(&file.metadata()?) != *expected {
            return Ok(Outcome::Changed);
        }
        let inspection = shared.inspector.inspect(&file, path.file_name())?;
        // Both the file that was read and the one that has its name now.
        let same = fingerprint(&file.metadata()?) == *expected
            && fingerprint(&fs::symlink_metadata(&full)?) == *expected;
        Ok(if same { Outcome::Inspected(inspection) } else { Outcome::Changed })
    };
    match look() {
        Ok(outcome) => outcome,
        Err(e) if is_absent(&e) => Outcome::Changed,
        Err(e) => Outcome::Failed(e),
    }
}
