//! `p2pimg client drain`.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Session;
use super::rows::json_line;
use super::text::{count, grouped};
use crate::cli::{DrainArgs, Failure, screen};
use crate::error::ExitCode;
use crate::limits::DRAIN_STUCK;
use crate::protocol::DrainStatus;

/// How often the node is asked how far it is.
const ASK_EVERY: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct DrainJson {
    drained: bool,
    left: u64,
    sole: u64,
}

/// Waits until the node has handed over what it holds; it stops by itself then.
pub(super) async fn run(session: &Session, args: &DrainArgs) -> Result<ExitCode, Failure> {
    if args.cancel {
        session.ask(session.client.drain(true)).await?;
        screen::note("the node goes on as before");
        return Ok(ExitCode::Success);
    }
    let mut progress = Progress { least: u64::MAX, since: Instant::now(), told: None };
    loop {
        // It stays for a few seconds after all is handed over, so that this is heard.
        let status = session.ask(session.client.drain(false)).await?;
        if status.surveyed && status.left == 0 {
            return end(args, status, true);
        }
        if progress.is_stuck(&status) {
            return end(args, status, false);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn end(args: &DrainArgs, status: DrainStatus, drained: bool) -> Result<ExitCode, Failure> {
    let DrainStatus { left, sole, .. } = status;
    if args.json {
        screen::print(&json_line(&DrainJson { drained, left, sole })?)?;
    } else if drained {
        screen::print("everything is handed over, and the node stops")?;
    } else {
        let pictures = count(left, "picture");
        screen::print(&format!(
            "{pictures} would have too few copies without this node ({} none at all), and nobody can take them: \
             start another node, or one with more room; the node keeps running (`p2pimg client drain --cancel` \
             to go on as before)",
            grouped(sole)
        ))?;
    }
    Ok(if drained { ExitCode::Success } else { ExitCode::Degraded })
}

struct Progress {
    least: u64,
    since: Instant,
    told: Option<u64>,
}

impl Progress {
    /// Whether nothing has moved for long, or nobody is there who could take the rest. Tells how far it is.
    fn is_stuck(&mut self, status: &DrainStatus) -> bool {
        if !status.surveyed {
            return false;
        }
        if status.left < self.least {
            (self.least, self.since) = (status.left, Instant::now());
        }
        if self.told != Some(status.left) {
            self.told = Some(status.left);
            screen::note(&format!("{} to hand over", count(status.left, "picture")));
        }
        let all_stuck = status.without_taker > 0 && status.without_taker >= status.left;
        let patience = if all_stuck { DRAIN_STUCK / 12 } else { DRAIN_STUCK };
        self.since.elapsed() > patience
    }
}
