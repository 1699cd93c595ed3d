//! Disks that change bytes: real nodes and clients in processes of their own, over loopback.
#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod support;

use std::fs::{self, File, FileTimes};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use p2pimg::store::replicas::{Replicas, Reserve};
use p2pimg::types::{ContentId, RelPath};
use serde_json::Value;
use support::{PATIENCE, Run, Site, TestNode, eventually, p2pimg, pictures, swarm};

/// A file that has been there for a while.
fn add_old(site: &Site, name: &str, data: &[u8]) {
    let path = site.add(name, data);
    let old = SystemTime::now() - Duration::from_secs(86_400);
    File::options().write(true).open(path).unwrap().set_times(FileTimes::new().set_modified(old)).unwrap();
}

/// Changes one byte near the end, and leaves length and time as they were. Without a name that
/// is watched, nothing tells the node.
fn rot(path: &Path) {
    let mut file = File::options().read(true).write(true).open(path).unwrap();
    let before = file.metadata().unwrap();
    let at = before.len() - 40;
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte[0] ^ 0x10]).unwrap();
    file.set_times(FileTimes::new().set_modified(before.modified().unwrap())).unwrap();
    file.sync_all().unwrap();
}

/// A second name of a file, outside of the folder: what is written through it is not seen by who
/// watches the folder, as what a disk does by itself is not.
fn back_door(site: &Site, name: &str) -> std::path::PathBuf {
    let door = site.root().join(format!("back door {}", name.replace('/', "_")));
    fs::hard_link(site.path(name), &door).unwrap();
    door
}

/// Two nodes with the same picture, and the back door to the first one's.
fn pair() -> (Site, Site, TestNode, TestNode, std::path::PathBuf, Vec<u8>) {
    let good = pictures::jpeg(1);
    let (first, second) = (Site::new(), Site::new());
    for site in [&first, &second] {
        add_old(site, "sub/beach.jpg", &good);
    }
    let door = back_door(&first, "sub/beach.jpg");
    let [one, two] = swarm([&first, &second], 1);
    for node in [&one, &two] {
        node.client().lists_when("two copies", |rows| rows.len() == 1 && rows[0]["copies"] == 2);
    }
    (first, second, one, two, door, good)
}

fn trash_files(site: &Site) -> Vec<Value> {
    let mut command = p2pimg();
    command.env("P2PIMG_HOME", site.home()).args(["trash", "list", "--json", "--dir"]).arg(site.photos());
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn scrub(node: &TestNode) -> Run {
    node.client().spawn(&["scrub", "--now", "--wait", "--json"]).finish(PATIENCE)
}

fn json(run: &Run) -> Value {
    serde_json::from_str(run.text().lines().next().unwrap_or_else(|| panic!("{}", run.err))).unwrap()
}

#[test]
fn a_scrub_finds_damage_and_heals_it_from_the_other_node() {
    let (first, second, one, two, door, good) = pair();
    let before = fs::metadata(first.path("sub/beach.jpg")).unwrap();
    rot(&door);
    let rotten = fs::read(&door).unwrap();
    assert!(rotten != good);

    let run = scrub(&one);
    assert_eq!(run.code, 0, "{}", run.err);
    let status = json(&run);
    assert_eq!((&status["found"], &status["healed"], &status["damaged"]), (&1.into(), &1.into(), &0.into()));
    assert!(status["last_full"].is_u64(), "{status}");

    assert!(fs::read(first.path("sub/beach.jpg")).unwrap() == good, "byte-identical");
    let after = fs::metadata(first.path("sub/beach.jpg")).unwrap();
    assert_eq!(after.modified().unwrap(), before.modified().unwrap());
    assert_eq!(after.permissions(), before.permissions());
    assert!(fs::read(second.path("sub/beach.jpg")).unwrap() == good);
    let damaged = one.event("damaged", |event| event["path"] == "sub/beach.jpg");
    assert_eq!(damaged["replica"], false);
    one.event("healed", |event| event["path"] == "sub/beach.jpg");
    for node in [&one, &two] {
        let rows = node.client().lists_when("two copies", |rows| rows.len() == 1 && rows[0]["copies"] == 2);
        assert_eq!(rows[0]["path"], "sub/beach.jpg");
        assert_eq!(node.client().run(&["status"]).code, 0);
    }
    // What the disk made of it is there for who wants to look.
    let trash = trash_files(&first);
    assert_eq!(trash.len(), 1, "{trash:#?}");
    assert_eq!((&trash[0]["path"], &trash[0]["cause"]), (&"sub/beach.jpg".into(), &"damaged".into()));
    let kept =
        first.photos().join(".p2pimg/trash").join(trash[0]["entry"].as_str().unwrap()).join("beach.jpg");
    assert!(fs::read(kept).unwrap() == rotten);
    // Once more: nothing.
    let again = json(&scrub(&one));
    assert_eq!((&again["found"], &again["healed"]), (&1.into(), &1.into()));
}

#[test]
fn damage_without_another_holder_is_told_and_healed_when_one_comes() {
    let good = pictures::jpeg(1);
    let (first, second) = (Site::new(), Site::new());
    add_old(&first, "beach.jpg", &good);
    let door = back_door(&first, "beach.jpg");
    let one = first.start(&[]);
    one.client().lists(1);
    rot(&door);
    let rotten = fs::read(&door).unwrap();

    let run = scrub(&one);
    assert_eq!(run.code, 10, "{}", run.err);
    assert_eq!(json(&run)["damaged"], 1);
    assert!(fs::read(first.path("beach.jpg")).unwrap() == rotten, "where it was, as it is");
    one.client().lists(0);
    let status = one.client().run(&["status"]);
    assert_eq!(status.code, 10);
    assert!(status.text().contains("beach.jpg: is damaged"), "{}", status.text());

    // It survives a restart, and a look at everything.
    let address = one.end("TERM");
    assert!(address.0.success());
    let one = first.start(&[]);
    one.scanned();
    one.client().lists(0);
    add_old(&second, "mine.jpg", &good);
    let _two = second.start(&[&one]);
    one.event("healed", |event| event["path"] == "beach.jpg");
    assert!(fs::read(first.path("beach.jpg")).unwrap() == good);
    one.client().lists_when("two copies", |rows| rows.len() == 1 && rows[0]["copies"] == 2);
    assert_eq!(trash_files(&first).len(), 1);
}

/// Written through the name that the node watches: the folder's own look finds it.
#[test]
fn damage_that_a_scan_finds_is_healed_too() {
    let (first, _second, one, _two, _door, good) = pair();
    rot(&first.path("sub/beach.jpg"));
    one.event("healed", |event| event["path"] == "sub/beach.jpg");
    assert!(fs::read(first.path("sub/beach.jpg")).unwrap() == good);
}

#[test]
fn damage_that_is_found_while_serving_is_healed_too() {
    let (first, _second, one, _two, door, good) = pair();
    let hash = one.client().lists(1).remove(0)["hash"].as_str().unwrap().to_owned();
    rot(&door);
    let run = one.client().run(&["get", &hash, "-o", "-"]);
    assert!(run.code == 0 && run.out == good, "from the other node: {}", run.err);
    one.event("healed", |event| event["path"] == "sub/beach.jpg");
    assert!(fs::read(first.path("sub/beach.jpg")).unwrap() == good);
}

#[test]
fn another_file_with_the_same_bytes_is_as_good_as_another_node() {
    let good = pictures::jpeg(3);
    let site = Site::new();
    add_old(&site, "a.jpg", &good);
    add_old(&site, "b.jpg", &good);
    let door = back_door(&site, "b.jpg");
    let node = site.start_with(&[], &["--dedup", "off"]);
    node.scanned();
    rot(&door);
    let run = scrub(&node);
    assert_eq!((run.code, &json(&run)["healed"]), (0, &1.into()), "{}", run.err);
    assert!(["a.jpg", "b.jpg"].iter().all(|name| fs::read(site.path(name)).unwrap() == good));
    let pictures = support::names(&site.photos()).into_iter().filter(|name| !name.starts_with('.'));
    assert_eq!(pictures.collect::<Vec<_>>(), ["a.jpg", "b.jpg"]);
}

/// Who wants a damaged file as it is, says so by touching it.
#[test]
fn a_damaged_file_with_a_new_time_is_a_picture_again() {
    let site = Site::new();
    add_old(&site, "beach.jpg", &pictures::jpeg(4));
    let door = back_door(&site, "beach.jpg");
    let node = site.start(&[]);
    node.client().lists(1);
    rot(&door);
    assert_eq!(scrub(&node).code, 10);
    node.client().lists(0);
    File::options()
        .write(true)
        .open(site.path("beach.jpg"))
        .unwrap()
        .set_times(FileTimes::new().set_modified(SystemTime::now()))
        .unwrap();
    node.client().lists(1);
    assert_eq!(node.client().run(&["status"]).code, 0);
}

#[test]
fn a_damaged_replica_is_found_and_set_apart() {
    let site = Site::new();
    let node = site.start(&[]);
    node.scanned();
    node.end("TERM");
    let data = pictures::jpeg(5);
    let (replicas, _) = Replicas::open_in(&site.path(".p2pimg"), Reserve::default()).unwrap();
    let content = ContentId(*blake3::hash(&data).as_bytes());
    let receiving = replicas.receive(content, data.len() as u64).unwrap();
    receiving.write_at(0, &data).unwrap();
    let once_at = RelPath::from_bytes(b"far/away.jpg".to_vec()).unwrap();
    let replica = replicas.commit(receiving.verify().unwrap(), &once_at).unwrap();
    drop(replicas);
    let node = site.start(&[]);
    node.client().lists(1);
    rot(&replica);
    let run = scrub(&node);
    assert_eq!((run.code, &json(&run)["found"]), (0, &1.into()), "{}", run.err);
    node.event("damaged", |event| event["replica"] == true);
    node.client().lists(0);
    assert!(replica.with_extension("damaged").exists() && !replica.exists());
}

#[test]
fn an_edit_is_not_damage() {
    let (first, _second, one, _two, _door, good) = pair();
    let edited = {
        let mut bytes = good.clone();
        let at = bytes.len() - 40;
        bytes[at] ^= 0x10;
        bytes
    };
    fs::write(first.path("sub/beach.jpg"), &edited).unwrap();
    let rows = one.client().lists_when("both versions", |rows| rows.len() == 2);
    assert!(rows.iter().all(|row| row["copies"] == 1), "{rows:#?}");
    let status = json(&scrub(&one));
    assert_eq!(status["found"], 0);
    assert!(fs::read(first.path("sub/beach.jpg")).unwrap() == edited);
    assert!(trash_files(&first).is_empty());
}

#[test]
fn verify_tells_good_copies_from_damaged_ones() {
    let (first, _second, one, two, door, good) = pair();
    let row = one.client().lists(1).remove(0);
    let hash = row["hash"].as_str().unwrap();
    let states = |node: &TestNode| {
        let run = node.client().run(&["verify", hash, "--json"]);
        let json = json(&run);
        let mut states: Vec<(String, String)> = json["holders"]
            .as_array()
            .unwrap()
            .iter()
            .map(|holder| ["peer", "state"].map(|key| holder[key].as_str().unwrap().to_owned()).into())
            .collect();
        states.sort();
        (run.code, states)
    };
    let expected = |of_one: &str| {
        let mut states =
            vec![(one.peer().to_owned(), of_one.to_owned()), (two.peer().to_owned(), "good".to_owned())];
        states.sort();
        states
    };
    assert_eq!(states(&two), (0, expected("good")));
    rot(&door);
    assert_eq!(states(&two), (10, expected("damaged")), "of another node");
    // What verify has found is healed.
    one.event("healed", |event| event["path"] == "sub/beach.jpg");
    assert!(fs::read(first.path("sub/beach.jpg")).unwrap() == good);
    assert_eq!(states(&one), (0, expected("good")));
    // A node that does not hold it checks the proofs all the same.
    let third = Site::new();
    let three = third.start(&[&one, &two]);
    three.client().lists_when("two copies", |rows| rows.len() == 1 && rows[0]["copies"] == 2);
    assert_eq!(states(&three), (0, expected("good")));
    // Silent: frozen, and not yet given up.
    two.signal("STOP");
    let (code, frozen) = states(&one);
    two.signal("CONT");
    let of_two = frozen.iter().find(|(peer, _)| peer == two.peer());
    assert_eq!((code, of_two.map(|(_, state)| &**state)), (10, Some("silent")), "{frozen:?}");
    let text = one.client().run(&["verify", hash]).text();
    assert!(text.contains(&format!("{}  good", one.peer())), "{text}");
}

/// Killed anywhere between the damage and the end of healing: the good bytes come back to their
/// place, the damaged ones to the trash, and nothing else appears in the folder.
#[test]
fn a_kill_while_healing_costs_nothing() {
    for round in 0..6_u64 {
        let (first, _second, one, two, door, good) = pair();
        rot(&door);
        // Not `--wait`: it is killed meanwhile.
        one.client().ok(&["scrub", "--now"]);
        std::thread::sleep(Duration::from_millis(round * 15));
        one.kill();
        let one = first.start(&[&two]);
        let _ = scrub(&one);
        eventually("the good bytes in their place", || {
            (fs::read(first.path("sub/beach.jpg")).ok()? == good).then_some(())
        });
        let trash = eventually("the damaged bytes in the trash", || {
            let files = trash_files(&first);
            (!files.is_empty()).then_some(files)
        });
        assert_eq!(trash.len(), 1, "{trash:#?}");
        assert_eq!(support::names(&first.path("sub")), ["beach.jpg"], "round {round}");
        one.client().lists_when("two copies", |rows| rows.len() == 1 && rows[0]["copies"] == 2);
    }
}
