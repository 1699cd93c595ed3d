//! What a picture's file says about itself before a pixel is decoded: size, frames, EXIF,
//! where the image ends. One small walker a format, each reading a bounded amount of a
//! seekable file and trusting nothing in it.
//!
//! The decoders tell some of this too, but not all (frames, trailing data), each in its
//! own way, and only after they have allocated.

mod chunked;
mod exif_data;
mod gif_bmp;
pub(super) mod jpeg;
mod quantisation;
mod tiff;

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use crate::picture::Orientation;
use crate::picture::quality::{Encoding, Fidelity, Metadata};
use crate::types::{CaptureTime, Format};

/// Anything a walker can read.
pub(super) trait Source: Read + Seek {}
impl<T: Read + Seek> Source for T {}

/// Most EXIF bytes that are looked at: a JPEG segment holds 64 KiB, the other containers
/// could announce anything.
const MAX_EXIF_BYTES: u64 = 1 << 20;

/// Steps of a walk through chunks, blocks or segments. A crafted file of 16 GiB could
/// hold a billion of them.
const MAX_STEPS: usize = 1_000_000;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// As stored, in pixels; 0 when unknown.
    pub(super) width: u32,
    /// As stored, in pixels; 0 when unknown.
    pub(super) height: u32,
    /// How to turn the pixels upright.
    pub(super) orientation: Orientation,
    /// EXIF capture time.
    pub(super) taken_at: Option<CaptureTime>,
    /// How much the encoding lost, and what it knows beside the pixels.
    pub(super) encoding: Encoding,
    /// More than one frame or page.
    pub(super) multi_frame: bool,
    /// More than 8 bits a channel.
    pub(super) deep: bool,
    /// Something other than padding follows the image.
    pub(super) trailing_data: bool,
    /// The file ends before the image does.
    pub(super) truncated: bool,
    /// A camera's raw file in TIFF's clothes.
    pub(super) raw: bool,
    /// A JPEG of the plain kind, which the reduced-size reader may know.
    pub(super) sequential: bool,
    /// Bytes that decoding takes for each pixel at most, the decoder's own buffers included.
    pub(super) bytes_per_pixel: u64,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            width: 0,
            height: 0,
            orientation: Orientation::UPRIGHT,
            taken_at: None,
            encoding: Encoding { fidelity: Fidelity::LOSSLESS, metadata: Metadata::default() },
            multi_frame: false,
            deep: false,
            trailing_data: false,
            truncated: false,
            raw: false,
            sequential: false,
            bytes_per_pixel: 12,
        }
    }
}

impl Layout {
    pub(super) fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    fn set_exif(&mut self, exif: Vec<u8>) {
        let exif = exif_data::read(exif);
        self.orientation = exif.orientation;
        self.taken_at = exif.taken_at;
        self.encoding.metadata = exif.metadata;
    }
}

/// Walks through a file of `format`. A file that ends too early or says nonsense is not
/// an error: what was found so far is returned, marked as truncated where that is why.
/// For a JPEG the walk ends where the entropy-coded data begins.
pub(super) fn read(source: &mut impl Source, bytes: u64, format: Format) -> io::Result<Layout> {
    let mut source = BufReader::with_capacity(16 * 1024, source);
    source.seek(SeekFrom::Start(0))?;
    let mut layout = Layout::default();
    match format {
        Format::Jpeg => layout.encoding.fidelity = Fidelity::UNKNOWN,
        Format::Gif => layout.encoding.fidelity = Fidelity::PALETTE,
        _ => {}
    }
    let walked = match format {
        Format::Jpeg => jpeg::walk(&mut source, &mut layout),
        Format::Png => chunked::walk_png(&mut source, bytes, &mut layout),
        Format::WebP => chunked::walk_webp(&mut source, bytes, &mut layout),
        Format::Gif => gif_bmp::walk_gif(&mut source, bytes, &mut layout),
        Format::Bmp => gif_bmp::walk_bmp(&mut source, bytes, &mut layout),
        Format::Tiff => tiff::walk(&mut source, &mut layout),
    };
    match walked {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => layout.truncated = true,
        // Nonsense: the decoder will say what is wrong with it.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
        other => other?,
    }
    Ok(layout)
}

fn nonsense() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

fn array<const N: usize>(source: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Reads `length` bytes, at most [`MAX_EXIF_BYTES`] (the rest is skipped).
fn blob<R: Source>(source: &mut BufReader<R>, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let now = length.min(MAX_EXIF_BYTES);
    if source.by_ref().take(now).read_to_end(&mut bytes)? as u64 != now {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    skip(source, length - now)?;
    Ok(bytes)
}

/// Moves on without losing what is buffered. Moving past the end is no error here; the
/// next read is.
fn skip<R: Source>(source: &mut BufReader<R>, bytes: u64) -> io::Result<()> {
    source.seek_relative(i64::try_from(bytes).map_err(|_| nonsense())?)
}

/// Whether more than padding is left: some cameras fill a file up with zeros or 0xFF.
fn data_left(source: &mut impl Read) -> io::Result<bool> {
    let mut piece = [0; 8192];
    loop {
        match source.read(&mut piece) {
            Ok(0) => return Ok(false),
            Ok(n) if piece.iter().take(n).any(|b| !is_padding(*b)) => return Ok(true),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
}

/// What fills a file up and means nothing.
pub(super) fn is_padding(byte: u8) -> bool {
    matches!(byte, 0 | 0xff | b'\n' | b'\r')
}
