//! Real nodes and clients in processes of their own, over loopback, for tests.
//!
//! Nothing outlives a test: every folder is temporary, and a [`TestNode`] is killed when it
//! is dropped, also when the test panics. Waiting is always for something that is seen (an
//! event line, a list, a file), with a deadline that is far longer than it takes.
#![allow(dead_code, unused_imports, reason = "not every test binary uses all of it")]

mod client;
pub(crate) mod damage;
#[cfg(target_os = "linux")]
pub(crate) mod homes;
#[cfg(target_os = "linux")]
pub(crate) mod machines;
mod node;
pub(crate) mod pictures;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) use client::{Client, Run, Running, paths};
pub(crate) use node::TestNode;

/// How long anything may take that a person would call immediate, on a machine with ten times
/// the work that its cores can do. Tests that pass don't wait for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What every process of these tests listens on: any free port.
pub(crate) const ANY_PORT: &str = "/ip4/127.0.0.1/tcp/0";

/// The program under test.
pub(crate) fn p2pimg() -> std::process::Command {
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("p2pimg"));
    // Nothing of the user who runs the tests: no key, no settings.
    command.env_clear();
    // Tests of something else don't want copies to appear; those of copies say --capacity.
    command.env("P2PIMG_CAPACITY", "0");
    command
}

/// Where a process runs that is not to run like the test itself.
#[derive(Clone)]
pub(crate) struct Machine {
    /// Its network namespace.
    pub(crate) name: String,
    /// Its address in there.
    pub(crate) address: String,
    /// The swarm's key.
    pub(crate) key: PathBuf,
}

/// The program under test, on that machine if there is one. `ip netns exec` becomes the program:
/// killing it is enough.
pub(crate) fn p2pimg_on(machine: Option<&Machine>) -> std::process::Command {
    let Some(Machine { name, key, .. }) = machine else { return p2pimg() };
    let mut command = std::process::Command::new("ip");
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("P2PIMG_CAPACITY", "0").env("P2PIMG_SWARM_KEY", key);
    command.args(["netns", "exec", name]).arg(assert_cmd::cargo::cargo_bin!("p2pimg"));
    command
}

/// A person's machine: a folder of pictures, and what p2pimg keeps for its user.
pub(crate) struct Site {
    root: TempDir,
}

impl Site {
    /// With an empty folder.
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["photos", "home"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        Self { root }
    }

    /// With the pictures of these numbers, as `NUMBER.jpg`.
    pub(crate) fn with_pictures(numbers: impl IntoIterator<Item = u64>) -> Self {
        let site = Self::new();
        for number in numbers {
            site.add(&format!("{number}.jpg"), &pictures::jpeg(number));
        }
        site
    }

    /// For anything else that a test needs.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// The folder of pictures.
    pub(crate) fn photos(&self) -> PathBuf {
        self.root().join("photos")
    }

    /// `P2PIMG_HOME`.
    pub(crate) fn home(&self) -> PathBuf {
        self.root().join("home")
    }

    /// A path in the folder of pictures.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.photos().join(name)
    }

    /// Puts a file into the folder of pictures.
    pub(crate) fn add(&self, name: &str, data: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, data).unwrap();
        path
    }

    /// Starts a node that joins `others`, and waits until it listens.
    pub(crate) fn start(&self, others: &[&TestNode]) -> TestNode {
        self.start_with(others, &[])
    }

    /// Starts a node with more options.
    pub(crate) fn start_with(&self, others: &[&TestNode], options: &[&str]) -> TestNode {
        let mut args = vec!["--listen", ANY_PORT];
        for node in others {
            args.extend(["--bootstrap", node.address()]);
        }
        args.extend(options);
        TestNode::start(&self.home(), &self.photos(), &args)
    }

    /// Starts a node on a machine with an address of its own.
    pub(crate) fn start_on(&self, machine: &Machine, others: &[&TestNode], options: &[&str]) -> TestNode {
        let mut args = vec!["--listen", &machine.address];
        for node in others {
            args.extend(["--bootstrap", node.address()]);
        }
        args.extend(options);
        let mut node = TestNode::spawn_on(Some(machine), &self.home(), &self.photos(), &args);
        node.await_listening();
        node
    }

    /// Runs `p2pimg node` where it can't start, to its end.
    pub(crate) fn node_fails(&self, args: &[&str]) -> Run {
        let mut command = p2pimg();
        command.env("P2PIMG_HOME", self.home()).arg("node").args(args);
        Running::spawn(command, self.root()).finish(PATIENCE)
    }

    /// A client of this machine's user, that has to find its node by itself.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.home())
    }
}

/// A swarm of one node for each list of picture numbers; all but the first know only the
/// address of the first. Returns when each knows the pictures of all.
pub(crate) fn swarm<const N: usize>(sites: [&Site; N], images: usize) -> [TestNode; N] {
    let mut nodes: Vec<TestNode> = Vec::new();
    for site in sites {
        let node = site.start(&nodes.first().into_iter().collect::<Vec<_>>());
        nodes.push(node);
    }
    for node in &nodes {
        node.client().lists(images);
    }
    nodes.try_into().unwrap_or_else(|_| unreachable!("one node a site"))
}

/// Waits until `found` finds something; says `what` when it does not.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Names in a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
