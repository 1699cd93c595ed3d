//! `p2pimg client why`: what became of a picture.

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p::PeerId;
use serde::Serialize;

use super::Session;
use super::rows::{RowJson, brief, json_line, path_json, short_content};
use super::text::{cause, duration, field, moment};
use crate::cli::{Failure, ShowArgs, screen};
use crate::error::ExitCode;
use crate::protocol::{DropCause, HistoryRow, ImageRow, WhyAnswer};
use crate::types::printable;

/// Shows what is there, what went for it, and what was dropped.
pub(super) async fn run(session: &Session, args: &ShowArgs) -> Result<ExitCode, Failure> {
    let query = args.hash.as_str();
    let answer = session.ask(session.client.why(query)).await?;
    if args.json {
        screen::print(&json_line(&WhyJson::new(query, &answer))?)?;
    } else if !is_empty(&answer) {
        screen::print(&lines(&answer, session.client.node()).join("\n"))?;
    }
    if answer.silent > 0 && !args.json {
        let who = match answer.silent {
            1 => "1 member".to_owned(),
            more => format!("{more} members"),
        };
        screen::note(&format!("{who} gave no answer, and may know more"));
    }
    if is_empty(&answer) {
        let message = format!("{query}: no such picture, and none that was dropped, is known now");
        return Err(Failure::new(ExitCode::NotFound, message));
    }
    Ok(ExitCode::Success)
}

fn is_empty(answer: &WhyAnswer) -> bool {
    answer.rows.is_empty() && answer.history.is_empty()
}

fn lines(answer: &WhyAnswer, here: PeerId) -> Vec<String> {
    let mut lines = Vec::new();
    for (number, row) in answer.rows.iter().enumerate() {
        if number > 0 {
            lines.push(String::new());
        }
        lines.extend(content_lines(answer, number, row));
        let gone: Vec<_> =
            answer.history.iter().filter(|(_, drop)| drop.keeper == Some(row.content)).collect();
        if !gone.is_empty() {
            lines.push(field("superseded", "what went for it:"));
            lines.extend(gone.iter().flat_map(|(node, drop)| drop_lines(*node, drop, here, false)));
        }
    }
    let is_told = |drop: &HistoryRow| answer.rows.iter().any(|row| drop.keeper == Some(row.content));
    for (node, drop) in answer.history.iter().filter(|(_, drop)| !is_told(drop)) {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(drop_lines(*node, drop, here, true));
    }
    lines
}

/// A content that is there: how good it is, and who has it.
fn content_lines(answer: &WhyAnswer, number: usize, row: &ImageRow) -> Vec<String> {
    let mut lines = vec![
        field("hash", &row.facts.image.to_string()),
        field("content", &format!("c:{}", row.content)),
        field("path", &row.path.to_string()),
        field("picture", &brief(row)),
    ];
    if let Some(quality) = answer.qualities.get(number) {
        lines.push(field("quality", &printable(quality)));
    }
    let copies = if row.copies == 1 { "copy" } else { "copies" };
    lines.push(field("holders", &format!("{} {copies}", row.copies)));
    let confirmed = confirmed(answer, row);
    for peer in &row.holders {
        let when = match confirmed.get(peer) {
            Some(seconds) => format!("confirmed {} ago", duration(Duration::from_secs(*seconds))),
            None => "by its catalog".to_owned(),
        };
        lines.push(format!("  {peer}  {when}"));
    }
    for (peer, seconds) in confirmed.iter().filter(|(peer, _)| !row.holders.contains(peer)) {
        lines.push(format!("  {peer}  away; confirmed {} ago", duration(Duration::from_secs(*seconds))));
    }
    lines
}

fn confirmed(answer: &WhyAnswer, row: &ImageRow) -> BTreeMap<PeerId, u64> {
    let of_row = answer.confirmed.iter().filter(|(content, ..)| *content == row.content);
    of_row.map(|(_, peer, seconds)| (*peer, *seconds)).collect()
}

/// A file that left a folder; `keeper`: say what it went for, too.
fn drop_lines(node: PeerId, drop: &HistoryRow, here: PeerId, keeper: bool) -> Vec<String> {
    let at = if node == here { "on this node".to_owned() } else { format!("on node {node}") };
    let mut lines = vec![
        field("dropped", &format!("{}  c:{}", drop.path, short_content(&drop.loser))),
        field("", &format!("{} UTC, {at}", moment(drop.at))),
        field("  why", cause(drop.cause)),
    ];
    if !drop.numbers.is_empty() {
        let numbers = drop.numbers.iter().map(|(name, value)| format!("{name} {value}"));
        lines.push(field("", &printable(&numbers.collect::<Vec<_>>().join(", "))));
    }
    if let (true, Some(content)) = (keeper, drop.keeper) {
        lines.push(field("  kept", &format!("c:{content}")));
    }
    if !drop.holders.is_empty() {
        let holders: Vec<String> = drop.holders.iter().map(ToString::to_string).collect();
        lines.push(field("  held by", &format!("{} (then)", holders.join(", "))));
    }
    lines.push(field("  restore", &restore(node, drop, here)));
    lines
}

fn restore(node: PeerId, drop: &HistoryRow, here: PeerId) -> String {
    match &drop.trash {
        Some(entry) => {
            let place = if node == here { String::new() } else { format!(", on the machine of {node}") };
            format!("p2pimg trash restore {}{place}", printable(entry))
        }
        None => "it is not in the trash any more".to_owned(),
    }
}

/// The fields are part of the program's interface.
#[derive(Serialize)]
struct WhyJson<'a> {
    query: &'a str,
    contents: Vec<ContentJson<'a>>,
    dropped: Vec<DropJson<'a>>,
    silent_members: u32,
}

#[derive(Serialize)]
struct ContentJson<'a> {
    #[serde(flatten)]
    row: RowJson,
    quality: Option<&'a str>,
    /// Seconds since each holder last showed or said that it holds it.
    confirmed: BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct DropJson<'a> {
    node: String,
    hash: String,
    content: String,
    keeper: Option<String>,
    cause: DropCause,
    numbers: BTreeMap<&'a str, &'a str>,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    dropped_at: u64,
    /// Its name in the node's trash, while it is there.
    entry: Option<&'a str>,
    holders: Vec<String>,
}

impl<'a> WhyJson<'a> {
    fn new(query: &'a str, answer: &'a WhyAnswer) -> Self {
        let content = |(number, row): (usize, &ImageRow)| ContentJson {
            row: RowJson::from(row),
            quality: answer.qualities.get(number).map(String::as_str),
            confirmed: confirmed(answer, row).iter().map(|(peer, ago)| (peer.to_string(), *ago)).collect(),
        };
        Self {
            query,
            contents: answer.rows.iter().enumerate().map(content).collect(),
            dropped: answer.history.iter().map(DropJson::from).collect(),
            silent_members: answer.silent,
        }
    }
}

impl<'a> From<&'a (PeerId, HistoryRow)> for DropJson<'a> {
    fn from((node, drop): &'a (PeerId, HistoryRow)) -> Self {
        let (path, path_hex) = path_json(&drop.path);
        Self {
            node: node.to_string(),
            hash: drop.image.to_string(),
            content: drop.loser.to_string(),
            keeper: drop.keeper.map(|keeper| keeper.to_string()),
            cause: drop.cause,
            numbers: drop.numbers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            path,
            path_hex,
            dropped_at: drop.at,
            entry: drop.trash.as_deref(),
            holders: drop.holders.iter().map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::row;
    use super::*;
    use crate::types::{ContentId, ImageId, RelPath};

    fn gone(loser: u8, keeper: u8, trash: Option<&str>) -> HistoryRow {
        HistoryRow {
            loser: ContentId([loser; 32]),
            image: ImageId::Hash([loser; 32]),
            keeper: Some(ContentId([keeper; 32])),
            cause: DropCause::Superseded,
            numbers: vec![("distance".into(), "3".into()), ("structure\n".into(), "0.97".into())],
            path: RelPath::from_bytes(b"small\xff.jpg".to_vec()).unwrap(),
            at: 1_763_896_099,
            trash: trash.map(str::to_owned),
            holders: vec![PeerId::random()],
        }
    }

    fn answer(node: PeerId) -> WhyAnswer {
        let kept = row(9, b"best.jpg");
        let away = PeerId::random();
        WhyAnswer {
            confirmed: vec![(kept.content, kept.holders[0], 61), (kept.content, away, 3600)],
            rows: vec![kept],
            qualities: vec!["640x480, quality 90".into()],
            history: vec![(node, gone(2, 9, Some("20251123-110819-0"))), (node, gone(3, 4, None))],
            silent: 1,
        }
    }

    #[test]
    fn a_picture_tells_who_has_it_and_what_went_for_it() {
        let [here, other] = [PeerId::random(), PeerId::random()];
        let answer = answer(other);
        let text = lines(&answer, here).join("\n");
        for part in [
            "quality     640x480, quality 90".to_owned(),
            format!("  {}  confirmed 1 min 1 s ago", answer.rows[0].holders[0]),
            format!("  {}  by its catalog", answer.rows[0].holders[1]),
            "  away; confirmed 1 h 0 min ago".to_owned(),
            "dropped     small\u{fffd}.jpg  c:0202020202020202".to_owned(),
            format!("2025-11-23 11:08 UTC, on node {other}"),
            "a better version was in the swarm".to_owned(),
            "distance 3, structure\\n 0.97".to_owned(),
            format!("p2pimg trash restore 20251123-110819-0, on the machine of {other}"),
            format!("  kept      c:{}", "04".repeat(32)),
            "it is not in the trash any more".to_owned(),
        ] {
            assert!(text.contains(&part), "{part} in:\n{text}");
        }
        let text = lines(&answer, other).join("\n");
        assert!(text.contains("UTC, on this node\n"), "{text}");
        assert!(text.contains("restore   p2pimg trash restore 20251123-110819-0\n"), "{text}");
    }

    #[test]
    fn json_has_all_of_it() {
        let node = PeerId::random();
        let answer = answer(node);
        let line = json_line(&WhyJson::new("090909", &answer)).unwrap();
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["contents"][0]["path"], "best.jpg");
        assert_eq!(json["contents"][0]["confirmed"][answer.rows[0].holders[0].to_string()], 61);
        assert_eq!(json["dropped"][0]["keeper"], "09".repeat(32));
        assert_eq!(json["dropped"][0]["cause"], "superseded");
        assert_eq!(json["dropped"][0]["numbers"]["distance"], "3");
        assert_eq!(json["dropped"][0]["path_hex"], "736d616c6cff2e6a7067");
        assert!(json["dropped"][1]["entry"].is_null());
        assert_eq!(json["silent_members"], 1);
    }
}
