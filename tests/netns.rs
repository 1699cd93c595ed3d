//! Nodes on machines of their own: network namespaces on one bridge, the real binary, mDNS
//! and addresses that come and go. Needs root and `ip`; says so and passes where they are
//! missing.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may fail so")]

#[path = "support/machines.rs"]
mod machines;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use image::RgbImage;
use machines::{Net, must};
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(120);

/// Keys and folders of a test.
struct Site {
    temp: TempDir,
}

impl Site {
    fn new() -> Self {
        Self { temp: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn key(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let made = p2pimg(&self.path("keygen")).args(["keygen", "-o"]).arg(&path).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        path
    }

    /// A node on a machine, with one picture.
    fn node(&self, net: &Net, machine: usize, key: Option<&Path>) -> Node {
        let home = self.path(&format!("home{machine}"));
        let dir = self.path(&format!("dir{machine}"));
        std::fs::create_dir_all(&dir).unwrap();
        let shade = 40 * (machine as u8 + 1);
        RgbImage::from_fn(64, 64, |x, y| {
            image::Rgb([
                shade,
                (x * 4) as u8,
                if (x / 16 + y / 16) % (machine as u32 + 2) == 0 { 255 } else { 0 },
            ])
        })
        .save(dir.join(format!("machine{machine}.png")))
        .unwrap();
        let mut command = inside(&net.machines[machine], &home);
        command.args(["node", "--json", "--listen", "/ip4/0.0.0.0/tcp/4011", "--dir"]).arg(&dir);
        match key {
            Some(key) => command.arg("--swarm-key").arg(key),
            None => command.arg("--open"),
        };
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&events);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                told.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Node { child, events, machine: net.machines[machine].clone(), home, key: key.map(Path::to_owned) }
    }
}

fn p2pimg(home: &Path) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("p2pimg"));
    command.env_clear().env("P2PIMG_HOME", home);
    command
}

/// The program, on a machine. `ip netns exec` becomes the program: killing it is enough.
fn inside(machine: &str, home: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", machine]).arg(assert_cmd::cargo::cargo_bin!("p2pimg"));
    command.env("P2PIMG_HOME", home);
    command
}

struct Node {
    child: Child,
    events: Arc<Mutex<Vec<Value>>>,
    machine: String,
    home: PathBuf,
    key: Option<PathBuf>,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Node {
    /// How often it has told such an event.
    fn count(&self, event: &str) -> usize {
        self.events.lock().unwrap().iter().filter(|told| told["event"] == event).count()
    }

    fn id(&self) -> String {
        until("a node's id", PATIENCE, || {
            let events = self.events.lock().unwrap();
            events
                .iter()
                .find(|told| told["event"] == "started")
                .map(|told| told["peer"].as_str().unwrap().to_owned())
        })
    }

    /// A client's command on the same machine.
    fn client(&self, address: Option<&str>, args: &[&str]) -> std::process::Output {
        let mut command = inside(&self.machine, &self.home);
        command.arg("client");
        if let Some(address) = address {
            command.args(["--peer", address]);
        }
        if let Some(key) = &self.key {
            command.arg("--swarm-key").arg(key);
        }
        command.args(args).output().unwrap()
    }

    /// Paths of all pictures that it lists, in order.
    fn list(&self) -> Vec<String> {
        let out = self.client(None, &["list", "--json"]).stdout;
        let rows = String::from_utf8(out).unwrap();
        let path =
            |line: &str| serde_json::from_str::<Value>(line).unwrap()["path"].as_str().unwrap().to_owned();
        let mut paths: Vec<_> = rows.lines().map(path).collect();
        paths.sort();
        paths
    }

    fn lists(&self, machines: &[usize], within: Duration) {
        let wanted: Vec<_> = machines.iter().map(|n| format!("machine{n}.png")).collect();
        until(&format!("{} to list {machines:?}", self.machine), within, || {
            (self.list() == wanted).then_some(())
        });
    }
}

/// Looks again and again.
#[track_caller]
fn until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < within, "waited {within:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Three of one key, one of another, one open: the three find each other without being told
/// anything, and the others stay outside whatever they try.
#[test]
fn nodes_of_one_key_find_each_other_and_nobody_else() {
    let Some(net) = Net::new(5) else { return };
    let site = Site::new();
    let (key, other) = (site.key("swarm.key"), site.key("other.key"));
    let members: Vec<Node> = (0..3).map(|machine| site.node(&net, machine, Some(&key))).collect();
    let stranger = site.node(&net, 3, Some(&other));
    let open = site.node(&net, 4, None);
    for member in &members {
        member.lists(&[0, 1, 2], PATIENCE);
    }
    stranger.lists(&[3], PATIENCE);
    open.lists(&[4], PATIENCE);

    // Dialled by hand, they are refused as well: another key, and no key.
    let address = "/ip4/10.77.0.1/tcp/4011";
    for outsider in [&stranger, &open] {
        let run = outsider.client(Some(address), &["list"]);
        assert_eq!(run.status.code(), Some(5), "{run:?}");
    }
    assert!(members[1].client(Some(address), &["list"]).status.success(), "a member gets in");
    // Nor by any other transport: a private node listens on nothing that has no key.
    let sockets = Command::new("ip")
        .args(["netns", "exec", &net.machines[0], "cat", "/proc/net/udp", "/proc/net/udp6"])
        .output()
        .unwrap();
    let sockets = String::from_utf8(sockets.stdout).unwrap();
    let ports: Vec<_> = sockets
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1)?.split_once(':'))
        .map(|(_, port)| port.to_owned())
        .collect();
    assert!(!ports.contains(&"0FAB".to_owned()), "UDP on the node's port, 4011: {ports:?}");

    // Nobody ever was a member of somebody else's swarm.
    for member in &members {
        let peers = member.client(None, &["peers", "--json"]).stdout;
        let peers = String::from_utf8(peers).unwrap();
        for line in peers.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            let outsider = [stranger.id(), open.id()].contains(&line["peer"].as_str().unwrap().to_owned());
            assert!(!(outsider && line["connected"] == true), "{line}");
        }
        assert_eq!(member.count("peer_up"), 2);
    }
    assert_eq!(stranger.count("peer_up") + open.count("peer_up"), 0);
}

/// A machine that gets another address is found there.
#[test]
fn a_new_address_is_found() {
    let Some(net) = Net::new(2) else { return };
    let site = Site::new();
    let key = site.key("swarm.key");
    let (one, two) = (site.node(&net, 0, Some(&key)), site.node(&net, 1, Some(&key)));
    one.lists(&[0, 1], PATIENCE);
    two.lists(&[0, 1], PATIENCE);
    let machine = &net.machines[1];
    must(&format!("-n {machine} addr del 10.77.0.2/24 dev eth0"));
    must(&format!("-n {machine} addr add 10.77.0.99/24 dev eth0"));
    must(&format!("-n {machine} route add default via 10.77.0.254 dev eth0"));
    // Nothing tells the node that the old connection is dead; mDNS tells it the new address.
    until("the new address", PATIENCE, || {
        let peers = String::from_utf8(one.client(None, &["peers", "--json"]).stdout).unwrap();
        peers.contains("10.77.0.99").then_some(())
    });
    let get =
        || one.client(None, &["get", "--all", "--force", "-o", &site.path("got").display().to_string()]);
    std::fs::create_dir(site.path("got")).unwrap();
    until("its picture from there", PATIENCE, || {
        (get().status.success() && std::fs::read_dir(site.path("got")).unwrap().count() == 2).then_some(())
    });
}

/// A cable is pulled: both ends notice within the bound of the pings, and are together again
/// soon after it is back, without a restart.
#[test]
fn a_pulled_cable_is_noticed_and_heals() {
    let Some(net) = Net::new(2) else { return };
    let site = Site::new();
    let key = site.key("swarm.key");
    let (one, two) = (site.node(&net, 0, Some(&key)), site.node(&net, 1, Some(&key)));
    one.lists(&[0, 1], PATIENCE);
    two.lists(&[0, 1], PATIENCE);
    net.cable(1, "down");
    // Some 16 s (`limits::MAX_PING_FAILURES`), and some room for a busy machine.
    for node in [&one, &two] {
        until("the other to be missed", Duration::from_secs(22), || {
            (node.count("peer_down") == 1).then_some(())
        });
    }
    one.lists(&[0], PATIENCE);
    net.cable(1, "up");
    for node in [&one, &two] {
        node.lists(&[0, 1], PATIENCE);
    }
}
