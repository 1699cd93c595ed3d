//! What stops drops that a person would not have wanted: too many at once, and files that
//! are never to be dropped.
//!
//! A wrong threshold, a decoder that breaks with an update, a folder that was mounted
//! wrongly: all of them look like very many duplicates. So a run of drops that would take
//! more than a share of the folder waits for a person. Small numbers pass: in a folder of
//! thirty pictures ten duplicates are nothing unusual, and all of them are in the trash.
//!
//! Not guaranteed: that many small runs stay below the share together. The caller decides
//! what a run is; it should count all drops since the last approval or since a quiet day.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use thiserror::Error;

use crate::limits::{BRAKE_FREE_FILES, BRAKE_PERCENT, MAX_KEEP_GLOBS};
use crate::types::RelPath;

/// How much one run of drops may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brake {
    /// Share of the folder, in percent; 100 and more never stop.
    pub percent: u8,
    /// Files that may always go.
    pub free: u64,
}

impl Default for Brake {
    fn default() -> Self {
        Self { percent: BRAKE_PERCENT, free: BRAKE_FREE_FILES }
    }
}

/// A run of drops, as far as it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Run {
    /// Pictures in the folder when the run began.
    pub files: u64,
    /// Dropped in this run.
    pub dropped: u64,
    /// To be dropped yet.
    pub planned: u64,
    /// Drops of this run that a person approved, all together; 0 when nobody did.
    pub approved: u64,
}

/// Whether a run may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Go,
    /// It stops until somebody approves.
    Wait {
        /// Files that the run would take, with those it took.
        would_take: u64,
        /// Files that it may take.
        allowed: u64,
        /// Files in the folder.
        files: u64,
    },
}

impl Brake {
    /// Whether all that is planned may be dropped. It is all or nothing: the first 30 % of
    /// a wrong run are as wrong as the rest.
    #[must_use]
    pub fn judge(&self, run: Run) -> Verdict {
        let would_take = run.dropped.saturating_add(run.planned);
        let share = u128::from(run.files) * u128::from(self.percent) / 100;
        let share = u64::try_from(share).unwrap_or(u64::MAX);
        let allowed = share.max(self.free).max(run.approved);
        if run.planned == 0 || self.percent >= 100 || would_take <= allowed {
            return Verdict::Go;
        }
        Verdict::Wait { would_take, allowed, files: run.files }
    }
}

/// Why patterns can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeepError {
    /// Not a pattern.
    #[error("'{pattern}' is no pattern for files to keep: {reason}")]
    Pattern {
        /// What was given.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// More than [`MAX_KEEP_GLOBS`].
    #[error("more than {MAX_KEEP_GLOBS} patterns for files to keep")]
    TooMany,
}

/// Files that are never dropped (`--keep`).
///
/// A pattern without `/` is about a name at any depth (`*.tif`, `Wedding`), one with `/`
/// about a path from the folder on (`2019/**`, `/best/*.jpg`); `*` does not cross a `/`. A
/// folder that matches protects all that is in it. Upper and lower case are alike: of two
/// mistakes, keeping `IMG.TIF` for `*.tif` is the harmless one.
#[derive(Debug, Clone)]
pub struct Keep {
    names: GlobSet,
    paths: GlobSet,
}

impl Default for Keep {
    fn default() -> Self {
        Self { names: GlobSet::empty(), paths: GlobSet::empty() }
    }
}

impl Keep {
    /// Takes the patterns.
    ///
    /// # Errors
    /// [`KeepError`].
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, KeepError> {
        let (mut names, mut paths) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for (count, pattern) in patterns.into_iter().enumerate() {
            if count >= MAX_KEEP_GLOBS {
                return Err(KeepError::TooMany);
            }
            let fail = |reason: String| KeepError::Pattern { pattern: pattern.to_owned(), reason };
            let body = pattern.strip_suffix('/').unwrap_or(pattern);
            let anchored = body.contains('/');
            let body = body.strip_prefix('/').unwrap_or(body);
            if body.is_empty() {
                return Err(fail("it is empty".into()));
            }
            let glob = GlobBuilder::new(body).literal_separator(true).case_insensitive(true).build();
            let glob = glob.map_err(|e| fail(e.kind().to_string()))?;
            if anchored { &mut paths } else { &mut names }.add(glob);
        }
        let build = |set: &GlobSetBuilder| {
            set.build().map_err(|e| KeepError::Pattern { pattern: String::new(), reason: e.to_string() })
        };
        Ok(Self { names: build(&names)?, paths: build(&paths)? })
    }

    /// Whether the file must stay.
    #[must_use]
    pub fn has(&self, path: &RelPath) -> bool {
        let bytes = path.as_bytes();
        let ends = bytes.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        ends.chain([bytes.len()]).any(|end| {
            let so_far = bytes.get(..end).unwrap_or_default();
            let name = so_far.rsplit(|b| *b == b'/').next().unwrap_or_default();
            let path = |bytes| Path::new(OsStr::from_bytes(bytes));
            self.names.is_match(path(name)) || self.paths.is_match(path(so_far))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(files: u64, dropped: u64, planned: u64) -> Run {
        Run { files, dropped, planned, approved: 0 }
    }

    #[test]
    fn a_run_stops_beyond_the_share_and_beyond_twenty() {
        let brake = Brake::default();
        assert_eq!(brake.judge(run(1000, 0, 300)), Verdict::Go);
        let wait = Verdict::Wait { would_take: 301, allowed: 300, files: 1000 };
        assert_eq!(brake.judge(run(1000, 0, 301)), wait);
        assert_eq!(brake.judge(run(1000, 300, 1)), wait, "what is dropped already counts");
        assert_eq!(brake.judge(run(1000, 900, 0)), Verdict::Go, "nothing is left to stop");
        assert_eq!(brake.judge(run(20, 0, 20)), Verdict::Go, "few files");
        assert!(matches!(brake.judge(run(30, 0, 21)), Verdict::Wait { allowed: 20, .. }));
        assert_eq!(brake.judge(run(70, 0, 21)), Verdict::Go);
        assert!(matches!(brake.judge(run(69, 0, 21)), Verdict::Wait { .. }));
    }

    #[test]
    fn an_approval_is_for_a_number_of_files() {
        let approved = Run { approved: 500, ..run(1000, 100, 400) };
        assert_eq!(Brake::default().judge(approved), Verdict::Go);
        let more = Run { planned: 401, ..approved };
        assert!(matches!(Brake::default().judge(more), Verdict::Wait { allowed: 500, .. }));
    }

    #[test]
    fn the_limits_can_be_moved() {
        assert_eq!(Brake { percent: 100, free: 0 }.judge(run(10, 0, 10)), Verdict::Go);
        assert!(matches!(Brake { percent: 0, free: 0 }.judge(run(10, 0, 1)), Verdict::Wait { .. }));
    }

    proptest! {
        #[test]
        fn more_drops_never_release_the_brake(
            files in any::<u64>(), dropped in any::<u64>(), planned in 1..u64::MAX, percent in any::<u8>(),
        ) {
            let brake = Brake { percent, free: 20 };
            if brake.judge(run(files, dropped, planned)) != Verdict::Go {
                prop_assert!(brake.judge(run(files, dropped, planned + 1)) != Verdict::Go);
                prop_assert!(brake.judge(run(files, dropped.saturating_add(1), planned)) != Verdict::Go);
            }
        }
    }

    fn kept(patterns: &[&str], path: &[u8]) -> bool {
        Keep::new(patterns.iter().copied()).unwrap().has(&RelPath::from_bytes(path.to_vec()).unwrap())
    }

    #[test]
    fn patterns_keep_names_paths_and_whole_folders() {
        for (pattern, path) in [
            ("*.tif", "a/b/scan.tif"),
            ("*.tif", "SCAN.TIF"),
            ("Wedding", "2019/wedding/a/b.jpg"),
            ("Wedding/", "Wedding/b.jpg"),
            ("2019/**", "2019/a/b.jpg"),
            ("2019/*", "2019/a/b.jpg"),
            ("/best/*.jpg", "best/a.jpg"),
            ("IMG_[0-9]?.{jpg,png}", "x/IMG_12.png"),
            ("**/raw/*", "a/b/raw/c.jpg"),
        ] {
            assert!(kept(&[pattern], path.as_bytes()), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("*.tif", "a.tiff"),
            ("/best/*.jpg", "a/best/a.jpg"),
            ("2019/*.jpg", "2019/a/b.jpg"),
            ("a", "ab"),
        ] {
            assert!(!kept(&[pattern], path.as_bytes()), "{pattern} {path}");
        }
        assert!(!kept(&[], b"a.jpg"));
        assert!(kept(&["*.jpg"], b"\xff\xfe.jpg"), "names that are not UTF-8");
        assert!(kept(&["x", "*.jpg"], b"d/a.jpg"));
    }

    #[test]
    fn what_is_no_pattern_is_named() {
        for pattern in ["", "/", "[a", "{a"] {
            let error = Keep::new([pattern]).unwrap_err();
            assert!(matches!(&error, KeepError::Pattern { pattern: p, .. } if p == pattern), "{error}");
        }
        assert_eq!(Keep::new(std::iter::repeat_n("a", 257)).unwrap_err(), KeepError::TooMany);
    }
}
