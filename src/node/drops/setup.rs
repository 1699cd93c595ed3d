//! What drops need, put together at the start: trash, ledger, pins, and what stands in the
//! way. Nothing of it keeps a node from starting: without it nothing is dropped, and the
//! node says why.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{Access, access};

use super::super::NodeConfig;
use super::{DeskSettings, Tools};
use crate::brake::Brake;
use crate::limits::{BRAKE_FREE_FILES, BRAKE_WINDOW};
use crate::picture::same::DECISION_VERSION;
use crate::protocol::{Decides, DedupMode};
use crate::store::decode::Inspector;
use crate::store::folder::Root;
use crate::store::index::{Index, IndexError};
use crate::store::ledger::{Ledger, LedgerError};
use crate::store::trash::{Cause, Trash};

/// What came of it.
pub(in crate::node) struct Setup {
    pub(in crate::node) tools: Tools,
    pub(in crate::node) desk: DeskSettings,
    /// For people.
    pub(in crate::node) notices: Vec<String>,
    pub(in crate::node) warnings: Vec<String>,
}

/// Opens the trash of `root`, settles what a crash left there, and mirrors its pins in the
/// index.
///
/// # Errors
/// The index's.
pub(in crate::node) fn set_up(
    config: &NodeConfig,
    root: &Root,
    ledger: Result<Arc<Ledger>, LedgerError>,
    inspector: Arc<Inspector>,
    index: &Index,
) -> Result<Setup, IndexError> {
    let (mut notices, mut warnings) = (Vec::new(), Vec::new());
    let mut obstacle = None;
    let trash = match Trash::open(root) {
        Ok((trash, recovery)) => {
            let back = recovery.returned.iter();
            notices.extend(back.map(|back| format!("an unfinished drop was undone: {} is back", back.to)));
            let problems = recovery.problems.iter();
            warnings.extend(problems.map(|p| format!("in the trash: {}: {}", p.path.display(), p.problem)));
            Some(trash)
        }
        Err(error) => {
            obstacle = Some(error.to_string());
            None
        }
    };
    let ledger = match ledger {
        Ok(ledger) => Some(ledger),
        Err(error) => {
            obstacle = Some(error.to_string());
            None
        }
    };
    if !is_writable(root.dir()) {
        obstacle = Some(format!("the folder {} can't be written", root.dir().display()));
    }
    if let Some(trash) = &trash {
        let pins: BTreeSet<_> = trash.pins().into_iter().map(|(content, _)| content).collect();
        index.set_pins(&pins)?;
    }
    if let (Some(obstacle), DedupMode::Trash) = (&obstacle, config.dedup) {
        warnings.push(format!("no duplicates are dropped, only reported: {obstacle}"));
    }
    let own = Decides {
        // Who can't record witnesses promises nothing.
        version: if ledger.is_some() { DECISION_VERSION } else { 0 },
        lease_s: u32::try_from(config.lease.as_secs()).unwrap_or(u32::MAX),
        copies: config.copies,
    };
    let desk = DeskSettings {
        mode: config.dedup,
        obstacle,
        own,
        lease: config.lease,
        brake: Brake { percent: config.max_drop_percent, free: BRAKE_FREE_FILES },
        trash_for: config.trash_for,
        past: trash.as_ref().map_or(0, |trash| dropped_within(trash, BRAKE_WINDOW)),
    };
    let tools = Tools::new(trash, ledger, inspector, config.keep.clone(), config.adopt);
    Ok(Setup { tools, desk, notices, warnings })
}

/// Also for root, whom permissions don't stop but a read-only file system does.
fn is_writable(dir: &Path) -> bool {
    access(dir, Access::WRITE_OK).is_ok()
}

/// Files that went into the trash within this time, by themselves or because a person said so.
fn dropped_within(trash: &Trash, time: Duration) -> u64 {
    let now = SystemTime::now();
    let (entries, _) = trash.list(None, usize::MAX).unwrap_or_default();
    let recent = entries.iter().filter(|entry| entry.reason.cause != Cause::Damaged);
    recent.filter(|entry| now.duration_since(entry.at()).is_ok_and(|age| age < time)).count() as u64
}
