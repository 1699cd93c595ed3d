//! Who changes the trash: the node that runs on the folder, or this process when there is
//! none. The node's lock tells, so that there are never two.

use std::time::SystemTime;

use super::failure;
use super::place::Place;
use crate::cli::{CommonArgs, Failure, TrashArgs, local, screen};
use crate::client_cli::Session;
use crate::error::ExitCode;
use crate::limits::MAX_REPORTED_PROBLEMS;
use crate::protocol::EmptiedTrash;
use crate::store::folder::{Folder, FolderError, Options, announced_addresses};
use crate::store::trash::{EntryId, Recovery, Trash};
use crate::types::RelPath;

/// A way to change the trash.
pub(super) enum Access {
    /// A node runs: it is asked.
    Node(Session),
    /// None runs, and none can start before this is dropped.
    Own {
        /// The trash.
        trash: Trash,
        /// Held for its lock.
        _folder: Box<Folder>,
    },
}

impl Access {
    /// Takes the folder, or connects to the node that has it.
    pub(super) async fn open(place: &Place, args: &TrashArgs, common: &CommonArgs) -> Result<Self, Failure> {
        if !place.state.is_dir() {
            // A state made here would keep the pins of what is restored from the node's own.
            let state = place.state.display();
            let message = format!("there is no {state}: name the state of the folder's node with --state");
            return Err(Failure::new(ExitCode::NotFound, message));
        }
        let options = Options {
            state: Some(place.state.clone()),
            home: local::user_home(common.home.as_deref())?,
            accept_new: false,
        };
        let pid = match Folder::open(&place.dir, &options) {
            Ok(folder) => {
                let (trash, recovery) = Trash::open(folder.root()).map_err(|error| failure(&error))?;
                tell(&recovery);
                return Ok(Self::Own { trash, _folder: Box::new(folder) });
            }
            Err(FolderError::Locked { pid, .. }) => pid,
            Err(error) => return Err(Failure::new(local::folder_code(&error), error)),
        };
        let addresses = announced_addresses(&place.state);
        if addresses.is_empty() {
            let who = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
            let dir = place.dir.display();
            let message =
                format!("{who} is at the folder {dir} and can't be asked yet: try again in a moment");
            return Err(Failure::new(ExitCode::Other, message));
        }
        Ok(Self::Node(Session::connect(&args.connect, || Ok(addresses), common).await?))
    }

    /// Puts a file back; where it is now.
    pub(super) async fn restore(&self, id: &EntryId) -> Result<RelPath, Failure> {
        match self {
            Self::Node(session) => session.ask(session.client.restore_trash(id.as_str())).await,
            Self::Own { trash, .. } => trash
                .plan_restore(id)
                .and_then(|plan| trash.restore(plan, SystemTime::now()))
                .map_err(|error| failure(&error)),
        }
    }

    /// Deletes what was dropped up to `until` (seconds since 1970).
    pub(super) async fn empty(&self, until: u64) -> Result<EmptiedTrash, Failure> {
        match self {
            Self::Node(session) => session.ask(session.client.empty_trash(until)).await,
            Self::Own { trash, .. } => {
                let until = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(until);
                let emptied = trash.plan_empty(until).and_then(|plan| trash.empty(plan));
                let emptied = emptied.map_err(|error| failure(&error))?;
                let problems = emptied.problems.iter().take(MAX_REPORTED_PROBLEMS);
                let problems = problems.map(ToString::to_string).collect();
                Ok(EmptiedTrash { files: emptied.files, bytes: emptied.bytes, problems })
            }
        }
    }
}

/// What opening the trash settled: a node would have said so at its start.
fn tell(recovery: &Recovery) {
    for returned in &recovery.returned {
        screen::note(&format!("{} was half dropped or restored, and is now {}", returned.path, returned.to));
    }
    for problem in &recovery.problems {
        screen::note(&format!("{}: {}", problem.path.display(), problem.problem));
    }
}
