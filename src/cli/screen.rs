//! What the program says beside its output: errors, notes, logs and progress bars, all on
//! standard error, without getting into each other's way.

use std::io::{self, IsTerminal as _, Write};
use std::sync::LazyLock;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::CommonArgs;
use super::failure::Failure;
use crate::types::printable;

/// All bars of the process: whoever writes a line asks them to step aside first.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// A line on standard error. Nobody can be told that standard error is closed.
pub fn note(line: &str) {
    BARS.suspend(|| drop(writeln!(io::stderr().lock(), "{}", printable(line))));
}

/// An error, as every error of this program looks.
pub fn error(line: &str) {
    note(&format!("p2pimg: {line}"));
}

/// A line on standard output.
///
/// # Errors
/// It can't be written; a closed pipe is a quiet success.
pub fn print(line: &str) -> Result<(), Failure> {
    BARS.suspend(|| {
        let mut out = io::stdout().lock();
        out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush())
    })
    .map_err(|error| Failure::stdout(&error))
}

/// Whether bars are of use: somebody looks at standard error, and did not ask for quiet.
#[must_use]
pub fn shows_progress(common: &CommonArgs) -> bool {
    !common.quiet && io::stderr().is_terminal()
}

/// A bar on standard error; hidden when `shown` is false.
#[must_use]
pub fn bar(shown: bool, template: &str) -> ProgressBar {
    if !shown {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = BARS.add(ProgressBar::new(0).with_style(style.progress_chars("=> ")));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Columns of the terminal that standard output is; `None` elsewhere.
#[must_use]
pub fn width() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let (width, _) = terminal_size::terminal_size_of(stdout)?;
    Some(usize::from(width.0).max(40))
}

/// Starts logging to standard error.
pub fn start_logging(common: &CommonArgs) {
    let default = match (common.quiet, common.verbose) {
        (true, _) => "off,p2pimg=error",
        (_, 0) => "error,p2pimg=warn",
        (_, 1) => "warn,p2pimg=info",
        (_, 2) => "info,p2pimg=debug",
        _ => "trace",
    };
    let chosen = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let filter = chosen.as_deref().map_or_else(|| Ok(EnvFilter::new(default)), EnvFilter::try_new);
    let filter = filter.unwrap_or_else(|reason| {
        error(&format!("RUST_LOG is not understood ({reason}): it is ignored"));
        EnvFilter::new(default)
    });
    let logger = tracing_subscriber::fmt().with_env_filter(filter).with_writer(LogWriter);
    let logger = logger.with_ansi(io::stderr().is_terminal()).log_internal_errors(false);
    // Only a second start in one process fails, and then there is a logger.
    drop(logger.try_init());
}

/// Writes whole log lines between the redrawings of the bars.
#[derive(Debug, Clone, Copy)]
struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().lock().write_all(line)).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

impl MakeWriter<'_> for LogWriter {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        *self
    }
}
