//! Copies are made, made again when a node is gone, and trimmed when it is back.

use std::fs;

use p2pimg::error::ExitCode;

use super::support::{Site, eventually, names, pictures};
use super::{all_come_from, replicas_of, settled, start};

#[test]
fn each_picture_gets_a_second_copy_and_the_folders_stay_as_they_are() {
    let sites = [Site::with_pictures([1, 2, 3]), Site::with_pictures([4, 5])];
    let one = start(&sites[0], &[], &[]);
    one.scanned();
    let degraded = || (one.client().run(&["status"]).code == ExitCode::Degraded as i32).then_some(());
    eventually("one copy of each is not enough", degraded);
    let two = start(&sites[1], &[&one], &[]);
    settled(&one, 5, 2);
    settled(&two, 5, 2);
    one.event("settled", |event| event["contents"] == 5);
    assert_eq!(names(&sites[0].photos()), [".p2pimg", ".p2pimg-folder", "1.jpg", "2.jpg", "3.jpg"]);
    assert_eq!(names(&sites[1].photos()), [".p2pimg", ".p2pimg-folder", "4.jpg", "5.jpg"]);
    eventually("a healthy status", || (one.client().run(&["status"]).code == 0).then_some(()));

    // A new picture, too; and it is there when its folder's node is gone for good.
    sites[0].add("new.jpg", &pictures::jpeg(6));
    settled(&two, 6, 2);
    one.kill();
    all_come_from(&two, 1..=6);
    let row = two.client().lists(6).into_iter().find(|row| row["path"] == "new.jpg");
    assert!(row.is_some(), "listed under the path that it once had");
}

#[test]
fn copies_of_a_dead_node_are_made_again_and_trimmed_when_it_is_back() {
    let sites: Vec<Site> = (0u64..3).map(|n| Site::with_pictures([10 * n + 1, 10 * n + 2])).collect();
    let one = start(&sites[0], &[], &[]);
    let two = start(&sites[1], &[&one], &[]);
    let three = start(&sites[2], &[&one], &[]);
    for node in [&one, &two, &three] {
        settled(node, 6, 2);
    }
    three.kill();
    settled(&one, 6, 2);
    settled(&two, 6, 2);
    all_come_from(&one, [1, 2, 11, 12, 21, 22]);

    let three = start(&sites[2], &[&one], &[]);
    for node in [&one, &two, &three] {
        settled(node, 6, 2);
    }
    eventually("no replica too many", || (replicas_of(&sites) == 6).then_some(()));
    for site in &sites {
        let pictures = names(&site.photos()).into_iter().filter(|name| !name.starts_with(".p2pimg"));
        assert_eq!(pictures.count(), 2);
    }
}

#[test]
fn of_three_files_with_the_same_bytes_one_goes_to_the_trash() {
    let sites: Vec<Site> = (0..3).map(|_| Site::with_pictures([30])).collect();
    let one = start(&sites[0], &[], &[]);
    let two = start(&sites[1], &[&one], &[]);
    let three = start(&sites[2], &[&one], &[]);
    for node in [&one, &two, &three] {
        settled(node, 1, 2);
    }
    let files = || sites.iter().filter(|site| site.path("30.jpg").exists()).count();
    eventually("two files left", || (files() == 2).then_some(()));
    let trashed: usize = sites
        .iter()
        .map(|site| {
            let trash = site.photos().join(".p2pimg/trash");
            names(&trash).iter().filter(|name| fs::metadata(trash.join(name)).unwrap().is_dir()).count()
        })
        .sum();
    assert!(trashed <= 1, "no more than one went");
    assert_eq!(replicas_of(&sites), 0);
}

#[test]
fn a_node_that_leaves_hands_over_first() {
    let sites = [Site::with_pictures([41, 42, 43]), Site::new(), Site::new()];
    let mut one = start(&sites[0], &[], &[]);
    let two = start(&sites[1], &[&one], &[]);
    settled(&two, 3, 2);
    let three = start(&sites[2], &[&one, &two], &[]);
    three.client().lists(3);
    let drained = one.client().ok(&["drain"]);
    assert!(drained.contains("handed over"), "{drained}");
    eventually("the node stops", || (!one.is_running()).then_some(()));
    settled(&two, 3, 2);
    all_come_from(&three, 41..=43);
}

#[test]
fn a_node_that_nobody_can_take_over_from_says_so_and_stays() {
    let site = Site::with_pictures([51]);
    let mut node = start(&site, &[], &[]);
    node.scanned();
    let run = node.client().run(&["drain"]);
    assert_eq!(run.code, ExitCode::Degraded as i32, "{}", run.text());
    assert!(run.text().contains("1 picture would have too few copies"), "{}", run.text());
    assert!(node.is_running());
    node.client().ok(&["drain", "--cancel"]);
    let status = node.client().run(&["status", "--json"]).text();
    assert!(status.contains(r#""draining":false"#), "{status}");
    all_come_from(&node, [51]);
}
