//! `p2pimg client`: asks one node about the whole swarm. One file a command; nothing here
//! decides what is true, it only shows what the node answered and the client verified.

mod copies;
mod dedup;
mod drain;
mod duplicates;
mod get;
mod list;
mod names;
mod output;
mod peers;
mod put;
mod rm;
pub(crate) mod rows;
mod scrub;
mod show;
mod similar;
mod status;
pub mod text;
mod verify;
mod why;

use std::path::PathBuf;
use std::time::Duration;

use libp2p::Multiaddr;

use crate::cli::signals::EndSignals;
use crate::cli::values::HashQuery;
use crate::cli::{ClientArgs, ClientCommand, CommonArgs, ConnectArgs, DedupCommand, Failure, local, screen};
use crate::client::{Client, ClientError};
use crate::error::ExitCode;
use crate::protocol::ImageRow;

/// Runs one client command.
///
/// # Errors
/// What the command ended with instead of success.
pub async fn run(args: &ClientArgs, common: &CommonArgs) -> Result<ExitCode, Failure> {
    let mut signals = EndSignals::listen()
        .map_err(|error| Failure::new(ExitCode::Other, format_args!("cannot listen to signals: {error}")))?;
    tokio::select! {
        end = command(args, common) => end,
        // Dropping the command removes its temporary files.
        () = signals.next() => Err(Failure::new(ExitCode::Other, "interrupted: nothing incomplete was kept")),
    }
}

async fn command(args: &ClientArgs, common: &CommonArgs) -> Result<ExitCode, Failure> {
    match &args.command {
        // What is wrong with what was typed is known without asking anybody.
        ClientCommand::Get(get) => get::check(get)?,
        ClientCommand::Rm(rm) => rm::check(rm)?,
        ClientCommand::Similar(args) => similar::check(args)?,
        _ => {}
    }
    let session = Session::connect(&args.connect, || addresses(args, common), common).await?;
    match &args.command {
        ClientCommand::List(list) => list::run(&session, list).await,
        ClientCommand::Get(get) => get::run(&session, get).await,
        ClientCommand::Show(show) => show::run(&session, show).await,
        ClientCommand::Status(args) => status::run(&session, args).await,
        ClientCommand::Peers(plain) => peers::run(&session, plain.json).await,
        ClientCommand::Duplicates(plain) => duplicates::run(&session, plain.json).await,
        ClientCommand::Similar(args) => similar::run(&session, args).await,
        ClientCommand::Why(why) => why::run(&session, why).await,
        ClientCommand::Verify(verify) => verify::run(&session, verify).await,
        ClientCommand::Scrub(scrub) => scrub::run(&session, scrub).await,
        ClientCommand::Rm(rm) => rm::run(&session, rm).await,
        ClientCommand::Put(put) => put::run(&session, put).await,
        ClientCommand::Dedup(dedup) => match &dedup.command {
            DedupCommand::Approve(plain) => dedup::approve(&session, plain.json).await,
        },
        ClientCommand::Drain(drain) => drain::run(&session, drain).await,
    }
}

/// A connected client, and how it is to behave.
pub(crate) struct Session {
    pub(crate) client: Client,
    /// Give up after so long without news; `None`: the client's own deadlines.
    timeout: Option<Duration>,
    /// Somebody looks at standard error.
    bars: bool,
}

impl Session {
    /// Connects to the node that listens at `addresses`, which are asked for after the key: a
    /// key that can't be used is said first.
    pub(crate) async fn connect(
        args: &ConnectArgs,
        addresses: impl FnOnce() -> Result<Vec<Multiaddr>, Failure>,
        common: &CommonArgs,
    ) -> Result<Self, Failure> {
        let home = common.home.as_deref();
        let key = if args.no_swarm_key { None } else { local::load_key(args.swarm_key.as_deref(), home)? };
        // A key that nobody asked for is worth a word when the connection fails.
        let by_default = key.as_ref().filter(|_| args.swarm_key.is_none()).map(|(path, _)| path.clone());
        let addresses = addresses()?;
        let connecting = Client::connect_any(&addresses, key.map(|(_, key)| key));
        let timeout = args.timeout.map(|span| span.0);
        let client = match timeout {
            None => connecting.await,
            Some(timeout) => tokio::time::timeout(timeout, connecting).await.unwrap_or_else(|_| {
                let address = addresses.first().cloned().unwrap_or_else(Multiaddr::empty);
                Err(ClientError::Connect { address, reason: format!("no answer within {timeout:?}") })
            }),
        };
        let client = client.map_err(|error| unreachable(error, by_default))?;
        Ok(Self { client, timeout, bars: screen::shows_progress(common) })
    }

    /// Waits for the node's answer, as long as the person wants to.
    pub(crate) async fn ask<T>(
        &self,
        answer: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, Failure> {
        let Some(timeout) = self.timeout else { return Ok(answer.await?) };
        match tokio::time::timeout(timeout, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(silent_node(timeout)),
        }
    }

    /// The one content that `query` means.
    ///
    /// None is "not found"; several are listed on standard error, and it is for the person
    /// to choose.
    async fn resolve_one(&self, query: &HashQuery) -> Result<ImageRow, Failure> {
        let (mut rows, more) = self.ask(self.client.resolve(query.as_str())).await?;
        if rows.len() == 1 && !more {
            return Ok(rows.remove(0));
        }
        let Some(first) = rows.first() else {
            let message =
                format!("{query}: no such picture in the swarm now (`p2pimg client list` shows all)");
            return Err(Failure::new(ExitCode::NotFound, message));
        };
        let one_picture = rows.iter().all(|row| row.facts.image == first.facts.image);
        let what = if one_picture { "contents of one picture" } else { "contents" };
        let some = if more { "more than " } else { "" };
        for row in &rows {
            screen::note(&rows::choice(row));
        }
        let message =
            format!("{query} means {some}{} {what}, listed above: choose one with c:CONTENT", rows.len());
        Err(Failure::new(ExitCode::Ambiguous, message))
    }
}

fn silent_node(timeout: Duration) -> Failure {
    let timeout = text::duration(timeout);
    let message = format!("the node sent nothing for {timeout}: ask again, or wait longer with --timeout");
    Failure::new(ExitCode::CannotConnect, message)
}

fn addresses(args: &ClientArgs, common: &CommonArgs) -> Result<Vec<Multiaddr>, Failure> {
    if let Some(peer) = &args.peer {
        return Ok(vec![peer.clone()]);
    }
    let addresses = local::running_nodes(common.home.as_deref())?;
    if addresses.is_empty() {
        let message = "no node of yours runs on this machine: start one with `p2pimg node --dir FOLDER`, or name one with --peer /ip4/ADDRESS/tcp/4011";
        return Err(Failure::new(ExitCode::CannotConnect, message));
    }
    Ok(addresses)
}

fn unreachable(error: ClientError, default_key: Option<PathBuf>) -> Failure {
    let mut failure = Failure::from(error);
    if let (Some(message), Some(path)) = (&failure.message, default_key)
        && message.contains("swarm key?")
    {
        let advice = "for a node without a key say --no-swarm-key";
        failure.message = Some(format!("{message} (used the key {}; {advice})", path.display()));
    }
    failure
}
