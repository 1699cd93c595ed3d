//! `p2pimg client verify`.

use serde::Serialize;

use super::Session;
use super::rows::json_line;
use crate::cli::{Failure, ShowArgs, screen};
use crate::error::ExitCode;
use crate::protocol::{HolderProof, ImageRow, ProofState};
use crate::types::printable;

/// The fields are part of the program's interface.
#[derive(Serialize)]
struct VerifyJson<'a> {
    hash: String,
    content: String,
    holders: Vec<HolderJson<'a>>,
    degraded: bool,
}

#[derive(Serialize)]
struct HolderJson<'a> {
    peer: String,
    state: ProofState,
    note: &'a str,
}

/// Has every holder of a picture prove that it has all of its bytes.
pub(super) async fn run(session: &Session, args: &ShowArgs) -> Result<ExitCode, Failure> {
    let row = session.resolve_one(&args.hash).await?;
    let holders = session.ask(session.client.verify(row.facts.image, row.content)).await?;
    if holders.is_empty() {
        let message = format!("nobody in the swarm holds c:{} now", row.content);
        return Err(Failure::new(ExitCode::NotFound, message));
    }
    let degraded = holders.iter().any(|holder| holder.state != ProofState::Good);
    if args.json {
        screen::print(&json_line(&json(&row, &holders, degraded))?)?;
    } else {
        holders.iter().try_for_each(|holder| screen::print(&line(holder)))?;
    }
    Ok(if degraded { ExitCode::Degraded } else { ExitCode::Success })
}

fn json<'a>(row: &ImageRow, holders: &'a [HolderProof], degraded: bool) -> VerifyJson<'a> {
    let holder = |HolderProof { peer, state, note }: &'a HolderProof| HolderJson {
        peer: peer.to_string(),
        state: *state,
        note,
    };
    VerifyJson {
        hash: row.facts.image.to_string(),
        content: format!("c:{}", row.content),
        holders: holders.iter().map(holder).collect(),
        degraded,
    }
}

fn line(holder: &HolderProof) -> String {
    let state = match holder.state {
        ProofState::Good => "good",
        ProofState::Damaged => "damaged",
        ProofState::Silent => "silent",
        ProofState::Unchecked => "unchecked",
    };
    let note = if holder.note.is_empty() { String::new() } else { format!("  {}", printable(&holder.note)) };
    format!("{}  {state}{note}", holder.peer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::PeerId;

    #[test]
    fn a_holder_is_one_harmless_line() {
        let peer = PeerId::random();
        let holder = |state, note: &str| HolderProof { peer, state, note: note.to_owned() };
        assert_eq!(line(&holder(ProofState::Good, "")), format!("{peer}  good"));
        assert_eq!(line(&holder(ProofState::Damaged, "a\nb")), format!("{peer}  damaged  a\\nb"));
    }
}
