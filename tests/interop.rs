//! With a node of another implementation: `tests/interop/peer.mjs`, on js-libp2p, was written from
//! `docs/protocol.md` and shares no code with p2pimg.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::{fs, thread};

use p2pimg::protocol::PEER_PROTOCOL;
use serde_json::Value;
use support::{ANY_PORT, PATIENCE, Site, TestNode, eventually, pictures};

/// What the peer in JavaScript consists of.
const FILES: [(&str, &str); 5] = [
    ("package.json", include_str!("interop/package.json")),
    ("package-lock.json", include_str!("interop/package-lock.json")),
    ("polyfill.mjs", include_str!("interop/polyfill.mjs")),
    ("frames.mjs", include_str!("interop/frames.mjs")),
    ("peer.mjs", include_str!("interop/peer.mjs")),
];

/// What it claims its own picture's hash to be: nobody can compute it from the bytes.
const OWN_IMAGE: &str = "abababababababababababababababababababababababababababababababab";

#[test]
fn a_peer_in_javascript_finds_fetches_and_provides_pictures() {
    let Some(folder) = installed() else { return };
    let (site, other) = (Site::with_pictures([70]), Site::new());
    let first = TestNode::start(&site.home(), &site.photos(), &["--listen", ANY_PORT]);
    let second = TestNode::start(
        &other.home(),
        &other.photos(),
        &["--listen", ANY_PORT, "--bootstrap", first.address()],
    );
    let client = second.client();
    let hash = eventually("the picture of the first node", || {
        client.json(&["list"]).first().map(|row| row["hash"].as_str().unwrap().to_owned())
    });

    let (got, own) = (folder.path().join("got.jpg"), folder.path().join("own.jpg"));
    fs::write(&own, pictures::jpeg(71)).unwrap();
    let peer = JsPeer::start(folder.path(), &[second.address(), &hash, path(&got), OWN_IMAGE, path(&own)]);
    peer.event("joined");
    // Published by p2pimg, found by libp2p's own lookup.
    let providers = peer.event("providers");
    assert_eq!(providers["peers"], serde_json::json!([first.peer()]));
    peer.event("fetched");
    assert_eq!(fs::read(&got).unwrap(), pictures::jpeg(70));

    // And the other way round.
    let provided = peer.event("provided");
    let row = eventually("its provider record", || {
        let run = client.run(&["show", OWN_IMAGE, "--json"]);
        let shown: Value = serde_json::from_slice(&run.out).ok()?;
        let holder =
            shown["holder_status"].as_array()?.iter().find(|holder| holder["peer"] == provided["peer"])?;
        (holder["via_dht"] == true && holder["confirmed"] == true).then(|| shown.clone())
    });
    assert_eq!(row["content"], provided["content"]);
    assert_eq!(client.run(&["get", OWN_IMAGE, "-o", "-"]).out, pictures::jpeg(71));
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The peer's folder, with all that it needs; `None`, and a line that says so, when it can't be had.
fn installed() -> Option<tempfile::TempDir> {
    let version = Command::new("node").arg("--version").output().ok().filter(|out| out.status.success());
    if version.is_none() {
        eprintln!("skipped: there is no node to run js-libp2p");
        return None;
    }
    let packages = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("interop");
    fs::create_dir_all(&packages).unwrap();
    for (name, text) in &FILES[..2] {
        fs::write(packages.join(name), text).unwrap();
    }
    // What is there and complete takes half a second.
    let mut install = Command::new("npm");
    install.args(["install", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"]);
    let done = install.current_dir(&packages).stdin(Stdio::null()).output();
    if !done.is_ok_and(|out| out.status.success()) {
        eprintln!("skipped: npm can't install js-libp2p here");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in FILES {
        fs::write(folder.path().join(name), text.replace("@PEER_PROTOCOL@", PEER_PROTOCOL)).unwrap();
    }
    std::os::unix::fs::symlink(packages.join("node_modules"), folder.path().join("node_modules")).unwrap();
    Some(folder)
}

/// The running peer; it ends with its standard input.
struct JsPeer {
    child: Child,
    events: Receiver<Value>,
}

impl JsPeer {
    fn start(folder: &Path, args: &[&str]) -> Self {
        let mut command = Command::new("node");
        command.args(["--import", "./polyfill.mjs", "peer.mjs"]).args(args).current_dir(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (said, events) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).expect("each line is one JSON object");
                if said.send(event).is_err() {
                    return;
                }
            }
        });
        Self { child, events }
    }

    /// Waits for an event of this name; those before it are passed over.
    #[track_caller]
    fn event(&self, name: &str) -> Value {
        loop {
            let event = self.events.recv_timeout(PATIENCE).expect(name);
            if event["event"] == name {
                return event;
            }
            eprintln!("{event}");
        }
    }
}

impl Drop for JsPeer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
