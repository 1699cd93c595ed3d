//! One pass over the folder or a part of it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::known::Known;
use super::pool::{Done, Outcome, Pool};
use super::settle::{Now, Settling, Verdict};
use super::walk::{Hole, Item, List, Skipped, Walk, Way, way_to};
use super::{Inspect, Observer, Progress, Report, ScanError, Settings, Shelf};
use crate::limits::{
    BATCH_AGE, BATCH_BYTES, INDEX_BATCH, MAX_DIRTY_PATHS, MAX_REPORTED_PROBLEMS, PROGRESS_EVERY,
};
use crate::store::decode::{Inspected, Inspection};
use crate::store::folder::Root;
use crate::store::index::{Change, FileKind, FileRecord, Fingerprint, Found};
use crate::types::{RelPath, Traits};

/// Kinds of unprotected files that are counted apart.
const MAX_KINDS: usize = 64;

pub(super) struct Pass<'s, 'e, S, I> {
    root: &'e Root,
    list: List,
    cancel: &'e AtomicBool,
    observer: &'s dyn Observer,
    /// Files that the counting walk has found.
    found: &'e AtomicU64,
    shelf: &'s S,
    pool: Pool<'s, 'e, I>,
    settling: &'s mut Settling,
    distrusted: &'s mut HashSet<RelPath>,
    clock: &'s dyn Fn() -> Now,
    settings: Settings,
    /// The whole folder is looked at.
    full: bool,
    batch: Vec<Change>,
    batch_bytes: usize,
    batch_since: Instant,
    /// Withdrawn last, so that a content that only moved is never without a path.
    gone: Vec<RelPath>,
    report: Report,
    told: Instant,
    /// What was told.
    progress: Option<Progress>,
}

impl<'s, 'e, S: Shelf, I: Inspect> Pass<'s, 'e, S, I> {
    #[allow(clippy::type_complexity)]
    pub(super) fn new(
        (root, list, cancel, observer, found): (
            &'e Root,
            List,
            &'e AtomicBool,
            &'s dyn Observer,
            &'e AtomicU64,
        ),
        (shelf, pool): (&'s S, Pool<'s, 'e, I>),
        (settling, distrusted, clock, settings): (
            &'s mut Settling,
            &'s mut HashSet<RelPath>,
            &'s dyn Fn() -> Now,
            Settings,
        ),
    ) -> Self {
        let now = Instant::now();
        Self {
            root,
            list,
            cancel,
            observer,
            found,
            shelf,
            pool,
            settling,
            distrusted,
            clock,
            settings,
            full: false,
            batch: Vec::new(),
            batch_bytes: 0,
            batch_since: now,
            gone: Vec::new(),
            report: Report::default(),
            told: now,
            progress: None,
        }
    }

    pub(super) fn run(&mut self, paths: Option<&[RelPath]>) -> Result<(), ScanError> {
        let observer = self.observer;
        let enter = move |dir: &std::path::Path| observer.directory(dir);
        let shelf = self.shelf;
        let Some(paths) = paths else {
            self.full = true;
            let walk = Walk::all(self.root, self.list, &enter)
                .map_err(|source| ScanError::Unreadable { path: self.root.dir().to_path_buf(), source })?;
            self.merge(walk, Known::all(shelf))?;
            return self.finish();
        };
        for path in paths {
            let mut known = Known::part(shelf, path)?;
            match way_to(self.root, path) {
                Way::Open => self.merge(Walk::part(self.root, path, self.list, &enter), known)?,
                Way::Gone(hole) => self.missing_before(&mut known, hole.as_ref(), None)?,
                Way::Hidden(hole) => {
                    self.hole(&hole);
                    self.missing_before(&mut known, Some(&hole), None)?;
                }
                Way::Skipped => self.settling.done(path),
            }
        }
        self.finish()
    }

    fn merge(&mut self, walk: Walk<'_>, mut known: Known<'_, S>) -> Result<(), ScanError> {
        let mut hole: Option<Hole> = None;
        for item in walk {
            if self.cancel.load(Relaxed) {
                return Err(ScanError::Cancelled);
            }
            match item {
                Item::File { path, fingerprint } => {
                    self.missing_before(&mut known, hole.as_ref(), Some(path.as_bytes()))?;
                    let record = known.take(&path)?;
                    self.file(path, fingerprint, record)?;
                }
                Item::Unreadable { path, reason } => {
                    self.missing_before(&mut known, hole.as_ref(), Some(path.as_bytes()))?;
                    known.take(&path)?;
                    self.problem(&path, &reason);
                    self.settling.done(&path);
                }
                Item::Hole(new) => {
                    let start = [new.dir.as_bytes(), b"/"].concat();
                    self.missing_before(&mut known, hole.as_ref(), Some(&start))?;
                    self.hole(&new);
                    hole = Some(new);
                }
                Item::Skipped(Skipped::Link) => self.report.counts.links += 1,
                Item::Skipped(Skipped::OtherFolder(path)) => {
                    self.report.counts.other_folders += 1;
                    self.observer.problem(&path, "is the folder of another node and left to it");
                }
                Item::Odd { shown, reason } => {
                    tracing::warn!("skipping {shown}: {reason}");
                    self.report.problem_count += 1;
                }
            }
            self.tell(false);
        }
        self.missing_before(&mut known, hole.as_ref(), None)
    }

    /// Reports a folder that can't be read.
    fn hole(&mut self, hole: &Hole) {
        if let Some(reason) = &hole.reason {
            self.problem(&hole.dir, reason);
        }
    }

    /// Takes the files of the index up to `before`, which the folder does not show.
    fn missing_before(
        &mut self,
        known: &mut Known<'_, S>,
        hole: Option<&Hole>,
        before: Option<&[u8]>,
    ) -> Result<(), ScanError> {
        while let Some((path, record)) = known.next_before(before)? {
            if self.cancel.load(Relaxed) {
                return Err(ScanError::Cancelled);
            }
            self.missing(path, &record, hole)?;
        }
        Ok(())
    }

    fn missing(&mut self, path: RelPath, record: &FileRecord, hole: Option<&Hole>) -> Result<(), ScanError> {
        let device = record.fingerprint.device;
        if let Some(hole) = hole.filter(|hole| hole.hides(&path, device)) {
            self.hold(&path, hole);
            return Ok(());
        }
        // Once more, because a listing may miss what is renamed meanwhile.
        match way_to(self.root, &path) {
            Way::Hidden(hole) => self.hold(&path, &hole),
            Way::Gone(Some(hole)) if hole.hides(&path, device) => self.hold(&path, &hole),
            Way::Open if self.is_file(&path) => {
                self.settling.again(&path, (self.clock)(), self.settings.settle);
                self.report.counts.unsettled += 1;
            }
            // The whole folder is looked at when the node was off or events were lost: no
            // reason to wait for the second half of a rename.
            _ if !self.full && self.judge(&path, None, self.settings.settle) == Verdict::Wait => {}
            _ => {
                self.settling.done(&path);
                self.gone.push(path);
                if self.gone.len() >= MAX_DIRTY_PATHS {
                    self.withdraw()?;
                }
            }
        }
        Ok(())
    }

    fn is_file(&self, path: &RelPath) -> bool {
        std::fs::symlink_metadata(path.in_folder(self.root.dir())).is_ok_and(|meta| meta.is_file())
    }

    fn hold(&mut self, path: &RelPath, hole: &Hole) {
        self.settling.done(path);
        self.report.counts.held += 1;
        if hole.reason.is_none() {
            let reason = "is empty now, and its files were on another drive: is it mounted? They stay listed; \
                          remove the empty folder if they are really gone";
            if self.report.problems.iter().all(|(at, _)| *at != hole.dir) {
                self.problem(&hole.dir, reason);
            }
        }
    }

    fn judge(&mut self, path: &RelPath, seen: Option<&Fingerprint>, quiet: Duration) -> Verdict {
        let verdict = self.settling.judge(path, seen, (self.clock)(), quiet);
        if verdict == Verdict::Wait {
            self.report.counts.unsettled += 1;
        }
        verdict
    }

    fn file(
        &mut self,
        path: RelPath,
        seen: Fingerprint,
        record: Option<FileRecord>,
    ) -> Result<(), ScanError> {
        self.report.counts.looked_at += 1;
        if let Some(record) =
            record.filter(|r| is_same(&r.fingerprint, &seen) && !self.distrusted.contains(&path))
        {
            self.report.counts.unchanged += 1;
            if let FileKind::Unprotected { kind } = record.kind {
                self.count_unprotected(&kind);
            }
            self.settling.done(&path);
            return Ok(());
        }
        // A hidden file is often a copy under way: rsync writes `.name.XXXXXX`, then
        // renames.
        let hidden = path.file_name().first() == Some(&b'.');
        let quiet = if hidden { self.settings.settle_truncated } else { self.settings.settle };
        if self.judge(&path, Some(&seen), quiet) == Verdict::Take {
            while self.pool.is_full() {
                self.receive()?;
            }
            self.pool.submit(path, seen);
        }
        Ok(())
    }

    /// Waits a moment for an inspected file, and takes it.
    fn receive(&mut self) -> Result<(), ScanError> {
        let done = self.pool.next(PROGRESS_EVERY);
        if self.cancel.load(Relaxed) {
            return Err(ScanError::Cancelled);
        }
        if let Some(done) = done {
            self.inspected(done);
        }
        self.tell(false);
        let full = self.batch.len() >= INDEX_BATCH || self.batch_bytes >= BATCH_BYTES;
        if full || (!self.batch.is_empty() && self.batch_since.elapsed() >= BATCH_AGE) {
            self.flush()?;
        }
        Ok(())
    }

    fn inspected(&mut self, done: Done) {
        let Done { path, fingerprint, outcome } = done;
        let inspection = match outcome {
            Outcome::Inspected(inspection) => inspection,
            Outcome::Changed => {
                self.settling.again(&path, (self.clock)(), self.settings.settle);
                self.report.counts.unsettled += 1;
                return;
            }
            Outcome::Failed(e) => {
                self.settling.done(&path);
                self.problem(&path, &e.to_string());
                return;
            }
        };
        let damaged = matches!(&inspection, Inspection::Picture(p) if p.facts.traits.has(Traits::DAMAGED));
        if damaged && self.judge(&path, Some(&fingerprint), self.settings.settle_truncated) == Verdict::Wait {
            return;
        }
        self.settling.done(&path);
        self.distrusted.remove(&path);
        self.report.counts.inspected += 1;
        self.report.counts.inspected_bytes += fingerprint.bytes;
        let found = self.found(&path, inspection);
        if let Found::Picture { outline, .. } = &found {
            self.batch_bytes += outline.values().len();
        }
        self.push(Change::Seen { path, fingerprint, found });
    }

    fn found(&mut self, path: &RelPath, inspection: Inspection) -> Found {
        match inspection {
            Inspection::Picture(picture) => {
                let Inspected { facts, encoding, outline, signature, problem } = *picture;
                if let Some(problem) = &problem {
                    self.observer.problem(path, problem);
                }
                Found::Picture { facts, encoding, outline, signature, problem }
            }
            Inspection::Unprotected(kind) => {
                self.count_unprotected(kind);
                Found::Unprotected { kind: kind.to_owned() }
            }
            Inspection::NotPicture(problem) => {
                if let Some(problem) = &problem {
                    self.observer.problem(path, problem);
                }
                Found::NotPicture { problem }
            }
        }
    }

    fn count_unprotected(&mut self, kind: &str) {
        let kinds = &mut self.report.counts.unprotected;
        if let Some(count) = kinds.get_mut(kind) {
            *count += 1;
        } else if kinds.len() < MAX_KINDS {
            kinds.insert(kind.to_owned(), 1);
        }
    }

    fn problem(&mut self, path: &RelPath, reason: &str) {
        self.observer.problem(path, reason);
        self.report.problem_count += 1;
        if self.report.problems.len() < MAX_REPORTED_PROBLEMS {
            self.report.problems.push((path.clone(), reason.to_owned()));
        }
    }

    fn push(&mut self, change: Change) {
        if self.batch.is_empty() {
            self.batch_since = Instant::now();
        }
        self.batch.push(change);
    }

    /// Gives the batch to the index, if the folder is still the folder.
    fn flush(&mut self) -> Result<(), ScanError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.root.check_marker()?;
        self.batch_bytes = 0;
        let applied = self.shelf.apply(std::mem::take(&mut self.batch))?;
        self.observer.applied(applied);
        Ok(())
    }

    fn drain(&mut self) -> Result<(), ScanError> {
        while self.pool.under_way() > 0 {
            self.receive()?;
        }
        self.flush()
    }

    /// Withdraws what is gone, after all that was found is in the index.
    fn withdraw(&mut self) -> Result<(), ScanError> {
        self.drain()?;
        for path in std::mem::take(&mut self.gone) {
            self.report.counts.gone += 1;
            self.distrusted.remove(&path);
            self.push(Change::Gone { path });
            if self.batch.len() >= INDEX_BATCH {
                self.flush()?;
            }
        }
        self.flush()
    }

    fn finish(&mut self) -> Result<(), ScanError> {
        self.withdraw()?;
        self.tell(true);
        Ok(())
    }

    fn tell(&mut self, now: bool) {
        if now || self.told.elapsed() >= PROGRESS_EVERY {
            self.told = Instant::now();
            let counts = &self.report.counts;
            let progress = Progress {
                looked_at: counts.looked_at - self.pool.under_way() as u64,
                found: self.found.load(Relaxed).max(counts.looked_at),
                inspected: counts.inspected,
                bytes: counts.inspected_bytes,
            };
            // A large picture takes a second: ten times the same is no news.
            if self.progress.replace(progress) != Some(progress) {
                self.observer.progress(&progress);
            }
        }
    }

    pub(super) fn into_report(self) -> Report {
        let next_look = self.settling.next_due();
        Report { next_look, rescan: self.settling.overflow, ..self.report }
    }
}

/// See the module above: the device is left out on purpose.
fn is_same(a: &Fingerprint, b: &Fingerprint) -> bool {
    (a.bytes, a.mtime_ns, a.ctime_ns, a.inode) == (b.bytes, b.mtime_ns, b.ctime_ns, b.inode)
}
