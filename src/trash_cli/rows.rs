//! A file in the trash as one line: table row, tab-separated fields, or JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::place::Place;
use crate::client_cli::rows::path_json;
use crate::client_cli::text::{cause_word, cut_start, duration, left, moment, right, size, timestamp};
use crate::protocol::DropCause;
use crate::store::trash::{Cause, Entry, Keeper, KeptAt, State};

/// What is true of all entries of a trash.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    trash: PathBuf,
    keep_for: u64,
    now: u64,
}

impl Shelf {
    pub(super) fn new(place: &Place, trash_days: u32, now: u64) -> Self {
        let trash = place.trash.clone().unwrap_or_default();
        Self { trash, keep_for: u64::from(trash_days) * 86_400, now }
    }

    /// The end of an entry's time, in seconds since 1970.
    pub(super) fn expires_at(&self, entry: &Entry) -> u64 {
        entry.dropped_at.saturating_add(self.keep_for)
    }

    /// `in 29 d 4 h`; `due` when its time is over; `never` for damaged files.
    pub(super) fn expires(&self, entry: &Entry) -> String {
        if entry.reason.cause == Cause::Damaged {
            return "never".to_owned();
        }
        match self.expires_at(entry).saturating_sub(self.now) {
            0 => "due".to_owned(),
            left => format!("in {}", duration(Duration::from_secs(left))),
        }
    }

    /// `2 d 3 h ago`; `just now` by a clock that went back, too.
    pub(super) fn ago(&self, entry: &Entry) -> String {
        match self.now.saturating_sub(entry.dropped_at) {
            0 => "just now".to_owned(),
            ago => format!("{} ago", duration(Duration::from_secs(ago))),
        }
    }

    /// Where the file is now.
    pub(super) fn file(&self, entry: &Entry) -> PathBuf {
        entry.file(&self.trash)
    }
}

pub(super) fn cause(cause: Cause) -> DropCause {
    match cause {
        Cause::LocalDuplicate => DropCause::LocalDuplicate,
        Cause::Superseded => DropCause::Superseded,
        Cause::Excess => DropCause::Excess,
        Cause::Removed => DropCause::Removed,
        Cause::Damaged => DropCause::Damaged,
    }
}

/// What is happening to an entry; `None`: it lies in the trash.
pub(super) fn happening(state: &State) -> Option<&'static str> {
    match state {
        State::Dropped => None,
        State::Dropping => Some("being dropped"),
        State::Restoring { .. } => Some("being restored"),
        State::Purging => Some("being deleted"),
    }
}

/// Rows for a terminal of this width; without one, fields between tabs.
pub(super) fn lines(entries: &[Entry], shelf: &Shelf, width: Option<usize>) -> Vec<String> {
    let Some(width) = width else {
        return entries.iter().map(|entry| tab_separated(entry, shelf)).collect();
    };
    let heading = ["ENTRY", "DROPPED (UTC)", "SIZE", "WHY", "EXPIRES", "PATH"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(heading)
        .chain(entries.iter().map(|entry| {
            let why = happening(&entry.state).unwrap_or_else(|| cause_word(cause(entry.reason.cause)));
            [
                entry.id.to_string(),
                moment(entry.dropped_at),
                size(entry.fingerprint.bytes),
                why.to_owned(),
                shelf.expires(entry),
                entry.path.to_string(),
            ]
        }))
        .collect();
    let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max();
    let widths: Vec<usize> = (0..5).map(|column| widest(column).unwrap_or(0)).collect();
    // The name of an entry is what is typed: it is never cut. A path may be.
    let path = width.saturating_sub(widths.iter().map(|width| width + 2).sum()).max(10);
    let row = |row: &[String; 6]| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            2 => right(cell, *width),
            _ => left(cell, *width),
        });
        let cells: Vec<String> = cells.chain([cut_start(&row[5], path)]).collect();
        cells.join("  ")
    };
    rows.iter().map(row).collect()
}

fn tab_separated(entry: &Entry, shelf: &Shelf) -> String {
    let (dropped, expires) = (timestamp(entry.dropped_at), timestamp(shelf.expires_at(entry)));
    let (bytes, why) = (entry.fingerprint.bytes, cause_word(cause(entry.reason.cause)));
    // Control characters in the path are escaped, so a tab in it can't make a field.
    format!("{}\t{dropped}\t{bytes}\t{why}\t{expires}\t{}", entry.id, entry.path)
}

/// What `list --json` and `show --json` print. Its fields are part of the program's interface.
#[derive(Debug, Serialize)]
pub(super) struct EntryJson<'a> {
    entry: &'a str,
    state: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    content: String,
    hash: Option<String>,
    bytes: u64,
    dropped_at: u64,
    expires_at: u64,
    cause: Cause,
    numbers: &'a BTreeMap<String, String>,
    keeper: Option<String>,
    keeper_path: Option<String>,
    holders: &'a [String],
    proofs: usize,
    file: String,
}

impl<'a> EntryJson<'a> {
    pub(super) fn new(entry: &'a Entry, shelf: &Shelf) -> Self {
        let (path, path_hex) = path_json(&entry.path);
        let (keeper_path, holders) = match &entry.keeper {
            Some(Keeper { at: KeptAt::Here(path), .. }) => (Some(path_json(path).0), [].as_slice()),
            Some(Keeper { at: KeptAt::Holders(holders), .. }) => (None, holders.as_slice()),
            None => (None, [].as_slice()),
        };
        Self {
            entry: entry.id.as_str(),
            state: match entry.state {
                State::Dropping => "dropping",
                State::Dropped => "dropped",
                State::Restoring { .. } => "restoring",
                State::Purging => "purging",
            },
            path,
            path_hex,
            content: entry.content.to_string(),
            hash: entry.facts.as_ref().map(|facts| facts.image.to_string()),
            bytes: entry.fingerprint.bytes,
            dropped_at: entry.dropped_at,
            expires_at: shelf.expires_at(entry),
            cause: entry.reason.cause,
            numbers: &entry.reason.numbers,
            keeper: entry.keeper.as_ref().map(|keeper| keeper.content.to_string()),
            keeper_path,
            holders,
            proofs: entry.proofs.len(),
            file: shelf.file(entry).display().to_string(),
        }
    }
}
