//! Two homes, each behind a router of its own, and a machine on the internet between them: network
//! namespaces with real NAT rules.
#![allow(dead_code, reason = "not every test binary uses all of it")]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::machines::{ip, must};

/// The machine that everybody reaches.
pub(crate) const PUBLIC: &str = "203.0.113.1";

/// How the routers choose the outer port of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ports {
    /// The inner one: two machines that dial each other at once meet.
    Kept,
    /// Another one for each connection: they never do.
    Random,
}

/// All of it; goes when this is dropped.
pub(crate) struct Homes {
    net: String,
    routers: [String; 2],
    /// The network namespaces of the machine on the internet, and of those at home.
    pub(crate) machines: [String; 3],
}

impl Homes {
    /// `None`, with a line saying why, where that can't be made.
    pub(crate) fn new(ports: Ports) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let tag = format!("p2h{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let name = |what: &str| format!("{tag}{what}");
        let homes = Self {
            net: name("n"),
            routers: [name("r0"), name("r1")],
            machines: [name("pub"), name("h0"), name("h1")],
        };
        if !ip(&format!("netns add {}", homes.net)) {
            eprintln!("skipped: network namespaces need root and the program `ip`");
            return None;
        }
        let net = &homes.net;
        must(&format!("-n {net} link add br0 type bridge"));
        must(&format!("-n {net} link set br0 up"));
        for machine in homes.routers.iter().chain(&homes.machines) {
            must(&format!("netns add {machine}"));
            must(&format!("-n {machine} link set lo up"));
        }
        homes.plug_in(&homes.machines[0], "p", PUBLIC);
        for (number, router) in homes.routers.iter().enumerate() {
            homes.plug_in(router, &format!("r{number}"), &format!("203.0.113.{}", 11 + number));
            // Both homes number their machines alike, as most do.
            let home = &homes.machines[1 + number];
            must(&format!("-n {home} link add eth0 type veth peer name lan netns {router}"));
            must(&format!("-n {router} addr add 192.168.1.1/24 dev lan"));
            must(&format!("-n {router} link set lan up"));
            must(&format!("-n {home} addr add 192.168.1.{}/24 dev eth0", 2 + number));
            must(&format!("-n {home} link set eth0 up"));
            must(&format!("-n {home} route add default via 192.168.1.1"));
            if !routes(router, ports) {
                eprintln!("skipped: NAT needs the program `nft` and the kernel's nf_tables");
                return None;
            }
        }
        Some(homes)
    }

    /// A card called `wan`, on the internet.
    fn plug_in(&self, machine: &str, port: &str, address: &str) {
        let net = &self.net;
        must(&format!("-n {machine} link add wan type veth peer name {port} netns {net}"));
        must(&format!("-n {net} link set {port} master br0"));
        must(&format!("-n {net} link set {port} up"));
        must(&format!("-n {machine} addr add {address}/24 dev wan"));
        must(&format!("-n {machine} link set wan up"));
    }
}

impl Drop for Homes {
    fn drop(&mut self) {
        for name in self.machines.iter().chain(&self.routers).chain([&self.net]) {
            ip(&format!("netns del {name}"));
        }
    }
}

/// What a router at home does: outgoing connections get its address, and nothing else comes in.
fn routes(router: &str, ports: Ports) -> bool {
    let masquerade = if ports == Ports::Random { "masquerade fully-random" } else { "masquerade" };
    let rules = format!(
        "table ip home {{
            chain out {{
                type nat hook postrouting priority 100;
                oifname \"wan\" {masquerade}
            }}
            chain through {{
                type filter hook forward priority 0;
                iifname \"wan\" ct state established,related accept
                iifname \"wan\" drop
            }}
            chain inside {{
                type filter hook input priority 0;
                iifname \"wan\" ct state established,related accept
                iifname \"wan\" drop
            }}
        }}\n"
    );
    let forward = ["netns", "exec", router, "sysctl", "-qw", "net.ipv4.ip_forward=1"];
    let forwards = Command::new("ip").args(forward).status().is_ok_and(|status| status.success());
    forwards && nft(router, &rules)
}

fn nft(router: &str, rules: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", router, "nft", "-f", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    let written = child.stdin.take().is_some_and(|mut pipe| pipe.write_all(rules.as_bytes()).is_ok());
    child.wait().is_ok_and(|status| status.success()) && written
}
