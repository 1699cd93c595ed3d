//! Catalogs that begin anew, or go back to what they were, and how fast a change is known.

use std::fs;
use std::time::{Duration, Instant};

use p2pimg::client::Client;

use crate::support::{PATIENCE, Site, TestNode, eventually, paths, pictures};

fn names(wanted: &[&str]) -> impl Fn(&[serde_json::Value]) -> bool {
    let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    move |rows| paths(rows).into_iter().eq(wanted.iter().cloned())
}

fn end(node: TestNode) {
    assert!(node.end("TERM").0.success());
}

/// The index comes back from a backup: the same epoch, and after some changes the same number at the head,
/// but other entries. Numbers can't tell; the digest does, at once and not at its turn.
#[test]
fn an_index_from_an_old_backup_is_found_out() {
    let (here, there) = (Site::with_pictures([1]), Site::with_pictures([2]));
    let first = there.start(&[]);
    first.scanned();
    end(first);
    let index = there.photos().join(".p2pimg/index.redb");
    let backup = there.root().join("backup.redb");
    fs::copy(&index, &backup).unwrap();

    let other = there.start(&[]);
    for number in [3, 4] {
        there.add(&format!("{number}.jpg"), &pictures::jpeg(number));
    }
    let node = here.start(&[&other]);
    node.client().lists_when("all of it", names(&["1.jpg", "2.jpg", "3.jpg", "4.jpg"]));
    end(node);
    end(other);

    fs::copy(&backup, &index).unwrap();
    for (old, new) in [(3, 5), (4, 6)] {
        fs::remove_file(there.path(&format!("{old}.jpg"))).unwrap();
        there.add(&format!("{new}.jpg"), &pictures::jpeg(new));
    }
    // Alone until it has numbered its changes: a head that is seen to go back would give it away.
    let other = there.start(&[]);
    other.client().lists_when("the new ones", names(&["2.jpg", "5.jpg", "6.jpg"]));
    let node = here.start(&[&other]);
    node.client().lists_when("what is there now", names(&["1.jpg", "2.jpg", "5.jpg", "6.jpg"]));
    assert!(node.errors().contains("what was known of its pictures was wrong"), "{}", node.errors());
}

/// The index is lost: another epoch. What is gone meanwhile leaves the others' lists.
#[test]
fn a_catalog_that_begins_anew_replaces_the_old_one() {
    let (here, there) = (Site::with_pictures([1]), Site::with_pictures([2, 3]));
    let other = there.start(&[]);
    let node = here.start(&[&other]);
    node.client().lists_when("all of it", names(&["1.jpg", "2.jpg", "3.jpg"]));
    end(other);
    fs::remove_file(there.photos().join(".p2pimg/index.redb")).unwrap();
    fs::remove_file(there.path("2.jpg")).unwrap();
    there.add("4.jpg", &pictures::jpeg(4));
    let _other = there.start(&[&node]);
    node.client().lists_when("what is there now", names(&["1.jpg", "3.jpg", "4.jpg"]));
}

/// Measured and told, not judged: a busy machine is no reason to fail.
#[test]
fn a_change_is_in_the_list_of_the_others() {
    let sites = [Site::with_pictures([1]), Site::with_pictures([2]), Site::with_pictures([3])];
    let nodes = crate::support::swarm(sites.each_ref(), 3);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut clients = Vec::new();
        for node in &nodes {
            clients.push(Client::connect(node.address().parse().unwrap(), None).await.unwrap());
        }
        for round in 0..5_u64 {
            let path = sites[0].add(&format!("new{round}.jpg"), &pictures::jpeg(10 + round));
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let written = Instant::now();
            let mut seen = Vec::new();
            for client in &clients {
                loop {
                    let page = client.list(None, Some(&name)).await.unwrap();
                    if !page.rows.is_empty() {
                        seen.push(written.elapsed());
                        break;
                    }
                    assert!(written.elapsed() < PATIENCE);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            let after = seen.iter().max().unwrap().saturating_sub(seen[0]);
            println!("listed where it is {:?} after it was written, everywhere {after:?} later", seen[0]);
        }
    });
}

#[test]
fn a_member_that_was_away_is_compared_and_found_right() {
    let (here, there) = (Site::with_pictures([1]), Site::with_pictures([2]));
    let other = there.start(&[]);
    let node = here.start(&[&other]);
    node.client().lists(2);
    other.kill();
    node.client().lists(1);
    let _other = there.start(&[&node]);
    node.client().lists(2);
    eventually("the other one being a member again", || (node.client().status()["peers"] == 1).then_some(()));
    assert!(!node.errors().contains("was wrong"), "{}", node.errors());
}
