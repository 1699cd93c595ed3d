//! `p2pimg client put`.

use std::collections::BTreeSet;
use std::fs;

use p2pimg::error::ExitCode;

use crate::support::pictures::{NOT_DECODED, jpeg, large_bmp};
use crate::support::{Site, names, swarm};

/// The names of the pictures in a folder.
fn pictures(site: &Site) -> BTreeSet<String> {
    names(&site.photos()).into_iter().filter(|name| !name.starts_with(".p2pimg")).collect()
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

#[test]
fn a_picture_is_added_once_and_got_back() {
    let site = Site::new();
    let node = site.start(&[]);
    let client = node.client();
    fs::write(client.folder().join("beach.jpg"), jpeg(1)).unwrap();
    let out = client.ok(&["put", "beach.jpg", "--wait", "local"]);
    let row = client.row("beach.jpg");
    assert_eq!(out, format!("{}  beach.jpg\n", row["hash"].as_str().unwrap()));
    assert_eq!(pictures(&site), set(["beach.jpg"]));
    assert!(fs::read(site.path("beach.jpg")).unwrap() == jpeg(1), "the same bytes");
    client.ok(&["get", row["hash"].as_str().unwrap(), "-o", "back.jpg"]);
    assert!(fs::read(client.folder().join("back.jpg")).unwrap() == jpeg(1));
    node.event("added", |event| event["path"] == "beach.jpg");
    // Once more, under another name: there is nothing to add.
    fs::rename(client.folder().join("beach.jpg"), client.folder().join("other.jpg")).unwrap();
    let again = client.json(&["put", "other.jpg", "--wait", "local"]);
    assert_eq!((&again[0]["hash"], &again[0]["new"]), (&row["hash"], &false.into()));
    assert_eq!(pictures(&site), set(["beach.jpg"]));
}

#[test]
fn a_picture_of_many_chunks_arrives_whole() {
    let site = Site::new();
    let node = site.start_with(&[], NOT_DECODED);
    let client = node.client();
    let data = large_bmp(1);
    fs::write(client.folder().join("large.bmp"), &data).unwrap();
    client.ok(&["put", "large.bmp", "--wait", "local"]);
    assert!(fs::read(site.path("large.bmp")).unwrap() == data);
    assert_eq!(names(&site.path(".p2pimg/replicas/incoming")).len(), 0, "nothing is left over");
}

#[test]
fn what_is_no_picture_is_refused_and_leaves_nothing() {
    let site = Site::new();
    let node = site.start(&[]);
    let client = node.client();
    let here = client.folder();
    fs::write(here.join("junk.jpg"), "not a picture at all").unwrap();
    fs::write(here.join("empty.jpg"), "").unwrap();
    fs::write(here.join("photo.heic"), b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").unwrap();
    client.run(&["put", "junk.jpg"]).fails(ExitCode::Refused, &["junk.jpg: nothing was added"]);
    client.run(&["put", "empty.jpg"]).fails(ExitCode::Refused, &["empty"]);
    client.run(&["put", "photo.heic"]).fails(ExitCode::Refused, &["HEIC"]);
    client.run(&["put", "missing.jpg"]).fails(ExitCode::NotFound, &["cannot read missing.jpg"]);
    client.run(&["put", "."]).fails(ExitCode::Other, &["not a file"]);
    assert_eq!(pictures(&site), set([]));
    assert_eq!(names(&site.path(".p2pimg/replicas/incoming")).len(), 0);
    // One that can be added is, whatever is wrong with the others.
    fs::write(here.join("good.jpg"), jpeg(2)).unwrap();
    let some = client.run(&["put", "junk.jpg", "good.jpg", "missing.jpg", "--wait", "local"]);
    assert_eq!(some.code, ExitCode::Refused as i32, "{}", some.err);
    assert_eq!(some.err.lines().count(), 3, "a line for each, and their number: {}", some.err);
    assert!(some.err.contains("2 of 3 files"), "{}", some.err);
    assert!(some.text().ends_with("  good.jpg\n"));
    assert_eq!(pictures(&site), set(["good.jpg"]));
}

#[test]
fn names_are_made_safe_and_nothing_is_replaced() {
    let site = Site::with_pictures([1]);
    let node = site.start(&[]);
    node.scanned();
    let client = node.client();
    let here = client.folder();
    for (name, number) in [("1.jpg", 2), (".hidden.jpg", 3), ("-rf \u{1b}[2J.jpg", 4), ("no extension", 5)] {
        fs::write(here.join(name), jpeg(number)).unwrap();
    }
    fs::create_dir(here.join("sub")).unwrap();
    fs::write(here.join("sub/wrong.png"), jpeg(6)).unwrap();
    let args = ["put", "--wait", "local", "--", "1.jpg", ".hidden.jpg", "-rf \u{1b}[2J.jpg", "no extension"];
    client.ok(&[&args[..], &["sub/wrong.png"]].concat());
    let wanted = ["1.jpg", "1 (2).jpg", "hidden.jpg", "rf _[2J.jpg", "no extension.jpg", "wrong.jpg"];
    assert_eq!(pictures(&site), set(wanted));
    assert!(fs::read(site.path("1.jpg")).unwrap() == jpeg(1), "it was there first");
    assert!(fs::read(site.path("1 (2).jpg")).unwrap() == jpeg(2));
}

#[test]
fn an_open_node_takes_nothing_unless_its_owner_says_so() {
    let site = Site::new();
    let node = site.start_with(&[], &["--open"]);
    let client = node.client();
    fs::write(client.folder().join("a.jpg"), jpeg(1)).unwrap();
    client.run(&["put", "a.jpg"]).fails(ExitCode::Refused, &["a.jpg", "--allow-write"]);
    assert_eq!(pictures(&site), set([]));
    node.kill();
    let node = site.start_with(&[], &["--open", "--allow-write"]);
    let client = node.client();
    fs::write(client.folder().join("a.jpg"), jpeg(1)).unwrap();
    client.ok(&["put", "a.jpg", "--wait", "local"]);
    assert_eq!(pictures(&site), set(["a.jpg"]));
}

#[test]
fn a_node_that_is_alone_has_the_picture_and_says_that_a_second_is_needed() {
    let site = Site::new();
    let node = site.start(&[]);
    let client = node.client();
    fs::write(client.folder().join("a.jpg"), jpeg(1)).unwrap();
    let run = client.run(&["put", "a.jpg", "--within", "500ms", "--json"]);
    assert_eq!(run.code, ExitCode::Degraded as i32, "{}", run.err);
    assert!(run.err.contains("1 of 2 copies: the node is alone, and 2 are needed"), "{}", run.err);
    let told: serde_json::Value = serde_json::from_str(&run.text()).unwrap();
    assert_eq!((&told["copies"], &told["wanted"]), (&1.into(), &2.into()));
    assert_eq!(pictures(&site), set(["a.jpg"]));
}

#[test]
fn a_put_waits_until_another_node_has_it_too() {
    let (first, second) = (Site::new(), Site::new());
    let [one, two] = swarm([&first, &second], 0);
    let client = one.client();
    fs::write(client.folder().join("a.jpg"), jpeg(1)).unwrap();
    let putting = client.spawn(&["put", "a.jpg", "--json"]);
    // Whoever makes it: here a person does.
    two.client().lists(1);
    second.add("mine.jpg", &jpeg(1));
    let run = putting.finish(crate::support::PATIENCE);
    let told: serde_json::Value = serde_json::from_str(&run.succeeds()).unwrap();
    assert_eq!((&told["copies"], &told["wanted"]), (&2.into(), &2.into()));
    // What another node has already is not sent to this one.
    second.add("only here.jpg", &jpeg(2));
    client.lists(2);
    fs::write(client.folder().join("b.jpg"), jpeg(2)).unwrap();
    client.ok(&["put", "b.jpg", "--wait", "local"]);
    assert_eq!(pictures(&first), set(["a.jpg"]));
}
