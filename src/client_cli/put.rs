//! `p2pimg client put`: adds pictures to the swarm through the node.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::Session;
use super::rows::json_line;
use super::text::duration;
use crate::cli::{Failure, PutArgs, WaitFor, screen};
use crate::client::{ClientError, Copies, Put};
use crate::error::ExitCode;
use crate::protocol::{ImageRow, RefusalCode};
use crate::types::{ContentId, printable};

/// Time between two looks for a picture that was added and is not listed yet.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The fields are part of the program's interface.
#[derive(Serialize)]
struct PutJson {
    file: String,
    hash: String,
    content: String,
    /// It was not in the swarm before.
    new: bool,
    copies: Option<u32>,
    wanted: Option<u32>,
}

/// A picture that the node has.
struct Added {
    file: PathBuf,
    row: ImageRow,
    new: bool,
}

/// How it ended, over all files.
#[derive(Default)]
struct Tally {
    failed: usize,
    first: Option<ExitCode>,
}

impl Tally {
    fn count(&mut self, failure: &Failure) {
        if let Some(message) = &failure.message {
            screen::error(message);
        }
        self.failed += 1;
        self.first.get_or_insert(failure.code);
    }
}

/// Sends all files, then waits for the copies of all.
pub(super) async fn run(session: &Session, args: &PutArgs) -> Result<ExitCode, Failure> {
    let (mut tally, mut added) = (Tally::default(), Vec::new());
    for file in &args.files {
        match send(session, file, args.within.0).await {
            Ok(sent) => added.push(sent),
            Err(failure) => {
                tally.count(&failure);
                if failure.code == ExitCode::CannotConnect {
                    // The next ones would end alike.
                    break;
                }
            }
        }
    }
    let end = Instant::now() + args.within.0;
    for added in added {
        let copies = match args.wait {
            WaitFor::Local => None,
            WaitFor::Copies => match copies(session, &added.row, end).await {
                Ok(copies) => Some(copies),
                // It is added all the same, and its hash worth knowing.
                Err(failure) => {
                    tally.count(&failure);
                    None
                }
            },
        };
        print(&added, copies, args.json)?;
        if let Some(failure) = copies.and_then(|copies| too_few(&added.file, copies, args.within.0)) {
            tally.count(&failure);
        }
    }
    match tally.first {
        None => Ok(ExitCode::Success),
        // It was said above, and there is nothing to sum up.
        Some(code) if args.files.len() == 1 => Err(Failure::silent(code)),
        Some(code) => {
            let (failed, all) = (tally.failed, args.files.len());
            Err(Failure::new(code, format!("{failed} of {all} files were not added as asked, as said above")))
        }
    }
}

/// Sends one file, and waits until the node lists it.
async fn send(session: &Session, file: &Path, within: Duration) -> Result<Added, Failure> {
    let bar = screen::bar(session.bars, "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}");
    bar.set_message(printable(&file.display().to_string()));
    let put = session.client.put(file, |sent, all| {
        bar.set_length(all);
        bar.set_position(sent);
    });
    let put = put.await;
    bar.finish_and_clear();
    let (row, new) = match put.map_err(|error| refused(file, error))? {
        Put::Known(row) => {
            screen::note(&format!("{}: the swarm has it already", file.display()));
            (*row, false)
        }
        Put::Stored { content, .. } => (listed(session, file, content, within).await?, true),
    };
    Ok(Added { file: file.to_path_buf(), row, new })
}

/// What the node refuses, with the file, which it does not name. That a file is no picture is no
/// wrong usage.
fn refused(file: &Path, error: ClientError) -> Failure {
    let ClientError::Refused(refusal) = &error else { return error.into() };
    let message = format!("{}: {}", file.display(), refusal.message);
    match refusal.code {
        RefusalCode::Invalid => Failure::new(ExitCode::Refused, message),
        _ => Failure::new(Failure::from(error).code, message),
    }
}

/// The row of a picture that the node has just stored; or of what is kept instead of it, when a
/// better version was there and it went at once.
async fn listed(
    session: &Session,
    file: &Path,
    content: ContentId,
    within: Duration,
) -> Result<ImageRow, Failure> {
    let (query, end) = (format!("c:{content}"), Instant::now() + within);
    loop {
        let (mut rows, _) = session.ask(session.client.resolve(&query)).await?;
        if let Some(row) = rows.pop() {
            return Ok(row);
        }
        let why = session.ask(session.client.why(&query)).await?;
        let went = why.history.iter().map(|(_, drop)| drop).find(|drop| drop.loser == content);
        if let Some(keeper) = went.and_then(|drop| drop.keeper) {
            let (mut rows, _) = session.ask(session.client.resolve(&format!("c:{keeper}"))).await?;
            if let Some(row) = rows.pop() {
                screen::note(&format!(
                    "{}: the swarm has a better version, {}, which is kept",
                    file.display(),
                    row.path
                ));
                return Ok(row);
            }
        }
        if Instant::now() >= end {
            let message = format!("{}: it is in the node's folder, but not listed yet", file.display());
            return Err(Failure::new(ExitCode::Degraded, message));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits for as many copies as there should be, until `end`.
async fn copies(session: &Session, row: &ImageRow, end: Instant) -> Result<Copies, Failure> {
    let mut last = None;
    loop {
        let asking = session.ask(session.client.copies(row.facts.image, row.content));
        let copies = match tokio::time::timeout_at(end, asking).await {
            Ok(copies) => copies?,
            // Asked once at least: what there is has to be told.
            Err(_) => match last {
                Some(last) => return Ok(last),
                None => session.ask(session.client.copies(row.facts.image, row.content)).await?,
            },
        };
        if copies.have >= copies.wanted || Instant::now() >= end {
            return Ok(copies);
        }
        last = Some(copies);
    }
}

fn too_few(file: &Path, copies: Copies, within: Duration) -> Option<Failure> {
    let Copies { have, wanted, nodes } = copies;
    if have >= wanted {
        return None;
    }
    let obstacle = if nodes < wanted {
        match nodes {
            0 | 1 => format!("the node is alone, and {wanted} are needed: start another one"),
            _ => format!("{nodes} nodes are there, and {wanted} are needed: start another one"),
        }
    } else {
        format!("they were not made within {}", duration(within))
    };
    let file = file.display();
    let message = format!("{file}: it is safe at the node, with {have} of {wanted} copies: {obstacle}");
    Some(Failure::new(ExitCode::Degraded, message))
}

fn print(added: &Added, copies: Option<Copies>, json: bool) -> Result<(), Failure> {
    let Added { file, row, new } = added;
    if !json {
        return screen::print(&format!("{}  {}", row.facts.image, printable(&file.display().to_string())));
    }
    let line = PutJson {
        file: file.display().to_string(),
        hash: row.facts.image.to_string(),
        content: row.content.to_string(),
        new: *new,
        copies: copies.map(|copies| copies.have),
        wanted: copies.map(|copies| copies.wanted),
    };
    screen::print(&json_line(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_copies_are_told_with_the_reason() {
        let told = |have, wanted, nodes| {
            let failure =
                too_few(Path::new("a.jpg"), Copies { have, wanted, nodes }, Duration::from_secs(120));
            failure.map(|failure| (failure.code, failure.message.unwrap()))
        };
        assert_eq!(told(2, 2, 2), None);
        assert_eq!(told(1, 1, 1), None);
        let (code, alone) = told(1, 2, 1).unwrap();
        assert_eq!(code, ExitCode::Degraded);
        assert!(alone.contains("1 of 2 copies: the node is alone, and 2 are needed"), "{alone}");
        let (_, slow) = told(1, 2, 3).unwrap();
        assert!(slow.contains("not made within 2"), "{slow}");
        let (_, few) = told(2, 3, 2).unwrap();
        assert!(few.contains("2 of 3 copies: 2 nodes are there, and 3 are needed"), "{few}");
    }
}
