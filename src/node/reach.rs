//! How far a node reaches: without a swarm key and without `--open` it stays on this
//! machine, because whoever can connect counts as trusted.

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use crate::membership::is_relayed;

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

/// Whether the address is on this machine. One that leads through a relay is not, wherever the
/// relay is.
pub(super) fn is_loopback(address: &Multiaddr) -> bool {
    if is_relayed(address) {
        return false;
    }
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
        _ => false,
    }
}

/// Whether an address that a peer named can be of use to us: no unspecified or multicast
/// one, and loopback only from a peer that is on this machine itself. Of a relayed one the relay's
/// own address counts. A name is as good as any address: what it leads to is another matter.
pub(super) fn is_usable(address: &Multiaddr, peer_is_local: bool) -> bool {
    let host: Multiaddr = address.iter().take(1).collect();
    let useful = match address.iter().next() {
        Some(Protocol::Ip4(ip)) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        // A link-local IPv6 address means nothing without the name of a network card.
        Some(Protocol::Ip6(ip)) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_unicast_link_local(),
        _ => is_name(address),
    };
    useful && (peer_is_local || !is_loopback(&host))
}

/// Whether the address begins with a name that has to be looked up.
pub(super) fn is_name(address: &Multiaddr) -> bool {
    let first = address.iter().next();
    matches!(first, Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_)))
}

/// Whether everybody can reach the address, if its node lets them. Not everybody has IPv6: such an
/// address is not enough.
pub(super) fn is_public(address: &Multiaddr) -> bool {
    let Some(Protocol::Ip4(ip)) = address.iter().next() else { return false };
    // 100.64.0.0/10 is between a provider and its customers.
    let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
    let inside = ip.is_private() || ip.is_loopback() || ip.is_link_local() || shared;
    !inside && !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast() && !is_relayed(address)
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
        assert!(is_usable(&address("/dns4/nas.example/tcp/1"), false));
    }

    #[test]
    fn a_relayed_address_is_as_usable_as_the_relay_and_never_on_this_machine() {
        let relay = libp2p::PeerId::random();
        for (at, usable) in [("127.0.0.1", false), ("192.168.1.2", true), ("203.0.113.1", true)] {
            let through = address(&format!("/ip4/{at}/tcp/1/p2p/{relay}/p2p-circuit"));
            assert_eq!(is_usable(&through, false), usable, "{at}");
            assert!(is_usable(&through, true), "{at}");
            assert!(!is_loopback(&through) && !Reach::Loopback.allows(&through), "{at}");
            assert!(!is_public(&through), "{at}");
        }
        assert!(!is_usable(&address(&format!("/p2p/{relay}/p2p-circuit")), true));
    }

    #[test]
    fn public_is_what_all_can_reach() {
        for public in ["/ip4/203.0.113.9/tcp/1", "/ip4/100.128.0.1/tcp/1", "/ip4/8.8.8.8/udp/1/quic-v1"] {
            assert!(is_public(&address(public)), "{public}");
        }
        for inside in [
            "/ip4/192.168.1.1/tcp/1",
            "/ip4/100.64.0.1/tcp/1",
            "/ip4/127.0.0.1/tcp/1",
            "/ip6/2001:db8::1/tcp/1",
        ] {
            assert!(!is_public(&address(inside)), "{inside}");
        }
    }
}
