//! Swarms in which not every node knows every other.

use std::collections::BTreeSet;

use crate::complete;
use crate::support::{Site, TestNode, eventually, paths};

/// A chain: each was told of the one before, and keeps so many members.
fn chain(number: u64, members: &str) -> (Vec<Site>, Vec<TestNode>) {
    let sites: Vec<Site> = (0..number).map(|n| Site::with_pictures([100 + n])).collect();
    let mut nodes: Vec<TestNode> = Vec::new();
    for site in &sites {
        let before: Vec<&TestNode> = nodes.last().into_iter().collect();
        nodes.push(site.start_with(&before, &["--max-members", members]));
    }
    (sites, nodes)
}

#[test]
fn every_node_lists_all_and_gets_all() {
    let (sites, nodes) = chain(6, "3");
    for node in &nodes {
        let rows = complete(&node.client(), 6);
        let wanted: BTreeSet<String> = (100..106).map(|n| format!("{n}.jpg")).collect();
        assert_eq!(paths(&rows), wanted);
        let status = node.client().status();
        assert!(status["peers"].as_u64().unwrap() <= 3, "{status:#}");
    }
    for (node, site, name) in [(&nodes[0], &sites[5], "105.jpg"), (&nodes[5], &sites[0], "100.jpg")] {
        let client = node.client();
        let rows = complete(&client, 6);
        let row = rows.iter().find(|row| row["path"] == name).unwrap();
        let hash = row["hash"].as_str().unwrap().to_owned();
        let run = client.run(&["get", &hash, "-o", "-"]);
        assert_eq!(run.out, std::fs::read(site.path(name)).unwrap(), "{}", run.err);
        assert_eq!(client.json(&["show", &hash])[0]["holder_status"][0]["confirmed"], true);
    }
    // One goes: its picture goes, the others stay.
    let mut nodes = nodes;
    nodes.remove(2).kill();
    for node in &nodes {
        complete(&node.client(), 5);
    }
}

/// The one that all were told of has no room for more than one of them.
#[test]
fn nodes_that_know_one_full_node_find_each_other() {
    let hub_site = Site::new();
    let hub = hub_site.start_with(&[], &["--max-members", "1"]);
    let sites: Vec<Site> = (0..4).map(|n| Site::with_pictures([200 + n])).collect();
    let nodes: Vec<TestNode> = sites.iter().map(|site| site.start(&[&hub])).collect();
    for node in &nodes {
        eventually("the others being members", || {
            (node.client().status()["peers"].as_u64() >= Some(3)).then_some(())
        });
        complete(&node.client(), 4);
    }
    complete(&hub.client(), 4);
    assert_eq!(hub.client().status()["peers"], 1);
    // One key for the members, one for each picture.
    eventually("the members' key in the DHT", || {
        (hub.client().status()["records_held"].as_u64() >= Some(5)).then_some(())
    });
}
