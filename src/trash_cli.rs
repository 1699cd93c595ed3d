//! `p2pimg trash`: what was dropped, and how it comes back. Looking needs no lock and no
//! node; what changes the trash is done by the node that runs on the folder, and here when
//! there is none.

mod access;
mod empty;
mod place;
mod restore;
mod rows;
mod show;

use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::{CommonArgs, Failure, ListTrashArgs, ShowTrashArgs, TrashArgs, TrashCommand, local, screen};
use crate::client_cli::rows::json_line;
use crate::error::ExitCode;
use crate::store::trash::TrashError;
use place::Place;
use rows::{EntryJson, Shelf};

/// Runs one command about the trash.
///
/// # Errors
/// What the command ended with instead of success.
pub async fn run(args: &TrashArgs, common: &CommonArgs) -> Result<ExitCode, Failure> {
    let place = Place::find(args, common)?;
    match &args.command {
        TrashCommand::List(form) => list(&place, form, common),
        TrashCommand::Show(wanted) => show(&place, wanted),
        TrashCommand::Restore(wanted) => restore::run(&place, wanted, args, common).await,
        TrashCommand::Empty(wanted) => empty::run(&place, wanted, args, common).await,
    }
}

fn list(place: &Place, form: &ListTrashArgs, common: &CommonArgs) -> Result<ExitCode, Failure> {
    let (entries, problems) = place.read()?;
    let shelf = Shelf::new(place, form.trash_days, now());
    if form.json {
        for entry in &entries {
            screen::print(&json_line(&EntryJson::new(entry, &shelf))?)?;
        }
    } else if !entries.is_empty() {
        screen::print(&rows::lines(&entries, &shelf, screen::width()).join("\n"))?;
    } else if screen::width().is_some() && !common.quiet {
        screen::note(&format!("the trash of {} is empty", place.dir.display()));
    }
    for problem in &problems {
        screen::note(&format!("{}: {}", problem.path.display(), problem.problem));
    }
    Ok(if problems.is_empty() { ExitCode::Success } else { ExitCode::Degraded })
}

fn show(place: &Place, wanted: &ShowTrashArgs) -> Result<ExitCode, Failure> {
    let entry = place.entry(&wanted.entry)?;
    let shelf = Shelf::new(place, wanted.form.trash_days, now());
    if wanted.form.json {
        screen::print(&json_line(&EntryJson::new(&entry, &shelf))?)?;
    } else {
        screen::print(&show::lines(&entry, &shelf).join("\n"))?;
    }
    Ok(ExitCode::Success)
}

/// Seconds since 1970. Before that, nothing was dropped.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// An error of the trash, with its exit code.
fn failure(error: &TrashError) -> Failure {
    let code = match error {
        TrashError::NoEntry { .. } => ExitCode::NotFound,
        TrashError::Folder(error) => local::folder_code(error),
        TrashError::Damaged { .. } => ExitCode::Corrupt,
        TrashError::InUse { .. } | TrashError::OtherDevice { .. } => ExitCode::Refused,
        TrashError::Busy { .. } | TrashError::TooLarge(_) | TrashError::Disk(_) => ExitCode::Other,
    };
    Failure::new(code, error)
}

#[cfg(test)]
mod tests;
