//! A node alone tidies its own folder.

use std::fs;

use p2pimg::error::ExitCode;

use crate::support::{Running, Site, p2pimg};
use crate::{QUICK, best, halved, holds, looked, pictures, saved_as_jpeg};

/// `p2pimg trash ...` of the site's user.
fn trash(site: &Site, args: &[&str]) -> crate::support::Run {
    let mut command = p2pimg();
    command.env("P2PIMG_HOME", site.home()).arg("trash").args(args).arg("--dir").arg(site.photos());
    Running::spawn(command, site.root()).finish(crate::support::PATIENCE)
}

fn entries(site: &Site) -> Vec<serde_json::Value> {
    let out = trash(site, &["list", "--json"]).succeeds();
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_best_version_stays_and_the_others_can_be_restored() {
    let site = Site::new();
    site.add("best.png", &best(1));
    site.add("holiday/copy of best.png", &best(1));
    site.add("sent.jpg", &saved_as_jpeg(1, 80));
    site.add("thumb.jpg", &halved(1));
    site.add("another.png", &best(2));
    let node = site.start_with(&[], QUICK);
    holds(&site, &["best.png", "holiday", "another.png"]);
    crate::support::eventually("the copy in the other folder goes as well", || {
        (!site.path("holiday/copy of best.png").exists()).then_some(())
    });
    node.client().lists(2);

    let entries = entries(&site);
    let paths: Vec<&str> = entries.iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(entries.len(), 3, "{paths:?}");
    let thumb = entries.iter().find(|entry| entry["path"] == "thumb.jpg").unwrap();
    let id = thumb["entry"].as_str().unwrap().to_owned();

    // Restored while the node runs: it is back, and it stays, for good.
    trash(&site, &["restore", &id]).succeeds();
    assert_eq!(fs::read(site.path("thumb.jpg")).unwrap(), halved(1));
    node.client().lists(3);
    looked(&node, 3, 0);
    assert!(site.path("thumb.jpg").exists(), "it was asked for");
    node.end("TERM");
    let node = site.start_with(&[], QUICK);
    node.scanned();
    looked(&node, 3, 0);
    assert!(pictures(&site).contains("thumb.jpg"), "also after a restart");
    trash(&site, &["restore", &id]).fails(ExitCode::NotFound, &[&id]);
}

#[test]
fn a_file_that_arrives_later_is_compared_too_and_one_put_back_by_hand_stays() {
    let site = Site::new();
    site.add("best.png", &best(3));
    let node = site.start_with(&[], QUICK);
    node.scanned();
    site.add("mailed.jpg", &saved_as_jpeg(3, 75));
    node.event("dropped", |event| event["path"] == "mailed.jpg");
    assert!(!site.path("mailed.jpg").exists());
    // A person who puts the same file there again means it.
    site.add("mailed.jpg", &saved_as_jpeg(3, 75));
    node.client().lists_when("the one that was put back, kept", |rows| {
        rows.iter().any(|row| row["path"] == "mailed.jpg" && row["pinned"] == true)
    });
    looked(&node, 2, 0);
    assert!(site.path("mailed.jpg").exists());
}

#[test]
fn an_edit_in_place_is_another_picture() {
    let site = Site::new();
    site.add("photo.png", &best(4));
    site.add("photo backup.png", &best(5));
    let node = site.start_with(&[], &["--lease-seconds", "2", "--dedup", "report"]);
    node.client().lists(2);
    // Saved again by some program, a little worse; and the original comes back under another
    // name.
    site.add("photo.png", &saved_as_jpeg(4, 70));
    node.client().lists_when("the edited one", |rows| {
        rows.iter().any(|row| row["path"] == "photo.png" && row["format"] == "jpeg")
    });
    site.add("from the camera.png", &best(4));
    node.client().lists(3);
    node.end("TERM");
    let node = site.start_with(&[], QUICK);
    node.scanned();
    looked(&node, 3, 0);
    assert_eq!(pictures(&site).len(), 3, "{:?}", pictures(&site));
}

#[test]
fn report_mode_and_kept_files_lose_nothing() {
    let site = Site::new();
    site.add("best.png", &best(6));
    site.add("small.jpg", &halved(6));
    let node = site.start_with(&[], &["--lease-seconds", "1", "--dedup", "report"]);
    looked(&node, 2, 1);
    assert!(site.path("small.jpg").exists());
    let groups = node.client().json(&["duplicates"]);
    assert_eq!(groups.len(), 1, "{groups:?}");
    node.end("TERM");
    let node = site.start_with(&[], &["--lease-seconds", "1", "--keep", "SMALL.*"]);
    looked(&node, 2, 0);
    assert!(site.path("small.jpg").exists(), "--keep");
    node.end("TERM");
    let _node = site.start_with(&[], &["--lease-seconds", "1"]);
    holds(&site, &["best.png"]);
}

#[test]
fn too_many_at_once_wait_for_a_person() {
    let site = Site::new();
    for number in 20..23 {
        site.add(&format!("{number}.png"), &best(number));
        for copy in 0..8 {
            // Of the same bytes in other places: quick to compare.
            site.add(&format!("{copy}/{number}.png"), &best(number));
        }
    }
    let node = site.start_with(&[], QUICK);
    let braked = node.event("braked", |_| true);
    assert_eq!(braked["would_take"], 24);
    assert!(site.path("0/20.png").exists());
    let run = node.client().run(&["status"]);
    assert_eq!(run.code, ExitCode::Degraded as i32, "{}", run.text());
    assert!(run.text().contains("approve"), "{}", run.text());
    node.client().ok(&["dedup", "approve"]);
    crate::support::eventually("all of them go", || {
        (0..8).all(|copy| !site.path(&format!("{copy}/20.png")).exists()).then_some(())
    });
    assert!(site.path("20.png").exists());
}
