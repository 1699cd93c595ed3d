//! When a file is taken: not while it is being written.
//!
//! A file counts as written to the end when neither its data nor its inode changed for a
//! while. The *later* of mtime and ctime counts: `cp -p`, `rsync -t` and `mv` give a new
//! file an old mtime, but nobody can set a ctime. A time in the future (a camera's or
//! another machine's clock) tells nothing; such a file is taken when two looks, as far
//! apart as the same while, saw no difference.
//!
//! A path that vanished waits the same way, so that a file that is renamed, or replaced by
//! deleting and writing anew, is not withdrawn and published again.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::limits::MAX_DIRTY_PATHS;
use crate::store::index::Fingerprint;
use crate::types::RelPath;

/// The two clocks: file times are compared with the wall's, pauses are measured with the
/// one that nobody sets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) wall: SystemTime,
    pub(super) steady: Instant,
}

impl Now {
    pub(super) fn get() -> Self {
        Self { wall: SystemTime::now(), steady: Instant::now() }
    }

    /// How long ago the file changed; `None`: in the future.
    fn age(self, seen: &Fingerprint) -> Option<Duration> {
        let wall = self.wall.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos().cast_signed());
        let age = wall - seen.mtime_ns.max(seen.ctime_ns);
        u64::try_from(age).ok().map(Duration::from_nanos)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Take,
    /// Look again then.
    Wait,
}

#[derive(Debug)]
struct Waiting {
    /// What the last look saw; `None`: nothing there.
    seen: Option<Fingerprint>,
    /// The first look that saw this.
    since: Instant,
    due: Instant,
}

/// The files and paths that wait.
#[derive(Debug, Default)]
pub(super) struct Settling {
    waiting: HashMap<RelPath, Waiting>,
    /// Some path found no room: everything has to be looked at again.
    pub(super) overflow: bool,
}

impl Settling {
    /// Judges a look at `path` that saw `seen`, when it has to be unchanged for `quiet`.
    pub(super) fn judge(
        &mut self,
        path: &RelPath,
        seen: Option<&Fingerprint>,
        now: Now,
        quiet: Duration,
    ) -> Verdict {
        let age = seen.and_then(|seen| now.age(seen));
        let known = self.waiting.get(path).filter(|w| w.seen.as_ref() == seen);
        if known.is_some_and(|w| now.steady < w.due) {
            return Verdict::Wait;
        }
        let since = known.map_or(now.steady, |w| w.since);
        let watched = now.steady.saturating_duration_since(since);
        let quiet_for = age.unwrap_or_default().max(watched);
        if quiet_for >= quiet {
            return Verdict::Take;
        }
        self.wait(
            path,
            Waiting { seen: seen.copied(), since, due: now.steady + quiet.saturating_sub(quiet_for) },
        );
        Verdict::Wait
    }

    /// The file changed while it was being read.
    pub(super) fn again(&mut self, path: &RelPath, now: Now, quiet: Duration) {
        self.wait(path, Waiting { seen: None, since: now.steady, due: now.steady + quiet });
    }

    /// Nothing is open about `path` any more.
    pub(super) fn done(&mut self, path: &RelPath) {
        self.waiting.remove(path);
    }

    fn wait(&mut self, path: &RelPath, waiting: Waiting) {
        if self.waiting.len() < MAX_DIRTY_PATHS || self.waiting.contains_key(path) {
            self.waiting.insert(path.clone(), waiting);
        } else {
            self.overflow = true;
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// When the next path is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.values().map(|w| w.due).min()
    }

    /// [`Settling::done`], unless `path` waits for a later look than at `now`.
    pub(super) fn done_if_due(&mut self, path: &RelPath, now: Instant) {
        if self.waiting.get(path).is_some_and(|w| w.due <= now) {
            self.done(path);
        }
    }

    /// The paths that are due, in order.
    pub(super) fn due(&self, now: Instant) -> Vec<RelPath> {
        let due = self.waiting.iter().filter(|(_, w)| w.due <= now).map(|(path, _)| path.clone());
        let mut due: Vec<_> = due.collect();
        due.sort_unstable();
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_secs(1);
    const NS: i128 = 1_000_000_000;

    fn at(ms: u64) -> Now {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let start = *START.get_or_init(Instant::now);
        let passed = Duration::from_millis(ms);
        Now { wall: UNIX_EPOCH + Duration::from_secs(1000) + passed, steady: start + passed }
    }

    fn file(mtime: i128, ctime: i128) -> Fingerprint {
        Fingerprint { bytes: 1, mtime_ns: mtime, ctime_ns: ctime, inode: 1, device: 1 }
    }

    fn path() -> RelPath {
        RelPath::from_bytes(b"a.jpg".to_vec()).unwrap()
    }

    #[test]
    fn an_old_file_is_taken_at_once_and_a_young_one_when_it_is_old() {
        let mut settling = Settling::default();
        assert_eq!(settling.judge(&path(), Some(&file(0, 0)), at(0), QUIET), Verdict::Take);
        // An old mtime on a young inode: `cp -p`.
        let copied = file(0, 1000 * NS - 400_000_000);
        assert_eq!(settling.judge(&path(), Some(&copied), at(0), QUIET), Verdict::Wait);
        assert_eq!(settling.next_due(), Some(at(600).steady));
        assert_eq!(settling.judge(&path(), Some(&copied), at(599), QUIET), Verdict::Wait);
        assert_eq!(settling.due(at(599).steady), []);
        assert_eq!(settling.due(at(600).steady), [path()]);
        assert_eq!(settling.judge(&path(), Some(&copied), at(600), QUIET), Verdict::Take);
    }

    #[test]
    fn a_growing_file_waits_as_long_as_it_grows() {
        let mut settling = Settling::default();
        for tick in 0..50 {
            let growing = Fingerprint { bytes: tick, ..file(0, 1000 * NS + i128::from(tick) * NS / 2) };
            assert_eq!(settling.judge(&path(), Some(&growing), at(tick * 500), QUIET), Verdict::Wait);
        }
    }

    #[test]
    fn a_file_from_the_future_is_taken_after_two_equal_looks() {
        let mut settling = Settling::default();
        let future = file(9999 * NS, 1000 * NS);
        assert_eq!(settling.judge(&path(), Some(&future), at(0), QUIET), Verdict::Wait);
        let changed = Fingerprint { bytes: 2, ..future };
        assert_eq!(settling.judge(&path(), Some(&changed), at(900), QUIET), Verdict::Wait);
        assert_eq!(settling.judge(&path(), Some(&changed), at(1200), QUIET), Verdict::Wait);
        assert_eq!(settling.judge(&path(), Some(&changed), at(1900), QUIET), Verdict::Take);
    }

    #[test]
    fn what_is_missing_twice_is_gone() {
        let mut settling = Settling::default();
        assert_eq!(settling.judge(&path(), None, at(0), QUIET), Verdict::Wait);
        assert_eq!(settling.judge(&path(), None, at(999), QUIET), Verdict::Wait);
        assert_eq!(settling.judge(&path(), None, at(1000), QUIET), Verdict::Take);
        settling.done(&path());
        assert_eq!(settling.len(), 0);
    }

    #[test]
    fn a_longer_wait_is_not_cut_short_and_ends() {
        let mut settling = Settling::default();
        let truncated = file(0, 998 * NS);
        assert_eq!(settling.judge(&path(), Some(&truncated), at(0), QUIET), Verdict::Take);
        let long = Duration::from_secs(60);
        assert_eq!(settling.judge(&path(), Some(&truncated), at(0), long), Verdict::Wait);
        assert_eq!(settling.judge(&path(), Some(&truncated), at(5000), QUIET), Verdict::Wait, "not yet due");
        for quiet in [QUIET, long] {
            assert_eq!(settling.judge(&path(), Some(&truncated), at(58_000), quiet), Verdict::Take);
        }
    }

    #[test]
    fn too_many_waiting_paths_are_remembered_as_such() {
        let mut settling = Settling::default();
        for n in 0..=MAX_DIRTY_PATHS {
            let path = RelPath::from_bytes(n.to_string().into_bytes()).unwrap();
            settling.judge(&path, None, at(0), QUIET);
        }
        assert_eq!(settling.len(), MAX_DIRTY_PATHS);
        assert!(settling.overflow);
    }
}
