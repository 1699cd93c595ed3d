//! `p2pimg keygen`.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use super::failure::Failure;
use super::{CommonArgs, KeygenArgs, local, screen};
use crate::error::ExitCode;
use crate::types::printable;

/// Makes a swarm key and puts it in its place.
///
/// # Errors
/// There is one already, or it can't be written.
pub fn run(args: &KeygenArgs, common: &CommonArgs) -> Result<(), Failure> {
    let by_default = args.output.is_none();
    let path = match &args.output {
        Some(path) => path.clone(),
        None => local::default_key_path(common.home.as_deref())?,
    };
    if !args.force && path.symlink_metadata().is_ok() {
        return Err(exists(&path));
    }
    match write(&path, local::generate_key().as_bytes(), args.force) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(&path)),
        other => other.map_err(|error| Failure::output(&path, &error))?,
    }
    let path = printable(&path.display().to_string());
    if common.quiet {
        return Ok(());
    }
    screen::print(&format!("wrote a new swarm key to {path}"))?;
    if by_default {
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

fn exists(path: &Path) -> Failure {
    let path = path.display();
    Failure::new(
        ExitCode::Output,
        format_args!(
            "there is a swarm key at {path} already: use it, or say --force to replace it (nodes with the old key can't connect any more)"
        ),
    )
}

/// Readable by this user only, from the first moment on, and complete or not there.
fn write(path: &Path, text: &[u8], replace: bool) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.is_dir() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let private = Permissions::from_mode(0o600);
    let mut temp = tempfile::Builder::new().prefix(".p2pimg-").permissions(private).tempfile_in(parent)?;
    temp.write_all(text)?;
    temp.as_file().sync_all()?;
    if replace { temp.persist(path) } else { temp.persist_noclobber(path) }.map_err(|error| error.error)?;
    fs::File::open(parent)?.sync_all()
}
