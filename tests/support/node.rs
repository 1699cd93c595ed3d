//! `p2pimg node` as a process.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Client, Machine, PATIENCE, eventually, p2pimg_on};

/// A running `p2pimg node --json`. Killed when dropped.
pub(crate) struct TestNode {
    child: Child,
    said: Arc<Said>,
    home: PathBuf,
    address: String,
    peer: String,
    machine: Option<Machine>,
}

/// What the node has printed so far.
#[derive(Default)]
struct Said {
    lines: Mutex<Lines>,
    more: Condvar,
}

#[derive(Default)]
struct Lines {
    events: Vec<Value>,
    errors: Vec<String>,
    ended: bool,
}

impl Said {
    /// Also after a test has failed with them in hand: its node still tells what it said, and a
    /// second panic would abort the other tests.
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TestNode {
    /// Starts a node for `dir` and waits until it listens.
    #[track_caller]
    pub(crate) fn start(home: &Path, dir: &Path, args: &[&str]) -> Self {
        let mut node = Self::spawn(home, dir, args);
        node.await_listening();
        node
    }

    /// Starts a node for `dir` and doesn't wait.
    pub(crate) fn spawn(home: &Path, dir: &Path, args: &[&str]) -> Self {
        Self::spawn_on(None, home, dir, args)
    }

    /// The same, on a machine of its own.
    pub(crate) fn spawn_on(machine: Option<&Machine>, home: &Path, dir: &Path, args: &[&str]) -> Self {
        let mut command = p2pimg_on(machine);
        command.env("P2PIMG_HOME", home).args(["node", "--json", "--no-mdns", "--dir"]).arg(dir).args(args);
        // What a node logs is shown when a test fails: `P2PIMG_TEST_LOG=p2pimg=debug cargo test`.
        if let Some(log) = std::env::var_os("P2PIMG_TEST_LOG") {
            command.env("RUST_LOG", log);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Said::default());
        read(child.stdout.take().unwrap(), Arc::clone(&said), |lines, line| {
            lines.events.push(serde_json::from_str(&line).expect("each line is one JSON object"));
        });
        read(child.stderr.take().unwrap(), Arc::clone(&said), |lines, line| lines.errors.push(line));
        let (address, peer) = (String::new(), String::new());
        Self { child, said, home: home.to_path_buf(), address, peer, machine: machine.cloned() }
    }

    /// Waits for the first address.
    #[track_caller]
    pub(crate) fn await_listening(&mut self) {
        let peer = self.event("started", |_| true)["peer"].as_str().unwrap().to_owned();
        let address = self.event("listening", |_| true);
        address["address"].as_str().unwrap().clone_into(&mut self.address);
        assert!(self.address.ends_with(&format!("/p2p/{peer}")), "dialable: {}", self.address);
        self.peer = peer;
    }

    /// Its first address, with its peer id.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Its peer id.
    pub(crate) fn peer(&self) -> &str {
        &self.peer
    }

    /// A client of another machine that knows this node's address.
    pub(crate) fn client(&self) -> Client {
        Client::of(self.address()).on(self.machine.clone())
    }

    /// Waits for an event called `name` for which `wanted` holds; those that came before
    /// count.
    #[track_caller]
    pub(crate) fn event(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        let mut lines = self.said.lines();
        loop {
            let found = lines.events.iter().find(|event| event["event"] == name && wanted(event));
            if let Some(event) = found {
                return event.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero() && !lines.ended,
                "no such '{name}' event{}; {:#?}\n{}",
                if lines.ended { ": the node has ended" } else { " in time" },
                lines.events,
                lines.errors.join("\n")
            );
            let waited = self.said.more.wait_timeout(lines, left.min(Duration::from_secs(1)));
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for a complete scan of the folder after which nothing is left to be looked at.
    #[track_caller]
    pub(crate) fn scanned(&self) -> Value {
        self.event("scan_done", |event| event["unsettled"] == 0)
    }

    /// The events called `name` so far.
    pub(crate) fn events(&self, name: &str) -> Vec<Value> {
        let lines = self.said.lines();
        lines.events.iter().filter(|event| event["event"] == name).cloned().collect()
    }

    /// What it wrote to standard error so far.
    pub(crate) fn errors(&self) -> String {
        self.said.lines().errors.join("\n")
    }

    /// Whether the process runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends a signal: `TERM`, `INT`, `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Ends at once, without a chance to do anything (`kill -9`).
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and waits for that.
    #[track_caller]
    pub(crate) fn end(mut self, with: &str) -> (ExitStatus, Duration) {
        let asked = Instant::now();
        self.signal(with);
        let status = eventually("the end of the node", || self.child.try_wait().unwrap());
        (status, asked.elapsed())
    }

    /// The `P2PIMG_HOME` that it runs in.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("-- node {} said:\n{}", self.peer, self.errors());
        }
        // A process that has ended already gives an error, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process that this test started.
pub(crate) fn signal(pid: u32, name: &str) {
    let mut sh = std::process::Command::new("sh");
    assert!(sh.args(["-c", &format!("kill -{name} {pid}")]).status().unwrap().success(), "kill -{name}");
}

fn read(
    stream: impl Read + Send + 'static,
    said: Arc<Said>,
    add: impl Fn(&mut Lines, String) + Send + 'static,
) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { break };
            add(&mut said.lines(), String::from_utf8_lossy(&line).into_owned());
            said.more.notify_all();
        }
        said.lines().ended = true;
        said.more.notify_all();
    });
}
