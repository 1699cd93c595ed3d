//! `p2pimg client status`.

use std::time::Duration;

use serde::Serialize;

use super::rows::{json_line, path_json, short_peer};
use super::scrub;
use super::text::{count, duration, field, grouped, size};
use super::{Session, copies};
use crate::cli::{Failure, StatusArgs, screen};
use crate::error::ExitCode;
use crate::protocol::{CopiesStatus, DedupMode, DedupStatus, NodeStatus, PeerStatus, ScrubStatus};
use crate::types::printable;

/// Problems shown to people; JSON has all that the node reports.
const SHOWN_PROBLEMS: usize = 10;

/// How often `--watch` asks.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// What a terminal does before the next state: to the top, and away with what was there.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Shows the node's state, once or until somebody ends it.
pub(super) async fn run(session: &Session, args: &StatusArgs) -> Result<ExitCode, Failure> {
    loop {
        let code = once(session, args).await?;
        if !args.watch {
            return Ok(code);
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

/// Shows the node's state; degraded when something wants a person's attention.
async fn once(session: &Session, args: &StatusArgs) -> Result<ExitCode, Failure> {
    let status = session.ask(session.client.status()).await?;
    let troubled: Vec<PeerStatus> = session.ask(session.client.peers()).await?;
    let troubled: Vec<PeerStatus> = troubled.into_iter().filter(|peer| peer.trouble.is_some()).collect();
    let degraded = wants_attention(&status, &troubled);
    if args.json {
        screen::print(&json_line(&StatusJson::new(&status, &troubled, degraded))?)?;
    } else {
        let clear = if args.watch && screen::width().is_some() { CLEAR } else { "" };
        screen::print(&format!("{clear}{}", lines(&status, &troubled).join("\n")))?;
    }
    Ok(if degraded { ExitCode::Degraded } else { ExitCode::Success })
}

/// Whether a person should do something.
fn wants_attention(status: &NodeStatus, troubled: &[PeerStatus]) -> bool {
    let held_back = status.dedup.brake.is_some() || status.dedup.obstacle.is_some();
    let held_back = held_back || copies::wants_attention(&status.copies);
    status.problem_count > 0 || !status.unreached.is_empty() || !troubled.is_empty() || held_back
}

/// The fields are part of the program's interface.
#[derive(Serialize)]
struct StatusJson<'a> {
    peer: String,
    version: &'a str,
    uptime_s: u64,
    folder: &'a str,
    folder_id: String,
    images: u64,
    bytes: u64,
    swarm_images: u64,
    asked: u32,
    peers: u32,
    relays: u32,
    relaying: bool,
    records_held: u64,
    published: u64,
    to_publish: u64,
    scanning: Option<Scanning>,
    unprotected: u64,
    problem_count: u64,
    problems: Vec<Problem<'a>>,
    troubled_peers: Vec<Troubled<'a>>,
    unreached_bootstraps: Vec<Unreached<'a>>,
    private: bool,
    open: bool,
    addresses: &'a [String],
    dedup: &'a DedupStatus,
    copies: &'a CopiesStatus,
    scrub: &'a ScrubStatus,
    degraded: bool,
}

#[derive(Serialize)]
struct Scanning {
    done: u64,
    total: u64,
}

#[derive(Serialize)]
struct Problem<'a> {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    reason: &'a str,
}

#[derive(Serialize)]
struct Unreached<'a> {
    address: &'a str,
    trouble: &'a str,
}

#[derive(Serialize)]
struct Troubled<'a> {
    peer: String,
    trouble: &'a str,
}

impl<'a> StatusJson<'a> {
    fn new(status: &'a NodeStatus, troubled: &'a [PeerStatus], degraded: bool) -> Self {
        let problem = |(path, reason): &'a (_, String)| {
            let (path, path_hex) = path_json(path);
            Problem { path, path_hex, reason }
        };
        let trouble = |peer: &'a PeerStatus| {
            let trouble = peer.trouble.as_deref()?;
            Some(Troubled { peer: peer.peer.to_string(), trouble })
        };
        Self {
            peer: status.peer.to_string(),
            version: &status.version,
            uptime_s: status.uptime_s,
            folder: &status.folder,
            folder_id: status.folder_id.to_string(),
            images: status.images,
            bytes: status.bytes,
            swarm_images: status.swarm_images,
            asked: status.asked,
            peers: status.peers,
            relays: status.relays,
            relaying: status.relaying,
            records_held: status.records_held,
            published: status.published,
            to_publish: status.to_publish,
            scanning: status.scanning.map(|(done, total)| Scanning { done, total }),
            unprotected: status.unprotected,
            problem_count: status.problem_count,
            problems: status.problems.iter().map(problem).collect(),
            troubled_peers: troubled.iter().filter_map(trouble).collect(),
            unreached_bootstraps: status
                .unreached
                .iter()
                .map(|(address, trouble)| Unreached { address, trouble })
                .collect(),
            private: status.private,
            open: status.open,
            addresses: &status.addresses,
            dedup: &status.dedup,
            copies: &status.copies,
            scrub: &status.scrub,
            degraded,
        }
    }
}

fn lines(status: &NodeStatus, troubled: &[PeerStatus]) -> Vec<String> {
    let reach = match (status.open, status.private) {
        (true, _) => "open: anybody who reaches it may connect",
        (_, true) => "members with the swarm key only",
        _ => "this machine only (no swarm key)",
    };
    let publishing = match status.to_publish {
        0 => format!("{} published", count(status.published, "key")),
        waiting => format!("{} published, {} to do", count(status.published, "key"), grouped(waiting)),
    };
    let mut lines = vec![
        field("node", &status.peer.to_string()),
        field("version", &printable(&status.version)),
        field("up for", &duration(Duration::from_secs(status.uptime_s))),
        field("folder", &printable(&status.folder)),
        field("images", &format!("{}, {}", grouped(status.images), size(status.bytes))),
        field(
            "swarm",
            &format!(
                "{}, {} connected",
                count(status.swarm_images, "image"),
                count(status.peers.into(), "peer")
            ),
        ),
    ];
    if status.asked > 0 {
        let nodes = count(status.asked.into(), "node");
        lines.push(field("not counted", &format!("what only {nodes} know: asked each time a list is made")));
    }
    lines.extend([
        field("records", &format!("{} held for the swarm; {publishing}", grouped(status.records_held))),
        field("reach", reach),
    ]);
    if status.relaying {
        lines.push(field("relay", "for nodes that can't reach each other"));
    }
    if status.relays > 0 {
        lines.push(field("relay", &format!("reached through {}", count(status.relays.into(), "relay"))));
    }
    lines.extend(status.addresses.iter().map(|address| field("address", &printable(address))));
    if let Some((done, total)) = status.scanning {
        lines.push(field("scanning", &format!("{} of {}", grouped(done), count(total, "file"))));
    }
    if status.unprotected > 0 {
        let files = count(status.unprotected, "photo or video file");
        lines.push(field("unprotected", &format!("{files} of types that are not handled")));
    }
    lines.extend(copies::lines(&status.copies));
    lines.extend(dedup(&status.dedup));
    lines.extend(scrub::lines(&status.scrub, scrub::now()));
    lines.extend(attention(status, troubled));
    lines
}

/// What the node does with duplicates, and how far it is.
fn dedup(dedup: &DedupStatus) -> Vec<String> {
    let mode = match dedup.mode {
        DedupMode::Off => "off: not looked for",
        DedupMode::Report => "only listed (`p2pimg client duplicates`)",
        DedupMode::Trash => "the worse ones go to the trash",
    };
    let mut lines = vec![field("duplicates", mode)];
    let mut more = |shown: bool, text: String| {
        if shown {
            lines.push(field("", &text));
        }
    };
    let own = count(dedup.duplicates, "picture");
    more(dedup.duplicates > 0, format!("{own} here with a better version (`p2pimg client duplicates`)"));
    let pairs = count(dedup.probable, "probable pair");
    more(dedup.probable > 0, format!("{pairs} to look at"));
    more(
        dedup.dropping > 0,
        format!("{} being dropped or waiting for it", count(dedup.dropping.into(), "file")),
    );
    more(dedup.dropped > 0, format!("{} dropped since the start", count(dedup.dropped, "file")));
    let quiet = duration(Duration::from_secs(dedup.quiet_s));
    more(dedup.quiet_s > 0, format!("nothing is dropped for {quiet} yet: the node has just started"));
    for (name, files, bytes, thing, hint) in [
        ("trash", dedup.trash_files, dedup.trash_bytes, "file", " (`p2pimg trash list`)"),
        ("replicas", dedup.replicas, dedup.replica_bytes, "picture", " kept here for the swarm"),
    ] {
        if files > 0 {
            lines.push(field(name, &format!("{}, {}{hint}", count(files, thing), size(bytes))));
        }
    }
    lines
}

fn attention(status: &NodeStatus, troubled: &[PeerStatus]) -> Vec<String> {
    let mut lines = Vec::new();
    if status.problem_count > 0 {
        let files = count(status.problem_count, "file");
        lines.push(field("problems", &format!("{files} that could not be read or decoded")));
        let shown = status.problems.iter().take(SHOWN_PROBLEMS);
        lines.extend(shown.map(|(path, reason)| format!("  {path}: {}", printable(reason))));
        if status.problem_count > SHOWN_PROBLEMS as u64 {
            lines.push("  ... (--json shows more)".to_owned());
        }
    }
    if let Some(brake) = status.dedup.brake {
        let (would, allowed) = (grouped(brake.would_take), grouped(brake.allowed));
        let files = count(brake.files, "file");
        lines.push(field("brake", &format!("{would} of {files} would be dropped, and {allowed} may be")));
        let hint = "see `p2pimg client duplicates`, then let them go with `p2pimg client dedup approve`";
        lines.push(field("", hint));
    }
    if let Some(obstacle) = &status.dedup.obstacle {
        lines.push(field("obstacle", &printable(obstacle)));
    }
    for (address, why) in &status.unreached {
        lines.push(field("trouble", &format!("bootstrap {}: {}", printable(address), printable(why))));
    }
    for peer in troubled {
        let trouble = peer.trouble.as_deref().map(printable).unwrap_or_default();
        lines.push(field("trouble", &format!("peer …{}: {trouble}", short_peer(&peer.peer))));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::BrakeStatus;
    use crate::types::{FolderId, RelPath};
    use libp2p::PeerId;

    fn status() -> NodeStatus {
        let path = RelPath::from_bytes(b"a\xff.jpg".to_vec()).unwrap();
        NodeStatus {
            peer: PeerId::random(),
            version: "0.1.0\x1b[2J".into(),
            uptime_s: 3720,
            folder: "/photos".into(),
            folder_id: FolderId(u128::MAX),
            images: 1200,
            bytes: 1 << 30,
            swarm_images: 3600,
            asked: 0,
            peers: 2,
            relays: 0,
            relaying: false,
            records_held: 7,
            published: 1200,
            to_publish: 3,
            scanning: Some((5, 10)),
            unprotected: 1,
            problems: vec![(path, "truncated".into())],
            problem_count: 1,
            unreached: vec![("/ip4/10.0.0.2/tcp/4011".into(), "nobody listens there".into())],
            private: true,
            open: false,
            addresses: vec!["/ip4/127.0.0.1/tcp/4011".into()],
            dedup: DedupStatus::default(),
            copies: CopiesStatus::default(),
            scrub: ScrubStatus::default(),
        }
    }

    #[test]
    fn people_see_all_of_it_and_no_escape_sequence() {
        let text = lines(&status(), &[]).join("\n");
        for part in [
            "1 h 2 min",
            "1,200, 1.0 GiB",
            "3,600 images, 2 peers",
            "5 of 10 files",
            "a\u{fffd}.jpg: truncated",
            "bootstrap /ip4/10.0.0.2/tcp/4011: nobody listens there",
        ] {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn a_node_that_waits_for_a_person_says_so() {
        let mut status = status();
        (status.problems, status.problem_count) = (vec![], 0);
        status.unreached = vec![];
        assert!(!wants_attention(&status, &[]));
        assert!(lines(&status, &[]).join("\n").contains("duplicates  off"));
        status.dedup = DedupStatus {
            mode: DedupMode::Trash,
            duplicates: 400,
            probable: 1,
            dropped: 2,
            brake: Some(BrakeStatus { would_take: 402, allowed: 300, files: 1000 }),
            quiet_s: 100,
            trash_files: 2,
            trash_bytes: 2048,
            ..DedupStatus::default()
        };
        assert!(wants_attention(&status, &[]));
        let text = lines(&status, &[]).join("\n");
        for part in [
            "402 of 1,000 files would be dropped, and 300 may be",
            "dedup approve",
            "400 pictures here with a better version",
            "1 probable pair",
            "2 files dropped",
            "1 min 40 s yet",
            "trash       2 files, 2.0 KiB",
        ] {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
        assert!(!text.contains("replicas"), "{text}");
        status.dedup.brake = None;
        status.dedup.obstacle = Some("the folder is\nread-only".into());
        assert!(wants_attention(&status, &[]));
        assert!(lines(&status, &[]).join("\n").contains("obstacle    the folder is\\nread-only"));
    }

    #[test]
    fn json_is_readable_by_every_parser() {
        let status = status();
        let line = json_line(&StatusJson::new(&status, &[], true)).unwrap();
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["folder_id"], "f".repeat(32), "128 bits don't fit a JSON number");
        assert_eq!(json["problems"][0]["path_hex"], "61ff2e6a7067");
        assert_eq!(json["scanning"]["total"], 10);
        assert_eq!(json["dedup"]["mode"], "off");
        assert_eq!(json["unreached_bootstraps"][0]["address"], "/ip4/10.0.0.2/tcp/4011");
        assert_eq!(json["degraded"], true);
    }
}
