//! `p2pimg client show`.

use libp2p::PeerId;
use serde::Serialize;

use super::Session;
use super::rows::{RowJson, dimensions, json_line, path_json};
use super::text::{count, field, grouped, size};
use crate::cli::{Failure, ShowArgs, screen};
use crate::error::ExitCode;
use crate::protocol::{HolderStatus, ImageRow};
use crate::types::CaptureTime;

/// Shows everything known of one picture, after asking its holders.
pub(super) async fn run(session: &Session, args: &ShowArgs) -> Result<ExitCode, Failure> {
    let row = session.resolve_one(&args.hash).await?;
    let holders = session.ask(session.client.locate(row.facts.image, row.content)).await?;
    if args.json {
        screen::print(&json_line(&ShowJson::new(&row, &holders))?)?;
    } else {
        screen::print(&lines(&row, &holders).join("\n"))?;
    }
    Ok(ExitCode::Success)
}

/// A row of `list --json`, and what only `show` asks for.
#[derive(Serialize)]
struct ShowJson {
    #[serde(flatten)]
    row: RowJson,
    guard: u8,
    traits: Vec<&'static str>,
    holder_status: Vec<HolderJson>,
}

#[derive(Serialize)]
struct HolderJson {
    peer: String,
    confirmed: bool,
    via_dht: bool,
    via_catalog: bool,
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
}

impl ShowJson {
    fn new(row: &ImageRow, holders: &[HolderStatus]) -> Self {
        Self {
            row: RowJson::from(row),
            guard: row.facts.guard,
            traits: row.facts.traits.names().collect(),
            holder_status: holders.iter().map(HolderJson::from).collect(),
        }
    }
}

impl From<&HolderStatus> for HolderJson {
    fn from(holder: &HolderStatus) -> Self {
        let (path, path_hex) = holder.path.as_ref().map(path_json).unzip();
        Self {
            peer: holder.peer.to_string(),
            confirmed: holder.confirmed,
            via_dht: holder.via_dht,
            via_catalog: holder.via_catalog,
            path,
            path_hex: path_hex.flatten(),
        }
    }
}

fn lines(row: &ImageRow, holders: &[HolderStatus]) -> Vec<String> {
    let facts = &row.facts;
    let taken = facts.taken_at.as_ref().map_or("unknown", CaptureTime::as_str);
    let mut lines = vec![
        field("hash", &facts.image.to_string()),
        field("content", &format!("c:{}", row.content)),
        field("path", &row.path.to_string()),
        field("pixels", &dimensions(row)),
        field("size", &format!("{} ({} bytes)", size(facts.bytes), grouped(facts.bytes))),
        field("format", facts.format.name()),
        field("taken", taken),
        field("structure", &format!("{} of 100", facts.guard)),
    ];
    let traits: Vec<_> = facts.traits.names().collect();
    if !traits.is_empty() {
        lines.push(field("properties", &traits.join(", ")));
    }
    let confirmed = holders.iter().filter(|holder| holder.confirmed).count() as u64;
    lines.push(field(
        "holders",
        &format!("{} confirmed just now", count(confirmed, "copy").replace("copys", "copies")),
    ));
    lines.extend(holders.iter().map(holder_line));
    let silent = row.holders.iter().filter(|peer| !holders.iter().any(|holder| holder.peer == **peer));
    lines.extend(silent.map(|peer: &PeerId| format!("  {peer}  not asked  (by its catalog)")));
    lines
}

fn holder_line(holder: &HolderStatus) -> String {
    let state = if holder.confirmed { "confirmed" } else { "not confirmed" };
    let found = match (holder.via_dht, holder.via_catalog) {
        (true, true) => "by the DHT and its catalog",
        (true, false) => "by the DHT",
        (false, true) => "by its catalog",
        (false, false) => "here",
    };
    let path = holder.path.as_ref().map_or_else(String::new, |path| format!("  {path}"));
    format!("  {}  {state}  ({found}){path}", holder.peer)
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::row;
    use super::*;
    use crate::types::{RelPath, Traits};

    fn holder(path: Option<&[u8]>) -> HolderStatus {
        let path = path.map(|path| RelPath::from_bytes(path.to_vec()).unwrap());
        HolderStatus {
            peer: PeerId::random(),
            confirmed: path.is_some(),
            path,
            via_dht: true,
            via_catalog: false,
        }
    }

    #[test]
    fn a_claim_is_told_from_a_confirmed_copy() {
        let mut row = row(7, b"a.jpg");
        row.facts.traits = Traits::TRANSPARENT.with(Traits::DEEP);
        let holders = [holder(Some(b"x/b.jpg")), holder(None)];
        row.holders = vec![holders[0].peer];
        let text = lines(&row, &holders).join("\n");
        assert!(text.contains("1 copy confirmed just now"), "{text}");
        assert!(text.contains(&format!("{}  confirmed  (by the DHT)  x/b.jpg", holders[0].peer)), "{text}");
        assert!(text.contains(&format!("{}  not confirmed", holders[1].peer)), "{text}");
        assert!(text.contains("transparent, more than 8 bits"), "{text}");
    }

    #[test]
    fn json_is_a_row_with_its_holders() {
        let line =
            json_line(&ShowJson::new(&row(7, b"a.jpg"), &[holder(Some(b"\xff.jpg")), holder(None)])).unwrap();
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["hash"], "07".repeat(32));
        assert_eq!(json["holder_status"][0]["path_hex"], "ff2e6a7067");
        assert_eq!(json["holder_status"][1]["confirmed"], false);
        assert!(json["holder_status"][1]["path"].is_null());
    }
}
