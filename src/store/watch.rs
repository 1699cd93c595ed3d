//! Keeps the index true to the folder while the node runs: one thread that scans, then
//! waits for changes, for unsettled files, for the periodic rescan, or for the end.
//!
//! Events of the system only tell *where* to look, never what happened: they get lost, and
//! some file systems (network ones) send none. The periodic rescan finds what they missed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::folder::Root;
use super::index::Applied;
use super::scan::{Inspect, Observer, Progress, Report, ScanError, Scanner, Settings, Shelf};
use crate::limits::{DEBOUNCE, FOLDER_QUEUE, MAX_DIRTY_PATHS, RESCAN_EVERY, SETTLE, TROUBLE_RETRY};
use crate::types::RelPath;

mod watcher;

use watcher::Watcher;

/// Problems remembered so that each is told once and not at every rescan.
const MAX_TOLD: usize = 4096;
/// How often a full event queue is tried again.
const QUEUE_RETRY: Duration = Duration::from_millis(10);

/// What the folder's thread tells the node.
#[derive(Debug)]
pub enum FolderEvent {
    /// How far a scan of the whole folder is. Left out while the queue is full.
    Progress(Progress),
    /// The index changed.
    Applied(Applied),
    /// A scan of the whole folder is done, or a smaller look that changed something, be it what
    /// can't be read.
    ScanDone {
        /// The whole folder was scanned.
        full: bool,
        /// What it did.
        report: Box<Report>,
    },
    /// A path that can't be used, wholly or partly. Told once for each reason.
    Problem {
        /// The path.
        path: RelPath,
        /// Why.
        reason: String,
    },
    /// Something a person should know, and the node goes on.
    Warning(String),
    /// The folder can't be used at present (its drive is away, ...): nothing is changed
    /// until [`FolderEvent::Recovered`].
    Trouble(String),
    /// The folder is usable again; a scan of it is done.
    Recovered,
}

/// How the folder is kept.
#[derive(Debug, Clone, Copy)]
pub struct TaskSettings {
    /// Of its scans.
    pub scan: Settings,
    /// See [`RESCAN_EVERY`].
    pub rescan_every: Duration,
    /// See [`TROUBLE_RETRY`].
    pub trouble_retry: Duration,
    /// Have the system tell of changes.
    pub watch: bool,
}

impl Default for TaskSettings {
    fn default() -> Self {
        Self {
            scan: Settings::default(),
            rescan_every: RESCAN_EVERY,
            trouble_retry: TROUBLE_RETRY,
            watch: true,
        }
    }
}

/// What waits to be looked at.
#[derive(Debug, Default)]
struct Inbox {
    dirty: BTreeSet<RelPath>,
    /// Since when `dirty` is not empty.
    since: Option<Instant>,
    distrusted: Vec<RelPath>,
    rescan: bool,
}

#[derive(Debug)]
struct Shared {
    inbox: Mutex<Inbox>,
    wake: Condvar,
    cancel: Arc<AtomicBool>,
}

impl Shared {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self, path: RelPath) {
        let mut inbox = self.inbox();
        if inbox.dirty.len() >= MAX_DIRTY_PATHS {
            inbox.rescan = true;
            inbox.dirty.clear();
        } else if !inbox.rescan {
            inbox.dirty.insert(path);
            inbox.since.get_or_insert_with(Instant::now);
        }
        self.wake.notify_all();
    }

    fn rescan(&self) {
        self.inbox().rescan = true;
        self.wake.notify_all();
    }

    fn cancelled(&self) -> bool {
        self.cancel.load(Relaxed)
    }
}

/// The thread that keeps the index true to a folder.
#[derive(Debug)]
pub struct FolderTask {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl FolderTask {
    /// Starts the thread; its first act is a scan of the whole folder. A receiver that is
    /// not read makes it wait; one that is dropped ends it.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start<S: Shelf + 'static, I: Inspect + 'static>(
        root: &Root,
        shelf: Arc<S>,
        inspector: Arc<I>,
        settings: TaskSettings,
    ) -> std::io::Result<(Self, mpsc::Receiver<FolderEvent>)> {
        let cancel = Arc::new(AtomicBool::new(false));
        let shared =
            Arc::new(Shared { inbox: Mutex::default(), wake: Condvar::new(), cancel: Arc::clone(&cancel) });
        let (sender, events) = mpsc::channel(FOLDER_QUEUE);
        let scanner = Scanner::new(root.clone(), shelf, inspector, settings.scan, cancel);
        let task = (root.clone(), Arc::clone(&shared));
        let thread = thread::Builder::new().name("folder".into()).spawn(move || {
            let (root, shared) = task;
            let reporter = Reporter::new(&root, shared, sender, settings.watch);
            let next_full = Instant::now();
            Keeper { scanner, reporter, settings, next_full, trouble: None, unreadable: 0 }.run();
        })?;
        Ok((Self { shared, thread: Some(thread) }, events))
    }

    /// Has the file at `path` read again, whatever its fingerprint says: its bytes were
    /// not what they should be.
    pub fn distrust(&self, path: RelPath) {
        let mut inbox = self.shared.inbox();
        if inbox.distrusted.len() < MAX_DIRTY_PATHS {
            inbox.distrusted.push(path.clone());
        }
        drop(inbox);
        self.shared.mark(path);
    }

    /// Has the whole folder looked at now.
    pub fn rescan(&self) {
        self.shared.rescan();
    }

    /// Ends the thread and waits for it: at most as long as the files take that are being
    /// inspected just now.
    pub fn stop(mut self) {
        self.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// Ends the thread without waiting for it.
    pub fn cancel(&self) {
        self.shared.cancel.store(true, Relaxed);
        // With the lock, so that the thread can't be between its check and its wait.
        let _inbox = self.shared.inbox();
        self.shared.wake.notify_all();
    }
}

impl Drop for FolderTask {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// What to do next.
enum Work {
    Full,
    Paths(Vec<RelPath>),
    Waiting,
    Stop,
}

struct Keeper<S, I> {
    scanner: Scanner<S, I>,
    reporter: Reporter,
    settings: TaskSettings,
    next_full: Instant,
    /// What was told last, while the folder can't be used.
    trouble: Option<String>,
    /// How many paths could not be read, as it was told last.
    unreadable: u64,
}

impl<S: Shelf, I: Inspect> Keeper<S, I> {
    fn run(&mut self) {
        loop {
            let (full, result) = match self.next_work() {
                Work::Stop => return,
                Work::Full => {
                    self.reporter.begin_full();
                    (true, self.scanner.full_scan(&self.reporter))
                }
                Work::Paths(paths) => (false, self.scanner.look_at(&paths, &self.reporter)),
                Work::Waiting => (false, self.scanner.look_at_waiting(&self.reporter)),
            };
            self.reporter.full.set(false);
            match result {
                Ok(report) => self.done(full, report),
                Err(ScanError::Cancelled) => return,
                Err(error) => self.troubled(&error),
            }
        }
    }

    fn next_work(&mut self) -> Work {
        let shared = Arc::clone(&self.reporter.shared);
        let mut inbox = shared.inbox();
        loop {
            if shared.cancelled() {
                return Work::Stop;
            }
            let now = Instant::now();
            if std::mem::take(&mut inbox.rescan) || now >= self.next_full {
                // All of it is looked at anyway, by what follows.
                inbox.dirty.clear();
                inbox.since = None;
                inbox.distrusted.drain(..).for_each(|path| self.scanner.distrust(path));
                return Work::Full;
            }
            let mut until = self.next_full;
            // In trouble only whole scans make sense: the first one that works ends it.
            if self.trouble.is_none() {
                let looks = inbox.since.map(|since| since + DEBOUNCE);
                if looks.is_some_and(|at| at <= now) {
                    inbox.since = None;
                    inbox.distrusted.drain(..).for_each(|path| self.scanner.distrust(path));
                    return Work::Paths(topmost(&std::mem::take(&mut inbox.dirty)));
                }
                let waiting = self.scanner.next_look();
                if waiting.is_some_and(|at| at <= now) {
                    return Work::Waiting;
                }
                until = [looks, waiting].into_iter().flatten().fold(until, Instant::min);
            }
            let wait = until.saturating_duration_since(now);
            inbox = shared.wake.wait_timeout(inbox, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn done(&mut self, full: bool, report: Report) {
        if full {
            let pause = if report.rescan { SETTLE } else { self.settings.rescan_every };
            self.next_full = Instant::now() + pause;
        } else if report.rescan {
            self.next_full = self.next_full.min(Instant::now() + SETTLE);
        }
        let changed = report.counts.inspected + report.counts.gone > 0;
        let unreadable = std::mem::replace(&mut self.unreadable, report.problem_count);
        if full || changed || unreadable != report.problem_count {
            self.reporter.send(FolderEvent::ScanDone { full, report: Box::new(report) });
        }
        if self.trouble.take().is_some() {
            self.reporter.send(FolderEvent::Recovered);
        }
    }

    fn troubled(&mut self, error: &ScanError) {
        self.next_full = Instant::now() + self.settings.trouble_retry;
        let text = error.to_string();
        if self.trouble.as_ref() != Some(&text) {
            self.trouble = Some(text.clone());
            self.reporter.send(FolderEvent::Trouble(text));
        }
    }
}

/// `paths` without those below another of them.
fn topmost(paths: &BTreeSet<RelPath>) -> Vec<RelPath> {
    let covered = |path: &RelPath| {
        let bytes = path.as_bytes();
        let ends = bytes.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        ends.filter_map(|end| RelPath::from_bytes(bytes.get(..end)?.to_vec()))
            .any(|above| paths.contains(&above))
    };
    paths.iter().filter(|path| !covered(path)).cloned().collect()
}

/// Turns what a scan tells into events, and its folders into watches.
struct Reporter {
    shared: Arc<Shared>,
    events: mpsc::Sender<FolderEvent>,
    watcher: Option<RefCell<Watcher>>,
    /// A scan of the whole folder is under way.
    full: Cell<bool>,
    told: RefCell<HashSet<(RelPath, String)>>,
}

impl Reporter {
    fn new(root: &Root, shared: Arc<Shared>, events: mpsc::Sender<FolderEvent>, watch: bool) -> Self {
        let mut reporter =
            Self { shared, events, watcher: None, full: Cell::new(false), told: RefCell::default() };
        if watch {
            match Watcher::new(root, &reporter.shared) {
                Ok(watcher) => reporter.watcher = Some(RefCell::new(watcher)),
                Err(warning) => reporter.send(FolderEvent::Warning(warning)),
            }
        }
        reporter
    }

    fn begin_full(&self) {
        self.full.set(true);
        if let Some(watcher) = &self.watcher {
            watcher.borrow_mut().begin();
        }
    }

    /// Waits for room, but not longer than the node lives: one that shuts down need not
    /// read the queue first.
    fn send(&self, mut event: FolderEvent) {
        while !self.shared.cancelled() {
            event = match self.events.try_send(event) {
                Ok(()) => return,
                Err(TrySendError::Closed(_)) => return self.shared.cancel.store(true, Relaxed),
                Err(TrySendError::Full(event)) => event,
            };
            thread::sleep(QUEUE_RETRY);
        }
    }
}

impl Observer for Reporter {
    fn directory(&self, dir: &Path) {
        let Some(watcher) = &self.watcher else { return };
        let warning = watcher.borrow_mut().watch(dir);
        if let Some(warning) = warning {
            self.send(FolderEvent::Warning(warning));
        }
    }

    fn progress(&self, progress: &Progress) {
        if self.full.get() {
            let _ = self.events.try_send(FolderEvent::Progress(*progress));
        }
    }

    fn applied(&self, applied: Applied) {
        self.send(FolderEvent::Applied(applied));
    }

    fn problem(&self, path: &RelPath, reason: &str) {
        let mut told = self.told.borrow_mut();
        if told.len() >= MAX_TOLD {
            told.clear();
        }
        if told.insert((path.clone(), reason.to_owned())) {
            drop(told);
            self.send(FolderEvent::Problem { path: path.clone(), reason: reason.to_owned() });
        }
    }
}

#[cfg(test)]
mod tests;
