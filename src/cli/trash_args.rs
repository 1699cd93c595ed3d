//! The trash's part of the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::client_args::ConnectArgs;
use super::values::{self, Span};
use crate::node::config::DEFAULT_TRASH_DAYS;
use crate::store::trash::EntryId;

/// `p2pimg trash`.
#[derive(Debug, Args)]
pub struct TrashArgs {
    /// The folder of pictures whose trash is meant [default: that of the node running on this
    /// machine]
    #[arg(long, global = true, env = "P2PIMG_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where the folder's node keeps its state [default: what the running node says, else
    /// DIR/.p2pimg]
    #[arg(long, global = true, env = "P2PIMG_STATE", value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// How to connect to the node, when one runs.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: TrashCommand,
}

/// What to do with the trash.
#[derive(Debug, Subcommand)]
pub enum TrashCommand {
    /// List what is in the trash, the newest last
    ///
    /// A table on a terminal; elsewhere lines with tabs between entry, time of the drop, bytes,
    /// reason, end of its time, and path. From that end on the node may delete the file, after
    /// its better version was proved to be there once more. Exits with 10 (degraded) when
    /// something in the trash can't be read.
    List(ListTrashArgs),
    /// Show all that is known of a file in the trash
    ///
    /// Why it was dropped, with what was measured; which version was kept instead and who held
    /// it then; and how to put it back.
    Show(ShowTrashArgs),
    /// Put files back to where they were
    ///
    /// Nothing is overwritten: when another file has the place, the restored one gets a name
    /// beside it. What was restored is never dropped again, on any node.
    Restore(RestoreTrashArgs),
    /// Delete what is in the trash, for good
    ///
    /// It is not asked whether the better versions are still there: that is what the trash is
    /// for. Without --yes nothing is deleted; it says what would be, and exits with 6 (refused).
    Empty(EmptyTrashArgs),
}

/// `p2pimg trash list`.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown, reason = "the text is shown as it is")]
pub struct ListTrashArgs {
    /// Print one JSON object a line: entry, state, path, path_hex (when the path is not
    /// UTF-8), content, hash, bytes, dropped_at, expires_at, cause, numbers, keeper,
    /// keeper_path, holders, proofs, file
    #[arg(long)]
    pub json: bool,
    /// What the folder's node was told
    #[arg(long, env = "P2PIMG_TRASH_DAYS", value_name = "N", default_value_t = DEFAULT_TRASH_DAYS)]
    #[arg(value_parser = values::trash_days())]
    pub trash_days: u32,
}

/// `p2pimg trash show`.
#[derive(Debug, Args)]
pub struct ShowTrashArgs {
    /// Its name in the trash, as `p2pimg trash list` shows it
    #[arg(value_name = "ENTRY")]
    pub entry: EntryId,
    /// How to show it.
    #[command(flatten)]
    pub form: ListTrashArgs,
}

/// `p2pimg trash restore`.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown, reason = "the text is shown as it is")]
pub struct RestoreTrashArgs {
    /// Names in the trash, as `p2pimg trash list` shows them
    #[arg(value_name = "ENTRY", required_unless_present = "all")]
    pub entries: Vec<EntryId>,
    /// All that is in the trash
    #[arg(long, conflicts_with = "entries")]
    pub all: bool,
    /// Print one JSON object for each file: entry, path, path_hex (when the path is not UTF-8)
    #[arg(long)]
    pub json: bool,
}

/// `p2pimg trash empty`.
#[derive(Debug, Args)]
pub struct EmptyTrashArgs {
    /// Only what was dropped at least so long ago
    #[arg(long, value_name = "DURATION")]
    pub older_than: Option<Span>,
    /// Yes, delete it
    #[arg(long)]
    pub yes: bool,
    /// Print one JSON object: files, bytes, problems
    #[arg(long)]
    pub json: bool,
}
