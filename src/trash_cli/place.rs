//! Which trash is meant: the folder, and the state beside it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::failure;
use crate::cli::{CommonArgs, Failure, TrashArgs, local};
use crate::error::ExitCode;
use crate::store::folder::{RunningNode, STATE_NAME};
use crate::store::trash::{Entry, EntryId, Problem, TrashError, find_trash, read_trash};

/// A folder and its trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The folder, as an absolute path without links.
    pub(super) dir: PathBuf,
    /// Its node's state.
    pub(super) state: PathBuf,
    /// The trash; `None` when nothing was ever dropped.
    pub(super) trash: Option<PathBuf>,
}

impl Place {
    /// Finds the place that is meant. Nothing is made: a folder that no node keeps is not made
    /// into one by a look for its trash.
    pub(super) fn find(args: &TrashArgs, common: &CommonArgs) -> Result<Self, Failure> {
        let running = || local::running(common.home.as_deref());
        let (dir, state) = match (&args.dir, &args.state) {
            (Some(dir), Some(state)) => (folder(dir)?, state.clone()),
            (Some(dir), None) => {
                let dir = folder(dir)?;
                let state = state_of(&running()?, &dir);
                (dir, state)
            }
            (None, Some(_)) => {
                let message = "--state belongs to a folder: name that too, with --dir";
                return Err(Failure::new(ExitCode::Usage, message));
            }
            (None, None) => the_only(&running()?)?,
        };
        let state = state.canonicalize().unwrap_or(state);
        let trash = find_trash(&dir, &state).map_err(|error| failure(&error))?;
        if trash.is_none() && !state.is_dir() {
            let (dir, state) = (dir.display(), state.display());
            let message = format!(
                "no node ever kept {dir}, as far as can be seen: there is no {state}. When its state is elsewhere, name it with --state"
            );
            return Err(Failure::new(ExitCode::NotFound, message));
        }
        Ok(Self { dir, state, trash })
    }

    /// All entries, the oldest first, and what else is in the trash.
    pub(super) fn read(&self) -> Result<(Vec<Entry>, Vec<Problem>), Failure> {
        match &self.trash {
            Some(trash) => read_trash(trash).map_err(|error| failure(&error)),
            None => Ok((Vec::new(), Vec::new())),
        }
    }

    /// One entry.
    pub(super) fn entry(&self, id: &EntryId) -> Result<Entry, Failure> {
        let (entries, problems) = self.read()?;
        if let Some(entry) = entries.into_iter().find(|entry| entry.id == *id) {
            return Ok(entry);
        }
        let damaged = problems.into_iter().find(|problem| problem.path.ends_with(id.as_str()));
        Err(failure(&match damaged {
            Some(problem) => TrashError::Damaged { id: id.clone(), problem: problem.problem },
            None => TrashError::NoEntry { id: id.clone() },
        }))
    }
}

/// `dir` as a node names it.
fn folder(dir: &Path) -> Result<PathBuf, Failure> {
    let shown = dir.display();
    match dir.canonicalize() {
        Ok(path) if path.is_dir() => Ok(path),
        Ok(_) => Err(Failure::new(ExitCode::Usage, format_args!("{shown} is not a folder"))),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Failure::new(ExitCode::NotFound, format_args!("the folder {shown} does not exist")))
        }
        Err(error) => Err(Failure::new(ExitCode::Other, format_args!("cannot look at {shown}: {error}"))),
    }
}

/// The state of the node that runs on `dir`, else the usual place.
fn state_of(running: &[RunningNode], dir: &Path) -> PathBuf {
    let node = running.iter().find(|node| node.folder == dir);
    node.and_then(|node| node.state.clone()).unwrap_or_else(|| dir.join(STATE_NAME))
}

/// The folder of the one node that runs on this machine, and its state.
fn the_only(running: &[RunningNode]) -> Result<(PathBuf, PathBuf), Failure> {
    match running {
        [node] => Ok((node.folder.clone(), state_of(running, &node.folder))),
        [] => {
            let message =
                "whose trash? No node of yours runs on this machine: name the folder with --dir FOLDER";
            Err(Failure::new(ExitCode::Usage, message))
        }
        several => {
            let folders: Vec<_> = several.iter().map(|node| node.folder.display().to_string()).collect();
            let message = format!(
                "whose trash? {} nodes run on this machine: choose one of their folders with --dir ({})",
                several.len(),
                folders.join(", ")
            );
            Err(Failure::new(ExitCode::Usage, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(folder: &str, state: Option<&str>) -> RunningNode {
        RunningNode {
            peer: libp2p::PeerId::random(),
            pid: 1,
            folder: folder.into(),
            state: state.map(PathBuf::from),
            addresses: vec![],
        }
    }

    #[test]
    fn without_a_folder_it_is_the_only_node_s() {
        let one = [node("/photos", Some("/state"))];
        assert_eq!(the_only(&one).unwrap(), ("/photos".into(), "/state".into()));
        let older = [node("/photos", None)];
        assert_eq!(the_only(&older).unwrap(), ("/photos".into(), "/photos/.p2pimg".into()));
        let none = the_only(&[]).unwrap_err();
        assert!(none.code == ExitCode::Usage && none.message.unwrap().contains("--dir"));
        let two = the_only(&[node("/a", None), node("/b", None)]).unwrap_err().message.unwrap();
        assert!(two.contains("(/a, /b)"), "{two}");
    }

    #[test]
    fn a_node_s_own_state_is_found_by_its_folder() {
        let running = [node("/a", Some("/state-of-a")), node("/b", None)];
        assert_eq!(state_of(&running, Path::new("/a")), Path::new("/state-of-a"));
        assert_eq!(state_of(&running, Path::new("/b")), Path::new("/b/.p2pimg"));
        assert_eq!(state_of(&running, Path::new("/c")), Path::new("/c/.p2pimg"));
    }
}
