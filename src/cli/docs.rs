//! Shell completions and manual pages, made from the definitions.

use std::io::Write as _;
use std::path::Path;

use clap_complete::Shell;

use super::failure::Failure;
use super::screen;

/// Prints the completions for `shell`.
///
/// # Errors
/// Standard output can't be written.
pub fn completions(shell: Shell) -> Result<(), Failure> {
    // Not straight to standard output: clap_complete panics when a write fails.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "p2pimg", &mut script);
    print(&script)
}

/// Prints the main manual page, or writes all pages to the folder `dir`.
///
/// # Errors
/// The output can't be written.
pub fn man(dir: Option<&Path>) -> Result<(), Failure> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(super::command()).render(&mut page).map_err(|error| Failure::stdout(&error))?;
        return print(&page);
    };
    let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(super::command(), dir));
    written.map_err(|error| Failure::output(dir, &error))?;
    screen::print(&format!("wrote p2pimg.1 and a page for each command to {}", dir.display()))
}

fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| Failure::stdout(&error))
}
