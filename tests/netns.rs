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
        self.node_with(net, machine, key, &["--listen", "/ip4/0.0.0.0/tcp/4011"])
    }

    fn node_with(&self, net: &Net, machine: usize, key: Option<&Path>, options: &[&str]) -> Node {
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
        command.args(["node", "--json", "--dir"]).arg(&dir).args(options);
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

/// A network that has nothing but IPv6: found by mDNS, and spoken to.
#[test]
fn nodes_find_each_other_where_there_is_only_ipv6() {
    let Some(net) = Net::new(2) else { return };
    for (number, machine) in net.machines.iter().enumerate() {
        must(&format!("-n {machine} addr flush dev eth0"));
        must(&format!("-n {machine} link set eth0 down"));
        must(&format!("-n {machine} link set eth0 up"));
        must(&format!("-n {machine} addr add fd77::{}/64 dev eth0 nodad", number + 1));
    }
    let site = Site::new();
    let key = site.key("swarm.key");
    let nodes: Vec<Node> =
        (0..2).map(|n| site.node_with(&net, n, Some(&key), &["--listen", "/ip6/::/tcp/4011"])).collect();
    for node in &nodes {
        node.lists(&[0, 1], PATIENCE);
    }
    let peers = String::from_utf8(nodes[0].client(None, &["peers", "--json"]).stdout).unwrap();
    assert!(peers.contains("/ip6/fd77::2/tcp/4011") && !peers.contains("/ip4/"), "{peers}");
}

/// A machine with two network cards is found on both networks, and as a relay makes one swarm of
/// them. When it loses a card, and gets it back, so do the others.
#[test]
fn a_relay_with_two_cards_joins_two_networks() {
    let Some(net) = Net::new(3) else { return };
    let (middle, far) = (&net.machines[1], &net.machines[2]);
    // The third machine is on a network of its own, with the second card of the second.
    must(&format!("-n {far} addr flush dev eth0"));
    must(&format!("-n {far} link add eth1 type veth peer name eth1 netns {middle}"));
    for (machine, address) in [(middle, "10.78.0.2"), (far, "10.78.0.3")] {
        must(&format!("-n {machine} addr add {address}/24 dev eth1"));
        must(&format!("-n {machine} link set eth1 up"));
    }
    must(&format!("-n {far} route add default via 10.78.0.254 dev eth1"));
    let site = Site::new();
    let key = site.key("swarm.key");
    let everywhere = ["--listen", "/ip4/0.0.0.0/tcp/4011"];
    let relaying = ["--listen", "/ip4/0.0.0.0/tcp/4011", "--relay"];
    let nodes: Vec<Node> = [&everywhere[..], &relaying[..], &everywhere[..]]
        .into_iter()
        .enumerate()
        .map(|(n, options)| site.node_with(&net, n, Some(&key), options))
        .collect();
    for node in &nodes {
        node.lists(&[0, 1, 2], PATIENCE);
    }
    // Not by the list: it may know of its picture by a copy elsewhere.
    let far_is = |what: &str| {
        let end = Instant::now() + PATIENCE;
        loop {
            let peers = String::from_utf8(nodes[0].client(None, &["peers", "--json"]).stdout).unwrap();
            let far_row = peers.lines().find(|line| line.contains(&nodes[2].id())).unwrap_or_default();
            if far_row.contains(what) {
                break;
            }
            assert!(Instant::now() < end, "not {what}: {peers}");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    far_is("\"relayed\":true");

    must(&format!("-n {middle} link set eth1 down"));
    far_is("\"connected\":false");
    must(&format!("-n {middle} link set eth1 up"));
    far_is("\"relayed\":true");
}

/// Which nodes to join by can stand in the DNS.
#[test]
fn a_node_is_joined_by_a_list_in_the_dns() {
    let Some(net) = Net::new(2) else { return };
    let site = Site::new();
    let key = site.key("swarm.key");
    let one = site.node(&net, 0, Some(&key));
    let machine = &net.machines[1];
    let Some(_etc) = Etc::new(machine) else { return };
    let record = format!("dnsaddr=/ip4/10.77.0.1/tcp/4011/p2p/{}", one.id());
    let mut server = Command::new("ip");
    server.args(["netns", "exec", machine]).arg(std::env::current_exe().unwrap());
    server.args(["a_name_server", "--exact", "--ignored"]).env("TXT_RECORD", &record);
    let _server = Server(server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let options = ["--no-mdns", "--bootstrap", "/dnsaddr/photos.example"];
    let listen = ["--listen", "/ip4/0.0.0.0/tcp/4011"];
    let two = site.node_with(&net, 1, Some(&key), &[&listen[..], &options[..]].concat());
    two.lists(&[0, 1], PATIENCE);
    let listed = two.client(Some("/dnsaddr/photos.example"), &["list"]);
    assert!(listed.status.success(), "{listed:?}");
}

/// A machine that says nowhere where names are looked up runs a node all the same.
#[test]
fn a_node_starts_where_no_names_are_looked_up() {
    let Some(net) = Net::new(1) else { return };
    let Some(etc) = Etc::new(&net.machines[0]) else { return };
    std::fs::write(etc.0.join("resolv.conf"), "").unwrap();
    let site = Site::new();
    let key = site.key("swarm.key");
    let options = ["--listen", "/ip4/0.0.0.0/tcp/4011", "--bootstrap", "/dns4/nas.example/tcp/4011"];
    let node = site.node_with(&net, 0, Some(&key), &options);
    node.lists(&[0], PATIENCE);
    until("the name to be told of", PATIENCE, || {
        let status = String::from_utf8(node.client(None, &["status"]).stdout).unwrap();
        status.contains("/dns4/nas.example/tcp/4011").then_some(())
    });
}

/// Files of a machine's own `/etc`, as `ip netns exec` puts them there.
struct Etc(PathBuf);

impl Etc {
    /// With itself as its name server.
    fn new(machine: &str) -> Option<Self> {
        if !Path::new("/etc/resolv.conf").exists() {
            eprintln!("skipped: there is no /etc/resolv.conf to put another one over");
            return None;
        }
        let etc = Self(Path::new("/etc/netns").join(machine));
        std::fs::create_dir_all(&etc.0).unwrap();
        std::fs::write(etc.0.join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
        Some(etc)
    }
}

impl Drop for Etc {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Not a test: the name server of one, run on a machine of its own. Answers every question for a
/// TXT record with the one that it was given, and all others with nothing.
#[test]
#[ignore = "run by a_node_is_joined_by_a_list_in_the_dns"]
fn a_name_server() {
    let Ok(record) = std::env::var("TXT_RECORD") else { return };
    let socket = std::net::UdpSocket::bind("127.0.0.1:53").unwrap();
    let mut packet = [0; 512];
    loop {
        let (length, asker) = socket.recv_from(&mut packet).unwrap();
        if let Some(answer) = dns_answer(&packet[..length], &record) {
            socket.send_to(&answer, asker).unwrap();
        }
    }
}

/// RFC 1035: the head of 12 bytes with its counts, the question as it came, and the record, which
/// names the question's name by where it stands.
fn dns_answer(query: &[u8], record: &str) -> Option<Vec<u8>> {
    let mut end = 12;
    while *query.get(end)? != 0 {
        end += usize::from(query[end]) + 1;
    }
    let question = query.get(12..end + 5)?;
    let is_txt = query.get(end + 1..end + 3)? == [0, 16];
    let mut answer = query.get(..2)?.to_vec();
    // An authoritative answer without an error; one question, and one answer or none.
    answer.extend([0x85, 0x80, 0, 1, 0, u8::from(is_txt), 0, 0, 0, 0]);
    answer.extend(question);
    if is_txt {
        // Name, type, class, a minute to live, length of the data.
        answer.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, record.len() as u8 + 1, record.len() as u8]);
        answer.extend(record.as_bytes());
    }
    Some(answer)
}
