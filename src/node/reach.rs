//! How far a node reaches: without a swarm key and without `--open` it stays on this
//! machine, because whoever can connect counts as trusted.

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Which addresses a node listens on, dials and accepts connections from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// This machine only.
    Loopback,
    /// Any.
    Anywhere,
}

impl Reach {
    /// Whether a connection from or to `address` is within reach.
    pub(super) fn allows(self, address: &Multiaddr) -> bool {
        self == Self::Anywhere || is_loopback(address)
    }
}

/// Whether the address is on this machine.
pub(super) fn is_loopback(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
        _ => false,
    }
}

/// Whether an address that a peer named can be of use to us: no unspecified or multicast
/// one, and loopback only from a peer that is on this machine itself.
pub(super) fn is_usable(address: &Multiaddr, peer_is_local: bool) -> bool {
    let useful = match address.iter().next() {
        Some(Protocol::Ip4(ip)) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        // A link-local IPv6 address means nothing without the name of a network card.
        Some(Protocol::Ip6(ip)) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_unicast_link_local(),
        _ => false,
    };
    useful && (peer_is_local || !is_loopback(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_node_without_a_key_reaches_this_machine_only() {
        for inside in
            ["/ip4/127.0.0.1/tcp/1", "/ip4/127.9.9.9/tcp/1", "/ip6/::1/tcp/1", "/ip6/::ffff:127.0.0.1/tcp/1"]
        {
            assert!(Reach::Loopback.allows(&address(inside)), "{inside}");
        }
        for outside in ["/ip4/10.0.0.1/tcp/1", "/ip6/2001:db8::1/tcp/1", "/dns4/localhost/tcp/1"] {
            assert!(!Reach::Loopback.allows(&address(outside)), "{outside}");
            assert!(Reach::Anywhere.allows(&address(outside)), "{outside}");
        }
    }

    #[test]
    fn only_a_local_peer_may_name_loopback_addresses() {
        let loopback = address("/ip4/127.0.0.1/tcp/1");
        assert!(is_usable(&loopback, true));
        assert!(!is_usable(&loopback, false));
        assert!(!is_usable(&address("/ip4/0.0.0.0/tcp/1"), true));
        assert!(!is_usable(&address("/ip6/fe80::1/tcp/1"), true));
        assert!(is_usable(&address("/ip4/192.168.1.2/tcp/1"), false));
    }
}
