//! The client's part of the command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand, ValueEnum};
use libp2p::Multiaddr;

use super::values::{self, HashQuery, Sample, Span};
use crate::limits::{MAX_FILTER_BYTES, MAX_SIMILAR, MAX_SIMILAR_DISTANCE};
use crate::picture::same::DECISION;

/// `p2pimg client`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub struct ClientArgs {
    /// The node's address, as it printed it, e.g. /ip4/192.168.1.5/tcp/4011 [default: the node
    /// running on this machine]
    #[arg(long, global = true, env = "P2PIMG_PEER", value_name = "ADDR", value_parser = values::dial_address)]
    pub peer: Option<Multiaddr>,
    /// How to connect to it.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// What to ask.
    #[command(subcommand)]
    pub command: ClientCommand,
}

/// How to connect to a node.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectArgs {
    /// The swarm's key [default: the one that `p2pimg keygen` made, if there is one]
    #[arg(long, global = true, env = "P2PIMG_SWARM_KEY", value_name = "FILE")]
    pub swarm_key: Option<PathBuf>,
    /// Connect without a key although there is one, to a node started without
    #[arg(long, global = true, env = "P2PIMG_NO_SWARM_KEY", value_parser = BoolishValueParser::new())]
    pub no_swarm_key: bool,
    /// Give up when the node has not answered, or sent nothing new, for this long [default:
    /// 10s to connect, 30s for an answer]
    #[arg(long, global = true, env = "P2PIMG_TIMEOUT", value_name = "DURATION")]
    pub timeout: Option<Span>,
}

/// What to ask.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// List every picture of the swarm
    ///
    /// One row a content (an exact sequence of bytes). A table on a terminal; elsewhere lines
    /// with tabs between hash, copies, width x height, bytes, format, date, holder and path.
    /// Rows come as they arrive, so that a long list starts at once; --sort and --reverse wait
    /// for all of it.
    List(ListArgs),
    /// Get pictures by their hash
    ///
    /// Every byte is verified before it is used, and a file appears only when it is complete.
    /// Nothing is overwritten without --force. Prints the path of each file that it made.
    Get(GetArgs),
    /// Show everything known of one picture, and who holds it
    ///
    /// Asks every holder that the DHT or the catalogs name, now: "confirmed" is what answered.
    Show(ShowArgs),
    /// Show how the node is
    ///
    /// Exits with 10 (degraded) when something wants attention: pictures with too few copies, files
    /// that could not be read or decoded, another node that can't be used, a bootstrap address that
    /// nobody is reached at, drops that wait for you, or duplicates that can't be dropped.
    Status(StatusArgs),
    /// Show the other nodes that the node knows
    Peers(PlainArgs),
    /// List the pictures that the swarm has more than once
    ///
    /// For each the best version, which is kept, then the worse ones with what was measured.
    /// "same" may go to the trash of the nodes that hold it; "probable" is for you to judge, and
    /// is never dropped. This command only lists; what nodes do is chosen by `p2pimg node
    /// --dedup`.
    Duplicates(PlainArgs),
    /// Show the pictures of the swarm that look most like one, also one that is not in the swarm
    ///
    /// Compares the picture's hash with those of all pictures; the nearest come first, each with
    /// the number of bits, of 256, in which the two differ. Up to 24 it may be the same picture in
    /// another size or encoding, or one of the same series. Rows are as in `list`, with the
    /// distance in front. Finding nothing is no error. Exits with 6 (refused) when the picture has
    /// no hash to compare: no picture, not decoded, or with too little structure.
    Similar(SimilarArgs),
    /// Show what became of a picture: who holds it, what went for it, what it went for
    ///
    /// For a picture that is there, and for one that was dropped, on any node of the swarm that
    /// answers; with what was measured, and how to put a dropped file back.
    Why(ShowArgs),
    /// Have every holder of a picture read all of it again, and prove that it has the bytes
    ///
    /// One line a holder: good, damaged (a copy there has other bytes, or can't be read), silent (no
    /// answer), unchecked (a proof that the node could not check). Exits with 10 (degraded) when any
    /// is not good. What is found damaged is healed by itself.
    Verify(ShowArgs),
    /// Show how far the node is with reading all its copies again, or have it do that now
    ///
    /// A node reads each of its pictures again within `p2pimg node --scrub-days`. A file whose bytes
    /// changed, and whose time and length did not, is damaged: it goes to the trash, and the good
    /// bytes, from another node, take its place. Exits with 10 (degraded) while a file is damaged
    /// that no node has the good bytes of.
    Scrub(ScrubArgs),
    /// Add pictures to the swarm
    ///
    /// Each is stored in the folder of the node that is asked, under its own name made safe,
    /// never over another file, and prints its hash. What the swarm has already is not sent
    /// again. Exits with 10 (degraded) when a picture is safe at the node, but not on as many
    /// nodes as it should be. A node that was started with --open takes pictures only with
    /// --allow-write.
    Put(PutArgs),
    /// Remove pictures from every node that has them
    ///
    /// All files with exactly these bytes go to the trash of their nodes, from where `p2pimg trash
    /// restore` brings them back. A node that is away removes its copy when it comes back; a picture
    /// that is added again later stays. Exits with 10 (degraded) when a node is away or has to
    /// wait, with 6 (refused) when one keeps its copy: it is pinned or one of its --keep, or too
    /// many would go within a day (`p2pimg client dedup approve` lets them).
    /// Without --yes nothing is removed, and it exits with 6 too.
    Rm(RmArgs),
    /// Decide about drops that wait for you
    Dedup(DedupArgs),
    /// Have the node hand over what it holds, so that it may leave
    ///
    /// What would have too few copies without this node is copied to others, what only it holds
    /// first; meanwhile it takes nothing and its copies do not count. Waits until that is done, then
    /// the node stops. When nobody can take the rest, says so and leaves the node running (exit code
    /// 10).
    Drain(DrainArgs),
}

/// `p2pimg client drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// Go on as before instead
    #[arg(long)]
    pub cancel: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `p2pimg client status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Show it again and again, until Ctrl-C
    #[arg(long)]
    pub watch: bool,
    /// Print one JSON object (with --watch, one a line)
    #[arg(long)]
    pub json: bool,
}

/// `p2pimg client scrub`.
#[derive(Debug, Args)]
pub struct ScrubArgs {
    /// Read everything now, without rests; the node goes on with it after this command has ended
    #[arg(long)]
    pub now: bool,
    /// Wait for the end of that, and tell what it found
    #[arg(long, requires = "now")]
    pub wait: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `p2pimg client dedup`.
#[derive(Debug, Args)]
pub struct DedupArgs {
    /// What to decide.
    #[command(subcommand)]
    pub command: DedupCommand,
}

/// What to decide.
#[derive(Debug, Subcommand)]
pub enum DedupCommand {
    /// Let the drops that the brake holds back go on
    ///
    /// A node stops when a large share of its folder would be dropped (`p2pimg node
    /// --max-drop`). See what would go with `p2pimg client duplicates` first. The approval is
    /// for as many files as would go now: when more are found, the node stops again.
    Approve(PlainArgs),
}

/// A command with nothing but a choice of form.
#[derive(Debug, Args)]
pub struct PlainArgs {
    /// Print JSON, one object a line
    #[arg(long)]
    pub json: bool,
}

/// `p2pimg client list`.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown, reason = "the text is shown as it is")]
pub struct ListArgs {
    /// Print one JSON object a line: hash, content, path, path_hex (when the path is not
    /// UTF-8), holder, holders, copies, width, height, bytes, format, taken_at, pinned (a person
    /// wants it kept: it is never dropped)
    #[arg(long)]
    pub json: bool,
    /// Sort by this, smallest, oldest or first in the alphabet first
    #[arg(long, value_name = "BY")]
    pub sort: Option<SortBy>,
    /// The other way round
    #[arg(long)]
    pub reverse: bool,
    /// Only pictures whose path contains this text, in capitals or not
    #[arg(long, value_name = "TEXT", value_parser = filter)]
    pub filter: Option<String>,
}

fn filter(text: &str) -> Result<String, String> {
    if text.len() > MAX_FILTER_BYTES {
        return Err(format!("longer than {MAX_FILTER_BYTES} bytes"));
    }
    Ok(text.to_owned())
}

/// What a list can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SortBy {
    /// The picture's hash
    Hash,
    /// The path
    Name,
    /// When it was taken; pictures without a date come last
    Date,
    /// Bytes
    Size,
    /// Width times height
    Pixels,
    /// Number of copies
    Copies,
}

/// `p2pimg client similar`.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown, reason = "the text is shown as it is")]
pub struct SimilarArgs {
    /// A file on this machine; or the hash of a picture, its first 6 or more digits, or c:CONTENT.
    /// What could be either is a hash: write ./abcdef for the file
    #[arg(value_name = "FILE|HASH", value_parser = values::sample())]
    pub sample: Sample,
    /// Only pictures whose hashes differ in at most so many bits, 0 to 64
    #[arg(long, value_name = "N", default_value_t = DECISION.max_distance)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_SIMILAR_DISTANCE)))]
    pub distance: u32,
    /// At most so many pictures, 1 to 256
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=MAX_SIMILAR as i64))]
    pub limit: u32,
    /// Print one JSON object a line: distance, and what `list --json` has
    #[arg(long)]
    pub json: bool,
}

/// `p2pimg client get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// The picture's hash, its first 6 or more digits, or c:CONTENT for one exact content
    #[arg(value_name = "HASH", required_unless_present = "all")]
    pub hashes: Vec<HashQuery>,
    /// A file, a folder, or - for standard output [default: the holder's file name, in the
    /// current folder]
    #[arg(short, long, value_name = "FILE|DIR|-")]
    pub output: Option<OsString>,
    /// Show the picture with the system's viewer
    #[arg(long, conflicts_with = "all")]
    pub open: bool,
    /// Overwrite what is there
    #[arg(short, long)]
    pub force: bool,
    /// Every picture of the swarm, into the folder given with -o; what is there already is
    /// not fetched again
    #[arg(long, conflicts_with = "hashes", requires = "output")]
    pub all: bool,
}

/// `p2pimg client put`.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown, reason = "the text is shown as it is")]
pub struct PutArgs {
    /// Pictures
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// What to wait for
    #[arg(long, value_name = "WHAT", default_value = "copies")]
    pub wait: WaitFor,
    /// Wait at most so long
    #[arg(long, value_name = "DURATION", default_value_t = Span(PUT_WAIT))]
    pub within: Span,
    /// Print one JSON object a line: file, hash, content, new (it was not in the swarm before),
    /// copies and wanted (null with --wait local)
    #[arg(long)]
    pub json: bool,
}

/// `p2pimg client rm`.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown, reason = "the text is shown as it is")]
pub struct RmArgs {
    /// The picture's hash, its first 6 or more digits, or c:CONTENT for one exact content
    #[arg(value_name = "HASH", required = true)]
    pub hashes: Vec<HashQuery>,
    /// Yes, remove it
    #[arg(long)]
    pub yes: bool,
    /// Print one JSON object a line: hash, content, path, nodes (peer, end: removed, not_here,
    /// later, away or spared, files, why)
    #[arg(long)]
    pub json: bool,
}

/// How long `put` waits for copies unless told otherwise: some pictures of the size that
/// cameras make, to a node that has to fetch them over a wireless network.
const PUT_WAIT: Duration = Duration::from_secs(120);

/// What `put` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WaitFor {
    /// As many copies as there should be, confirmed by the nodes that hold them
    Copies,
    /// The node's own folder
    Local,
}

/// `p2pimg client show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The picture's hash, its first 6 or more digits, or c:CONTENT for one exact content
    #[arg(value_name = "HASH")]
    pub hash: HashQuery,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
