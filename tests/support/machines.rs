//! Machines in network namespaces on one bridge, for nodes that are to be cut off from each other.
#![allow(dead_code, reason = "not every test binary uses all of it")]

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) fn ip(args: &str) -> bool {
    quiet(Command::new("ip").args(args.split(' ')))
}

fn quiet(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

#[track_caller]
pub(crate) fn must(args: &str) {
    assert!(ip(args), "ip {args}");
}

/// A network with machines on it. The bridge is in a namespace of its own, so that nothing
/// of the host is touched; everything goes when this is dropped.
pub(crate) struct Net {
    bridge: String,
    pub(crate) machines: Vec<String>,
}

impl Net {
    /// `None`, with a line saying why, where namespaces can't be made.
    pub(crate) fn new(machines: usize) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let tag = format!("p2i{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut net = Self { bridge: format!("{tag}b"), machines: Vec::new() };
        if !ip(&format!("netns add {}", net.bridge)) {
            eprintln!("skipped: network namespaces need root and the program `ip`");
            return None;
        }
        let bridge = net.bridge.clone();
        // Without a querier a bridge that snoops forgets multicast groups: mDNS goes dark.
        must(&format!("-n {bridge} link add br0 type bridge mcast_snooping 0"));
        must(&format!("-n {bridge} link set br0 up"));
        for number in 0..machines {
            let name = format!("{tag}m{number}");
            must(&format!("netns add {name}"));
            net.machines.push(name.clone());
            must(&format!("-n {name} link add eth0 type veth peer name v{number} netns {bridge}"));
            must(&format!("-n {bridge} link set v{number} master br0"));
            must(&format!("-n {bridge} link set v{number} up"));
            must(&format!("-n {name} addr add 10.77.0.{}/24 dev eth0", number + 1));
            must(&format!("-n {name} link set lo up"));
            must(&format!("-n {name} link set eth0 up"));
            // Multicast goes where there is a route for it.
            must(&format!("-n {name} route add default via 10.77.0.254 dev eth0"));
        }
        Some(net)
    }

    /// Puts these machines on a switch of their own, apart from the others.
    pub(crate) fn part(&self, machines: &[usize]) {
        let bridge = &self.bridge;
        must(&format!("-n {bridge} link add br1 type bridge mcast_snooping 0"));
        must(&format!("-n {bridge} link set br1 up"));
        for machine in machines {
            must(&format!("-n {bridge} link set v{machine} master br1"));
        }
    }

    /// All are on one switch again.
    pub(crate) fn heal(&self) {
        let bridge = &self.bridge;
        for machine in 0..self.machines.len() {
            must(&format!("-n {bridge} link set v{machine} master br0"));
        }
        must(&format!("-n {bridge} link del br1"));
    }

    /// Loses one of ten packets in each direction and delays all others; false, with a line saying
    /// why, where the system can't.
    pub(crate) fn spoil(&self) -> bool {
        (0..self.machines.len()).all(|machine| {
            let tc = ["-n", &self.bridge, "qdisc", "add", "dev", &format!("v{machine}"), "root"];
            let netem = ["netem", "loss", "10%", "delay", "50ms"];
            let done = quiet(Command::new("tc").args(tc).args(netem));
            let done = done
                && quiet(
                    Command::new("tc")
                        .args(["-n", &self.machines[machine], "qdisc", "add", "dev", "eth0", "root"])
                        .args(netem),
                );
            if !done {
                eprintln!("skipped: the program `tc` or the kernel's netem is missing");
            }
            done
        })
    }

    /// The switch's side of a cable: the machine itself notices nothing.
    pub(crate) fn cable(&self, machine: usize, state: &str) {
        must(&format!("-n {} link set v{machine} {state}", self.bridge));
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in self.machines.iter().chain([&self.bridge]) {
            ip(&format!("netns del {name}"));
        }
    }
}
