//! Where a node listens.
//!
//! libp2p opens listeners with `SO_REUSEPORT`: a second node of the same user could take
//! the same port without an error, and the kernel would deal connections to the two at
//! random. So a node first takes the port's lock file, and then tries the port with an
//! ordinary socket: nodes in containers, or with another `P2PIMG_HOME`, don't share the
//! lock and may still be the same user to the kernel.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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
        listening.on_defaults(swarm, reach, home)?;
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
    ) -> Result<(), StartError> {
        let hosts: [IpAddr; 2] = match reach {
            Reach::Loopback => [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            Reach::Anywhere => [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        };
        let [first, second] = hosts.map(|host| with_port(host, DEFAULT_PORT));
        if let Err(reason) = self.on(swarm, home, &first) {
            self.notices
                .push(format!("port {DEFAULT_PORT} is not free ({reason}): listening on another one"));
            let any = with_port(hosts[0], 0);
            self.on(swarm, home, &any).map_err(|reason| StartError::Listen { address: any, reason })?;
        }
        // A machine without IPv6 is fine, and a port taken for IPv6 alone is no reason to
        // stop: IPv4 listens.
        if self.on(swarm, home, &second).is_err()
            && let Err(reason) = self.on(swarm, home, &with_port(hosts[1], 0))
        {
            tracing::debug!(reason, "no IPv6");
        }
        Ok(())
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
        // Whatever else is wrong with the address, the real listener says it.
        if let Some(probe) = probe_address(address)
            && let Err(error) = std::net::TcpListener::bind(probe)
            && error.kind() == std::io::ErrorKind::AddrInUse
        {
            return Err("another program has this port".to_owned());
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

/// What an ordinary socket, without `SO_REUSEPORT`, can listen on only when nobody listens
/// on `address`. `[::]` would take IPv4 in, where this node listens already.
fn probe_address(address: &Multiaddr) -> Option<SocketAddr> {
    let port = tcp_port(address).filter(|port| *port != 0)?;
    let ip: IpAddr = match address.iter().next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    Some((ip, port).into())
}

fn is_ipv6(address: &Multiaddr) -> bool {
    matches!(address.iter().next(), Some(Protocol::Ip6(_)))
}

fn reason(error: &TransportError<std::io::Error>) -> String {
    match error {
        TransportError::MultiaddrNotSupported(_) => {
            "only addresses of the form /ip4/.../tcp/... and /ip6/.../tcp/... are supported".to_owned()
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

    /// Two nodes of one system user with different `P2PIMG_HOME`s both listened on port 4011:
    /// clients of the one reached the other, at random.
    #[tokio::test]
    async fn a_port_is_not_shared_with_a_node_that_keeps_its_locks_elsewhere() {
        let place = tempfile::tempdir().unwrap();
        let config = |name: &str, listen: Multiaddr| {
            let dir = place.path().join(name);
            std::fs::create_dir(&dir).unwrap();
            let home = Some(place.path().join(format!("{name}-home")));
            NodeConfig { listen: vec![listen], home, mdns: false, ..NodeConfig::new(dir) }
        };
        let any = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
        let (first, _events) = crate::node::start(config("first", any)).await.unwrap();
        let mut taken = first.addresses().first().unwrap().clone();
        taken.pop();
        let second = crate::node::start(config("second", taken)).await;
        assert!(matches!(second, Err(StartError::Listen { .. })), "{second:?}");
        first.shutdown().await;
    }
}
