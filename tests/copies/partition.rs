//! Networks that break: a pulled cable, a swarm in two halves, lost packets. Nodes on machines of their
//! own, in network namespaces; needs root and `ip`, says so and passes where they are missing.

use std::fs;

use super::support::machines::Net;
use super::support::{Machine, Site, TestNode, eventually, p2pimg, pictures};
use super::{OPTIONS, all_come_from, replicas_of, settled};

/// Nodes with two pictures each: 100, 101, 110, 111, ..
struct Swarm {
    // Dropped in this order: the nodes, and then where they run.
    nodes: Vec<TestNode>,
    net: Net,
    sites: Vec<Site>,
}

fn numbers(machine: usize) -> [u64; 2] {
    [100, 101].map(|number| number + 10 * machine as u64)
}

impl Swarm {
    fn new(machines: usize) -> Option<Self> {
        let net = Net::new(machines)?;
        let sites: Vec<Site> = (0..machines).map(|machine| Site::with_pictures(numbers(machine))).collect();
        let key = sites[0].root().join("swarm.key");
        let made = p2pimg().env("P2PIMG_HOME", sites[0].home()).args(["keygen", "-o"]).arg(&key).output();
        assert!(made.unwrap().status.success());
        Some(Self { nodes: Vec::new(), net, sites }.started(&key))
    }

    fn started(mut self, key: &std::path::Path) -> Self {
        for (site, name) in self.sites.iter().zip(&self.net.machines) {
            let machine = Machine {
                name: name.clone(),
                address: format!("/ip4/10.77.0.{}/tcp/4011", self.nodes.len() + 1),
                key: key.to_path_buf(),
            };
            let others: Vec<&TestNode> = self.nodes.first().into_iter().collect();
            let node = site.start_on(&machine, &others, &OPTIONS);
            self.nodes.push(node);
        }
        self.healthy();
        self
    }

    /// All nodes see two copies of each picture, and there are no more.
    fn healthy(&self) {
        let images = 2 * self.nodes.len();
        for node in &self.nodes {
            settled(node, images, 2);
        }
        eventually("no replica too many", || (replicas_of(&self.sites) == images).then_some(()));
        for (machine, site) in self.sites.iter().enumerate() {
            for number in numbers(machine) {
                let file = fs::read(site.path(&format!("{number}.jpg"))).unwrap();
                assert_eq!(file, pictures::jpeg(number));
            }
        }
    }

    /// These have noticed that those are gone, and have two copies of each of their own pictures
    /// among themselves.
    fn make_up(&self, these: &[usize], those: &[usize]) {
        for node in these.iter().map(|this| &self.nodes[*this]) {
            for that in those.iter().map(|that| &self.nodes[*that]) {
                node.event("peer_down", |event| event["peer"] == that.peer());
            }
        }
        let own: Vec<String> =
            these.iter().flat_map(|this| numbers(*this)).map(|number| format!("{number}.jpg")).collect();
        for node in these.iter().map(|this| &self.nodes[*this]) {
            node.client().lists_when("two copies on this side", |rows| {
                let enough = |path: &String| {
                    rows.iter().any(|row| row["path"] == **path && row["copies"].as_u64() == Some(2))
                };
                own.iter().all(enough)
            });
        }
    }

    fn all_come(&self) {
        for node in &self.nodes {
            all_come_from(node, (0..self.nodes.len()).flat_map(numbers));
        }
    }
}

#[test]
fn a_pulled_cable_costs_a_copy_for_a_while() {
    let Some(swarm) = Swarm::new(3) else { return };
    swarm.net.cable(2, "down");
    swarm.make_up(&[0, 1], &[2]);
    swarm.net.cable(2, "up");
    swarm.healthy();
    swarm.all_come();
}

#[test]
fn two_halves_make_their_copies_and_are_one_swarm_again() {
    let Some(swarm) = Swarm::new(4) else { return };
    swarm.net.part(&[2, 3]);
    swarm.make_up(&[0, 1], &[2, 3]);
    swarm.make_up(&[2, 3], &[0, 1]);
    swarm.net.heal();
    swarm.healthy();
    swarm.all_come();
}

#[test]
fn lost_packets_only_take_longer() {
    let Some(mut swarm) = Swarm::new(3) else { return };
    if !swarm.net.spoil() {
        return;
    }
    swarm.sites[0].add("new.jpg", &pictures::jpeg(190));
    for node in &swarm.nodes {
        settled(node, 7, 2);
        all_come_from(node, [100, 111, 190]);
    }
    // A node that goes there and comes back.
    let gone = swarm.nodes.pop().unwrap();
    gone.kill();
    for node in &swarm.nodes {
        settled(node, 7, 2);
    }
}
