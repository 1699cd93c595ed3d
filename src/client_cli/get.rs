//! `p2pimg client get`.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use futures::stream::{self, LocalBoxStream, StreamExt as _, TryStreamExt as _};
use indicatif::ProgressBar;

use super::list::Pages;
use super::names::{NamesTaken, with_content};
use super::output::{Draft, LastNews, Place, Target, has_content, may_write};
use super::{Session, silent_node, text};
use crate::cli::{Failure, GetArgs, screen};
use crate::client::ClientError;
use crate::error::ExitCode;
use crate::limits::{MAX_DOWNLOADS, MAX_FRUITLESS_DOWNLOADS};
use crate::protocol::ImageRow;
use crate::types::printable;

/// Whether the request makes sense, as far as this machine can tell.
pub(super) fn check(args: &GetArgs) -> Result<(), Failure> {
    let target = Target::new(args.output.as_deref(), is_many(args))?;
    if target == Target::Stdout && args.open {
        let message = "--open shows a file: it can't show what goes to standard output";
        return Err(Failure::new(ExitCode::Usage, message));
    }
    target.check(args.force)
}

fn is_many(args: &GetArgs) -> bool {
    args.all || args.hashes.len() > 1
}

/// Gets one picture, several, or all.
pub(super) async fn run(session: &Session, args: &GetArgs) -> Result<ExitCode, Failure> {
    let target = Target::new(args.output.as_deref(), is_many(args))?;
    if let ([hash], false) = (args.hashes.as_slice(), args.all) {
        let row = session.resolve_one(hash).await?;
        return get_one(session, args, &target, &row).await.map_err(|broken| broken.failure);
    }
    let Target::Directory(folder) = target else {
        return Err(Failure::new(ExitCode::Usage, "several pictures need a folder: -o DIR/"));
    };
    get_many(session, args, &folder).await
}

/// A picture that was not got.
struct Broken {
    failure: Failure,
    /// The next one will most likely fail for the same reason: the node is gone, the disk is
    /// full.
    spreads: bool,
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self { failure, spreads: false }
    }
}

impl From<ClientError> for Broken {
    fn from(error: ClientError) -> Self {
        use ClientError::{Connect, Lost, Output};
        let spreads = matches!(error, Connect { .. } | Lost { .. } | Output { .. });
        Self { failure: error.into(), spreads }
    }
}

async fn get_one(
    session: &Session,
    args: &GetArgs,
    target: &Target,
    row: &ImageRow,
) -> Result<ExitCode, Broken> {
    let template = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}, {eta} left";
    let bar = screen::bar(session.bars, template);
    let name = NamesTaken::default().take(row);
    bar.set_message(name.clone());
    // Known before the first byte: a bar of unknown length is drawn full.
    bar.set_length(row.facts.bytes);
    let got = match target {
        Target::Stdout => {
            let draft = Draft::spooled(bar.clone())?;
            fetch(session, row, draft).await.and_then(|draft| Ok(draft.pour()?))
        }
        Target::File(path) => {
            let saved = save(session, row, path, args.force, bar.clone()).await;
            saved.and_then(|()| Ok(announce(path, args.open)?))
        }
        Target::Directory(folder) => {
            let path = in_folder(folder, &name);
            let saved = save(session, row, &path, args.force, bar.clone()).await;
            saved.and_then(|()| Ok(announce(&path, args.open)?))
        }
    };
    bar.finish_and_clear();
    got.map(|()| ExitCode::Success)
}

/// The path that a person expects to see: not `./beach.jpg`.
fn in_folder(folder: &Path, name: &str) -> PathBuf {
    if folder == Path::new(".") { PathBuf::from(name) } else { folder.join(name) }
}

/// Says where the picture is, and shows it.
fn announce(path: &Path, open: bool) -> Result<(), Failure> {
    screen::print(&printable(&path.display().to_string()))?;
    if !open {
        return Ok(());
    }
    show(path).map_err(|reason| {
        let message = format!("{} is complete, but no viewer shows it: {reason}", path.display());
        Failure::new(ExitCode::Other, message)
    })
}

/// Hands a picture to the system's viewer.
fn show(path: &Path) -> Result<(), String> {
    // The system's opener ends well before a viewer has started, or has not: without a
    // screen nothing would be shown and nobody told.
    let has_screen = ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME", "BROWSER"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    if cfg!(all(unix, not(target_os = "macos"))) && !has_screen {
        return Err("there is no screen here (neither DISPLAY nor WAYLAND_DISPLAY is set)".to_owned());
    }
    // The whole path: a name like `x:y.jpg` alone would be taken for a link.
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    opener::open(path).map_err(|error| error.to_string())
}

/// Fetches a picture to the file `path`.
async fn save(
    session: &Session,
    row: &ImageRow,
    path: &Path,
    force: bool,
    bar: ProgressBar,
) -> Result<(), Broken> {
    may_write(path, force)?;
    let draft = Draft::beside(path, bar).map_err(|failure| Broken { failure, spreads: true })?;
    fetch(session, row, draft).await?.keep(path, force)?;
    Ok(())
}

/// Fills a draft with a picture.
async fn fetch<B: Place>(session: &Session, row: &ImageRow, mut draft: Draft<B>) -> Result<Draft<B>, Broken> {
    let progress = draft.progress();
    let fetching = session.client.fetch(row.facts.image, row.content, &mut draft);
    match session.timeout {
        None => fetching.await?,
        Some(timeout) => while_it_comes(fetching, timeout, &progress).await?,
    };
    Ok(draft)
}

/// Waits for a transfer as long as something new comes at least every `timeout`.
async fn while_it_comes<E>(
    transfer: impl Future<Output = Result<u64, E>>,
    timeout: Duration,
    progress: &LastNews,
) -> Result<u64, Broken>
where
    Broken: From<E>,
{
    let mut transfer = pin!(transfer);
    loop {
        let give_up = progress.get() + timeout;
        tokio::select! {
            end = &mut transfer => return Ok(end?),
            () = tokio::time::sleep_until(give_up) => if progress.get() + timeout <= give_up {
                return Err(Broken { failure: silent_node(timeout), spreads: true });
            },
        }
    }
}

/// The contents to get, in the order in which they become known.
fn wanted<'a>(session: &'a Session, args: &'a GetArgs) -> LocalBoxStream<'a, Result<ImageRow, Broken>> {
    if !args.all {
        let rows = stream::iter(&args.hashes).then(|hash| session.resolve_one(hash));
        return rows.map_err(Broken::from).boxed_local();
    }
    let pages = stream::try_unfold(Pages::new(None), |mut pages| async {
        let rows = pages.next(session).await?;
        if rows.is_none() && pages.is_incomplete() {
            let message = "some nodes did not answer: what only they hold was not got";
            return Err(Failure::new(ExitCode::Degraded, message).into());
        }
        let rows = rows.map(|rows| stream::iter(rows.into_iter().map(Ok::<_, Broken>)));
        Ok::<_, Broken>(rows.map(|rows| (rows, pages)))
    });
    pages.try_flatten().boxed_local()
}

async fn get_many(session: &Session, args: &GetArgs, folder: &Path) -> Result<ExitCode, Failure> {
    let bar = screen::bar(session.bars, "[{bar:30}] {pos}/{len} pictures, {msg}");
    bar.set_length(args.hashes.len() as u64);
    if args.all {
        bar.set_length(session.ask(session.client.status()).await?.swarm_images);
    }
    let mut names = NamesTaken::default();
    let downloads = wanted(session, args).map(|row| {
        let named = row.map(|row| (names.take(&row), row));
        async move {
            let (name, row) = named?;
            get_into(session, args, folder, &name, &row).await
        }
    });
    let mut downloads = pin!(downloads.buffer_unordered(MAX_DOWNLOADS));
    let mut tally = Tally::default();
    while let Some(end) = downloads.next().await {
        bar.inc(1);
        match end {
            Ok(Got { path, bytes, new }) => {
                tally.got(bytes, new);
                bar.set_message(text::size(tally.bytes));
                if new {
                    tally.count_failure(announce(&path, args.open).map_err(Broken::from))?;
                }
            }
            Err(broken) => tally.count_failure(Err(broken))?,
        }
    }
    bar.finish_and_clear();
    if session.bars {
        screen::note(&tally.summary());
    }
    tally.end()
}

/// A picture that is there now.
struct Got {
    path: PathBuf,
    bytes: u64,
    /// It was not there before.
    new: bool,
}

async fn get_into(
    session: &Session,
    args: &GetArgs,
    folder: &Path,
    name: &str,
    row: &ImageRow,
) -> Result<Got, Broken> {
    let bytes = row.facts.bytes;
    if args.all && !args.force {
        // So that a second `--all` goes on where the first one stopped.
        let places = [in_folder(folder, name), in_folder(folder, &with_content(name, row))];
        if let Some(path) = places.into_iter().find(|path| has_content(path, row)) {
            return Ok(Got { path, bytes, new: false });
        }
    }
    let path = in_folder(folder, name);
    save(session, row, &path, args.force, ProgressBar::hidden()).await?;
    Ok(Got { path, bytes, new: true })
}

/// How many pictures were got, and what was wrong with the others.
#[derive(Debug, Default)]
struct Tally {
    got: u64,
    /// Of those, the ones that were there before.
    old: u64,
    bytes: u64,
    failed: u64,
    first: Option<ExitCode>,
    /// Failures in a row that will most likely go on.
    fruitless: usize,
}

impl Tally {
    fn got(&mut self, bytes: u64, new: bool) {
        self.got += 1;
        self.old += u64::from(!new);
        self.bytes = self.bytes.saturating_add(bytes);
        self.fruitless = 0;
    }

    fn summary(&self) -> String {
        let all = format!("{}, {}", text::count(self.got, "picture"), text::size(self.bytes));
        match self.old {
            0 => all,
            old => format!("{all}; {} of them were there already", text::grouped(old)),
        }
    }

    /// Reports a failure and goes on with the others; `Err` when there is no point in it.
    fn count_failure(&mut self, end: Result<(), Broken>) -> Result<(), Failure> {
        let Err(Broken { failure, spreads }) = end else { return Ok(()) };
        let Some(message) = &failure.message else { return Err(failure) };
        screen::error(message);
        self.failed += 1;
        self.first.get_or_insert(failure.code);
        self.fruitless = if spreads { self.fruitless + 1 } else { 0 };
        if self.fruitless < MAX_FRUITLESS_DOWNLOADS {
            return Ok(());
        }
        let message =
            format!("gave up after {} failures in a row; {} pictures are there", self.fruitless, self.got);
        Err(Failure::new(failure.code, message))
    }

    fn end(self) -> Result<ExitCode, Failure> {
        let Some(code) = self.first else { return Ok(ExitCode::Success) };
        let (all, failed) = (self.got + self.failed, self.failed);
        Err(Failure::new(code, format!("{failed} of {all} pictures could not be got, as said above")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(code: ExitCode, spreads: bool) -> Result<(), Broken> {
        Err(Broken { failure: Failure::new(code, "no"), spreads })
    }

    #[test]
    fn the_first_failure_is_the_exit_code_and_the_others_are_still_got() {
        let mut tally = Tally::default();
        assert_eq!(tally.count_failure(broken(ExitCode::Corrupt, false)), Ok(()));
        tally.got(5, true);
        assert_eq!(tally.count_failure(broken(ExitCode::NotFound, false)), Ok(()));
        let end = tally.end().unwrap_err();
        assert_eq!(end.code, ExitCode::Corrupt);
        assert!(end.message.unwrap().starts_with("2 of 3 pictures"));
        assert_eq!(Tally::default().end(), Ok(ExitCode::Success));
    }

    #[test]
    fn a_dead_node_is_not_asked_a_hundred_thousand_times() {
        let mut tally = Tally::default();
        for _ in 1..MAX_FRUITLESS_DOWNLOADS {
            assert_eq!(tally.count_failure(broken(ExitCode::CannotConnect, true)), Ok(()));
        }
        tally.got(1, true);
        for _ in 1..MAX_FRUITLESS_DOWNLOADS {
            assert_eq!(tally.count_failure(broken(ExitCode::CannotConnect, true)), Ok(()));
        }
        let end = tally.count_failure(broken(ExitCode::CannotConnect, true));
        assert_eq!(end.unwrap_err().code, ExitCode::CannotConnect);
    }

    #[test]
    fn a_reader_that_is_gone_ends_it_quietly() {
        let gone = Broken::from(Failure::silent(ExitCode::Success));
        assert_eq!(Tally::default().count_failure(Err(gone)), Err(Failure::silent(ExitCode::Success)));
    }

    #[tokio::test]
    async fn a_slow_transfer_is_waited_for_and_a_silent_one_is_not() {
        let timeout = Duration::from_millis(400);
        let progress = LastNews::now();
        let slow = async {
            for _ in 0..12 {
                tokio::time::sleep(timeout / 8).await;
                progress.touch();
            }
            Ok::<_, Failure>(5)
        };
        assert!(matches!(while_it_comes(slow, timeout, &progress).await, Ok(5)));
        let silent = std::future::pending::<Result<u64, Failure>>();
        let broken = while_it_comes(silent, timeout, &progress).await.err().unwrap();
        assert_eq!(broken.failure.code, ExitCode::CannotConnect);
    }

    #[test]
    fn paths_read_as_a_person_would_write_them() {
        assert_eq!(in_folder(Path::new("."), "a.jpg"), Path::new("a.jpg"));
        assert_eq!(in_folder(Path::new("out"), "a.jpg"), Path::new("out/a.jpg"));
    }
}
