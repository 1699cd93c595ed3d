//! Where a node listens.
//!
//! libp2p opens listeners with `SO_REUSEPORT`: a second node of the same user could take
//! the same port without an error, and the kernel would deal connections to the two at
//! random. So a node first takes the port's lock file, which settles it between nodes that
//! start at the same moment. Nodes with another [`Home`], which the lock does not see, are
//! found by opening the port once without that option; those of another user are refused
//! by the kernel in any case.

use std::fs::File;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::Swarm;
use libp2p::{Multiaddr, TransportError};

use crate::behaviour::NodeBehaviour;
use crate::store::folder::Home;

use super::config::DEFAULT_PORT;
use super::reach::Reach;
use super::{NodeConfig, StartError};

/// The listeners of a node.
#[derive(Debug)]
pub(super) struct Listening {
    /// All that were opened.
    pub(super) listeners: Vec<ListenerId>,
    /// Locks on their ports, held as long as the node runs.
    pub(super) ports: Vec<File>,
    /// What a person should know.
    pub(super) notices: Vec<String>,
}

/// Opens the listeners that `config` asks for.
///
/// # Errors
/// When an address of `--listen` can't be listened on, or none of the default ones.
pub(super) fn listen(
    swarm: &mut Swarm<NodeBehaviour>,
    config: &NodeConfig,
    reach: Reach,
    home: &Home,
) -> Result<Listening, StartError> {
    let mut listening = Listening { listeners: Vec::new(), ports: Vec::new(), notices: Vec::new() };
    if config.listen.is_empty() {
        // It carries no swarm key, and on one machine there is no use for it.
        let quic = config.swarm_key.is_none() && reach == Reach::Anywhere;
        listening.on_defaults(swarm, reach, home, quic)?;
    } else {
        for address in &config.listen {
            listening
                .on(swarm, home, address)
                .map_err(|reason| StartError::Listen { address: address.clone(), reason })?;
        }
    }
    if reach == Reach::Loopback {
        listening.notices.push(
            "reachable from this machine only: to join others make a swarm key (p2pimg keygen), or say --open"
                .to_owned(),
        );
    }
    Ok(listening)
}

impl Listening {
    fn on_defaults(
        &mut self,
        swarm: &mut Swarm<NodeBehaviour>,
        reach: Reach,
        home: &Home,
        quic: bool,
    ) -> Result<(), StartError> {
        let hosts: [IpAddr; 2] = match reach {
            Reach::Loopback => [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            Reach::Anywhere => [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        };
        let [first, second] = hosts.map(|host| with_port(host, DEFAULT_PORT));
        let mut ports = [DEFAULT_PORT; 2];
        if let Err(reason) = self.on(swarm, home, &first) {
            ports[0] = 0;
            self.notices
                .push(format!("port {DEFAULT_PORT} is not free ({reason}): listening on another one"));
            let any = with_port(hosts[0], 0);
            self.on(swarm, home, &any).map_err(|reason| StartError::Listen { address: any, reason })?;
        }
        // A machine without IPv6 is fine, and a port taken for IPv6 alone is no reason to
        // stop: IPv4 listens.
        if self.on(swarm, home, &second).is_err() {
            ports[1] = 0;
            if let Err(reason) = self.on(swarm, home, &with_port(hosts[1], 0)) {
                tracing::debug!(reason, "no IPv6");
                return Ok(());
            }
        }
        if quic {
            self.beside(swarm, hosts.into_iter().zip(ports));
        }
        Ok(())
    }

    /// QUIC on the ports that TCP has: through some routers it finds a way where TCP doesn't. Not worth
    /// an error, TCP listens.
    fn beside(&mut self, swarm: &mut Swarm<NodeBehaviour>, sockets: impl Iterator<Item = (IpAddr, u16)>) {
        for (host, port) in sockets {
            let address = Multiaddr::from(host).with(Protocol::Udp(port)).with(Protocol::QuicV1);
            match swarm.listen_on(address) {
                Ok(listener) => self.listeners.push(listener),
                Err(error) => tracing::debug!(reason = reason(&error), "no QUIC"),
            }
        }
    }

    fn on(
        &mut self,
        swarm: &mut Swarm<NodeBehaviour>,
        home: &Home,
        address: &Multiaddr,
    ) -> Result<(), String> {
        if let Some(port) = tcp_port(address).filter(|port| *port != 0)
            && let Some(lock) = home.lock_port(port, is_ipv6(address)).map_err(|error| error.to_string())?
        {
            self.ports.push(lock);
        }
        if let Some(address) = socket_address(address)
            && taken(address)
        {
            return Err("another program listens there".to_owned());
        }
        let listener = swarm.listen_on(address.clone()).map_err(|error| reason(&error))?;
        self.listeners.push(listener);
        Ok(())
    }
}

fn with_port(host: IpAddr, port: u16) -> Multiaddr {
    Multiaddr::from(host).with(Protocol::Tcp(port))
}

fn tcp_port(address: &Multiaddr) -> Option<u16> {
    address.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    })
}

fn socket_address(address: &Multiaddr) -> Option<SocketAddr> {
    let host: IpAddr = match address.iter().next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    Some(SocketAddr::new(host, tcp_port(address)?))
}

/// Whether anybody listens at `address`, whatever options they chose. Other reasons why it
/// can't be listened on are for libp2p to find.
fn taken(address: SocketAddr) -> bool {
    let mut probe = address;
    if probe.ip() == Ipv6Addr::UNSPECIFIED {
        // That would be IPv4 as well here, which is not what libp2p opens, and this node
        // itself may listen there. A listener on all addresses has this one too.
        probe.set_ip(Ipv6Addr::LOCALHOST.into());
    }
    probe.port() != 0 && TcpListener::bind(probe).is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
}

fn is_ipv6(address: &Multiaddr) -> bool {
    matches!(address.iter().next(), Some(Protocol::Ip6(_)))
}

fn reason(error: &TransportError<std::io::Error>) -> String {
    match error {
        TransportError::MultiaddrNotSupported(_) => {
            "only addresses of the form /ip4/.../tcp/..., /ip6/.../tcp/... and, without a swarm key, \
             /ip4/.../udp/.../quic-v1 are supported"
                .to_owned()
        }
        TransportError::Other(error) => {
            let text = error.to_string();
            // The transport wraps the system's error; its last part is what people know.
            text.rsplit(": ").next().unwrap_or(&text).to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_taken_while_somebody_listens_there() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let everywhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
        assert!(taken(address) && taken(everywhere));
        drop(listener);
        assert!(!taken(address) && !taken(everywhere));
        assert!(!taken("127.0.0.1:0".parse().unwrap()), "any free port");
        assert!(!taken("192.0.2.1:4011".parse().unwrap()), "not ours: libp2p says it better");
    }

    #[test]
    fn listening_everywhere_on_ipv4_does_not_take_ipv6() {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!taken(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)));
        assert!(socket_address(&"/ip6/::/tcp/5".parse().unwrap()) == Some("[::]:5".parse().unwrap()));
    }
}
