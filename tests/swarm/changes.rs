//! What changes in a folder or in the swarm while it runs, and what a restart remembers.

use std::fs;
use std::time::Duration;

use image::ImageFormat;

use crate::support::{ANY_PORT, Site, TestNode, eventually, paths, pictures, swarm};

#[test]
fn new_changed_renamed_and_removed_files_are_seen_by_the_other_node() {
    let (here, there) = (Site::with_pictures([50]), Site::with_pictures([51, 52, 53]));
    let nodes = swarm([&here, &there], 4);
    let client = nodes[0].client();
    let before = client.row("51.jpg");

    there.add("sub/new.jpg", &pictures::jpeg(54));
    there.add("51.jpg", &pictures::jpeg(55));
    fs::rename(there.path("52.jpg"), there.path("renamed.jpg")).unwrap();
    fs::remove_file(there.path("53.jpg")).unwrap();

    let rows = client.lists_when("all four changes", |rows| {
        let new = ["50.jpg", "51.jpg", "renamed.jpg", "sub/new.jpg"];
        let changed = rows.iter().find(|row| row["path"] == "51.jpg");
        paths(rows).iter().eq(new.iter()) && changed.is_some_and(|row| row["content"] != before["content"])
    });
    assert_eq!(rows.len(), 4, "{rows:#?}");
    let bytes = |path: &str| {
        let content = client.row(path)["content"].as_str().unwrap().to_owned();
        client.run(&["get", &format!("c:{content}"), "-o", "-"]).out
    };
    assert_eq!(bytes("51.jpg"), pictures::jpeg(55));
    assert_eq!(bytes("renamed.jpg"), pictures::jpeg(52));
    assert_eq!(bytes("sub/new.jpg"), pictures::jpeg(54));
}

#[test]
fn a_dead_nodes_pictures_leave_the_list_and_come_back_with_it() {
    let sites = [Site::with_pictures([60]), Site::with_pictures([61]), Site::with_pictures([62])];
    let [one, two, three] = swarm(sites.each_ref(), 3);
    two.kill();
    for node in [&one, &three] {
        let rows = node.client().lists(2);
        assert_eq!(paths(&rows).into_iter().collect::<Vec<_>>(), ["60.jpg", "62.jpg"]);
    }
    // The others are still served, across nodes.
    let client = three.client();
    let hash = client.row("60.jpg")["hash"].as_str().unwrap().to_owned();
    assert_eq!(client.run(&["get", &hash, "-o", "-"]).out, pictures::jpeg(60));

    let two = sites[1].start(&[&one]);
    for node in [&one, &two, &three] {
        node.client().lists(3);
    }
    let hash = client.row("61.jpg")["hash"].as_str().unwrap().to_owned();
    assert_eq!(client.run(&["get", &hash, "-o", "-"]).out, pictures::jpeg(61));
}

/// The drive is pulled: nothing is withdrawn, and it is said once. In the terminal it stood
/// twice, as a log line and as a warning.
#[test]
fn a_folder_that_is_away_withdraws_nothing() {
    let site = Site::with_pictures([63, 64]);
    let state = site.root().join("state");
    let node = site.start_with(&[], &["--state", state.to_str().unwrap(), "--rescan", "1s"]);
    node.client().lists(2);
    let (here, away) = (site.photos(), site.root().join("away"));
    fs::rename(&here, &away).unwrap();
    fs::create_dir(&here).unwrap();
    node.event("warning", |event| event["message"].as_str().unwrap().contains("is its drive mounted?"));
    assert_eq!(node.client().list().len(), 2);
    assert!(!node.errors().contains("mounted"), "{}", node.errors());
    fs::remove_dir(&here).unwrap();
    fs::rename(&away, &here).unwrap();
    node.event("notice", |event| event["message"].as_str().unwrap().contains("usable again"));
    assert_eq!(node.client().list().len(), 2);
}

#[test]
fn a_second_start_inspects_nothing_and_keeps_the_identity() {
    let site = Site::with_pictures(70..75);
    let node = site.start(&[]);
    node.client().lists(5);
    let peer = node.peer().to_owned();
    node.end("TERM");

    let node = site.start(&[]);
    let scan = node.scanned();
    assert_eq!((&scan["full"], &scan["images"]), (&true.into(), &5.into()), "{scan:#}");
    assert_eq!((&scan["looked_at"], &scan["inspected"]), (&5.into(), &0.into()), "{scan:#}");
    assert_eq!(node.peer(), peer);
    node.end("TERM");

    // What changed meanwhile is all that is looked into.
    site.add("70.jpg", &pictures::jpeg(76));
    fs::remove_file(site.path("71.jpg")).unwrap();
    let node = site.start(&[]);
    let rows = node.client().lists_when("the changes", |rows| {
        rows.len() == 4 && rows.iter().any(|row| row["bytes"] == pictures::jpeg(76).len())
    });
    assert!(!paths(&rows).contains("71.jpg"));
    let inspected: u64 =
        node.events("scan_done").iter().map(|scan| scan["inspected"].as_u64().unwrap()).sum();
    assert_eq!(inspected, 1, "{:#?}", node.events("scan_done"));
}

/// Killed without warning while it looks at its folder, with some of it done.
#[test]
fn a_node_killed_in_the_middle_of_a_scan_starts_again() {
    let site = Site::new();
    let picture = pictures::draw(80).resize_exact(640, 480, image::imageops::FilterType::Triangle);
    let number: u8 = 40;
    for shade in 0..number {
        let mut other = picture.to_rgb8();
        other.put_pixel(0, 0, image::Rgb([shade; 3]));
        site.add(&format!("{shade}.bmp"), &pictures::encode(&other.into(), ImageFormat::Bmp));
    }
    // Else the first scan would find files that may still change.
    let settled = p2pimg::limits::SETTLE + Duration::from_millis(100);
    std::thread::sleep(settled);
    for done_by_then in [1, u64::from(number) / 2] {
        let node = TestNode::spawn(&site.home(), &site.photos(), &["--listen", ANY_PORT]);
        let at = node.event("scan_progress", |event| event["done"].as_u64().unwrap() >= done_by_then);
        assert!(at["done"].as_u64() < at["total"].as_u64(), "it was in the middle: {at:#}");
        assert_eq!(node.events("scan_done").len(), 0);
        node.kill();
    }

    let node = site.start(&[]);
    let scan = node.scanned();
    assert_eq!(scan["images"], number, "{scan:#}");
    assert_ne!(scan["inspected"], 0, "something was left to do: {scan:#}");
    let rows = node.client().lists(number.into());
    let hashes: std::collections::BTreeSet<&str> =
        rows.iter().map(|row| row["content"].as_str().unwrap()).collect();
    assert_eq!(hashes.len(), usize::from(number));
    let status = eventually("the end of the scan", || {
        let status = node.client().status();
        status["scanning"].is_null().then_some(status)
    });
    assert_eq!((&status["images"], &status["problem_count"]), (&number.into(), &0.into()));
}
