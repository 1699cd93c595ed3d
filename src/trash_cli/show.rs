//! `p2pimg trash show`.

use super::rows::{Shelf, cause, happening};
use crate::client_cli::text::{self, count, field, grouped, moment, size};
use crate::store::trash::{Entry, Keeper, KeptAt};
use crate::types::{CaptureTime, printable};

/// All that is known of an entry.
pub(super) fn lines(entry: &Entry, shelf: &Shelf) -> Vec<String> {
    let bytes = entry.fingerprint.bytes;
    let mut lines = vec![
        field("entry", entry.id.as_str()),
        field("path", &entry.path.to_string()),
        field("content", &format!("c:{}", entry.content)),
        field("size", &format!("{} ({} bytes)", size(bytes), grouped(bytes))),
    ];
    if let Some(facts) = &entry.facts {
        lines.push(field("hash", &facts.image.to_string()));
        lines.push(field("picture", &format!("{}x{} {}", facts.width, facts.height, facts.format)));
        if let Some(taken) = &facts.taken_at {
            lines.push(field("taken", CaptureTime::as_str(taken)));
        }
    }
    lines.push(field("dropped", &format!("{} UTC, {}", moment(entry.dropped_at), shelf.ago(entry))));
    if let Some(happening) = happening(&entry.state) {
        lines.push(field("state", happening));
    }
    lines.push(field("why", text::cause(cause(entry.reason.cause))));
    lines.extend(entry.reason.numbers.iter().map(|(name, value)| printable(&format!("  {name}: {value}"))));
    lines.extend(kept(entry));
    let expires = format!("{} UTC, {}", moment(shelf.expires_at(entry)), shelf.expires(entry));
    lines.push(field("expires", &expires));
    lines.push(field("file", &printable(&shelf.file(entry).display().to_string())));
    lines.push(field("restore", &format!("p2pimg trash restore {}", entry.id)));
    lines
}

/// What stayed instead, and who said so.
fn kept(entry: &Entry) -> Vec<String> {
    let Some(Keeper { content, at }) = &entry.keeper else { return Vec::new() };
    let mut lines = vec![field("kept", &format!("c:{content}"))];
    match at {
        KeptAt::Here(path) => lines.push(field("at", &format!("{path} in the same folder (then)"))),
        KeptAt::Holders(holders) => {
            lines.push(field("at", &format!("{} (then)", count(holders.len() as u64, "node"))));
            lines.extend(holders.iter().map(|holder| format!("  {}", printable(holder))));
        }
    }
    if !entry.proofs.is_empty() {
        let proofs = count(entry.proofs.len() as u64, "proof");
        lines.push(field("proofs", &format!("{proofs} of its holders, in the description beside the file")));
    }
    lines
}
