//! `p2pimg client duplicates`.

use std::time::Duration;

use serde::Serialize;

use super::Session;
use super::rows::{RowJson, brief, json_line, short_content, short_peer};
use super::text::{count, duration, size};
use crate::cli::{Failure, screen};
use crate::error::ExitCode;
use crate::protocol::{DuplicateGroup, DuplicateLoser, DuplicatesPage, ImageRow};
use crate::types::printable;

/// Holders of a version that are named.
const SHOWN_HOLDERS: usize = 3;

/// Lists the groups as they come, and sums them up.
pub(super) async fn run(session: &Session, json: bool) -> Result<ExitCode, Failure> {
    let mut sum = Sum::default();
    let mut looked = None;
    let mut from = Some(0);
    while let Some(number) = from {
        let page = session.ask(session.client.duplicates(number)).await?;
        from = next(number, &page)?;
        looked = page.looked_s;
        for group in &page.groups {
            sum.add(group);
            if json {
                screen::print(&json_line(&GroupJson::from(group))?)?;
            } else {
                screen::print(&lines(group).join("\n"))?;
            }
        }
    }
    match looked {
        None => screen::note("the node has not looked for duplicates yet: ask again in a moment"),
        Some(_) if json => {}
        Some(seconds) => screen::print(&sum.line(seconds))?,
    }
    Ok(ExitCode::Success)
}

/// A node that answers with the same place again would be asked for ever.
fn next(number: u32, page: &DuplicatesPage) -> Result<Option<u32>, Failure> {
    if page.next.is_some_and(|next| next <= number) {
        let message = "the node's list goes in circles: is it the same version as this client?";
        return Err(Failure::new(ExitCode::Other, message));
    }
    Ok(page.next)
}

/// What all groups come to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    groups: u64,
    same: u64,
    freed: u64,
    probable: u64,
    /// Versions that the node did not tell.
    untold: u64,
}

impl Sum {
    fn add(&mut self, group: &DuplicateGroup) {
        self.groups += 1;
        self.untold += u64::from(group.more);
        for loser in &group.losers {
            if loser.same {
                self.same += 1;
                self.freed = self.freed.saturating_add(freed(&loser.row));
            } else {
                self.probable += 1;
            }
        }
    }

    fn line(&self, looked_s: u64) -> String {
        let found = match self.groups {
            0 => "no duplicates".to_owned(),
            _ => format!(
                "{}, {} that would be freed; {} to look at",
                count(self.same, "duplicate"),
                size(self.freed),
                count(self.probable, "probable one")
            ),
        };
        let untold = match self.untold {
            0 => String::new(),
            more => format!("; and {more} more versions of these pictures"),
        };
        format!("{found}{untold} (looked {} ago)", duration(Duration::from_secs(looked_s)))
    }
}

/// Bytes that go when all holders drop it.
fn freed(row: &ImageRow) -> u64 {
    row.facts.bytes.saturating_mul(row.holders.len() as u64)
}

/// The keeper, and what may go for it, each with its reason.
fn lines(group: &DuplicateGroup) -> Vec<String> {
    let mut lines = vec![format!("{:<12}{}", "keep", version(&group.keeper))];
    for loser in &group.losers {
        let word = if loser.same { "  same" } else { "  probable" };
        lines.push(format!("{word:<12}{}", version(&loser.row)));
        lines.push(format!("{:<12}  {}", "", printable(&loser.reason)));
    }
    if group.more > 0 {
        lines.push(format!("{:<12}and {} more", "", group.more));
    }
    lines
}

/// `Holiday/beach.jpg  640x480 jpeg, 1.2 MiB  c:0123456789abcdef  on …QxoN6Ped`
fn version(row: &ImageRow) -> String {
    let mut holders: Vec<String> =
        row.holders.iter().take(SHOWN_HOLDERS).map(|peer| format!("…{}", short_peer(peer))).collect();
    if let more @ 1.. = row.holders.len().saturating_sub(SHOWN_HOLDERS) {
        holders.push(format!("{more} more"));
    }
    let holders = if holders.is_empty() { "nobody now".to_owned() } else { holders.join(", ") };
    format!("{}  {}  c:{}  on {holders}", row.path, brief(row), short_content(&row.content))
}

/// The fields are part of the program's interface.
#[derive(Serialize)]
struct GroupJson<'a> {
    keeper: RowJson,
    losers: Vec<LoserJson<'a>>,
    more: u32,
    freed_bytes: u64,
}

#[derive(Serialize)]
struct LoserJson<'a> {
    #[serde(flatten)]
    row: RowJson,
    same: bool,
    reason: &'a str,
}

impl<'a> From<&'a DuplicateGroup> for GroupJson<'a> {
    fn from(group: &'a DuplicateGroup) -> Self {
        let loser = |loser: &'a DuplicateLoser| LoserJson {
            row: RowJson::from(&loser.row),
            same: loser.same,
            reason: &loser.reason,
        };
        let mut sum = Sum::default();
        sum.add(group);
        Self {
            keeper: RowJson::from(&group.keeper),
            losers: group.losers.iter().map(loser).collect(),
            more: group.more,
            freed_bytes: sum.freed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::row;
    use super::*;

    fn group() -> DuplicateGroup {
        let loser = |tag, same, reason: &str| DuplicateLoser {
            row: row(tag, format!("{tag}.jpg").as_bytes()),
            same,
            reason: reason.into(),
        };
        let losers = vec![loser(2, true, "hash distance 3"), loser(3, false, "less\x1b[2J sharp")];
        DuplicateGroup { keeper: row(9, b"best.jpg"), losers, more: 4 }
    }

    #[test]
    fn a_group_is_its_keeper_then_what_may_go() {
        let text = lines(&group()).join("\n");
        let expected = format!("keep        best.jpg  640x480 jpeg, 8.8 KiB  c:{}  on …", "09".repeat(8));
        assert!(text.starts_with(&expected), "{text}");
        assert!(text.contains("\n  same      2.jpg  "), "{text}");
        assert!(text.contains("\n  probable  3.jpg  "), "{text}");
        assert!(text.contains("less\\u{1b}[2J sharp"), "{text:?}");
        assert!(text.ends_with("and 4 more"), "{text}");
    }

    #[test]
    fn only_what_is_the_same_picture_would_be_freed_at_every_holder() {
        let mut sum = Sum::default();
        sum.add(&group());
        assert_eq!(sum, Sum { groups: 1, same: 1, freed: 4000, probable: 1, untold: 4 });
        let line = sum.line(61);
        assert!(line.starts_with("1 duplicate, 3.9 KiB that would be freed; 1 probable one to"), "{line}");
        assert!(line.ends_with("; and 4 more versions of these pictures (looked 1 min 1 s ago)"), "{line}");
        assert!(Sum::default().line(0).starts_with("no duplicates ("));
        let json: serde_json::Value =
            serde_json::from_str(&json_line(&GroupJson::from(&group())).unwrap()).unwrap();
        assert_eq!(json["freed_bytes"], 4000);
        assert_eq!(json["keeper"]["path"], "best.jpg");
        assert_eq!(json["losers"][1]["same"], false);
        assert_eq!(json["losers"][0]["reason"], "hash distance 3");
    }

    #[test]
    fn a_list_that_goes_in_circles_ends() {
        let page = |next| DuplicatesPage { groups: vec![], next, looked_s: Some(0) };
        assert_eq!(next(0, &page(Some(16))).unwrap(), Some(16));
        assert_eq!(next(16, &page(None)).unwrap(), None);
        assert!(next(16, &page(Some(16))).is_err());
        assert!(next(16, &page(Some(0))).is_err());
    }
}
