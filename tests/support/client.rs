//! `p2pimg client` as a process.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use p2pimg::error::ExitCode;
use serde_json::Value;
use tempfile::TempDir;

use super::node::signal;
use super::{Machine, PATIENCE, eventually, p2pimg_on};

/// How to call `p2pimg client`.
pub(crate) struct Client {
    peer: Option<String>,
    home: PathBuf,
    folder: TempDir,
    machine: Option<Machine>,
}

/// What a run left behind.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

impl Client {
    /// With the given `P2PIMG_HOME`, and no address.
    pub(crate) fn new(home: &Path) -> Self {
        Self { peer: None, home: home.to_path_buf(), folder: tempfile::tempdir().unwrap(), machine: None }
    }

    /// Of a user who has nothing but an address.
    pub(crate) fn of(peer: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { peer: Some(peer.to_owned()), home: folder.path().join("home"), folder, machine: None }
    }

    /// On a machine of its own.
    pub(crate) fn on(self, machine: Option<Machine>) -> Self {
        Self { machine, ..self }
    }

    /// The current folder of its commands.
    pub(crate) fn folder(&self) -> PathBuf {
        let folder = self.folder.path().join("here");
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Starts a command.
    pub(crate) fn spawn(&self, args: &[&str]) -> Running {
        let mut command = p2pimg_on(self.machine.as_ref());
        command.env("P2PIMG_HOME", &self.home).arg("client").args(args).current_dir(self.folder());
        if let Some(peer) = &self.peer {
            command.env("P2PIMG_PEER", peer);
        }
        Running::spawn(command, self.folder.path())
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        self.spawn(args).finish(Duration::from_secs(60))
    }

    /// Runs a command that succeeds, and gives what it printed.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        self.run(args).succeeds()
    }

    /// Runs a command with `--json` that succeeds.
    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Vec<Value> {
        let out = self.ok(&[args, &["--json"]].concat());
        out.lines().map(|line| serde_json::from_str(line).expect("JSON, one object a line")).collect()
    }

    /// The node's state, healthy or not.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.status_with(&[])
    }

    /// The same, with more options.
    #[track_caller]
    pub(crate) fn status_with(&self, options: &[&str]) -> Value {
        let run = self.run(&[options, &["status", "--json"]].concat());
        serde_json::from_slice(&run.out).unwrap_or_else(|error| panic!("{error}: {}", run.text()))
    }

    /// Every row of the list.
    #[track_caller]
    pub(crate) fn list(&self) -> Vec<Value> {
        self.json(&["list"])
    }

    /// Waits until exactly `number` rows are listed, and gives them.
    #[track_caller]
    pub(crate) fn lists(&self, number: usize) -> Vec<Value> {
        self.lists_when(&format!("{number} rows"), |rows| rows.len() == number)
    }

    /// Waits until the list is as wanted, and gives it.
    #[track_caller]
    pub(crate) fn lists_when(&self, what: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            let rows = self.list();
            if wanted(&rows) {
                return rows;
            }
            assert!(Instant::now() < end, "the list never had {what}: {rows:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The row of the file at `path` in its holder's folder.
    #[track_caller]
    pub(crate) fn row(&self, path: &str) -> Value {
        let rows = self.list();
        let row = rows.iter().find(|row| row["path"] == path);
        row.unwrap_or_else(|| panic!("no {path} in {rows:#?}")).clone()
    }
}

/// The `path` of each row.
pub(crate) fn paths(rows: &[Value]) -> BTreeSet<String> {
    rows.iter().map(|row| row["path"].as_str().unwrap().to_owned()).collect()
}

/// A command under way. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
    since: Instant,
}

impl Running {
    /// Starts a command; what it prints goes to files, so that no pipe fills.
    pub(crate) fn spawn(mut command: Command, folder: &Path) -> Self {
        let [out, err] = ["out", "err"].map(|name| {
            let named = tempfile::Builder::new().prefix(name).tempfile_in(folder).unwrap();
            named.into_temp_path().keep().unwrap()
        });
        command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        Self { child: command.spawn().unwrap(), out, err, since: Instant::now() }
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for its end, at most as long as given.
    #[track_caller]
    pub(crate) fn finish(mut self, within: Duration) -> Run {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(self.since.elapsed() < within, "still running after {within:?}: {}", self.errors());
            std::thread::sleep(Duration::from_millis(5));
        };
        Run {
            took: self.since.elapsed(),
            code: status.code().expect("ended by itself, not by a signal"),
            out: std::fs::read(&self.out).unwrap(),
            err: self.errors(),
        }
    }

    /// Waits until a file in `folder` has grown to `bytes`, while the command runs.
    #[track_caller]
    pub(crate) fn has_written(&mut self, folder: &Path, bytes: u64) {
        eventually("some of the file", || {
            assert!(!self.has_ended(), "too fast to be hit in the middle, or failed: {}", self.errors());
            // Faster than `eventually` looks: this is about the middle of something.
            for _ in 0..20 {
                let entries = std::fs::read_dir(folder).unwrap().filter_map(Result::ok);
                if entries.filter_map(|entry| entry.metadata().ok()).any(|meta| meta.len() >= bytes) {
                    return Some(());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            None
        });
    }

    fn errors(&self) -> String {
        String::from_utf8(std::fs::read(&self.err).unwrap()).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A process that has ended already gives an error, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Run {
    /// What it printed.
    #[track_caller]
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.out.clone()).unwrap()
    }

    /// It succeeded; what it printed.
    #[track_caller]
    pub(crate) fn succeeds(&self) -> String {
        assert_eq!(self.code, 0, "{}", self.err);
        self.text()
    }

    /// It ended with `code` and exactly one line on standard error, for people, which
    /// contains `parts`.
    #[track_caller]
    pub(crate) fn fails(&self, code: ExitCode, parts: &[&str]) {
        assert_eq!(self.code, code as i32, "{}", self.err);
        assert_eq!(self.err.trim_end().lines().count(), 1, "one line:\n{}", self.err);
        assert!(self.err.starts_with("p2pimg: "), "{}", self.err);
        for odd in ["panicked", "backtrace", "RUST_", "Error {", "Os {"] {
            assert!(!self.err.contains(odd), "for people: {}", self.err);
        }
        for part in parts {
            assert!(self.err.contains(part), "'{part}' in: {}", self.err);
        }
        assert!(self.out.is_empty(), "nothing on standard output");
    }
}
