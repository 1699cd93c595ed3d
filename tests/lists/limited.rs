//! A node that keeps only some of the members' catalogs.

use std::collections::BTreeSet;

use p2pimg::error::ExitCode;

use crate::complete;
use crate::support::{Site, TestNode, eventually, paths, pictures};

/// Nodes with 1, 3 and 4 pictures, of which the first keeps 4 entries of catalogs; picture 10 is at
/// all of them.
fn limited() -> (Vec<Site>, [TestNode; 3]) {
    let sites =
        vec![Site::with_pictures([10]), Site::with_pictures([10, 21, 22]), Site::with_pictures(31..34)];
    sites[2].add("ten.jpg", &pictures::jpeg(10));
    // What is there three times is no business of these tests.
    let one = sites[0].start_with(&[], &["--catalog-limit", "4", "--dedup", "off", "--lease-seconds", "4"]);
    let two = sites[1].start_with(&[&one], &["--dedup", "off", "--lease-seconds", "4"]);
    let three = sites[2].start_with(&[&one], &["--dedup", "off", "--lease-seconds", "4"]);
    for node in [&two, &three] {
        node.client().lists(6);
    }
    // It keeps the catalog of one of them, and asks the other.
    eventually("the limit", || (one.client().status()["asked"] == 1).then_some(()));
    (sites, [one, two, three])
}

#[test]
fn what_is_not_kept_is_asked_for() {
    let (sites, [one, two, three]) = limited();
    let client = one.client();
    let rows = complete(&client, 6);
    assert_eq!(rows, {
        let mut rows = two.client().list();
        // Whoever is asked comes first among the holders, and its path is shown.
        for row in &mut rows {
            let own = row["holders"].as_array().unwrap().iter().any(|holder| holder == one.peer());
            if own {
                row.clone_from(rows_of(&client.list(), row["content"].as_str().unwrap()));
            }
        }
        rows
    });
    let shared = rows.iter().find(|row| row["copies"] == 3).unwrap();
    let holders: BTreeSet<&str> =
        shared["holders"].as_array().unwrap().iter().map(|holder| holder.as_str().unwrap()).collect();
    assert_eq!(holders, BTreeSet::from([one.peer(), two.peer(), three.peer()]));

    // A filter looks at the path at every holder.
    let found = client.json(&["list", "--filter", "ten"]);
    assert_eq!((found.len(), &found[0]["copies"]), (1, &3.into()), "{found:#?}");
    // Prefixes, and bytes.
    for (site, name) in [(&sites[1], "21.jpg"), (&sites[2], "33.jpg")] {
        let content = blake3::hash(&std::fs::read(site.path(name)).unwrap()).to_hex();
        let row = rows_of(&rows, &content).clone();
        let hash = row["hash"].as_str().unwrap();
        for query in [&format!("c:{}", &content[..10]), &hash[..12].to_owned()] {
            assert_eq!(client.json(&["show", query])[0]["content"], content.as_str(), "{query}");
        }
        assert_eq!(client.run(&["get", hash, "-o", "-"]).out, std::fs::read(site.path(name)).unwrap());
    }
    // A change where nothing is kept.
    for (site, name, number) in [(&sites[1], "new1.jpg", 41), (&sites[2], "new2.jpg", 42)] {
        site.add(name, &pictures::jpeg(number));
    }
    let rows = complete(&client, 8);
    assert!(paths(&rows).contains("new1.jpg") && paths(&rows).contains("new2.jpg"));
}

fn rows_of<'a>(rows: &'a [serde_json::Value], content: &str) -> &'a serde_json::Value {
    rows.iter().find(|row| row["content"] == content).unwrap()
}

#[test]
fn one_that_does_not_answer_is_said_to_be_missing() {
    let (_sites, [one, two, three]) = limited();
    let kept = {
        let peers = one.client().json(&["peers"]);
        let kept = |node: &TestNode| {
            peers.iter().any(|peer| peer["peer"] == node.peer() && peer["catalog_known"] != 0)
        };
        assert_ne!(kept(&two), kept(&three), "{peers:#?}");
        kept(&two)
    };
    let (asked, own) = if kept { (&three, 3) } else { (&two, 2) };
    asked.signal("STOP");
    let client = one.client();
    let run = client.run(&["list", "--json"]);
    assert_eq!(run.code, ExitCode::Degraded as i32, "{}", run.err);
    assert!(run.err.contains("a node did not answer"), "{}", run.err);
    assert_eq!(run.text().lines().count(), 6 - own, "{}", run.text());
    asked.signal("CONT");
    complete(&client, 6);
}

#[test]
fn a_picture_is_removed_where_no_catalog_names_it() {
    let (sites, nodes) = limited();
    let one = &nodes[0];
    let content = blake3::hash(&pictures::jpeg(10)).to_hex().to_string();
    // A node that has just started removes nothing for the length of a lease, and does it then.
    let out = one.client().run(&["rm", &format!("c:{content}"), "--yes"]);
    assert!(!out.err.contains("is away"), "{} {}", out.err, out.text());
    for (site, name) in [(&sites[0], "10.jpg"), (&sites[1], "10.jpg"), (&sites[2], "ten.jpg")] {
        eventually("the picture having gone", || (!site.path(name).exists()).then_some(()));
    }
    complete(&one.client(), 5);
}

/// Nobody keeps any catalog: each holder sees its own copy only, and what it is told.
#[test]
fn who_sees_no_catalogs_makes_no_copies_without_end() {
    let sites = [Site::with_pictures([1, 2]), Site::with_pictures([3]), Site::new(), Site::new()];
    let options = ["--catalog-limit", "0", "--capacity", "1G", "--lease-seconds", "4"];
    let mut nodes: Vec<TestNode> = Vec::new();
    for site in &sites {
        let node = site.start_with(&nodes.first().into_iter().collect::<Vec<_>>(), &options);
        nodes.push(node);
    }
    let copies = |rows: &[serde_json::Value]| {
        rows.iter().map(|row| row["copies"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    eventually("two copies of each", || {
        let rows = complete(&nodes[3].client(), 3);
        copies(&rows).iter().all(|copies| *copies >= 2).then_some(())
    });
    // What was taken on is asked about once more, and then believed.
    for node in &nodes {
        eventually("nothing being short", || {
            let copies = node.client().status()["copies"].clone();
            (copies["surveyed_s"].is_u64() && copies["short"] == 0 && copies["incoming"] == 0).then_some(())
        });
    }
    let rows = complete(&nodes[0].client(), 3);
    // Each holder that saw nobody may have made one too many, and none makes more.
    assert!(copies(&rows).iter().all(|copies| (2..=3).contains(copies)), "{rows:#?}");
}
