//! What processes and disks do: a node that is frozen, replicas that are removed or changed behind its
//! back, a full disk. Each ends with two copies of every picture, byte for byte.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use p2pimg::error::ExitCode;

use super::support::{Site, TestNode, eventually, pictures};
use super::{all_come_from, replica, replicas, replicas_of, settled, start};

/// What takes longer was held up by somebody.
const NORMAL: Duration = Duration::from_secs(30);

/// The list and every picture come without waiting for anybody.
fn is_quick(node: &TestNode, numbers: &[u64]) {
    let listed = node.client().run(&["list", "--json"]);
    let took = listed.took.max(all_come_from(node, numbers.iter().copied()));
    listed.succeeds();
    assert!(took < NORMAL, "{took:?}");
}

#[test]
fn a_frozen_node_holds_nobody_up_and_its_copies_are_made_again() {
    let numbers = [61, 62, 63, 64, 65, 66];
    let sites: Vec<Site> = numbers.chunks(2).map(|pair| Site::with_pictures(pair.iter().copied())).collect();
    let one = start(&sites[0], &[], &[]);
    let two = start(&sites[1], &[&one], &[]);
    let three = start(&sites[2], &[&one], &[]);
    for node in [&one, &two, &three] {
        settled(node, 6, 2);
    }
    three.signal("STOP");
    // Nobody has noticed yet: its connections stand, and it is asked like any other.
    for node in [&one, &two] {
        is_quick(node, &numbers);
    }
    for node in [&one, &two] {
        node.event("peer_down", |event| event["peer"] == three.peer());
    }
    for node in [&one, &two] {
        settled(node, 6, 2);
        is_quick(node, &numbers);
    }
    three.signal("CONT");
    for node in [&one, &two, &three] {
        settled(node, 6, 2);
    }
    eventually("no replica too many", || (replicas_of(&sites) == 6).then_some(()));
    all_come_from(&three, numbers);
}

/// A node with three pictures, and one that keeps the second copies.
fn pair(numbers: [u64; 3]) -> ([Site; 2], [TestNode; 2]) {
    let sites = [Site::with_pictures(numbers), Site::new()];
    let one = start(&sites[0], &[], &[]);
    let two = start(&sites[1], &[&one], &[]);
    settled(&one, 3, 2);
    settled(&two, 3, 2);
    // The one that makes copies has seen it too: what it waits for is over.
    one.event("settled", |event| event["contents"] == 3);
    (sites, [one, two])
}

fn is_back(state: &Path, number: u64) {
    let path = replica(state, number);
    eventually("the replica is there again", || {
        fs::read(&path).is_ok_and(|data| data == pictures::jpeg(number)).then_some(())
    });
}

#[test]
fn a_replica_removed_by_hand_is_made_again() {
    let (sites, [one, two]) = pair([71, 72, 73]);
    let state = sites[1].path(".p2pimg");
    // It is asked for: that shows it, and another holder delivers.
    fs::remove_file(replica(&state, 71)).unwrap();
    all_come_from(&two, [71]);
    is_back(&state, 71);
    // While the node is away.
    two.kill();
    fs::remove_file(replica(&state, 72)).unwrap();
    let two = start(&sites[1], &[&one], &["--rescan", "1s"]);
    is_back(&state, 72);
    // Nobody asks: it is seen when the node looks at its disk.
    fs::remove_file(replica(&state, 73)).unwrap();
    is_back(&state, 73);
    for node in [&one, &two] {
        settled(node, 3, 2);
        all_come_from(node, [71, 72, 73]);
    }
}

#[test]
fn a_damaged_replica_is_set_apart_and_made_again() {
    let (sites, [one, two]) = pair([74, 75, 76]);
    let state = sites[1].path(".p2pimg");
    let path = replica(&state, 75);
    let mut data = fs::read(&path).unwrap();
    let middle = data.len() / 2;
    data[middle] ^= 0x10;
    fs::write(&path, &data).unwrap();
    all_come_from(&two, [75]);
    is_back(&state, 75);
    assert_eq!(fs::read(path.with_extension("damaged")).unwrap(), data, "left for people");
    for node in [&one, &two] {
        settled(node, 3, 2);
        all_come_from(node, [74, 75, 76]);
    }
}

/// A small disk, in the memory.
struct Disk<'a>(&'a Path);

impl Disk<'_> {
    fn mount(&self, size: &str) {
        self.run(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
    }

    fn resize(&self, size: &str) {
        self.run(&["-o", &format!("remount,size={size}")]);
    }

    fn run(&self, args: &[&str]) {
        assert!(Command::new("mount").args(args).arg(self.0).status().unwrap().success(), "mount {args:?}");
    }

    /// Leaves no byte free.
    fn fill(&self) {
        let mut ballast = fs::File::create(self.0.join("ballast")).unwrap();
        // With whole blocks first, and what is left of the last one.
        for size in [1 << 16, 1 << 12, 1] {
            while std::io::Write::write_all(&mut ballast, &vec![7; size]).is_ok() {}
        }
    }

    fn relieve(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

/// Whether this process may mount; else runs the test again in a process that may, whose mounts go with
/// it, or says why not.
fn may_mount(test: &str) -> bool {
    if std::env::var_os("P2PIMG_TEST_MOUNTS").is_some() {
        return true;
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        command
    };
    if !unshare().arg("true").output().is_ok_and(|run| run.status.success()) {
        eprintln!("skipped: mounting needs root and the program `unshare`");
        return false;
    }
    let mut again = unshare();
    again.arg(std::env::current_exe().unwrap()).args([test, "--exact", "--nocapture", "--include-ignored"]);
    assert!(again.env("P2PIMG_TEST_MOUNTS", "1").status().unwrap().success());
    false
}

#[test]
fn a_full_disk_takes_nothing_and_loses_nothing() {
    if !may_mount("faults::a_full_disk_takes_nothing_and_loses_nothing") {
        return;
    }
    let sites = [Site::with_pictures([81, 82, 83]), Site::new(), Site::new()];
    let state = sites[1].root().join("disk");
    fs::create_dir(&state).unwrap();
    // Less than what is never filled: there is no room from the start.
    let disk = Disk(&state);
    disk.mount("32m");
    let small = ["--state", state.to_str().unwrap(), "--rescan", "1s"];
    let one = start(&sites[0], &[], &[]);
    let two = start(&sites[1], &[&one], &small);
    eventually("nobody has room, and that is told", || {
        let run = one.client().run(&["status"]);
        let told = run.text().contains("3: no other node can take it");
        (told && run.code == ExitCode::Degraded as i32).then_some(())
    });
    assert_eq!(replicas(&state), 0);

    let three = start(&sites[2], &[&one], &[]);
    settled(&one, 3, 2);
    assert_eq!((replicas(&state), replicas_of(&sites[2..])), (0, 3));
    // Only then a member that was full is asked again, when something is short again.
    one.event("settled", |event| event["contents"] == 3);

    // Room comes, and the other node goes.
    disk.resize("1g");
    three.kill();
    settled(&one, 3, 2);
    assert_eq!(replicas(&state), 3);
    for node in [&one, &two] {
        all_come_from(node, 81..=83);
    }
}

/// An index that could not be written was closed until its node was started again.
#[test]
fn a_disk_without_a_byte_costs_no_picture_and_no_restart() {
    if !may_mount("faults::a_disk_without_a_byte_costs_no_picture_and_no_restart") {
        return;
    }
    let sites = [Site::with_pictures([81, 82, 83]), Site::new()];
    let state = sites[1].root().join("disk");
    fs::create_dir(&state).unwrap();
    let disk = Disk(&state);
    disk.mount("1g");
    let small = ["--state", state.to_str().unwrap(), "--rescan", "1s"];
    let one = start(&sites[0], &[], &[]);
    let two = start(&sites[1], &[&one], &small);
    settled(&one, 3, 2);

    // Nothing at all can be written, and something has to be: the others have everything.
    disk.resize("48m");
    disk.fill();
    sites[1].add("84.jpg", &pictures::jpeg(84));
    sites[0].add("85.jpg", &pictures::jpeg(85));
    one.client().lists_when("85.jpg", |rows| rows.iter().any(|row| row["path"] == "85.jpg"));
    all_come_from(&one, [81, 82, 83, 85]);
    // Its node goes on by itself; the other one, which was told that it is full, asks again after a minute.
    disk.relieve();
    disk.resize("1g");
    for node in [&one, &two] {
        settled(node, 5, 2);
        all_come_from(node, 81..=85);
    }
}
