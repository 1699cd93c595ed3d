//! How often to ask the local network for other nodes: often right after the start, when
//! nodes that started together miss each other's first packets, then seldom.
//!
//! libp2p's mDNS has one fixed interval, so a stage ends by putting a new instance in the
//! place of the old one.

use std::time::Duration;

use libp2p::PeerId;
use libp2p::swarm::behaviour::toggle::Toggle;
use tokio::time::Instant;

use crate::behaviour::{self, NodeBehaviour};

/// Interval, and how long after the start it holds.
const STAGES: [(Duration, Duration); 3] = [
    (Duration::from_secs(2), Duration::from_secs(30)),
    (Duration::from_secs(15), Duration::from_secs(300)),
    (Duration::from_secs(120), Duration::MAX),
];

/// mDNS of a node, moved from stage to stage.
#[derive(Debug)]
pub(super) struct LocalDiscovery {
    me: PeerId,
    started: Instant,
    stage: Option<usize>,
}

impl LocalDiscovery {
    pub(super) fn new(me: PeerId) -> Self {
        Self { me, started: Instant::now(), stage: None }
    }

    /// When [`LocalDiscovery::update`] has something to do next; `None`: never again.
    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        match self.stage {
            None => Some(self.started),
            Some(stage) => self.started.checked_add(STAGES[stage].1),
        }
    }

    /// Switches mDNS on, or to the stage that has come. Returns what went wrong: a machine
    /// without IPv6 or without any network is not an error for the node.
    pub(super) fn update(&mut self, behaviour: &mut NodeBehaviour) -> Option<String> {
        let age = self.started.elapsed();
        let due = STAGES.iter().position(|(_, until)| age < *until).unwrap_or(STAGES.len() - 1);
        if self.stage == Some(due) {
            return None;
        }
        let first = self.stage.is_none();
        self.stage = Some(due);
        let (interval, _) = STAGES[due];
        let mut trouble = None;
        let mut switch =
            |toggle: &mut Toggle<_>, ipv6| match behaviour::mdns_behaviour(self.me, ipv6, interval) {
                Ok(mdns) => *toggle = Some(mdns).into(),
                Err(error) if first => {
                    trouble =
                        Some(format!("mDNS is off for {}: {error}", if ipv6 { "IPv6" } else { "IPv4" }));
                }
                Err(_) => {}
            };
        switch(&mut behaviour.mdns4, false);
        switch(&mut behaviour.mdns6, true);
        trouble
    }
}
