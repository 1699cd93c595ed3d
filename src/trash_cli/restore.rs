//! `p2pimg trash restore`.

use serde::Serialize;

use super::access::Access;
use super::place::Place;
use crate::cli::{CommonArgs, Failure, RestoreTrashArgs, TrashArgs, screen};
use crate::client_cli::rows::{json_line, path_json};
use crate::error::ExitCode;
use crate::store::trash::{Entry, State};
use crate::types::RelPath;

/// The fields are part of the program's interface.
#[derive(Serialize)]
struct RestoredJson<'a> {
    entry: &'a str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
}

/// Puts files back, and says where they are. One that can't be is told, and the others are
/// tried all the same.
pub(super) async fn run(
    place: &Place,
    wanted: &RestoreTrashArgs,
    args: &TrashArgs,
    common: &CommonArgs,
) -> Result<ExitCode, Failure> {
    let entries = choose(place, wanted)?;
    if entries.is_empty() {
        screen::note("the trash is empty: there is nothing to restore");
        return Ok(ExitCode::Success);
    }
    let access = Access::open(place, args, common).await?;
    let mut end = ExitCode::Success;
    for entry in &entries {
        match access.restore(&entry.id).await {
            Ok(path) if wanted.json => {
                let (path, path_hex) = path_json(&path);
                let restored = RestoredJson { entry: entry.id.as_str(), path, path_hex };
                screen::print(&json_line(&restored)?)?;
            }
            Ok(path) => screen::print(&line(&entry.path, &path))?,
            // The node is gone: so it is for the next one.
            Err(failure) if failure.code == ExitCode::CannotConnect => return Err(failure),
            Err(failure) => {
                screen::error(&failure.message.unwrap_or_default());
                end = failure.code;
            }
        }
    }
    Ok(end)
}

/// What to restore. All of it is known before anything is done.
fn choose(place: &Place, wanted: &RestoreTrashArgs) -> Result<Vec<Entry>, Failure> {
    if wanted.all {
        let (entries, _) = place.read()?;
        return Ok(entries.into_iter().filter(|entry| entry.state == State::Dropped).collect());
    }
    let mut ids = wanted.entries.clone();
    ids.sort();
    ids.dedup();
    ids.iter().map(|id| place.entry(id)).collect()
}

fn line(from: &RelPath, to: &RelPath) -> String {
    if from == to { format!("restored {to}") } else { format!("restored {from} as {to}: its place is taken") }
}
