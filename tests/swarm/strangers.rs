//! Other swarms, dead addresses, and who may connect.

use std::time::Duration;

use p2pimg::error::ExitCode;
use p2pimg::limits::CONNECT_DEADLINE;

use crate::support::{Client, Site, TestNode, eventually, p2pimg};

/// Makes a swarm key.
fn key(site: &Site, name: &str) -> String {
    let path = site.root().join(name);
    let path = path.to_str().unwrap();
    let made = p2pimg().env("P2PIMG_HOME", site.root()).args(["keygen", "-o", path]).output().unwrap();
    assert!(made.status.success());
    path.to_owned()
}

#[test]
fn only_a_client_with_the_swarms_key_gets_in() {
    let site = Site::with_pictures([120]);
    let (ours, theirs) = (key(&site, "ours.key"), key(&site, "theirs.key"));
    let node = site.start_with(&[], &["--swarm-key", &ours]);
    let (plain, client) = (Site::new(), Client::of(node.address()));
    let open = plain.start(&[]);

    // What the wrong bytes mean is a matter of chance: an error at once, or silence. So all
    // at once, not one deadline after the other.
    let wrong = client.spawn(&["--swarm-key", &theirs, "list"]);
    let without = client.spawn(&["list"]);
    let needless = Client::of(open.address());
    let needless = needless.spawn(&["--swarm-key", &ours, "list"]);
    let user = Site::new();
    std::fs::copy(&ours, user.home().join("swarm.key")).unwrap();
    let unasked = user.client();
    let unasked = unasked.spawn(&["--peer", open.address(), "list"]);
    let bound = CONNECT_DEADLINE + Duration::from_secs(5);
    let same = ["the same swarm key?", node.address()];
    wrong.finish(bound).fails(ExitCode::CannotConnect, &same);
    without.finish(bound).fails(ExitCode::CannotConnect, &["swarm key", "--swarm-key", node.address()]);
    needless.finish(bound).fails(ExitCode::CannotConnect, &[same[0], open.address()]);

    // A key that nobody typed is named: it may be the wrong one here.
    unasked.finish(bound).fails(ExitCode::CannotConnect, &["home/swarm.key", "--no-swarm-key"]);
    assert_eq!(user.client().ok(&["--peer", open.address(), "--no-swarm-key", "list"]), "");

    // The node is none the worse for it.
    node.scanned();
    assert_eq!(client.json(&["--swarm-key", &ours, "list"]).len(), 1);
    let status = client.status_with(&["--swarm-key", &ours]);
    assert_eq!((&status["private"], &status["open"]), (&true.into(), &false.into()));
}

#[test]
fn a_bootstrap_peer_of_another_network_is_no_peer_and_does_no_harm() {
    let sites = [Site::with_pictures([121]), Site::with_pictures([122]), Site::with_pictures([123])];
    let ours = key(&sites[0], "ours.key");
    let theirs = key(&sites[1], "theirs.key");
    let one = sites[0].start_with(&[], &["--swarm-key", &ours]);
    let two = sites[1].start_with(&[&one], &["--swarm-key", &theirs]);
    let three = sites[2].start_with(&[&one], &["--swarm-key", &ours]);
    let list = |node: &TestNode, key: &str| node.client().json(&["--swarm-key", key, "list"]);
    // Those of one key have found each other; by then the other had time to.
    one.event("synced", |event| event["peer"] == three.peer());
    two.scanned();
    assert_eq!(list(&two, &theirs).len(), 1);
    one.scanned();
    three.scanned();
    // The first catalog that was known may have been that of a folder not scanned yet.
    eventually("two pictures", || (list(&one, &ours).len() == 2).then_some(()));
    assert_eq!(one.events("peer_up").len(), 1, "{:#?}", one.events("peer_up"));
    assert_eq!(two.events("peer_up").len(), 0);
    let peers = two.client().json(&["--swarm-key", &theirs, "peers"]);
    assert!(peers.iter().all(|peer| peer["connected"] == false), "{peers:#?}");
}

#[test]
fn a_dead_bootstrap_peer_is_tried_until_it_lives() {
    let (late, early) = (Site::with_pictures([124]), Site::with_pictures([125]));
    // Its address, with a port that was free a moment ago.
    let node = late.start(&[]);
    let address = node.address().to_owned();
    node.end("TERM");

    let node = early.start_with(&[], &["--bootstrap", &address, "--copies", "1"]);
    assert_eq!(node.client().lists(1)[0]["path"], "125.jpg", "works alone");
    assert_eq!(node.events("peer_up").len(), 0);
    // Nothing told of it: a mistyped address looked like a swarm of one.
    let notice = |event: &serde_json::Value| event["message"].as_str().unwrap().contains(&address);
    node.event("notice", notice);
    let status = node.client().run(&["status"]);
    assert_eq!(status.code, ExitCode::Degraded as i32, "{}", status.text());
    assert!(status.text().contains(&format!("bootstrap {address}: nobody listens")), "{}", status.text());
    let listen = address.split("/p2p/").next().unwrap();
    let back = TestNode::start(&late.home(), &late.photos(), &["--listen", listen, "--copies", "1"]);
    node.event("peer_up", |event| event["peer"] == back.peer());
    node.client().lists(2);
    eventually("a healthy node", || (node.client().run(&["status"]).code == 0).then_some(()));
    assert_eq!(node.events("notice").iter().filter(|event| notice(event)).count(), 1, "told once");
}

#[test]
fn addresses_beyond_this_machine_need_a_key() {
    let site = Site::new();
    let photos = site.photos();
    let run = |args: &[&str]| site.node_fails(&[&["--dir", photos.to_str().unwrap()], args].concat());
    for address in ["/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0", "/ip4/192.0.2.1/tcp/0"] {
        run(&["--listen", address]).fails(ExitCode::Usage, &[address, "keygen", "--open"]);
    }
    run(&["--bootstrap", "/ip4/192.0.2.1/tcp/4011"]).fails(ExitCode::Usage, &["192.0.2.1", "keygen"]);
    run(&["--listen", "/ip4/127.0.0.1"]).fails(ExitCode::Usage, &["/ip4/127.0.0.1"]);
    run(&["--listen", "nonsense"]).fails(ExitCode::Usage, &["nonsense"]);
    run(&["--bootstrap", "/ip4/300.1.1.1/tcp/1"]).fails(ExitCode::Usage, &["300.1.1.1"]);
    // Not this machine's address.
    let key = key(&site, "k");
    let foreign = ["--swarm-key", &key, "--no-mdns", "--listen", "/ip4/192.0.2.1/tcp/0"];
    run(&foreign).fails(ExitCode::Other, &["192.0.2.1"]);
    // And one that another program has.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port());
    run(&["--listen", &address]).fails(ExitCode::Other, &[&address]);
}
