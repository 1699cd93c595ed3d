//! The command line as it can be typed: commands, options, help. What they do is in
//! `node_cli.rs`, `client_cli.rs` and [`keygen`].

mod client_args;
pub mod docs;
pub mod failure;
pub mod keygen;
pub mod local;
pub mod screen;
pub mod signals;
mod trash_args;
pub mod values;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use libp2p::Multiaddr;

pub use client_args::{
    ClientArgs, ClientCommand, ConnectArgs, DedupArgs, DedupCommand, DrainArgs, GetArgs, ListArgs, PlainArgs,
    PutArgs, RmArgs, ScrubArgs, ShowArgs, SimilarArgs, SortBy, StatusArgs, WaitFor,
};
pub use failure::Failure;
pub use trash_args::{
    EmptyTrashArgs, ListTrashArgs, RestoreTrashArgs, ShowTrashArgs, TrashArgs, TrashCommand,
};
use values::{ByteSize, Pixels, Span};

use crate::error::ExitCode;
use crate::limits;
use crate::node::config::{DEFAULT_COPIES, DEFAULT_TRASH_DAYS};
use crate::protocol::DedupMode;
use crate::types::Zone;

/// A swarm of photo folders without a server.
///
/// Run one `p2pimg node` per folder; the nodes find each other and form one swarm. A
/// `p2pimg client` talks to any one of them and lists and gets every picture of the
/// swarm, wherever it lies.
#[derive(Debug, Parser)]
#[command(name = "p2pimg", version, arg_required_else_help = true, subcommand_required = true)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub common: CommonArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Debug, Clone, Args)]
#[allow(clippy::doc_markdown, reason = "the text is shown as it is")]
#[command(next_help_heading = "Common options")]
pub struct CommonArgs {
    /// Log more to standard error: -v what p2pimg does, -vv details, -vvv everything,
    /// libp2p included (RUST_LOG chooses finer)
    #[arg(short, long, global = true, action = ArgAction::Count, env = "P2PIMG_VERBOSE", value_name = "LEVEL")]
    pub verbose: u8,
    /// Say only what was asked for, and errors
    #[arg(short, long, global = true, env = "P2PIMG_QUIET", value_parser = BoolishValueParser::new())]
    pub quiet: bool,
    /// Where this user's swarm key and list of running nodes are, instead of the system's
    /// usual place
    #[arg(long, global = true, env = "P2PIMG_HOME", value_name = "DIR")]
    pub home: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Join a folder of pictures to the swarm, and keep running
    ///
    /// Prints the node's peer id and each of its addresses on a line of its own to standard
    /// output as soon as it listens; what happens later goes to standard error. Ends cleanly
    /// on Ctrl-C or SIGTERM.
    ///
    /// Without a swarm key (see `p2pimg keygen`) and without --open, a node listens on this
    /// machine only.
    Node(NodeArgs),
    /// List and get the pictures of the swarm through one node
    ///
    /// Connects to one node and works through it: that node finds and relays the pictures of
    /// all others. Without --peer it is the node that this user runs on this machine.
    Client(ClientArgs),
    /// Look at a folder of pictures without joining a swarm
    ///
    /// Reads every picture in the folder, and writes nothing there: no state, no marker. With
    /// --duplicates it finds the pictures that are there more than once, in any size and
    /// encoding, and tells which version is the best. It only reports; no file is touched.
    Scan(ScanArgs),
    /// See what a node has dropped, and put it back
    ///
    /// A file that a node drops because a better version of the picture is there goes to the
    /// trash of the folder, and stays for 30 days (`p2pimg node --trash-days`). `list` and
    /// `show` read it, whether a node runs or not. `restore` and `empty` ask the node that runs
    /// on the folder, and do it themselves when there is none.
    Trash(TrashArgs),
    /// Make a swarm key: only machines that have it can join
    ///
    /// The key goes where nodes and clients of this user find it by themselves. Bring the file
    /// to your other machines, over a way that nobody listens to.
    Keygen(KeygenArgs),
    /// Print the completions for a shell
    ///
    /// For example: p2pimg completions bash > ~/.local/share/bash-completion/completions/p2pimg
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write the pages of all commands to a folder
    Man {
        /// Write one page a command here, instead of the main page to standard output
        dir: Option<PathBuf>,
    },
}

/// `p2pimg node`. Every option is an environment variable as well.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown, reason = "the text is shown as it is")]
pub struct NodeArgs {
    /// The folder of pictures, searched recursively
    #[arg(long, env = "P2PIMG_DIR", value_name = "DIR")]
    pub dir: PathBuf,
    /// Where to listen, e.g. /ip4/0.0.0.0/tcp/4011; several are possible [default: port 4011
    /// on IPv4 and IPv6, any free port when it is taken]
    #[arg(long, env = "P2PIMG_LISTEN", value_name = "ADDR", num_args = 1.., value_delimiter = ',')]
    #[arg(value_parser = values::listen_address)]
    pub listen: Vec<Multiaddr>,
    /// A node to join by, e.g. /ip4/192.168.1.5/tcp/4011 or /dns4/nas.example/tcp/4011, with or
    /// without /p2p/PEER, or a list of them in the DNS: /dnsaddr/NAME; several are possible
    #[arg(long, env = "P2PIMG_BOOTSTRAP", value_name = "ADDR", num_args = 1.., value_delimiter = ',')]
    #[arg(value_parser = values::dial_address)]
    pub bootstrap: Vec<Multiaddr>,
    /// Relay for nodes of the swarm that can't reach each other, because routers let nobody in.
    /// For a node that all of them reach: tell them its address with --bootstrap
    #[arg(long, env = "P2PIMG_RELAY", value_parser = BoolishValueParser::new())]
    pub relay: bool,
    /// Ask the router, by UPnP, to let other nodes in
    #[arg(long, env = "P2PIMG_UPNP", value_parser = BoolishValueParser::new())]
    pub upnp: bool,
    /// Don't look for other nodes on the local network and on this machine
    #[arg(long, env = "P2PIMG_NO_MDNS", value_parser = BoolishValueParser::new())]
    pub no_mdns: bool,
    /// Where the node keeps its state [default: DIR/.p2pimg]
    #[arg(long, env = "P2PIMG_STATE", value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// The swarm's key; only nodes and clients with the same one can connect [default: the
    /// one that `p2pimg keygen` made, if there is one]
    #[arg(long, env = "P2PIMG_SWARM_KEY", value_name = "FILE")]
    pub swarm_key: Option<PathBuf>,
    /// Let anybody who can reach this node list and get its pictures
    #[arg(long, env = "P2PIMG_OPEN", value_parser = BoolishValueParser::new())]
    pub open: bool,
    /// With --open: let anybody who can reach this node add and remove pictures, too. Without
    /// --open, clients on this machine or with the swarm's key may do that anyway
    #[arg(long, env = "P2PIMG_ALLOW_WRITE", value_parser = BoolishValueParser::new())]
    pub allow_write: bool,
    /// Memory for pictures being decoded, all together
    #[arg(long, env = "P2PIMG_DECODE_MEMORY", value_name = "SIZE")]
    #[arg(default_value_t = ByteSize(limits::DEFAULT_DECODE_BUDGET))]
    pub decode_memory: ByteSize,
    /// Pictures with more pixels are not decoded, only kept by their bytes
    #[arg(long, env = "P2PIMG_MAX_PIXELS", value_name = "N")]
    #[arg(default_value_t = Pixels(limits::DEFAULT_MAX_PIXELS))]
    pub max_pixels: Pixels,
    /// Time between two full looks at the folder; changes are noticed at once where the
    /// system reports them
    #[arg(long, env = "P2PIMG_RESCAN", value_name = "DURATION")]
    #[arg(default_value_t = Span(crate::node::NodeConfig::new("").rescan_every))]
    pub rescan: Span,
    /// Take the folder as a new one, although it was known with another marker file, or had
    /// one; say so only when you know why it is gone
    #[arg(long, env = "P2PIMG_NEW_FOLDER", value_parser = BoolishValueParser::new())]
    pub new_folder: bool,
    /// What to do with the worse versions of a picture that is there more than once, here or
    /// on another node of the swarm
    #[arg(long, env = "P2PIMG_DEDUP", value_name = "MODE", value_parser = values::dedup_mode())]
    #[arg(default_value = "trash", help_heading = DUPLICATES)]
    pub dedup: DedupMode,
    /// Never drop files with this name (*.tif, Wedding) or path (2019/**, /best/*.jpg), in
    /// capitals or not; several are possible (in P2PIMG_KEEP one a line)
    #[arg(long, env = "P2PIMG_KEEP", value_name = "GLOB", num_args = 1.., value_delimiter = '\n')]
    #[arg(help_heading = DUPLICATES)]
    pub keep: Vec<String>,
    /// Put the better version into the folder, in the place of the worse one, when this node
    /// keeps a copy of it for the swarm; otherwise it is kept in the state
    #[arg(long, env = "P2PIMG_ADOPT", value_parser = BoolishValueParser::new(), help_heading = DUPLICATES)]
    pub adopt: bool,
    /// Days that a dropped file stays in the trash; then it is deleted if its better version is
    /// proved to be there once more, and else comes back
    #[arg(long, env = "P2PIMG_TRASH_DAYS", value_name = "N", default_value_t = DEFAULT_TRASH_DAYS)]
    #[arg(value_parser = values::trash_days(), help_heading = DUPLICATES)]
    pub trash_days: u32,
    /// Stop, and wait for `p2pimg client dedup approve`, when more than this share of the folder
    /// (and more than 20 files) would be dropped within a day; 100 never stops
    #[arg(long, env = "P2PIMG_MAX_DROP", value_name = "PERCENT", default_value_t = limits::BRAKE_PERCENT)]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=100), help_heading = DUPLICATES)]
    pub max_drop: u8,
    /// Nodes that each picture is to be on, this one included. The highest number that a node with
    /// the picture says counts
    #[arg(long, env = "P2PIMG_COPIES", value_name = "N", default_value_t = DEFAULT_COPIES)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=16), help_heading = COPIES)]
    pub copies: u16,
    /// Share of the copies that this node takes, next to the other nodes' shares; 0: it takes
    /// none. It never fills its disk, whatever this says [default: 256G]
    #[arg(long, env = "P2PIMG_CAPACITY", value_name = "SIZE", value_parser = values::capacity)]
    #[arg(help_heading = COPIES)]
    pub capacity: Option<u64>,
    /// Where this node stands (home, office, rack-2): copies go to different places when there are
    /// several
    #[arg(long, env = "P2PIMG_ZONE", value_name = "NAME", help_heading = COPIES)]
    pub zone: Option<Zone>,
    /// How long a node may be away before the swarm makes new copies of what it holds. One that
    /// has come back before is given as long as it usually stays away
    #[arg(long, env = "P2PIMG_REPAIR_AFTER", value_name = "DURATION", help_heading = COPIES)]
    #[arg(default_value_t = Span(limits::REPAIR_AFTER))]
    pub repair_after: Span,
    /// How long a file of this folder may be one copy too many before it goes to the trash. What
    /// is kept for the swarm only goes at once
    #[arg(long, env = "P2PIMG_TRIM_AFTER", value_name = "DURATION", help_heading = COPIES)]
    #[arg(default_value_t = Span(limits::TRIM_AFTER))]
    pub trim_after: Span,
    /// Fetch copies no faster than this much a second, averaged over some pictures
    #[arg(long, env = "P2PIMG_MAX_BANDWIDTH", value_name = "SIZE", help_heading = COPIES)]
    pub max_bandwidth: Option<ByteSize>,
    /// When asked to end, hand over first what would have too few copies without this node; asked
    /// twice, end at once
    #[arg(long, env = "P2PIMG_DRAIN_ON_EXIT", value_parser = BoolishValueParser::new())]
    #[arg(help_heading = COPIES)]
    pub drain_on_exit: bool,
    /// How long a node promises to keep what another one relies on. For tests: all nodes of a
    /// swarm must say the same, or they never drop against each other
    #[arg(long, env = "P2PIMG_LEASE_SECONDS", value_name = "N", hide = true)]
    #[arg(default_value_t = limits::LEASE_TIME.as_secs(), help_heading = DUPLICATES)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub lease_seconds: u64,
    /// Read every picture again within this many days, so slowly that nobody feels it; what the
    /// disk has damaged is fetched again from another node. 0: only with `p2pimg client scrub --now`
    #[arg(long, env = "P2PIMG_SCRUB_DAYS", value_name = "N", default_value_t = limits::SCRUB_DAYS)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=36_500))]
    pub scrub_days: u32,
    /// Keep the catalogs of other nodes up to this many entries in all (some 0.7 KB each); nodes
    /// beyond it are asked for what they hold each time a list is made
    #[arg(long, env = "P2PIMG_CATALOG_LIMIT", value_name = "N", default_value_t = limits::MAX_CACHED_ENTRIES)]
    pub catalog_limit: u64,
    /// Nodes to stay connected to. For tests: so few make a swarm in which not all know all
    #[arg(long, env = "P2PIMG_MAX_MEMBERS", value_name = "N", hide = true)]
    #[arg(default_value_t = limits::MAX_MEMBERS)]
    pub max_members: usize,
    /// Print every event as one JSON object a line
    #[arg(long, env = "P2PIMG_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,
}

/// Where `node --help` tells of copies.
const COPIES: &str = "Copies";

/// Where `node --help` tells of duplicates.
const DUPLICATES: &str = "Duplicates";

/// `p2pimg scan`.
#[derive(Debug, Args)]
pub struct ScanArgs {
    /// The folder of pictures, searched recursively
    pub dir: PathBuf,
    /// Report pictures that are there more than once
    #[arg(long)]
    pub duplicates: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Memory for pictures being decoded, all together
    #[arg(long, env = "P2PIMG_DECODE_MEMORY", value_name = "SIZE")]
    #[arg(default_value_t = ByteSize(limits::DEFAULT_DECODE_BUDGET))]
    pub decode_memory: ByteSize,
    /// Pictures with more pixels are not decoded, and compared by their bytes only
    #[arg(long, env = "P2PIMG_MAX_PIXELS", value_name = "N")]
    #[arg(default_value_t = Pixels(limits::DEFAULT_MAX_PIXELS))]
    pub max_pixels: Pixels,
}

/// `p2pimg keygen`.
#[derive(Debug, Args)]
pub struct KeygenArgs {
    /// Write the key here instead; nodes and clients then need --swarm-key FILE
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace a key that is there already: nodes with the old one can't connect any more
    #[arg(long)]
    pub force: bool,
}

/// The definitions, complete with what every command's help ends with.
#[must_use]
pub fn command() -> clap::Command {
    with_exit_codes(Cli::command(), &exit_codes())
}

fn with_exit_codes(command: clap::Command, text: &str) -> clap::Command {
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let command = match command.get_after_long_help() {
        Some(own) => {
            let own = format!("{own}\n\n{text}");
            command.after_long_help(own)
        }
        None => command.after_long_help(text.to_owned()),
    };
    names.iter().fold(command, |command, name| command.mut_subcommand(name, |sub| with_exit_codes(sub, text)))
}

/// The list of exit codes in `--help`, from the enum itself.
fn exit_codes() -> String {
    ExitCode::ALL.iter().fold(
        "Exit codes, the same for every command:".to_owned(),
        |mut text, (code, meaning)| {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n  {:>2}  {meaning}", *code as u8);
            text
        },
    )
}

/// Parses the command line of this process. `Err` when that is all: help and version are
/// printed, and a wrong usage is reported, in one line.
///
/// # Errors
/// The code to exit with.
pub fn parse() -> Result<Cli, ExitCode> {
    let typed: Vec<OsString> = std::env::args_os().collect();
    parse_from(&typed).map_err(|error| {
        let code = if error.exit_code() == 0 { ExitCode::Success } else { ExitCode::Usage };
        match error.kind() {
            // A closed pipe is no reason to complain.
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => drop(error.print()),
            _ => screen::error(&one_line(&error, &typed)),
        }
        code
    })
}

fn parse_from(typed: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(typed)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    let (keyless, key) = match &mut cli.command {
        Command::Node(args) => (("open", "--open", &mut args.open), &mut args.swarm_key),
        Command::Client(args) => {
            (("no_swarm_key", "--no-swarm-key", &mut args.connect.no_swarm_key), &mut args.connect.swarm_key)
        }
        Command::Trash(args) => {
            let connect = &mut args.connect;
            (("no_swarm_key", "--no-swarm-key", &mut connect.no_swarm_key), &mut connect.swarm_key)
        }
        _ => return Ok(cli),
    };
    let (id, name, keyless) = keyless;
    if !*keyless || key.is_none() {
        return Ok(cli);
    }
    // One of the two may come from the environment, where it is meant for every command: what
    // is typed is meant for this one. (`conflicts_with` would not tell them apart.)
    let is_typed = |id| {
        let levels = std::iter::successors(Some(&matches), |matches| Some(matches.subcommand()?.1));
        levels
            .filter(|level| level.try_contains_id(id).is_ok())
            .any(|level| level.value_source(id) == Some(ValueSource::CommandLine))
    };
    match (is_typed(id), is_typed("swarm_key")) {
        (true, false) => *key = None,
        (false, true) => *keyless = false,
        _ => {
            let message = format!("the argument '{name}' cannot be used with '--swarm-key <FILE>'");
            return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
        }
    }
    Ok(cli)
}

/// clap's report without its heading, usage and empty lines: one line like every other
/// error of this program, and where the help is.
fn one_line(error: &clap::Error, typed: &[OsString]) -> String {
    let report = error.render().to_string();
    let said = report.lines().map(str::trim).filter(|line| !line.is_empty());
    let said =
        said.take_while(|line| !line.starts_with("Usage: ") && !line.starts_with("For more information"));
    let said = said.collect::<Vec<_>>().join(" ").replace(" tip: ", "; ");
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    let mut command = command();
    let mut path = "p2pimg".to_owned();
    for word in typed.iter().skip(1) {
        if let Some(sub) = command.find_subcommand(word) {
            path = format!("{path} {}", sub.get_name());
            command = sub.clone();
        }
    }
    format!("{said} (see '{path} --help')")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        command().debug_assert();
    }

    #[test]
    fn a_usage_error_is_one_line_that_names_the_command() {
        for (typed, part, help) in [
            ("p2pimg node", "--dir <DIR>", "p2pimg node"),
            ("p2pimg node --dir x --rescan soon", "30s, 10m or 2h", "p2pimg node"),
            ("p2pimg node --dir x --frobnicate", "--frobnicate", "p2pimg node"),
            ("p2pimg node --dir x --dedup perhaps", "trash, report, off", "p2pimg node"),
            ("p2pimg node --dir x --trash-days 0", "1..=36500", "p2pimg node"),
            ("p2pimg node --dir x --copies 17", "1..=16", "p2pimg node"),
            ("p2pimg client lst", "'list'", "p2pimg client"),
            ("p2pimg trash restore", "ENTRY", "p2pimg trash restore"),
            ("p2pimg trash show ../x", "20261123-110819-0", "p2pimg trash show"),
            ("p2pimg -q client get xyz", "'x' is not", "p2pimg client get"),
        ] {
            let typed: Vec<OsString> = typed.split(' ').map(OsString::from).collect();
            let error = command().try_get_matches_from(&typed).unwrap_err();
            let line = one_line(&error, &typed);
            assert!(line.contains(part), "{typed:?}: {line}");
            assert!(line.ends_with(&format!("(see '{help} --help')")), "{line}");
            assert!(!line.contains('\n') && !line.starts_with("error"), "{line}");
        }
    }

    #[test]
    fn listen_and_bootstrap_take_several() {
        let addr = "/ip4/127.0.0.1/tcp/1";
        let args = ["p2pimg", "node", "--dir", "x", "--bootstrap", addr, addr, "--bootstrap", addr, "--json"];
        let matches = command().try_get_matches_from(args).unwrap();
        let Command::Node(node) = Cli::from_arg_matches(&matches).unwrap().command else {
            panic!("not a node")
        };
        assert_eq!(node.bootstrap.len(), 3);
        assert!(node.json);
    }

    /// `*.{tif,png}` is one pattern: no comma parts them.
    #[test]
    fn duplicates_go_to_the_trash_unless_told_otherwise() {
        let node = |more: &[&str]| {
            let args = ["p2pimg", "node", "--dir", "x"].iter().chain(more);
            let matches = command().try_get_matches_from(args).unwrap();
            let Command::Node(node) = Cli::from_arg_matches(&matches).unwrap().command else {
                panic!("not a node")
            };
            node
        };
        let plain = node(&[]);
        assert_eq!(plain.dedup, DedupMode::Trash);
        assert_eq!((plain.trash_days, plain.max_drop, plain.copies, plain.lease_seconds), (30, 30, 2, 120));
        let told = node(&["--dedup=report", "--keep", "*.{tif,png}", "2019/**", "--keep", "x", "--adopt"]);
        assert_eq!((told.dedup, told.adopt), (DedupMode::Report, true));
        assert_eq!(told.keep, ["*.{tif,png}", "2019/**", "x"]);
    }

    #[test]
    fn every_option_of_a_node_is_an_environment_variable() {
        let command = command();
        let node = command.find_subcommand("node").unwrap();
        for arg in node.get_arguments().filter(|arg| arg.get_id() != "help") {
            let name = format!("P2PIMG_{}", arg.get_id().as_str().to_ascii_uppercase());
            assert_eq!(arg.get_env().and_then(|env| env.to_str()), Some(name.as_str()));
        }
    }
}
