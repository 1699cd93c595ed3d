//! Says in one line why a connection failed and what a person can do.

use std::error::Error;
use std::io;

use libp2p::TransportError;
use libp2p::swarm::DialError;

/// One line for a failed dial. `keyed`: this side uses a swarm key.
#[must_use]
pub fn dial_failure(error: &DialError, keyed: bool) -> String {
    match error {
        DialError::LocalPeerId { .. } => "this address is the node's own".to_owned(),
        DialError::NoAddresses => "no address is known".to_owned(),
        DialError::WrongPeerId { obtained, .. } => format!("another node answers there: {obtained}"),
        DialError::Denied { cause } => format!("not allowed: {cause}"),
        DialError::Aborted | DialError::DialPeerConditionFalse(_) => "the attempt was given up".to_owned(),
        DialError::Transport(attempts) => attempts
            .iter()
            .map(|(_, error)| transport_failure(error, keyed))
            .next_back()
            .unwrap_or_else(|| "no address is known".to_owned()),
    }
}

fn transport_failure(error: &TransportError<io::Error>, keyed: bool) -> String {
    match error {
        TransportError::MultiaddrNotSupported(address) => {
            format!("{address} is no address that this program can connect to")
        }
        TransportError::Other(error) => io_failure(error, keyed),
    }
}

fn io_failure(error: &io::Error, keyed: bool) -> String {
    // The transport wraps errors in errors; the system's own is at the bottom.
    let mut kind = error.kind();
    let mut text = error.to_string();
    let mut source: Option<&(dyn Error + 'static)> = error.get_ref().map(|e| e as _);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            kind = io.kind();
            source = io.get_ref().map(|e| e as _).or_else(|| inner.source());
        } else {
            source = inner.source();
        }
        if let Some(inner) = source {
            text = inner.to_string();
        }
    }
    if kind == io::ErrorKind::Other {
        kind = kind_in_words(&text).unwrap_or(kind);
    }
    // What was tried for a name comes as a list; the last line has the reason.
    let text = text.lines().last().unwrap_or_default().trim_start_matches(" - ").to_owned();
    if text.starts_with("Unsupported resolved address") {
        return text.replace("Unsupported resolved address", "this program can't connect to the address");
    }
    match kind {
        io::ErrorKind::ConnectionRefused => "nobody listens there: is the node running?".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "there is no route to this address".to_owned()
        }
        io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ if text.to_lowercase().contains("timeout") => handshake("no answer in time", keyed),
        _ => handshake(&text, keyed),
    }
}

/// Some wrappers of the transport (`Either`) hide the error that they hold from the chain of
/// sources; what they print still ends in the system's number for it.
fn kind_in_words(text: &str) -> Option<io::ErrorKind> {
    let (_, number) = text.rsplit_once("(os error ")?;
    let number = number.split_once(')')?.0.parse().ok()?;
    Some(io::Error::from_raw_os_error(number).kind())
}

/// A handshake that fails has mostly one cause: the two sides have different swarm keys.
/// The bytes can't tell, so the text says what to look at.
fn handshake(reason: &str, keyed: bool) -> String {
    let advice =
        if keyed { "does it have the same swarm key?" } else { "does it need a swarm key (--swarm-key)?" };
    format!("the handshake failed ({reason}): {advice}")
}
