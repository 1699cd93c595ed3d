//! What can't be read, as far as the last look at each path tells. The index has no place for
//! it: it says what the bytes of a file are, and here are none.

use std::collections::BTreeMap;

use super::Report;
use crate::limits::{MAX_REPORTED_PROBLEMS, MAX_TEXT_BYTES};
use crate::types::RelPath;

/// Paths that could not be read when they were last looked at.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Not more than [`MAX_REPORTED_PROBLEMS`].
    known: BTreeMap<RelPath, String>,
    /// Those beyond, as the last scan of the whole folder counted them.
    more: u64,
}

impl Standing {
    /// Makes `report`, of a look at `paths` or at the whole folder, tell all that stands.
    pub(super) fn complete(&mut self, paths: Option<&[RelPath]>, report: &mut Report) {
        match paths {
            None => self.known.clear(),
            Some(paths) => self.known.retain(|path, _| !paths.iter().any(|looked| is_in(path, looked))),
        }
        for (path, reason) in std::mem::take(&mut report.problems) {
            if self.known.len() < MAX_REPORTED_PROBLEMS {
                // It travels in a status; a decoder that panics may say much.
                let short = reason.chars().take(MAX_TEXT_BYTES / 4).collect();
                self.known.insert(path, short);
            }
        }
        let known = self.known.len() as u64;
        if paths.is_none() {
            self.more = report.problem_count.saturating_sub(known);
        }
        report.problems = self.known.iter().map(|(path, reason)| (path.clone(), reason.clone())).collect();
        report.problem_count = known + self.more;
    }
}

/// Whether `path` is `folder`, or below it.
fn is_in(path: &RelPath, folder: &RelPath) -> bool {
    let rest = path.as_bytes().strip_prefix(folder.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::from_bytes(path.as_bytes().to_vec()).unwrap()
    }

    fn look(standing: &mut Standing, paths: Option<&[&str]>, problems: &[&str], count: u64) -> (usize, u64) {
        let paths = paths.map(|paths| paths.iter().map(|path| rel(path)).collect::<Vec<_>>());
        let problems = problems.iter().map(|path| (rel(path), "denied".to_owned())).collect();
        let mut report = Report { problems, problem_count: count, ..Report::default() };
        standing.complete(paths.as_deref(), &mut report);
        (report.problems.len(), report.problem_count)
    }

    #[test]
    fn what_a_small_look_did_not_reach_still_stands() {
        let mut standing = Standing::default();
        assert_eq!(look(&mut standing, None, &["a", "sub/b", "subway"], 3), (3, 3));
        assert_eq!(look(&mut standing, Some(&["c"]), &["c"], 1), (4, 4));
        assert_eq!(look(&mut standing, Some(&["a"]), &["a"], 1), (4, 4), "still");
        assert_eq!(look(&mut standing, Some(&["sub"]), &[], 0), (3, 3), "readable now, or gone");
        assert_eq!(look(&mut standing, None, &[], 0), (0, 0));
    }

    #[test]
    fn any_number_is_counted_and_few_are_named() {
        let names: Vec<String> = (0..MAX_REPORTED_PROBLEMS).map(|n| n.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut standing = Standing::default();
        let many = names.len() as u64 + 1000;
        assert_eq!(look(&mut standing, None, &names, many), (names.len(), many));
        assert_eq!(look(&mut standing, Some(&["5"]), &[], 0), (names.len() - 1, many - 1));
    }
}
