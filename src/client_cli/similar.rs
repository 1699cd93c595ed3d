//! `p2pimg client similar`.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde::Serialize;

use super::Session;
use super::rows::{RowJson, Table, json_line, tab_separated};
use super::text::{count, grouped, right};
use crate::cli::values::{HashQuery, Sample};
use crate::cli::{Failure, SimilarArgs, screen};
use crate::error::ExitCode;
use crate::limits::{DEFAULT_DECODE_BUDGET, DEFAULT_MAX_PIXELS};
use crate::protocol::{ImageRow, SimilarPage, SimilarRow};
use crate::store::decode::{Inspection, Inspector};
use crate::types::{ImageId, Traits};

/// What can be told without a node: whether there is such a file.
pub(super) fn check(args: &SimilarArgs) -> Result<(), Failure> {
    let Sample::File(path) = &args.sample else { return Ok(()) };
    match path.metadata() {
        Ok(meta) if meta.is_file() => Ok(()),
        Ok(meta) => {
            let what = if meta.is_dir() { "a folder" } else { "no file" };
            Err(Failure::new(ExitCode::Usage, format_args!("{}: it is {what}", path.display())))
        }
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// Shows the pictures that look most like one.
pub(super) async fn run(session: &Session, args: &SimilarArgs) -> Result<ExitCode, Failure> {
    let image = match &args.sample {
        Sample::Hash(query) => named(session, query).await?,
        Sample::File(path) => {
            let file = path.clone();
            let looking = tokio::task::spawn_blocking(move || look(&file));
            let looked = looking.await.map_err(|error| {
                Failure::new(ExitCode::Other, format_args!("{}: {error}", path.display()))
            })?;
            looked?
        }
    };
    let page = session.ask(session.client.similar(image, args.distance, args.limit)).await?;
    print(args, &page)?;
    Ok(ExitCode::Success)
}

/// The picture that a hash names. All of its digits name one that need not be in the swarm.
async fn named(session: &Session, query: &HashQuery) -> Result<ImageId, Failure> {
    if let Ok(image @ ImageId::Hash(_)) = query.as_str().parse() {
        return Ok(image);
    }
    let (rows, more) = session.ask(session.client.resolve(query.as_str())).await?;
    // Several contents of one picture have one hash, and that is all that is needed.
    let one =
        rows.first().filter(|row| !more && rows.iter().all(|other| other.facts.image == row.facts.image));
    let image = match one {
        Some(row) => row.facts.image,
        None => session.resolve_one(query).await?.facts.image,
    };
    match image {
        ImageId::Hash(_) => Ok(image),
        ImageId::Content(_) => Err(Failure::new(
            ExitCode::Refused,
            format_args!("{query} has no hash to compare: it was not decoded, or has too little structure"),
        )),
    }
}

/// The picture that a file is, by its looks. Decodes it as a node does.
fn look(path: &Path) -> Result<ImageId, Failure> {
    let refused = |why: &str| Failure::new(ExitCode::Refused, format_args!("{}: {why}", path.display()));
    let inspector = Inspector::new(DEFAULT_DECODE_BUDGET, DEFAULT_MAX_PIXELS);
    let name = path.file_name().unwrap_or_default().as_bytes();
    let looked = File::open(path).and_then(|file| inspector.inspect(&file, name));
    let picture = match looked.map_err(|error| unreadable(path, &error))? {
        Inspection::Picture(picture) => picture,
        Inspection::Unprotected(kind) => {
            return Err(refused(&format!("{kind} is not a format that is handled")));
        }
        Inspection::NotPicture(Some(problem)) => return Err(refused(&problem)),
        Inspection::NotPicture(None) => return Err(refused("not a picture of a handled format")),
    };
    match picture.facts.image {
        image @ ImageId::Hash(_) => {
            if let Some(problem) = &picture.problem {
                screen::note(&format!("{}: {problem}", path.display()));
            }
            Ok(image)
        }
        ImageId::Content(_) if picture.facts.traits.has(Traits::FEATURELESS) => {
            Err(refused("it has too little structure to be compared by its looks"))
        }
        ImageId::Content(_) => {
            Err(refused(picture.problem.as_deref().unwrap_or("it has no hash to compare")))
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    match error.kind() {
        ErrorKind::NotFound => {
            let message =
                format!("{path}: no such file, and no hash (64 digits 0-9, a-f, or its first 6 or more)");
            Failure::new(ExitCode::NotFound, message)
        }
        _ => Failure::new(ExitCode::Other, format_args!("cannot read {path}: {error}")),
    }
}

/// A row of `list --json`, and how near it is.
#[derive(Serialize)]
struct SimilarJson {
    distance: u32,
    #[serde(flatten)]
    row: RowJson,
}

fn print(args: &SimilarArgs, page: &SimilarPage) -> Result<(), Failure> {
    let width = screen::width().filter(|_| !args.json);
    let lines = match width {
        Some(width) => table(width, &page.rows),
        None if args.json => page.rows.iter().map(json).collect::<Result<_, _>>()?,
        None => {
            page.rows.iter().map(|near| format!("{}\t{}", near.distance, tab_separated(&near.row))).collect()
        }
    };
    if !lines.is_empty() {
        screen::print(&lines.join("\n"))?;
    }
    if width.is_some() {
        screen::note(&sum(args, page));
    }
    Ok(())
}

fn json(near: &SimilarRow) -> Result<String, Failure> {
    json_line(&SimilarJson { distance: near.distance, row: RowJson::from(&near.row) })
}

const DISTANCE: &str = "DISTANCE";

/// The table of `list`, with one more column.
fn table(width: usize, found: &[SimilarRow]) -> Vec<String> {
    let rows: Vec<ImageRow> = found.iter().map(|near| near.row.clone()).collect();
    let table = Table::with_holder(width.saturating_sub(DISTANCE.len() + 2), &rows);
    let line = |distance: &str, rest: String| format!("{}  {rest}", right(distance, DISTANCE.len()));
    let heading = (!rows.is_empty()).then(|| line(DISTANCE, table.heading()));
    let lines = found.iter().map(|near| line(&near.distance.to_string(), table.row(&near.row)));
    heading.into_iter().chain(lines).collect()
}

/// What was looked at, and whether there is more.
fn sum(args: &SimilarArgs, page: &SimilarPage) -> String {
    let compared = grouped(page.compared);
    let distance = args.distance;
    match page.rows.len() as u64 {
        0 => format!("no picture within {distance} bits: compared with {compared}"),
        _ if page.more => {
            format!("and more within {distance} bits (--limit); compared with {compared} pictures")
        }
        found => format!("{} within {distance} bits, of {compared} compared", count(found, "picture")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::row;
    use super::*;
    use unicode_width::UnicodeWidthStr as _;

    fn near(distance: u32, tag: u8) -> SimilarRow {
        SimilarRow { distance, row: row(tag, format!("holiday/{tag}.jpg").as_bytes()) }
    }

    fn args(limit: u32) -> SimilarArgs {
        let sample = Sample::Hash("00".repeat(32).parse().unwrap());
        SimilarArgs { sample, distance: 24, limit, json: false }
    }

    #[test]
    fn json_is_a_row_with_its_distance() {
        let json: serde_json::Value = serde_json::from_str(&json(&near(7, 0xab)).unwrap()).unwrap();
        assert_eq!(json["distance"], 7);
        assert_eq!(json["hash"], "ab".repeat(32));
        assert_eq!(json["holders"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn the_distance_is_a_column_of_the_table() {
        for width in [48, 80, 160] {
            let lines = table(width, &[near(0, 1), near(24, 2)]);
            assert!(lines[0].starts_with("DISTANCE  HASH"), "{lines:#?}");
            assert!(lines[1].starts_with("       0  0101010101010101"), "{lines:#?}");
            assert!(lines[2].starts_with("      24  0202020202020202"), "{lines:#?}");
            assert!(lines.iter().all(|line| line.width() <= width), "{lines:#?}");
            assert_eq!(lines[0].contains("HOLDER"), width >= 80, "{}", lines[0]);
        }
        assert!(table(80, &[]).is_empty());
    }

    #[test]
    fn the_last_line_says_what_was_looked_at() {
        let page = |rows, more| SimilarPage { rows, compared: 100_000, within: 2, more };
        assert_eq!(
            sum(&args(20), &page(vec![near(0, 1), near(3, 2)], false)),
            "2 pictures within 24 bits, of 100,000 compared"
        );
        assert!(sum(&args(1), &page(vec![near(0, 1)], true)).starts_with("and more within 24 bits"));
        assert!(sum(&args(1), &page(vec![], false)).starts_with("no picture within 24 bits"));
    }

    #[test]
    fn a_file_without_looks_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, data: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, data).unwrap();
            look(&path).unwrap_err()
        };
        let mut flat = io::Cursor::new(Vec::new());
        image::GrayImage::new(64, 64).write_to(&mut flat, image::ImageFormat::Png).unwrap();
        for (name, data, said) in [
            ("text.txt", &b"hello"[..], "not a picture of a handled format"),
            ("text.jpg", b"hello", "named like a picture"),
            ("broken.png", &flat.get_ref()[..40], "can't be decoded"),
            ("flat.png", flat.get_ref(), "too little structure"),
        ] {
            let failure = file(name, data);
            assert_eq!(failure.code, ExitCode::Refused, "{name}: {failure:?}");
            let message = failure.message.unwrap();
            assert!(message.contains(name) && message.contains(said), "{message}");
        }
        let gone = look(&folder.path().join("gone.jpg")).unwrap_err();
        assert_eq!(gone.code, ExitCode::NotFound);
    }
}
