//! `p2pimg keygen`.

use super::failure::Failure;
use super::{CommonArgs, KeygenArgs, local, screen};
use crate::types::printable;

/// Makes a swarm key, puts it in its place, and says how to bring it to other machines.
///
/// # Errors
/// There is one already, or it can't be written.
pub fn run(args: &KeygenArgs, common: &CommonArgs) -> Result<(), Failure> {
    let path = match &args.output {
        Some(path) => path.clone(),
        None => local::default_key_path(common.home.as_deref())?,
    };
    local::create_key(&path, args.force)?;
    if common.quiet {
        return Ok(());
    }
    let path = printable(&path.display().to_string());
    screen::print(&format!("wrote a new swarm key to {path}"))?;
    if args.output.is_none() {
        screen::print("Nodes and clients that you start on this machine use it from now on.")?;
        screen::print(
            "Bring the file to the same place on each of your other machines, for example with scp,",
        )?;
        screen::print("or anywhere there and say --swarm-key FILE. Who has it is a member: keep it secret.")
    } else {
        screen::print(&format!("Start nodes and clients with --swarm-key {path}"))?;
        screen::print("on every machine of the swarm. Who has it is a member: keep it secret.")
    }
}
