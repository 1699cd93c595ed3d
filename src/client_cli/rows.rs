//! A content of the swarm as one line: JSON, table row, tab-separated fields, or one
//! choice among several.

use serde::Serialize;

use super::text::{cut_start, left, right, safe_json, size};
use crate::cli::Failure;
use crate::error::ExitCode;
use crate::protocol::ImageRow;
use crate::types::{CaptureTime, ContentId, Format, ImageId, RelPath, to_hex};

/// Digits of a hash in a table: unique in practice, and typed or copied easily.
const SHORT_HASH: usize = 16;

/// What `list --json` prints a line of. Its fields are part of the program's interface.
#[derive(Debug, Serialize)]
pub(crate) struct RowJson {
    hash: String,
    content: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    holder: Option<String>,
    holders: Vec<String>,
    copies: u32,
    width: u32,
    height: u32,
    bytes: u64,
    format: Format,
    taken_at: Option<CaptureTime>,
    pinned: bool,
}

impl From<&ImageRow> for RowJson {
    fn from(row: &ImageRow) -> Self {
        let (path, path_hex) = path_json(&row.path);
        let holders: Vec<String> = row.holders.iter().map(ToString::to_string).collect();
        Self {
            hash: row.facts.image.to_string(),
            content: row.content.to_string(),
            path,
            path_hex,
            holder: holders.first().cloned(),
            holders,
            copies: row.copies,
            width: row.facts.width,
            height: row.facts.height,
            bytes: row.facts.bytes,
            format: row.facts.format,
            taken_at: row.facts.taken_at.clone(),
            pinned: row.pinned,
        }
    }
}

/// A path for JSON: as text, and its bytes in hexadecimal when the text is not all of it.
pub(crate) fn path_json(path: &RelPath) -> (String, Option<String>) {
    match path.as_str() {
        Some(text) => (text.to_owned(), None),
        None => (String::from_utf8_lossy(path.as_bytes()).into_owned(), Some(to_hex(path.as_bytes()))),
    }
}

/// One line of JSON.
pub(crate) fn json_line(value: &impl Serialize) -> Result<String, Failure> {
    let line = serde_json::to_string(value).map_err(|error| {
        Failure::new(ExitCode::Other, format_args!("cannot write the answer as JSON: {error}"))
    })?;
    Ok(safe_json(&line))
}

/// All of a row, between tabs: for scripts without a JSON parser.
pub(crate) fn tab_separated(row: &ImageRow) -> String {
    let facts = &row.facts;
    let taken = facts.taken_at.as_ref().map_or("", CaptureTime::as_str);
    let holder = row.holders.first().map_or_else(String::new, ToString::to_string);
    // Control characters in the path are escaped, so a tab in it can't make a field.
    format!(
        "{}\t{}\t{}x{}\t{}\t{}\t{taken}\t{holder}\t{}",
        facts.image, row.copies, facts.width, facts.height, facts.bytes, facts.format, row.path
    )
}

/// A row among those that a hash may mean: what to type, and how to tell them apart.
pub(crate) fn choice(row: &ImageRow) -> String {
    format!("  c:{}  {}  {}", short_content(&row.content), brief(row), row.path)
}

/// `1920x1080 jpeg, 1.2 MiB`.
pub(crate) fn brief(row: &ImageRow) -> String {
    format!("{} {}, {}", dimensions(row), row.facts.format, size(row.facts.bytes))
}

/// `1920x1080`, or `?` when not even the header could be read.
pub(crate) fn dimensions(row: &ImageRow) -> String {
    match (row.facts.width, row.facts.height) {
        (0, _) | (_, 0) => "?".to_owned(),
        (width, height) => format!("{width}x{height}"),
    }
}

/// As many digits of a content as of a hash.
pub(crate) fn short_content(content: &ContentId) -> String {
    content.to_string().chars().take(SHORT_HASH).collect()
}

fn short_hash(image: &ImageId) -> String {
    image.to_string().chars().take(SHORT_HASH).collect()
}

/// The last characters: all peer ids of one kind begin alike.
pub(crate) fn short_peer(peer: &libp2p::PeerId) -> String {
    let text = peer.to_string();
    let skip = text.len().saturating_sub(8);
    text.chars().skip(skip).collect()
}

/// A table for a terminal. Its columns are fixed from the first rows on, so that rows can
/// be printed as they come.
#[derive(Debug)]
pub(crate) struct Table {
    dimensions: usize,
    size: usize,
    path: usize,
    /// Which columns a terminal of this width has room for.
    shown: [bool; 8],
}

/// Fewest columns for a path before others make room for it.
const PATH_WISH: usize = 24;
/// The columns that a narrow terminal does without, the least missed first: holder, date,
/// format, copies, size.
const DISPENSABLE: [usize; 5] = [6, 5, 4, 1, 3];
/// The same where it matters who has it: date, format, copies, size, holder.
const DISPENSABLE_BEFORE_HOLDER: [usize; 5] = [5, 4, 1, 3, 6];

impl Table {
    /// Columns for a terminal `width` wide, when rows are like `sample`.
    pub(crate) fn new(width: usize, sample: &[ImageRow]) -> Self {
        Self::without(DISPENSABLE, width, sample)
    }

    /// The same, and the holder is the last to make room.
    pub(crate) fn with_holder(width: usize, sample: &[ImageRow]) -> Self {
        Self::without(DISPENSABLE_BEFORE_HOLDER, width, sample)
    }

    fn without(dispensable: [usize; 5], width: usize, sample: &[ImageRow]) -> Self {
        let widest = |cell: &dyn Fn(&ImageRow) -> usize, heading: usize| {
            sample.iter().map(cell).max().unwrap_or(0).max(heading)
        };
        let dimensions = widest(&|row| dimensions(row).len(), "PIXELS".len());
        let size = widest(&|row| size(row.facts.bytes).len(), "SIZE".len());
        let widths =
            [SHORT_HASH, "COPIES".len(), dimensions, size, "FORMAT".len(), DATE, HOLDER].map(|w| w + GAP);
        let mut shown = [true; 8];
        let room = |shown: &[bool; 8]| {
            let fixed = widths.iter().zip(shown).filter(|(_, shown)| **shown).map(|(width, _)| width);
            width.saturating_sub(fixed.sum())
        };
        for column in dispensable {
            if room(&shown) >= PATH_WISH {
                break;
            }
            shown[column] = false;
        }
        Self { dimensions, size, path: room(&shown).max(10), shown }
    }

    /// The line above all rows.
    pub(crate) fn heading(&self) -> String {
        let fields = ["HASH", "COPIES", "PIXELS", "SIZE", "FORMAT", "TAKEN", "HOLDER", "PATH"];
        self.line(fields.map(str::to_owned))
    }

    /// One row.
    pub(crate) fn row(&self, row: &ImageRow) -> String {
        let facts = &row.facts;
        let taken = facts.taken_at.as_ref().map_or("", CaptureTime::as_str);
        self.line([
            short_hash(&facts.image),
            row.copies.to_string(),
            dimensions(row),
            size(facts.bytes),
            facts.format.to_string(),
            taken.chars().take(DATE).collect(),
            row.holders.first().map_or_else(String::new, short_peer),
            cut_start(&row.path.to_string(), self.path),
        ])
    }

    fn line(&self, [hash, copies, pixels, size, format, taken, holder, path]: [String; 8]) -> String {
        let cells = [
            left(&hash, SHORT_HASH),
            right(&copies, "COPIES".len()),
            right(&pixels, self.dimensions),
            right(&size, self.size),
            left(&format, "FORMAT".len()),
            left(&taken, DATE),
            left(&holder, HOLDER),
            path,
        ];
        let cells = cells.into_iter().zip(self.shown).filter(|(_, shown)| *shown).map(|(cell, _)| cell);
        cells.collect::<Vec<_>>().join("  ")
    }
}

const GAP: usize = 2;
/// `2016-04-21`.
const DATE: usize = 10;
const HOLDER: usize = 8;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::types::{Facts, Traits};
    use libp2p::PeerId;
    use unicode_width::UnicodeWidthStr as _;

    /// A row whose hash and content are made of `tag`.
    pub(crate) fn row(tag: u8, path: &[u8]) -> ImageRow {
        ImageRow {
            content: ContentId([tag; 32]),
            facts: Facts {
                image: ImageId::Hash([tag; 32]),
                bytes: 1000 * u64::from(tag),
                width: 640,
                height: 480,
                format: Format::Jpeg,
                taken_at: CaptureTime::new("2016-04-21T14:03:22"),
                guard: 50,
                traits: Traits::default(),
            },
            path: RelPath::from_bytes(path.to_vec()).unwrap(),
            holders: vec![PeerId::random(), PeerId::random()],
            copies: 2,
            pinned: false,
        }
    }

    #[test]
    fn json_has_the_documented_fields() {
        let line = json_line(&RowJson::from(&row(0xab, b"a/b.jpg"))).unwrap();
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        let fields: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let mut documented = vec![
            "hash", "content", "path", "holder", "holders", "copies", "width", "height", "bytes", "format",
            "taken_at", "pinned",
        ];
        documented.sort_unstable();
        assert_eq!(fields, documented);
        assert_eq!(json["hash"], "ab".repeat(32));
        assert_eq!(json["holder"], json["holders"][0]);
        assert_eq!(json["format"], "jpeg");
    }

    #[test]
    fn a_path_that_is_not_utf8_comes_in_hexadecimal_too() {
        let line = json_line(&RowJson::from(&row(1, b"a\xff.jpg"))).unwrap();
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["path"], "a\u{fffd}.jpg");
        assert_eq!(json["path_hex"], "61ff2e6a7067");
    }

    #[test]
    fn columns_line_up_on_any_terminal() {
        let mut undecoded = row(2, b"broken.tif");
        (undecoded.facts.width, undecoded.facts.height, undecoded.facts.taken_at) = (0, 0, None);
        let rows = [row(1, "ein sehr langer Pfad/写真/ümläut.jpg".as_bytes()), undecoded];
        for width in [40, 80, 120, 200] {
            let table = Table::new(width, &rows);
            let lines = [table.heading(), table.row(&rows[0]), table.row(&rows[1])];
            let start = lines[0].find("PATH").unwrap();
            assert_eq!(lines[2].find("broken.tif"), Some(start), "{lines:#?}");
            // A table that wraps is no table.
            assert!(lines.iter().all(|line| line.width() <= width), "{lines:#?}");
            assert_eq!(lines[0].contains("HOLDER"), width >= 120, "{}", lines[0]);
        }
    }

    #[test]
    fn no_file_name_makes_a_field_or_a_line() {
        let line = tab_separated(&row(1, b"a\tb\nc\x1b[2J.jpg"));
        assert_eq!(line.matches('\t').count(), 7, "{line}");
        assert!(!line.contains(['\n', '\x1b']), "{line:?}");
    }
}
