//! Deals pictures into folders, one for each node of a swarm to try out.
//!
//! ```text
//! cargo run --example deal_images -- SOURCE_DIR OUT_DIR N     # copies of your pictures
//! cargo run --example deal_images -- --make 30 OUT_DIR N      # pictures made up here
//! ```
//!
//! Makes `OUT_DIR/1` to `OUT_DIR/N` and deals round robin, in the order of the paths, so that
//! the same source is always dealt alike. Sub-folders are kept; the source is only read.

mod pictures;

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};

const USAGE: &str = "usage: deal_images (SOURCE_DIR | --make COUNT) OUT_DIR N";

/// Most folders and most pictures made: a slip of the finger should not fill the disk.
const MAX_FOLDERS: usize = 1000;
const MAX_MADE: u64 = 100_000;

const EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("deal_images: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let (make, source, out, folders) = match args.as_slice() {
        [flag, count, out, n] if flag == "--make" => (Some(count), None, out, n),
        [source, out, n] if source != "--make" => (None, Some(PathBuf::from(source)), out, n),
        _ => bail!(USAGE),
    };
    let out = PathBuf::from(out);
    let folders: usize = folders.to_str().and_then(|n| n.parse().ok()).context("N must be a number")?;
    ensure!((1..=MAX_FOLDERS).contains(&folders), "N must be between 1 and {MAX_FOLDERS}");
    if let Some(source) = &source {
        ensure!(source.is_dir(), "there is no folder {}", source.display());
    }
    let folders = folders_in(&out, folders)?;
    let dealt = match (make, source) {
        (Some(count), _) => {
            let count = count.to_str().and_then(|n| n.parse().ok()).context("COUNT must be a number")?;
            ensure!(count <= MAX_MADE, "COUNT must be at most {MAX_MADE}");
            make_pictures(count, &folders)?
        }
        (None, Some(source)) => deal(&source, &out, &folders)?,
        (None, None) => bail!(USAGE),
    };
    for (folder, number) in folders.iter().zip(dealt) {
        println!("{}: {number} pictures", folder.display());
    }
    Ok(())
}

/// Makes the folders; each must be new or empty, so that nothing of yours is mixed up.
fn folders_in(out: &Path, count: usize) -> Result<Vec<PathBuf>> {
    let make = |number: usize| {
        let folder = out.join(number.to_string());
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let empty = fs::read_dir(&folder)?.next().is_none();
        ensure!(empty, "{} is not empty: name another OUT_DIR", folder.display());
        Ok(folder)
    };
    (1..=count).map(make).collect()
}

fn make_pictures(count: u64, folders: &[PathBuf]) -> Result<Vec<usize>> {
    let mut dealt = vec![0; folders.len()];
    for number in 0..count {
        let turn = number as usize % folders.len();
        let path = pictures::write(&folders[turn], number + 1);
        path.with_context(|| format!("cannot write a picture to {}", folders[turn].display()))?;
        dealt[turn] += 1;
    }
    Ok(dealt)
}

fn deal(source: &Path, out: &Path, folders: &[PathBuf]) -> Result<Vec<usize>> {
    let out = out.canonicalize()?;
    let source = source.canonicalize().with_context(|| format!("cannot read {}", source.display()))?;
    let mut found = Vec::new();
    // Not the state of a node in this folder, and not what is being dealt, should OUT_DIR be
    // inside the source.
    let unwanted = |entry: &walkdir::DirEntry| entry.path() == out || entry.file_name() == ".p2pimg";
    let walk = walkdir::WalkDir::new(&source).into_iter().filter_entry(|entry| !unwanted(entry));
    for entry in walk {
        let entry = entry.context("cannot read the source")?;
        if entry.file_type().is_file() && is_picture(entry.path()) {
            found.push(entry.into_path());
        }
    }
    ensure!(!found.is_empty(), "no pictures in {}", source.display());
    found.sort_unstable();
    let mut dealt = vec![0; folders.len()];
    for (turn, file) in found.iter().enumerate() {
        let folder = turn % folders.len();
        let place = folders[folder].join(below(&source, file)?);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(file, &place)
            .with_context(|| format!("cannot copy {} to {}", file.display(), place.display()))?;
        dealt[folder] += 1;
    }
    Ok(dealt)
}

/// The path of `file` in `source`: plain names only, so that it stays in any folder.
fn below(source: &Path, file: &Path) -> Result<PathBuf> {
    let path = file.strip_prefix(source)?;
    ensure!(
        path.components().all(|part| matches!(part, Component::Normal(_))),
        "odd path {}",
        file.display()
    );
    Ok(path.to_owned())
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension)))
}
