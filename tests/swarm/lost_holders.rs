//! Transfers whose other end dies, freezes or fills up in the middle.

use std::fs;
use std::process::{Command, Stdio};

use p2pimg::error::ExitCode;

use crate::support::pictures::{NOT_DECODED, large_bmp};
use crate::support::{Client, PATIENCE, Running, Site, TestNode, names, p2pimg};

/// Into a transfer by this much, there is still much more to come.
const SOME: u64 = 4 * 1024 * 1024;

/// A node with nothing, and holders of a large file.
fn holders<const N: usize>(file: &[u8]) -> (TestNode, [(Site, TestNode); N]) {
    let empty = Site::new();
    let relay = empty.start(&[]);
    let holders = [(); N].map(|()| {
        let site = Site::new();
        site.add("large.bmp", file);
        let node = site.start_with(&[&relay], NOT_DECODED);
        (site, node)
    });
    relay.client().lists_when("every holder", |rows| rows.iter().any(|row| row["copies"] == N));
    (relay, holders)
}

/// Begins to get the file, and returns when part of it is there.
fn in_the_middle(client: &Client) -> Running {
    let hash = client.row("large.bmp")["hash"].as_str().unwrap().to_owned();
    let mut get = client.spawn(&["get", &hash, "-o", "got.bmp"]);
    get.has_written(&client.folder(), SOME);
    get
}

/// The whole file, and nothing else.
fn is_complete(client: &Client, file: &[u8]) {
    assert_eq!(names(&client.folder()), ["got.bmp"]);
    assert!(fs::read(client.folder().join("got.bmp")).unwrap() == file, "the same bytes");
    fs::remove_file(client.folder().join("got.bmp")).unwrap();
}

#[test]
fn another_holder_takes_over_when_one_dies() {
    let file = large_bmp(1);
    let (relay, [(site, first), (_second_site, second)]) = holders(&file);
    let client = relay.client();
    let get = in_the_middle(&client);
    first.kill();
    assert_eq!(get.finish(PATIENCE).succeeds(), "got.bmp\n");
    is_complete(&client, &file);

    // The relay chose whom to ask, and that may have been the second. It is asked first by
    // now, whatever it was before: so once more the other way round.
    let _first = site.start_with(&[&relay], NOT_DECODED);
    client.lists_when("both holders", |rows| rows[0]["copies"] == 2);
    let get = in_the_middle(&client);
    second.kill();
    assert_eq!(get.finish(PATIENCE).succeeds(), "got.bmp\n");
    is_complete(&client, &file);
}

#[test]
fn without_another_holder_it_is_a_clear_error_and_no_file() {
    let (relay, [(_site, only)]) = holders(&large_bmp(2));
    let client = relay.client();
    let get = in_the_middle(&client);
    let peer = only.peer().to_owned();
    only.kill();
    let run = get.finish(PATIENCE);
    run.fails(ExitCode::Other, &["1 holder", &peer]);
    assert_eq!(names(&client.folder()), [""; 0], "nothing is left");
    // The relay is fine.
    assert_eq!(relay.client().lists(0).len(), 0);
}

#[test]
fn a_frozen_holder_costs_time_and_nothing_else() {
    // Both at once: they wait for the same deadlines.
    std::thread::scope(|scope| {
        scope.spawn(frozen_from_the_beginning);
        frozen_in_the_middle();
    });
}

fn frozen_in_the_middle() {
    let file = large_bmp(3);
    // Whoever of the two delivers: each once, in a swarm of its own. A node that has just
    // been resumed finds its connections too old, and is away for a moment itself.
    for frozen in 0..2 {
        let (relay, nodes) = holders::<2>(&file);
        let client = relay.client();
        let get = in_the_middle(&client);
        nodes[frozen].1.signal("STOP");
        get.finish(PATIENCE).succeeds();
        is_complete(&client, &file);
    }
}

fn frozen_from_the_beginning() {
    let file = large_bmp(4);
    for frozen in 0..2 {
        let (relay, nodes) = holders::<2>(&file);
        let client = relay.client();
        let hash = client.row("large.bmp")["hash"].as_str().unwrap().to_owned();
        nodes[frozen].1.signal("STOP");
        client.ok(&["get", &hash, "-o", "got.bmp"]);
        is_complete(&client, &file);
    }
}

#[test]
fn a_client_whose_node_dies_says_so_and_leaves_no_file() {
    let site = Site::new();
    site.add("large.bmp", &large_bmp(4));
    let node = site.start_with(&[], NOT_DECODED);
    let client = node.client();
    client.lists(1);
    let get = in_the_middle(&client);
    let address = node.address().to_owned();
    node.kill();
    get.finish(PATIENCE).fails(ExitCode::CannotConnect, &["lost the node", &address]);
    assert_eq!(names(&client.folder()), [""; 0], "nothing is left");
}

#[test]
fn an_interrupted_get_leaves_no_file() {
    let site = Site::new();
    site.add("large.bmp", &large_bmp(5));
    let node = site.start_with(&[], NOT_DECODED);
    let client = node.client();
    client.lists(1);
    for signal in ["INT", "TERM"] {
        let get = in_the_middle(&client);
        get.signal(signal);
        get.finish(PATIENCE).fails(ExitCode::Other, &["interrupted"]);
        assert_eq!(names(&client.folder()), [""; 0], "nothing is left");
    }
}

/// In a mount namespace of its own, where only the client sees the small disk.
#[test]
fn a_full_disk_is_exit_code_8_and_leaves_no_file() {
    let probe = ["--mount", "sh", "-c", "mount -t tmpfs -o size=1m none /mnt"];
    let probe = Command::new("unshare").args(probe).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        eprintln!("skipped: a small disk needs root, and mount namespaces");
        return;
    }
    let site = Site::new();
    site.add("large.bmp", &large_bmp(6));
    let node = site.start_with(&[], NOT_DECODED);
    node.client().lists(1);
    let hash = node.client().row("large.bmp")["hash"].as_str().unwrap().to_owned();

    let disk = site.root().join("disk");
    fs::create_dir(&disk).unwrap();
    let script = r#"
        mount -t tmpfs -o size=8m none "$1" || exit 99
        "$2" client --peer "$3" get "$4" -o "$1/got.bmp"
        code=$?
        ls -A "$1" >"$5"
        exit $code
    "#;
    let left = site.root().join("left");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(&disk).arg(p2pimg().get_program());
    command.args([node.address(), &hash]).arg(&left).env("P2PIMG_HOME", site.root());
    let run = Running::spawn(command, site.root()).finish(PATIENCE);
    run.fails(ExitCode::Output, &["got.bmp", "No space left"]);
    assert_eq!(fs::read_to_string(left).unwrap(), "", "nothing is left");
}
