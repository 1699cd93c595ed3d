//! `p2pimg client scrub`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::Session;
use super::rows::json_line;
use super::text::{count, duration, field, grouped, size};
use crate::cli::{Failure, ScrubArgs, screen};
use crate::error::ExitCode;
use crate::protocol::ScrubStatus;

/// How often the node is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// The fields are part of the program's interface.
#[derive(Serialize)]
struct ScrubJson<'a> {
    #[serde(flatten)]
    status: &'a ScrubStatus,
    degraded: bool,
}

/// Begins a pass when told to, waits for its end when told to, and shows how far it is.
pub(super) async fn run(session: &Session, args: &ScrubArgs) -> Result<ExitCode, Failure> {
    let before = session.ask(session.client.scrub(args.now)).await?;
    let (status, ended) =
        if args.wait { (wait(session, &before).await?, true) } else { (before.clone(), false) };
    let degraded = status.damaged > 0;
    if args.json {
        screen::print(&json_line(&ScrubJson { status: &status, degraded })?)?;
    } else if ended {
        screen::print(&summary(&before, &status))?;
    } else {
        lines(&status, now()).iter().try_for_each(|line| screen::print(line))?;
    }
    Ok(if degraded { ExitCode::Degraded } else { ExitCode::Success })
}

async fn wait(session: &Session, first: &ScrubStatus) -> Result<ScrubStatus, Failure> {
    let bar = screen::bar(session.bars, "reading [{bar:30}] {bytes}/{total_bytes}, {eta} left");
    let mut status = first.clone();
    while status.asked {
        bar.set_length(status.total);
        bar.set_position(status.bytes.min(status.total));
        tokio::time::sleep(ASK_EVERY).await;
        status = session.ask(session.client.scrub(false)).await?;
    }
    bar.finish_and_clear();
    Ok(status)
}

/// What a pass that has ended found.
fn summary(before: &ScrubStatus, after: &ScrubStatus) -> String {
    let read = format!("read everything again: {}", size(after.total));
    let found = after.found.saturating_sub(before.found);
    let healed = after.healed.saturating_sub(before.healed);
    let found = match found {
        0 => "nothing new is damaged".to_owned(),
        found => format!("{} damaged, {} healed", copies(found), count(healed, "file")),
    };
    match after.damaged {
        0 => format!("{read}; {found}"),
        left => {
            format!("{read}; {found}; {} waiting for a node that has the good bytes", count(left, "file"))
        }
    }
}

fn copies(number: u64) -> String {
    count(number, "copy").replace("copys", "copies")
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// How far the node is, for people.
pub(super) fn lines(status: &ScrubStatus, now: u64) -> Vec<String> {
    let (done, total) = (size(status.bytes), size(status.total));
    let pass = match (status.asked, status.days) {
        (true, _) => format!("under way as asked: {done} of {total}"),
        (false, 0) => "only when asked (`p2pimg client scrub --now`)".to_owned(),
        (false, days) => format!("each picture within {}: {done} of {total}", count(days.into(), "day")),
    };
    let mut lines = vec![field("scrub", &pass)];
    if let Some(at) = status.last_full {
        let ago = duration(Duration::from_secs(now.saturating_sub(at)));
        lines.push(field("", &format!("last read as a whole {ago} ago")));
    }
    if status.found > 0 {
        let text = format!(
            "{} found damaged since the start, {} healed",
            copies(status.found),
            grouped(status.healed)
        );
        lines.push(field("", &text));
    }
    if status.damaged > 0 {
        let text = format!(
            "{} damaged now, and no node that is here has the good bytes",
            count(status.damaged, "file")
        );
        lines.push(field("", &text));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_what_is_damaged_and_what_was_healed() {
        let quiet = ScrubStatus { days: 30, bytes: 1024, total: 4096, ..ScrubStatus::default() };
        assert_eq!(
            lines(&quiet, 9).join("\n"),
            "scrub       each picture within 30 days: 1.0 KiB of 4.0 KiB"
        );
        let off = ScrubStatus::default();
        assert!(lines(&off, 9).join("\n").contains("only when asked"));
        let bad = ScrubStatus {
            asked: true,
            last_full: Some(1000),
            found: 3,
            healed: 2,
            damaged: 1,
            ..quiet.clone()
        };
        let text = lines(&bad, 1060).join("\n");
        for part in [
            "under way as asked",
            "1 min 0 s ago",
            "3 copies found damaged",
            "2 healed",
            "1 file damaged now",
        ] {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
        assert!(summary(&quiet, &quiet).ends_with("nothing new is damaged"));
        let end = summary(&quiet, &bad);
        assert!(end.contains("3 copies damaged, 2 files healed; 1 file waiting"), "{end}");
    }
}
