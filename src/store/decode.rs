//! From a file to what is known of the picture in it: one read, one decode.
//!
//! The order of work bounds memory. The first bytes tell the format, a small walker
//! (`layout`) the dimensions; then, and only then, everything that reading and decoding
//! takes is reserved from the one [`MemoryBudget`] in a single step (a thread that held a
//! part and waited for the rest could deadlock with another). What doesn't fit is hashed
//! in pieces and identified by its content.
//!
//! Not guaranteed: that the estimate covers every byte a decoder allocates. The decoders
//! get it as their limit, and headers are checked against each other before decoding.

mod budget;
mod jpeg;
mod layout;
mod pixels;
mod quiet;
mod sniff;

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read as _, Seek as _, SeekFrom};

use thiserror::Error;

pub use budget::{MemoryBudget, Reservation};
use layout::Layout;
use pixels::Decoded;
use sniff::Kind;

use crate::limits::{MAX_BUFFERED_FILE, MAX_CONTENT_BYTES};
use crate::picture::detail::{Detail, DetailReader};
use crate::picture::quality::Encoding;
use crate::picture::reduce::reduced_bytes;
use crate::picture::{PixelPlanes, Signature, recognise};
use crate::transfer::outline::{Outline, OutlineBuilder};
use crate::types::{ContentId, Facts, Format, ImageId, Traits};

/// Bytes read at a time.
const PIECE_BYTES: usize = 512 * 1024;

/// What a file turned out to be.
#[derive(Debug)]
pub enum Inspection {
    /// A picture, decoded or not.
    Picture(Box<Inspected>),
    /// A photo or video of a type that is not handled, e.g. "HEIC", "RAW", "video".
    Unprotected(&'static str),
    /// Anything else; a problem when its name says it is a picture (a text file named
    /// .jpg, an empty .jpg).
    NotPicture(Option<String>),
}

/// What is known of a picture.
#[derive(Debug)]
pub struct Inspected {
    /// For the index and the catalog.
    pub facts: Facts,
    /// How it is encoded: part of its quality.
    pub encoding: Encoding,
    /// For transfers.
    pub outline: Outline,
    /// `None` when the picture was not decoded.
    pub signature: Option<Signature>,
    /// Why the picture could not be decoded, or not properly.
    pub problem: Option<String>,
}

/// Why a picture was not decoded, or not properly.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum DecodeProblem {
    #[error("{width}x{height} pixels are more than the limit of {limit}; --max-pixels raises it")]
    TooManyPixels { width: u32, height: u32, limit: u64 },
    #[error(
        "decoding {width}x{height} pixels takes {} MiB of memory, more than the {} MiB allowed; --decode-memory raises it",
        .needed.div_ceil(1 << 20), .budget >> 20
    )]
    TooMuchMemory { width: u32, height: u32, needed: u64, budget: u64 },
    #[error("can't be decoded: {0}")]
    Broken(String),
    #[error("can't be decoded: its size is not in its header")]
    NoSize,
    #[error("can't be decoded: the decoder gave up in the middle (a malformed file)")]
    Panicked,
    #[error("truncated: the file ends before the image does")]
    Truncated,
}

impl DecodeProblem {
    /// What a decoder says, cut to a line.
    fn broken(reason: impl fmt::Display) -> Self {
        let text = crate::types::printable(&reason.to_string());
        Self::Broken(text.chars().take(200).collect())
    }
}

/// Looks at files. Shared by all threads; their decodes share one memory budget.
#[derive(Debug)]
pub struct Inspector {
    budget: MemoryBudget,
    max_pixels: u64,
}

/// A picture's file before it is read.
struct Opened<'a> {
    file: &'a File,
    bytes: u64,
    format: Format,
    layout: Layout,
}

/// What came out of reading a picture's file.
struct Looked {
    outline: Outline,
    pixels: Result<Decoded, DecodeProblem>,
}

impl Inspector {
    /// `budget` bytes for all decodes at once, shared by all threads; pictures of more than
    /// `max_pixels` are not decoded.
    #[must_use]
    pub fn new(budget: u64, max_pixels: u64) -> Self {
        quiet::install_hook();
        Self { budget: MemoryBudget::new(budget), max_pixels }
    }

    /// Looks at a whole file; `name` tells some raw formats from TIFF, and whether a file
    /// that is no picture ought to be one. Moves the file's cursor.
    ///
    /// # Errors
    /// When the file can't be read. A picture that can't be decoded is no error.
    pub fn inspect(&self, file: &File, name: &[u8]) -> io::Result<Inspection> {
        let mut opened = match Self::open(file, name)? {
            Ok(opened) => opened,
            Err(other) => return Ok(other),
        };
        let Looked { outline, pixels } = self.look(&mut opened)?;
        Ok(Inspection::Picture(Box::new(describe(opened, outline, pixels))))
    }

    /// The format of a picture, by its first bytes; what it is instead, as a text for people,
    /// when it is none that is handled. Moves the file's cursor.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn format(file: &File, name: &[u8]) -> io::Result<Result<Format, String>> {
        Ok(match Self::open(file, name)? {
            Ok(opened) => Ok(opened.format),
            Err(Inspection::Unprotected(kind)) => Err(format!("{kind} is not a format that is handled")),
            Err(Inspection::NotPicture(Some(problem))) => Err(problem),
            Err(_) => Err("not a picture of a handled format".to_owned()),
        })
    }

    /// The pixels of a picture at the size at which pictures are compared; what keeps it
    /// from being decoded, as a text for people, otherwise. Moves the file's cursor.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn planes(&self, file: &File, name: &[u8]) -> io::Result<Result<PixelPlanes, String>> {
        let Ok(mut opened) = Self::open(file, name)? else {
            return Ok(Err("not a picture of a handled format".to_owned()));
        };
        let looked = self.look(&mut opened)?;
        let planes =
            looked.pixels.map(|decoded| PixelPlanes::new(&decoded.reduced, opened.layout.orientation));
        Ok(planes.map_err(|problem| problem.to_string()))
    }

    /// The luma of a picture at `to` pixels upright, and the content that was looked at:
    /// the last stage of the same-picture rule. A text for people when it can't be seen,
    /// or not all of it. Always a full decode. Moves the file's cursor.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn detail(
        &self,
        file: &File,
        name: &[u8],
        to: (u32, u32),
    ) -> io::Result<Result<(ContentId, Detail), String>> {
        let Ok(mut opened) = Self::open(file, name)? else {
            return Ok(Err("not a picture of a handled format".to_owned()));
        };
        let size = (opened.layout.width, opened.layout.height);
        let Some(mut reader) = DetailReader::new(size, opened.layout.orientation, to) else {
            return Ok(Err(DecodeProblem::NoSize.to_string()));
        };
        if opened.layout.pixels() > self.max_pixels {
            return Ok(Err(format!("more than {} pixels", self.max_pixels)));
        }
        let looked = self.look_in_full(&mut opened, Some(&mut reader))?;
        let detail = match looked.pixels {
            Ok(Decoded { damage: Some(damage), .. }) => return Ok(Err(damage)),
            Ok(_) => reader.finish(),
            Err(problem) => return Ok(Err(problem.to_string())),
        };
        let content = looked.outline.content();
        Ok(detail.map(|detail| (content, detail)).ok_or_else(|| "rows are missing".to_owned()))
    }

    /// Everything that can be told without the pixels; `Err` when it is no picture.
    fn open<'a>(file: &'a File, name: &[u8]) -> io::Result<Result<Opened<'a>, Inspection>> {
        let bytes = file.metadata()?.len();
        let mut source = file;
        source.seek(SeekFrom::Start(0))?;
        let mut head = Vec::with_capacity(sniff::HEAD_BYTES);
        source.take(sniff::HEAD_BYTES as u64).read_to_end(&mut head)?;
        let format = match sniff::kind(&head, name) {
            Kind::Picture(format) => format,
            Kind::Unprotected(kind) => return Ok(Err(Inspection::Unprotected(kind))),
            Kind::Other => {
                let problem = match (sniff::named_like_a_picture(name), head.is_empty()) {
                    (false, _) => None,
                    (true, true) => Some("named like a picture, but empty".to_owned()),
                    (true, false) => {
                        Some("named like a picture, but its content is something else".to_owned())
                    }
                };
                return Ok(Err(Inspection::NotPicture(problem)));
            }
        };
        if bytes > MAX_CONTENT_BYTES {
            let limit = MAX_CONTENT_BYTES >> 30;
            let problem = format!("{} GiB are more than the {limit} GiB that a file may have", bytes >> 30);
            return Ok(Err(Inspection::NotPicture(Some(problem))));
        }
        let layout = layout::read(&mut source, bytes, format)?;
        if layout.raw
            && let Kind::Unprotected(kind) = sniff::RAW
        {
            return Ok(Err(Inspection::Unprotected(kind)));
        }
        Ok(Ok(Opened { file, bytes, format, layout }))
    }

    /// Hashes the file and, when it fits, decodes it.
    fn look(&self, opened: &mut Opened) -> io::Result<Looked> {
        let (width, height) = (opened.layout.width, opened.layout.height);
        let refuse =
            |opened: &Opened, problem| Ok(Looked { outline: opened.stream()?, pixels: Err(problem) });
        if opened.layout.pixels() == 0 {
            return refuse(opened, DecodeProblem::NoSize);
        }
        if opened.layout.pixels() > self.max_pixels {
            return refuse(opened, DecodeProblem::TooManyPixels { width, height, limit: self.max_pixels });
        }
        if let Some(looked) = self.look_reduced(opened)? {
            return Ok(looked);
        }
        self.look_in_full(opened, None)
    }

    /// Hashes the file and decodes it in full; `detail` gets all rows.
    fn look_in_full(&self, opened: &mut Opened, detail: Option<&mut DetailReader>) -> io::Result<Looked> {
        let (width, height) = (opened.layout.width, opened.layout.height);
        // The JPEG decoder wants the whole file in memory; others read a long one in place.
        let buffered = opened.format == Format::Jpeg || opened.bytes <= MAX_BUFFERED_FILE;
        let decode_bytes = opened
            .layout
            .pixels()
            .saturating_mul(opened.layout.bytes_per_pixel)
            .saturating_add(reduced_bytes(width, height));
        let needed =
            decode_bytes.saturating_add(if buffered { opened.bytes } else { 0 } + PIECE_BYTES as u64);
        let Some(_reservation) = self.budget.reserve(needed) else {
            let budget = self.budget.total();
            let pixels = Err(DecodeProblem::TooMuchMemory { width, height, needed, budget });
            return Ok(Looked { outline: opened.stream()?, pixels });
        };
        if buffered {
            let (outline, data) = opened.load()?;
            let pixels = quiet::catch(|| opened.decode_loaded(&data, decode_bytes, detail));
            return Ok(Looked { outline, pixels: pixels.unwrap_or(Err(DecodeProblem::Panicked)) });
        }
        let outline = opened.stream()?;
        let mut source = opened.file;
        source.seek(SeekFrom::Start(0))?;
        let source = BufReader::with_capacity(PIECE_BYTES, source);
        let pixels =
            quiet::catch(|| pixels::decode(source, opened.format, (width, height), decode_bytes, detail));
        Ok(Looked { outline, pixels: pixels.unwrap_or(Err(DecodeProblem::Panicked)) })
    }

    /// Tries the reader for plain JPEGs, which takes a hundredth of a full decode's memory.
    /// Should it give up, all is given back before the full decode asks for more, and the
    /// file is read again: that is rare.
    fn look_reduced(&self, opened: &mut Opened) -> io::Result<Option<Looked>> {
        let size = (opened.layout.width, opened.layout.height);
        if !opened.layout.sequential {
            return Ok(None);
        }
        let needed = opened.bytes.saturating_add(reduced_bytes(size.0, size.1));
        let Some(_reservation) = self.budget.reserve(needed) else { return Ok(None) };
        let (outline, data) = opened.load()?;
        let Some(read) = quiet::catch(|| jpeg::read(&data, size)).flatten() else { return Ok(None) };
        opened.layout.trailing_data = layout::jpeg::has_data(&data, read.end);
        let pixels = Decoded { reduced: read.reduced, transparent: false, deep: false, damage: None };
        Ok(Some(Looked { outline, pixels: Ok(pixels) }))
    }
}

impl Opened<'_> {
    /// Hashes the file piece by piece.
    fn stream(&self) -> io::Result<Outline> {
        let mut outline = OutlineBuilder::new();
        self.pieces(|piece| outline.update(piece))?;
        Ok(outline.finish())
    }

    /// Reads the file into memory and hashes it on the way, while it is in the cache.
    fn load(&self) -> io::Result<(Outline, Vec<u8>)> {
        let mut data = Vec::with_capacity(usize::try_from(self.bytes).map_err(io::Error::other)?);
        let mut source = self.file;
        source.seek(SeekFrom::Start(0))?;
        let mut outline = OutlineBuilder::new();
        while (data.len() as u64) < self.bytes {
            let (before, left) = (data.len(), self.bytes - data.len() as u64);
            source.take(left.min(PIECE_BYTES as u64)).read_to_end(&mut data)?;
            match data.get(before..) {
                None | Some([]) => break,
                Some(piece) => outline.update(piece),
            }
        }
        Ok((outline.finish(), data))
    }

    fn pieces(&self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut source = self.file;
        source.seek(SeekFrom::Start(0))?;
        // Not past the length seen at first: a file that grows is looked at again anyway.
        let mut source = source.take(self.bytes);
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match source.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(n) => each(piece.get(..n).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn decode_loaded(
        &mut self,
        data: &[u8],
        memory: u64,
        detail: Option<&mut DetailReader>,
    ) -> Result<Decoded, DecodeProblem> {
        let size = (self.layout.width, self.layout.height);
        if self.format != Format::Jpeg {
            return pixels::decode(Cursor::new(data), self.format, size, memory, detail);
        }
        let tail = layout::jpeg::tail(data);
        self.layout.truncated |= !tail.complete;
        self.layout.trailing_data |= tail.trailing_data;
        pixels::decode_jpeg(data, size, memory, detail)
    }
}

/// Puts together what is known.
fn describe(opened: Opened, outline: Outline, pixels: Result<Decoded, DecodeProblem>) -> Inspected {
    let Opened { format, layout, .. } = opened;
    let mut traits = Traits::default();
    let mut set = |condition, bit| {
        if condition {
            traits = traits.with(bit);
        }
    };
    set(layout.multi_frame, Traits::MULTI_FRAME);
    set(layout.trailing_data, Traits::TRAILING_DATA);
    set(layout.truncated, Traits::DAMAGED);
    let mut problem = layout.truncated.then(|| DecodeProblem::Truncated.to_string());
    let (mut image, mut guard, mut signature) = (ImageId::Content(outline.content()), 0, None);
    set(layout.deep, Traits::DEEP);
    match pixels {
        Ok(decoded) => {
            let recognition = recognise(&PixelPlanes::new(&decoded.reduced, layout.orientation));
            set(decoded.transparent, Traits::TRANSPARENT);
            set(decoded.deep, Traits::DEEP);
            set(decoded.damage.is_some(), Traits::DAMAGED);
            set(recognition.is_featureless(), Traits::FEATURELESS);
            if !recognition.is_featureless() {
                image = ImageId::Hash(recognition.hash);
            }
            guard = recognition.guard;
            signature = Some(recognition.signature);
            problem = problem.or(decoded.damage.map(|damage| format!("damaged, but can be seen: {damage}")));
        }
        Err(reason) => {
            set(true, Traits::UNDECODED);
            let broken =
                matches!(reason, DecodeProblem::Broken(_) | DecodeProblem::Panicked | DecodeProblem::NoSize);
            set(broken, Traits::DAMAGED);
            problem = Some(match problem {
                Some(first) => format!("{first}; {reason}"),
                None => reason.to_string(),
            });
        }
    }
    let (mut width, mut height) = (layout.width, layout.height);
    if layout.orientation.swaps_sides() {
        (width, height) = (height, width);
    }
    let bytes = outline.bytes();
    let facts = Facts { image, bytes, width, height, format, taken_at: layout.taken_at, guard, traits };
    Inspected { facts, encoding: layout.encoding, outline, signature, problem }
}

#[cfg(test)]
mod tests;
