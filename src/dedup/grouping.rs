//! Findings as they are shown to people: a keeper, and what may go or may be the same.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::finding::{Found, Pair};
use crate::limits::{MAX_FOUND_GROUPS, MAX_GROUP_LOSERS, MAX_TEXT_BYTES};
use crate::protocol::{DuplicateGroup, DuplicateLoser, ImageRow};
use crate::types::{ContentId, RelPath};

/// Groups of duplicates, at most [`MAX_FOUND_GROUPS`]: those that free most.
#[derive(Debug, Default)]
pub struct Groups {
    all: Vec<(Reverse<u64>, ContentId, DuplicateGroup)>,
    left_out: u64,
}

impl Groups {
    /// Adds what was found in a clump. Contents without a row are left out.
    pub fn add(&mut self, found: &Found, rows: &BTreeMap<ContentId, ImageRow>) {
        let mut by_keeper: BTreeMap<ContentId, Vec<DuplicateLoser>> = BTreeMap::new();
        let pairs =
            found.same.iter().map(|pair| (pair, true)).chain(found.probable.iter().map(|pair| (pair, false)));
        for (Pair { keeper, loser, reason }, same) in pairs {
            if let Some(row) = rows.get(loser) {
                let loser = DuplicateLoser { row: row.clone(), same, reason: shortened(reason) };
                by_keeper.entry(*keeper).or_default().push(loser);
            }
        }
        for (keeper, losers) in by_keeper {
            if let Some(keeper) = rows.get(&keeper) {
                self.push(keeper.clone(), losers);
            }
        }
    }

    /// Adds one content that is in several files of the own folder: `stays` and `go`.
    pub fn add_repeated(&mut self, row: &ImageRow, stays: &RelPath, go: &[RelPath]) {
        let at = |path: &RelPath| ImageRow { path: path.clone(), copies: 1, ..row.clone() };
        let reason = "the same bytes, in this folder".to_owned();
        let loser = |path| DuplicateLoser { row: at(path), same: true, reason: reason.clone() };
        // The row as a whole has all copies.
        let keeper = ImageRow { path: stays.clone(), ..row.clone() };
        self.push(keeper, go.iter().map(loser).collect());
    }

    fn push(&mut self, keeper: ImageRow, mut losers: Vec<DuplicateLoser>) {
        if losers.is_empty() {
            return;
        }
        let saving = losers.iter().filter(|loser| loser.same).map(frees).fold(0, u64::saturating_add);
        losers.sort_by_key(|loser| (!loser.same, Reverse(frees(loser)), loser.row.content));
        let more = losers.len().saturating_sub(MAX_GROUP_LOSERS) as u32;
        losers.truncate(MAX_GROUP_LOSERS);
        self.all.push((Reverse(saving), keeper.content, DuplicateGroup { keeper, losers, more }));
        if self.all.len() >= 2 * MAX_FOUND_GROUPS {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.all.sort_by(|a, b| (a.0, a.1, &a.2.keeper.path).cmp(&(b.0, b.1, &b.2.keeper.path)));
        self.left_out += self.all.len().saturating_sub(MAX_FOUND_GROUPS) as u64;
        self.all.truncate(MAX_FOUND_GROUPS);
    }

    /// Those that free most first, and how many more there are.
    #[must_use]
    pub fn finish(mut self) -> (Vec<DuplicateGroup>, u64) {
        self.cut();
        (self.all.into_iter().map(|(.., group)| group).collect(), self.left_out)
    }
}

/// Bytes on all disks of the swarm.
fn frees(loser: &DuplicateLoser) -> u64 {
    loser.row.facts.bytes.saturating_mul(u64::from(loser.row.copies))
}

fn shortened(text: &str) -> String {
    let end = (0..=MAX_TEXT_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::finding::tests::{id, member};

    fn row(name: u8, bytes: u64, copies: u32) -> ImageRow {
        let mut facts = member(name, 0, 0, 100).known.facts;
        facts.bytes = bytes;
        let path = RelPath::from_bytes(format!("{name}.jpg").into_bytes()).unwrap();
        ImageRow { content: id(name), facts, path, holders: Vec::new(), copies, pinned: false }
    }

    fn pair(keeper: u8, loser: u8) -> Pair {
        Pair { keeper: id(keeper), loser: id(loser), reason: "r".repeat(2 * MAX_TEXT_BYTES) }
    }

    #[test]
    fn what_frees_most_comes_first_and_what_is_only_probable_frees_nothing() {
        let rows: BTreeMap<_, _> =
            [row(1, 1, 1), row(2, 10, 1), row(3, 9, 3), row(4, 100, 1), row(5, 1, 1), row(6, 1000, 1)]
                .map(|row| (row.content, row))
                .into();
        let mut groups = Groups::default();
        let same = vec![pair(1, 2), pair(5, 3), pair(1, 99)];
        groups.add(&Found { same, probable: vec![pair(1, 4), pair(4, 6)] }, &rows);
        let (groups, left_out) = groups.finish();
        let keepers: Vec<_> = groups.iter().map(|group| group.keeper.content).collect();
        assert_eq!((keepers, left_out), (vec![id(5), id(1), id(4)], 0), "27, 10 and 0 bytes");
        assert!(groups[1].losers[0].same && !groups[1].losers[1].same);
        assert_eq!(groups[1].losers[0].reason.len(), MAX_TEXT_BYTES);
    }

    #[test]
    fn a_group_tells_some_losers_and_counts_the_rest() {
        let rows: BTreeMap<_, _> = (0..20).map(|name| (id(name), row(name, 1, 1))).collect();
        let same = (1..20).map(|loser| pair(0, loser)).collect();
        let mut groups = Groups::default();
        groups.add(&Found { same, probable: Vec::new() }, &rows);
        let (groups, _) = groups.finish();
        assert_eq!(
            (groups[0].losers.len(), groups[0].more),
            (MAX_GROUP_LOSERS, 19 - MAX_GROUP_LOSERS as u32)
        );
    }

    #[test]
    fn files_with_the_same_bytes_are_a_group() {
        let path = |text: &str| RelPath::from_bytes(text.as_bytes().to_vec()).unwrap();
        let mut groups = Groups::default();
        groups.add_repeated(&row(1, 5, 2), &path("a"), &[path("b"), path("c")]);
        groups.add_repeated(&row(2, 5, 2), &path("a"), &[]);
        let (groups, _) = groups.finish();
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].keeper.path, path("a"));
        assert_eq!(
            groups[0].losers.iter().map(|loser| loser.row.path.clone()).collect::<Vec<_>>(),
            [path("b"), path("c")]
        );
    }
}
