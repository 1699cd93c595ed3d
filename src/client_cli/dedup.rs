//! `p2pimg client dedup`.

use serde::Serialize;

use super::Session;
use super::rows::json_line;
use super::text::count;
use crate::cli::{Failure, screen};
use crate::error::ExitCode;

/// The fields are part of the program's interface.
#[derive(Serialize)]
struct ApprovedJson {
    files: u64,
}

/// Lets the drops that the brake holds back go on, and says how many files that are.
pub(super) async fn approve(session: &Session, json: bool) -> Result<ExitCode, Failure> {
    let files = session.ask(session.client.approve_drops()).await?;
    if json {
        screen::print(&json_line(&ApprovedJson { files })?)?;
    } else {
        screen::print(&line(files))?;
    }
    Ok(ExitCode::Success)
}

fn line(files: u64) -> String {
    match files {
        0 => "nothing waits to be approved".to_owned(),
        files => format!("up to {} may be dropped in this run now", count(files, "file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approval_names_its_number() {
        assert!(line(1200).contains("1,200 files"));
        assert!(line(0).starts_with("nothing"));
    }
}
