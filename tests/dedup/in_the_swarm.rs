//! Two and more nodes with the same pictures in different versions.

use std::fs;

use crate::support::{Site, TestNode, eventually};
use crate::{QUICK, best, halved, holds, looked, pictures, saved_as_jpeg};

fn pair(first: &Site, second: &Site, options: &[&str]) -> (TestNode, TestNode) {
    let one = first.start_with(&[], options);
    let two = second.start_with(&[&one], options);
    (one, two)
}

#[test]
fn overlapping_folders_end_with_one_best_version_and_its_second_copy() {
    let (first, second) = (Site::new(), Site::new());
    first.add("beach.png", &best(1));
    first.add("worse.jpg", &halved(2));
    second.add("beach small.jpg", &halved(1));
    second.add("better.png", &best(2));
    let (one, two) = pair(&first, &second, QUICK);
    holds(&first, &["beach.png"]);
    holds(&second, &["better.png"]);
    let rows = one.client().lists_when("two pictures, twice each", |rows| {
        rows.len() == 2 && rows.iter().all(|row| row["copies"] == 2)
    });
    assert!(rows.iter().all(|row| row["format"] == "png"), "{rows:#?}");
    // Each is served by the node that only keeps it for the other.
    one.kill();
    let client = two.client();
    let beach = rows.iter().find(|row| row["path"] == "beach.png").unwrap();
    client.ok(&["get", beach["hash"].as_str().unwrap(), "-o", "got.png"]);
    assert!(fs::read(client.folder().join("got.png")).unwrap() == best(1), "the same bytes");
}

#[test]
fn why_tells_what_went_for_what() {
    let (first, second) = (Site::new(), Site::new());
    first.add("beach.png", &best(7));
    second.add("beach small.jpg", &halved(7));
    let (one, two) = pair(&first, &second, QUICK);
    let dropped = two.event("dropped", |event| event["path"] == "beach small.jpg");
    let entry = dropped["entry"].as_str().unwrap();
    let row = one.client().lists(1).remove(0);
    // Asked of the other node.
    let why = one.client().ok(&["why", row["hash"].as_str().unwrap()]);
    for part in ["beach small.jpg", entry, "beach.png"] {
        assert!(why.contains(part), "'{part}' in:\n{why}");
    }
}

#[test]
fn the_same_bytes_on_two_nodes_are_the_two_copies() {
    let (first, second) = (Site::new(), Site::new());
    for site in [&first, &second] {
        site.add("shared.png", &best(8));
    }
    let (one, two) = pair(&first, &second, QUICK);
    for node in [&one, &two] {
        node.client().lists_when("two copies", |rows| rows.len() == 1 && rows[0]["copies"] == 2);
        looked(node, 1, 0);
    }
    holds(&first, &["shared.png"]);
    holds(&second, &["shared.png"]);
}

#[test]
fn a_better_version_is_adopted_when_told_so() {
    let (first, second) = (Site::new(), Site::new());
    first.add("beach.png", &best(9));
    second.add("Summer.jpg", &halved(9));
    let one = first.start_with(&[], QUICK);
    let _two = second.start_with(&[&one], &[QUICK, &["--adopt"]].concat());
    holds(&second, &["Summer.png"]);
    assert!(fs::read(second.path("Summer.png")).unwrap() == best(9));
    holds(&first, &["beach.png"]);
}

#[test]
fn nothing_goes_while_only_one_node_would_hold_the_keeper() {
    let (first, second) = (Site::new(), Site::new());
    first.add("beach.png", &best(10));
    second.add("beach small.jpg", &halved(10));
    let three = [QUICK, &["--copies", "3"]].concat();
    let (one, two) = pair(&first, &second, &three);
    two.client().lists(2);
    for node in [&one, &two] {
        looked(node, 2, 0);
    }
    assert_eq!(pictures(&second).len(), 1, "two nodes are not three");
    // A third one makes it possible.
    let third = Site::new();
    third.add("beach from me.jpg", &saved_as_jpeg(10, 85));
    let _three = third.start_with(&[&one], &three);
    holds(&second, &[]);
    holds(&third, &[]);
    eventually("three copies", || {
        let rows = one.client().list();
        (rows.len() == 1 && rows[0]["copies"] == 3).then_some(())
    });
}
