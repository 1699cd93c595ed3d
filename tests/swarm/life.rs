//! How a node starts and ends, beside others on the same machine.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::TcpListener;
use std::time::Duration;

use p2pimg::error::ExitCode;

use crate::support::{ANY_PORT, Client, PATIENCE, Running, Site, TestNode, eventually, names, p2pimg, swarm};

#[test]
fn both_signals_end_a_node_soon_and_leave_nothing_behind() {
    let sites = [Site::with_pictures([90]), Site::with_pictures([91])];
    let nodes = swarm(sites.each_ref(), 2);
    for (node, (site, signal)) in nodes.into_iter().zip(sites.iter().zip(["TERM", "INT"])) {
        let state = site.path(".p2pimg");
        assert!(fs::read_to_string(state.join("address")).unwrap().contains(node.address()));
        assert_eq!(names(&site.home().join("running")), [node.peer()]);
        assert!(File::open(state.join("node.lock")).unwrap().try_lock().is_err(), "locked while it runs");

        let (status, took) = node.end(signal);
        assert_eq!(status.code(), Some(0), "SIG{signal}");
        assert!(took < Duration::from_secs(3), "SIG{signal}: {took:?}");
        assert!(!state.join("address").exists());
        assert_eq!(names(&site.home().join("running")), [""; 0]);
        assert!(File::open(state.join("node.lock")).unwrap().try_lock().is_ok(), "free for the next");
        site.client().run(&["list"]).fails(ExitCode::CannotConnect, &["no node of yours"]);
    }
}

#[test]
fn a_node_ends_soon_while_it_scans_and_while_a_peer_is_frozen() {
    let sites = [Site::with_pictures(100..110), Site::with_pictures([110])];
    let one = sites[0].start(&[]);
    let two = sites[1].start(&[&one]);
    one.event("peer_up", |_| true);
    two.signal("STOP");
    let (status, took) = one.end("TERM");
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_client_finds_the_node_of_its_user() {
    let site = Site::with_pictures([92]);
    let node = site.start(&[]);
    node.client().lists(1);
    let client = site.client();
    assert_eq!(client.list().len(), 1, "no --peer");
    assert_eq!(client.status()["peer"], node.peer());
    node.kill();
    // Its entry is still there; that nobody holds it tells that its node is dead.
    client.run(&["list"]).fails(ExitCode::CannotConnect, &["no node of yours", "p2pimg node"]);
}

/// What it knew can't be made anew, so it is not taken away, and a node without it is a node.
#[test]
fn a_node_with_a_damaged_ledger_runs_and_says_so() {
    let site = Site::with_pictures([98]);
    let node = site.start(&[]);
    node.client().lists(1);
    assert_eq!(node.events("warning"), [""; 0]);
    node.end("TERM");
    let ledger = site.path(".p2pimg/ledger.redb");
    fs::write(&ledger, "no ledger").unwrap();
    let node = site.start(&[]);
    let warning = node.event("warning", |_| true);
    let message = warning["message"].as_str().unwrap();
    assert!(message.contains("no duplicates are dropped") && message.contains("ledger.redb"), "{message}");
    node.client().lists(1);
    assert_eq!(fs::read(&ledger).unwrap(), b"no ledger");
}

#[test]
fn two_nodes_never_share_a_state_folder() {
    let site = Site::with_pictures([93]);
    let node = site.start(&[]);
    let photos = site.photos();
    let photos = photos.to_str().unwrap();
    let state = format!("{photos}/.p2pimg");
    site.node_fails(&["--dir", photos, "--listen", ANY_PORT])
        .fails(ExitCode::Other, &["another node is using", &state, "pid"]);
    // Not for another user (or service) either, whose list of nodes does not have this one.
    let mut other = p2pimg();
    other.env("P2PIMG_HOME", site.root().join("other")).args(["node", "--dir", photos, "--listen", ANY_PORT]);
    let run = Running::spawn(other, site.root()).finish(PATIENCE);
    run.fails(ExitCode::Other, &["another node is using", &state]);
    node.client().lists(1);
}

/// libp2p opens its listeners so that two processes can share a port without an error, and
/// the kernel would deal connections to the two at random.
#[test]
fn two_nodes_started_together_on_the_default_port_get_two_ports() {
    let sites = [Site::with_pictures([94]), Site::with_pictures([95])];
    let home = sites[0].home();
    let mut nodes = [0, 1].map(|number: usize| TestNode::spawn(&home, &sites[number].photos(), &[]));
    for node in &mut nodes {
        node.await_listening();
    }
    let families: &[&str] = if TcpListener::bind("[::1]:0").is_ok() {
        &["/ip4/127.0.0.1/", "/ip6/::1/"]
    } else {
        &["/ip4/127.0.0.1/"]
    };
    for family in families {
        let addresses = nodes.each_ref().map(|node| {
            let address =
                node.event("listening", |event| event["address"].as_str().unwrap().starts_with(family));
            address["address"].as_str().unwrap().to_owned()
        });
        let ports: BTreeSet<&str> =
            addresses.iter().map(|address| address.split('/').nth(4).unwrap()).collect();
        assert_eq!(ports.len(), 2, "{addresses:?}");
        for (node, address) in nodes.iter().zip(&addresses) {
            // Several times: a shared port would be the right one now and then.
            for _ in 0..4 {
                assert_eq!(Client::of(address).status()["peer"], node.peer());
            }
        }
    }
    // Who was second says so. (The first too, when another program has the default port.)
    eventually("the second node's word about the port", || {
        let notices = nodes.iter().flat_map(|node| node.events("notice"));
        notices.into_iter().find(|notice| notice["message"].as_str().unwrap().contains("is not free"))
    });
}

/// A node saw only the nodes of its own `P2PIMG_HOME`, and shared its port with any other of
/// the same user: a service, a container, a test. Clients reached one or the other.
#[test]
fn two_nodes_with_separate_homes_never_share_a_port() {
    let sites = [Site::with_pictures([96]), Site::with_pictures([97])];
    let node = sites[0].start(&[]);
    let address = node.address().split("/p2p/").next().unwrap();
    let photos = sites[1].photos();
    let args = ["--dir", photos.to_str().unwrap(), "--listen", address];
    sites[1].node_fails(&args).fails(ExitCode::Other, &[address]);
    for _ in 0..4 {
        assert_eq!(node.client().status()["peer"], node.peer());
    }
}
