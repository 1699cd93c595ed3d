//! Two homes behind routers that let nobody in, and a node that relays between them. Network
//! namespaces with real NAT rules; needs root, `ip` and `nft`, says so and passes where they are
//! missing.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may fail so")]

#[path = "support/mod.rs"]
mod support;

use std::fs;

use serde_json::Value;
use support::homes::{Homes, PUBLIC, Ports};
use support::{Machine, Site, TestNode, eventually, p2pimg, pictures};

/// What the homes are started with: they take copies.
const HOME: [&str; 6] = ["--capacity", "1T", "--repair-after", "1s", "--lease-seconds", "6"];

struct Swarm {
    // Dropped in this order: the nodes, and then where they run.
    nodes: Vec<TestNode>,
    _homes: Homes,
    _sites: Vec<Site>,
}

impl Swarm {
    /// The relay, which has no pictures and takes none, and two homes with one picture each, 101 and
    /// 102, which know only the relay.
    fn new(ports: Ports) -> Option<Self> {
        let homes = Homes::new(ports)?;
        let sites = vec![Site::new(), Site::with_pictures([101]), Site::with_pictures([102])];
        let key = sites[0].root().join("swarm.key");
        let made = p2pimg().env("P2PIMG_HOME", sites[0].home()).args(["keygen", "-o"]).arg(&key).output();
        assert!(made.unwrap().status.success());
        let mut nodes: Vec<TestNode> = Vec::new();
        for (number, (site, name)) in sites.iter().zip(&homes.machines).enumerate() {
            let at = if number == 0 { PUBLIC.to_owned() } else { format!("192.168.1.{}", 1 + number) };
            let address = format!("/ip4/{at}/tcp/4011");
            let machine = Machine { name: name.clone(), address, key: key.clone() };
            let others: Vec<&TestNode> = nodes.first().into_iter().collect();
            let options: &[&str] = if number == 0 { &["--relay", "--capacity", "0"] } else { &HOME };
            let node = site.start_on(&machine, &others, options);
            nodes.push(node);
        }
        Some(Self { nodes, _homes: homes, _sites: sites })
    }

    /// The row of one home in what the other one tells of its peers, once it is connected.
    fn sees(&self, from: usize, to: usize, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually("the other home", || {
            let rows = self.nodes[from].client().json(&["peers"]);
            rows.into_iter()
                .find(|row| row["peer"] == self.nodes[to].peer() && row["connected"] == true && wanted(row))
        })
    }

    /// Each picture is on both homes, and comes from either.
    fn has_copies(&self) {
        for node in &self.nodes[1..] {
            eventually("two copies of both", || {
                let rows = node.client().list();
                (rows.len() == 2 && rows.iter().all(|row| row["copies"] == 2)).then_some(())
            });
        }
        for (node, number) in [(1, 102), (2, 101)] {
            let data = pictures::jpeg(number);
            let client = self.nodes[node].client();
            let to = client.folder().join("got.jpg");
            client.ok(&["get", &format!("c:{}", blake3::hash(&data)), "-o", to.to_str().unwrap()]);
            assert_eq!(fs::read(&to).unwrap(), data);
        }
    }
}

/// Most routers at home: hole punching works, and what the two exchange does not pass the relay.
#[test]
fn two_homes_meet_at_a_relay_and_speak_directly() {
    let Some(swarm) = Swarm::new(Ports::Kept) else { return };
    for (from, to) in [(1, 2), (2, 1)] {
        let row = swarm.sees(from, to, |row| row["relayed"] == false);
        assert_eq!(row["connected"], true, "{row}");
    }
    swarm.has_copies();
}

/// The others: everything goes through the relay, and everything works.
#[test]
fn two_homes_that_no_hole_can_be_punched_between_stay_relayed() {
    let Some(swarm) = Swarm::new(Ports::Random) else { return };
    for (from, to) in [(1, 2), (2, 1)] {
        swarm.sees(from, to, |row| row["relayed"] == true);
    }
    swarm.has_copies();
    let status = swarm.nodes[1].client().status();
    assert_eq!((status["relays"].as_u64(), status["relaying"].as_bool()), (Some(1), Some(false)));
    assert_eq!(swarm.nodes[0].client().status()["relaying"], true);
}
