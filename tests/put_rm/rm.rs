//! `p2pimg client rm`.

use std::fs;
use std::path::Path;

use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat};
use p2pimg::error::ExitCode;
use serde_json::Value;

use crate::photos;
use crate::support::pictures::{encode, jpeg};
use crate::support::{Site, TestNode, eventually, p2pimg};

/// A short lease: a started node removes nothing for so long. Not shorter: an answer may take six
/// tenths of it, and the machine may be busy.
const QUICK: &[&str] = &["--lease-seconds", "6"];

/// Options of a node that keeps its duplicates, so that they are here to be removed.
const KEEPS: &[&str] = &["--lease-seconds", "4", "--dedup", "off"];

fn photo(number: u64) -> DynamicImage {
    DynamicImage::from(photos::draw(number))
}

fn hash(node: &TestNode) -> String {
    node.client().lists(1)[0]["hash"].as_str().unwrap().to_owned()
}

/// Removes, and tries again while a node has only just started.
fn rm(node: &TestNode, hash: &str) -> Value {
    let client = node.client();
    let run = client.run(&["rm", hash, "--yes", "--json"]);
    serde_json::from_str(&run.text()).unwrap_or_else(|_| panic!("{}", run.err))
}

/// Entries of the trash of a node that runs.
fn trash(site: &Site) -> Vec<Value> {
    let mut command = p2pimg();
    command
        .env("P2PIMG_HOME", site.home())
        .args(["trash", "--dir"])
        .arg(site.photos())
        .args(["list", "--json"]);
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn restore(site: &Site, entry: &str) {
    let mut command = p2pimg();
    command.env("P2PIMG_HOME", site.home()).args(["trash", "--dir"]).arg(site.photos());
    let out = command.args(["restore", entry]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[track_caller]
fn is_gone(path: &Path) {
    eventually(&format!("{} to be gone", path.display()), || (!path.exists()).then_some(()));
}

#[test]
fn a_picture_goes_from_all_nodes_to_their_trashes_and_can_be_restored() {
    let (first, second) = (Site::new(), Site::new());
    first.add("mine.jpg", &jpeg(1));
    first.add("sub/mine too.jpg", &jpeg(1));
    second.add("yours.jpg", &jpeg(1));
    second.add("other.jpg", &jpeg(2));
    let one = first.start_with(&[], KEEPS);
    let two = second.start_with(&[&one], KEEPS);
    one.client().lists_when("both", |rows| rows.len() == 2 && rows.iter().any(|row| row["copies"] == 2));
    let row = one.client().row("mine.jpg");
    let hash = row["hash"].as_str().unwrap();
    // Not without being told twice.
    one.client().run(&["rm", hash]).fails(ExitCode::Refused, &["--yes"]);
    one.client().run(&["rm", "123456", "--yes"]).fails(ExitCode::NotFound, &["123456"]);
    assert!(first.path("mine.jpg").exists());

    let told = rm(&one, hash);
    assert_eq!(told["nodes"].as_array().unwrap().len(), 2, "{told}");
    for path in [first.path("mine.jpg"), first.path("sub/mine too.jpg"), second.path("yours.jpg")] {
        is_gone(&path);
    }
    for node in [&one, &two] {
        let rows = node.client().lists(1);
        assert_eq!(rows[0]["path"], "other.jpg");
    }
    assert!(second.path("other.jpg").exists());
    assert_eq!((trash(&first).len(), trash(&second).len()), (2, 1));
    assert!(trash(&first).iter().all(|entry| entry["cause"] == "removed" && entry["keeper"].is_null()));
    let why = one.client().ok(&["why", hash]);
    assert!(why.contains("a person removed it") && why.contains("yours.jpg"), "{why}");

    // Back, and it stays: its place in the catalog is another one.
    restore(&second, trash(&second)[0]["entry"].as_str().unwrap());
    one.client().lists(2);
    assert!(fs::read(second.path("yours.jpg")).unwrap() == jpeg(1));
}

#[test]
fn a_node_that_was_away_removes_it_too_and_what_is_added_again_stays() {
    let (first, second) = (Site::new(), Site::new());
    first.add("mine.jpg", &jpeg(1));
    second.add("yours.jpg", &jpeg(1));
    let one = first.start_with(&[], KEEPS);
    let two = second.start_with(&[&one], KEEPS);
    one.client().lists_when("two copies", |rows| rows.len() == 1 && rows[0]["copies"] == 2);
    let hash = hash(&one);
    two.kill();
    one.client().lists_when("one copy", |rows| rows.len() == 1 && rows[0]["copies"] == 1);
    let told = rm(&one, &hash);
    let ends: Vec<_> = told["nodes"].as_array().unwrap().iter().map(|node| &node["end"]).collect();
    assert!(ends.contains(&&Value::from("away")), "{told}");
    is_gone(&first.path("mine.jpg"));
    assert!(second.path("yours.jpg").exists());
    // Added again while the other node is still away.
    let client = one.client();
    client.lists(0);
    fs::write(client.folder().join("again.jpg"), jpeg(1)).unwrap();
    client.ok(&["put", "again.jpg", "--wait", "local"]);

    let two = second.start_with(&[&one], KEEPS);
    is_gone(&second.path("yours.jpg"));
    assert_eq!(trash(&second).len(), 1);
    two.event("removed", |event| event["path"] == "yours.jpg");
    let rows =
        two.client().lists_when("what was added again", |rows| rows.len() == 1 && rows[0]["copies"] == 1);
    assert_eq!(rows[0]["path"], "again.jpg");
    assert!(first.path("again.jpg").exists());
    // And on the node that had removed it.
    second.add("again here.jpg", &jpeg(1));
    one.client().lists_when("two copies again", |rows| rows.len() == 1 && rows[0]["copies"] == 2);
    drop(two);
    let two = second.start_with(&[&one], KEEPS);
    two.client().lists_when("two copies still", |rows| rows.len() == 1 && rows[0]["copies"] == 2);
    assert!(second.path("again here.jpg").exists() && first.path("again.jpg").exists());
}

/// The node that ordered it is gone for good: another one that was there tells.
#[test]
fn any_node_that_was_there_tells_one_that_was_away() {
    let (first, second, third) = (Site::new(), Site::new(), Site::new());
    first.add("mine.jpg", &jpeg(1));
    second.add("yours.jpg", &jpeg(1));
    let one = first.start_with(&[], KEEPS);
    let two = second.start_with(&[&one], KEEPS);
    let three = third.start_with(&[&one], KEEPS);
    for node in [&one, &two, &three] {
        node.client().lists_when("two copies", |rows| rows.len() == 1 && rows[0]["copies"] == 2);
    }
    let hash = hash(&one);
    two.kill();
    one.client().lists_when("one copy", |rows| rows.len() == 1 && rows[0]["copies"] == 1);
    rm(&one, &hash);
    is_gone(&first.path("mine.jpg"));
    three.client().lists(0);
    one.kill();
    let _two = second.start_with(&[&three], KEEPS);
    is_gone(&second.path("yours.jpg"));
}

#[test]
fn what_is_to_be_kept_stays_and_says_why() {
    let (first, second) = (Site::new(), Site::new());
    first.add("mine.jpg", &jpeg(1));
    second.add("yours.jpg", &jpeg(1));
    let one = first.start_with(&[], KEEPS);
    let two = second.start_with(&[&one], &[KEEPS, &["--keep", "*.jpg"]].concat());
    one.client().lists_when("two copies", |rows| rows.len() == 1 && rows[0]["copies"] == 2);
    let hash = hash(&one);
    let run = one.client().run(&["rm", &hash, "--yes"]);
    assert_eq!(run.code, ExitCode::Refused as i32, "{}", run.err);
    assert!(run.err.contains("keeps it: yours.jpg is one of --keep"), "{}", run.err);
    is_gone(&first.path("mine.jpg"));
    let rows = two.client().lists_when("one copy", |rows| rows.len() == 1 && rows[0]["copies"] == 1);
    assert_eq!(rows[0]["path"], "yours.jpg");
}

#[test]
fn too_many_wait_for_a_person_who_approves() {
    let site = Site::new();
    // The same picture in many files: one word would remove all of them.
    for number in 0..25 {
        site.add(&format!("copy {number}.jpg"), &jpeg(1));
    }
    let node = site.start_with(&[], KEEPS);
    let hash = hash(&node);
    let client = node.client();
    // The first lease time after the start.
    let told = eventually("an answer of the brake", || {
        let told = rm(&node, &hash);
        (told["nodes"][0]["end"] == "spared").then_some(told)
    });
    let why = told["nodes"][0]["why"].as_str().unwrap();
    assert!(why.contains("25 of") && why.contains("dedup approve"), "{why}");
    assert!(site.path("copy 0.jpg").exists());
    assert!(client.ok(&["dedup", "approve"]).contains("25 files"));
    rm(&node, &hash);
    for number in 0..25 {
        is_gone(&site.path(&format!("copy {number}.jpg")));
    }
    assert_eq!(trash(&site).len(), 25);
}

/// A replica that the swarm made goes to the trash as well: it may be the last one.
#[test]
fn a_replica_goes_to_the_trash_too() {
    let (first, second) = (Site::new(), Site::new());
    let best = encode(&photo(3), ImageFormat::Png);
    first.add("beach.png", &best);
    let (width, height) = (photo(3).width() / 2, photo(3).height() / 2);
    let small = photo(3).resize_exact(width, height, FilterType::Triangle);
    second.add("beach.jpg", &encode(&small, ImageFormat::Jpeg));
    let one = first.start_with(&[], QUICK);
    let two = second.start_with(&[&one], QUICK);
    // The worse version went for the better one, which the second node keeps now.
    let rows = one.client().lists_when("a replica", |rows| rows.len() == 1 && rows[0]["copies"] == 2);
    assert!(!second.path("beach.jpg").exists());
    rm(&one, rows[0]["hash"].as_str().unwrap());
    is_gone(&first.path("beach.png"));
    two.client().lists(0);
    let removed = || trash(&second).into_iter().find(|entry| entry["cause"] == "removed");
    let entry = eventually("the replica in the trash", removed);
    restore(&second, entry["entry"].as_str().unwrap());
    assert!(fs::read(second.path("beach.png")).unwrap() == best, "the same bytes");
    two.client().lists(1);
}

#[test]
fn an_open_node_removes_nothing_unless_its_owner_says_so() {
    let site = Site::with_pictures([1]);
    let node = site.start_with(&[], &["--open"]);
    let hash = hash(&node);
    node.client().run(&["rm", &hash, "--yes"]).fails(ExitCode::Refused, &["--allow-write"]);
    assert!(site.path("1.jpg").exists());
}
