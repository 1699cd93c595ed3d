//! `p2pimg trash empty`.

use serde::Serialize;

use super::access::Access;
use super::now;
use super::place::Place;
use crate::cli::{CommonArgs, EmptyTrashArgs, Failure, TrashArgs, screen};
use crate::client_cli::rows::json_line;
use crate::client_cli::text::{count, size};
use crate::error::ExitCode;
use crate::protocol::EmptiedTrash;
use crate::store::trash::{Entry, State};

/// The fields are part of the program's interface.
#[derive(Serialize)]
struct EmptiedJson<'a> {
    files: u64,
    bytes: u64,
    problems: &'a [String],
}

/// Deletes what was dropped long enough ago, when that was said twice.
pub(super) async fn run(
    place: &Place,
    wanted: &EmptyTrashArgs,
    args: &TrashArgs,
    common: &CommonArgs,
) -> Result<ExitCode, Failure> {
    // Taken once: what is dropped from here on was not meant.
    let until = now().saturating_sub(wanted.older_than.map_or(0, |span| span.0.as_secs()));
    let (entries, _) = place.read()?;
    let (files, bytes) = sum(&entries, until);
    let emptied = if files == 0 {
        EmptiedTrash { files: 0, bytes: 0, problems: Vec::new() }
    } else if wanted.yes {
        Access::open(place, args, common).await?.empty(until).await?
    } else {
        let (files, bytes) = (count(files, "file"), size(bytes));
        let message =
            format!("would delete {files}, {bytes}, for good (see `p2pimg trash list`): say --yes to do it");
        return Err(Failure::new(ExitCode::Refused, message));
    };
    tell(&emptied, wanted.json)?;
    Ok(if emptied.problems.is_empty() { ExitCode::Success } else { ExitCode::Other })
}

/// What would be deleted. A file on its way in or out is left alone.
fn sum(entries: &[Entry], until: u64) -> (u64, u64) {
    let due = entries.iter().filter(|entry| entry.state == State::Dropped && entry.dropped_at <= until);
    due.fold((0, 0), |(files, bytes), entry| (files + 1, bytes + entry.fingerprint.bytes))
}

fn tell(emptied: &EmptiedTrash, json: bool) -> Result<(), Failure> {
    let EmptiedTrash { files, bytes, problems } = emptied;
    if json {
        return screen::print(&json_line(&EmptiedJson { files: *files, bytes: *bytes, problems })?);
    }
    for problem in problems {
        screen::error(problem);
    }
    match files {
        0 if problems.is_empty() => screen::print("nothing to delete"),
        files => screen::print(&format!("deleted {}, {}", count(*files, "file"), size(*bytes))),
    }
}
