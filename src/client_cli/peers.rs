//! `p2pimg client peers`.

use std::time::Duration;

use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use super::Session;
use super::rows::{json_line, short_peer};
use super::text::{duration, grouped, left, right, size};
use crate::cli::{Failure, screen};
use crate::error::ExitCode;
use crate::protocol::{MemberState, PeerStatus};
use crate::types::printable;

/// Shows the nodes that the node knows.
pub(super) async fn run(session: &Session, json: bool) -> Result<ExitCode, Failure> {
    let peers = session.ask(session.client.peers()).await?;
    if json {
        for peer in &peers {
            screen::print(&json_line(&PeerJson::from(peer))?)?;
        }
    } else if peers.is_empty() {
        screen::note("this node knows no other node: start one with --bootstrap and this node's address");
    } else {
        screen::print(&lines(&peers, screen::width()).join("\n"))?;
    }
    Ok(ExitCode::Success)
}

/// The fields are part of the program's interface.
#[derive(Serialize)]
struct PeerJson<'a> {
    peer: String,
    connected: bool,
    relayed: bool,
    state: Option<MemberState>,
    addresses: &'a [String],
    rtt_us: Option<u64>,
    images: u64,
    catalog_known: u64,
    catalog_head: u64,
    seen_s: Option<u64>,
    room: Option<u64>,
    trouble: Option<&'a str>,
}

impl<'a> From<&'a PeerStatus> for PeerJson<'a> {
    fn from(peer: &'a PeerStatus) -> Self {
        Self {
            peer: peer.peer.to_string(),
            connected: peer.connected,
            relayed: peer.relayed,
            state: peer.state,
            addresses: &peer.addresses,
            rtt_us: peer.rtt_us,
            images: peer.images,
            catalog_known: peer.catalog_known.0,
            catalog_head: peer.catalog_head.0,
            seen_s: peer.seen_s,
            room: peer.room,
            trouble: peer.trouble.as_deref(),
        }
    }
}

fn state(peer: &PeerStatus) -> &'static str {
    match peer.state {
        Some(MemberState::Failing) => "failing",
        Some(MemberState::Draining) => "leaving",
        _ if peer.relayed => "relayed",
        _ if peer.connected => "connected",
        Some(MemberState::Down) => "down",
        _ => "away",
    }
}

/// A row a peer. Where a terminal is too narrow for it, the peer id is cut to its end, as
/// in the list of pictures; elsewhere nothing is cut.
fn lines(peers: &[PeerStatus], width: Option<usize>) -> Vec<String> {
    let name = |peer: &PeerStatus, short: bool| {
        if short { format!("…{}", short_peer(&peer.peer)) } else { peer.peer.to_string() }
    };
    let address = |peer: &PeerStatus| peer.addresses.first().map(|a| printable(a)).unwrap_or_default();
    let widest = |short| peers.iter().map(|peer| name(peer, short).width()).max().unwrap_or(0);
    let addresses = peers.iter().map(|peer| address(peer).width()).max().unwrap_or(0);
    let short = width.is_some_and(|width| widest(false) + REST + addresses > width);
    let widest = widest(short).max("PEER".len());
    let row = |[peer, state, rtt, images, known, room, seen, address]: [&str; 8]| {
        let (peer, state, rtt) = (left(peer, widest), left(state, 9), right(rtt, 8));
        let (images, known) = (right(images, 9), right(known, 7));
        let (room, seen) = (right(room, 9), right(seen, 12));
        format!("{peer}  {state}  {rtt}  {images}  {known}  {room}  {seen}  {address}")
    };
    let mut lines = vec![row(["PEER", "STATE", "RTT", "IMAGES", "CATALOG", "ROOM", "SEEN", "ADDRESS"])];
    for peer in peers {
        let rtt = peer.rtt_us.map_or_else(String::new, |us| format!("{:.1} ms", us as f64 / 1000.0));
        let seen = peer.seen_s.map_or_else(|| "never".to_owned(), |s| ago(Duration::from_secs(s)));
        let state = state(peer);
        let address = address(peer);
        let known = known(peer);
        let room = peer.room.map(size).unwrap_or_default();
        let name = name(peer, short);
        lines.push(row([&name, state, &rtt, &grouped(peer.images), &known, &room, &seen, &address]));
        if let Some(trouble) = &peer.trouble {
            lines.push(format!("  trouble: {}", printable(trouble)));
        }
    }
    lines
}

/// Columns between the peer and its address.
const REST: usize = 9 + 8 + 9 + 7 + 9 + 12 + 7 * 2;

fn ago(span: Duration) -> String {
    if span.as_secs() == 0 { "now".to_owned() } else { duration(span) }
}

/// How much of the peer's catalog is known here.
fn known(peer: &PeerStatus) -> String {
    match (peer.catalog_known.0, peer.catalog_head.0) {
        (known, head) if known >= head => "all".to_owned(),
        // Never "100 %" while something is missing.
        (known, head) => format!("{} %", u128::from(known) * 100 / u128::from(head)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Seq;
    use libp2p::PeerId;

    fn peer(known: u64, head: u64) -> PeerStatus {
        PeerStatus {
            peer: PeerId::random(),
            connected: true,
            relayed: false,
            addresses: vec!["/ip4/10.0.0.1/tcp/4011".into()],
            rtt_us: Some(1600),
            images: 12_000,
            catalog_known: Seq(known),
            catalog_head: Seq(head),
            seen_s: Some(0),
            state: None,
            room: Some(3 << 30),
            trouble: Some("another\nversion".into()),
        }
    }

    #[test]
    fn a_peer_is_a_row_and_its_trouble_another() {
        let lines = lines(&[peer(999, 1000)], None);
        assert_eq!(lines.len(), 3);
        for part in ["connected", "1.6 ms", "12,000", "99 %", "now", "/ip4/10.0.0.1/tcp/4011"] {
            assert!(lines[1].contains(part), "{part} in {}", lines[1]);
        }
        assert_eq!(lines[2], "  trouble: another\\nversion");
    }

    #[test]
    fn a_narrow_terminal_still_has_one_line_a_peer() {
        let peers = [peer(1, 1)];
        for (width, whole) in [(Some(100), false), (Some(200), true), (None, true)] {
            let lines = lines(&peers, width);
            assert!(width.is_none_or(|width| lines[1].width() <= width), "{lines:#?}");
            assert_eq!(lines[1].contains(&peers[0].peer.to_string()), whole, "{lines:#?}");
        }
    }

    #[test]
    fn a_catalog_is_known_in_part_or_all() {
        assert_eq!(known(&peer(0, 0)), "all");
        assert_eq!(known(&peer(0, u64::MAX)), "0 %");
        assert_eq!(known(&peer(u64::MAX - 1, u64::MAX)), "99 %");
    }
}
