//! Parse arguments, start logging, run, exit.

use std::panic::AssertUnwindSafe;
use std::process::ExitCode as Code;

use p2pimg::cli::{self, Cli, Command, Failure, screen};
use p2pimg::error::ExitCode;
use p2pimg::{client_cli, node_cli, scan_cli, trash_cli};

fn main() -> Code {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code.into(),
    };
    screen::start_logging(&cli.common);
    // A decoder's panic is caught where it happens and costs one file. It is worth a line
    // in the log, and no page of it on the terminal.
    std::panic::set_hook(Box::new(|panic| {
        tracing::warn!("internal error: {}", panic.to_string().replace('\n', " "));
    }));
    match std::panic::catch_unwind(AssertUnwindSafe(|| run(cli))) {
        Ok(Ok(code)) => code.into(),
        Ok(Err(failure)) => {
            if let Some(message) = failure.message {
                screen::error(&message);
            }
            failure.code.into()
        }
        Err(_) => {
            screen::error("stopped by an internal error; please report it, with what -v says");
            ExitCode::Other.into()
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let done = |()| ExitCode::Success;
    match cli.command {
        Command::Scan(args) => scan_cli::run(&args, &cli.common).map(done),
        Command::Keygen(args) => cli::keygen::run(&args, &cli.common).map(done),
        Command::Completions { shell } => cli::docs::completions(shell).map(done),
        Command::Man { dir } => cli::docs::man(dir.as_deref()).map(done),
        Command::Node(args) => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            block_on(&mut builder, node_cli::run(&args, &cli.common))
        }
        Command::Trash(args) => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            block_on(builder.worker_threads(1), trash_cli::run(&args, &cli.common))
        }
        Command::Client(args) => {
            // One connection's worth of work: this thread does what `run` does (checking and
            // writing), the other one has the connection.
            keep_freed_memory();
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            block_on(builder.worker_threads(1), client_cli::run(&args, &cli.common))
        }
    }
}

/// glibc gives freed memory back to the system when 128 KiB of it lie at the end of a heap:
/// a transfer, which frees a buffer for each it takes, would have all its memory mapped and
/// zeroed anew each time. Freeing one large piece, never touched, makes it keep twice as much
/// (mallopt(3), "dynamic mmap threshold").
fn keep_freed_memory() {
    const LARGE: usize = p2pimg::limits::CHUNK_WINDOW * p2pimg::limits::CHUNK_BYTES;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE)));
}

fn block_on(
    builder: &mut tokio::runtime::Builder,
    work: impl Future<Output = Result<ExitCode, Failure>>,
) -> Result<ExitCode, Failure> {
    let runtime = builder.enable_all().build().map_err(|error| {
        Failure::new(ExitCode::Other, format_args!("cannot start: the system refuses threads: {error}"))
    })?;
    let end = runtime.block_on(work);
    // Not an unlimited wait for a reader of a stuck disk.
    runtime.shutdown_timeout(p2pimg::limits::SHUTDOWN_DEADLINE);
    end
}
