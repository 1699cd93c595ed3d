//! Full decodes: every format through `image`, JPEG through `zune-jpeg`, down to reduced
//! planes. Memory: what the caller has reserved; the decoders get it as their limit.

use std::io::{BufRead, Seek};

use image::codecs::{
    bmp::BmpDecoder, gif::GifDecoder, png::PngDecoder, tiff::TiffDecoder, webp::WebPDecoder,
};
use image::{ColorType, ImageDecoder, ImageResult, Limits};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::DecodeProblem;
use crate::picture::Reduced;
use crate::picture::detail::DetailReader;
use crate::picture::reduce::{Reducer, Samples};
use crate::types::Format;

/// What a decode gives.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) reduced: Reduced,
    /// At least one pixel is not opaque.
    pub(super) transparent: bool,
    /// More than 8 bits a channel.
    pub(super) deep: bool,
    /// Why the pixels are not all that they should be.
    pub(super) damage: Option<String>,
}

/// Where decoded rows go: to the reduced planes, and to who wants to see more.
struct Sink<'a> {
    reducer: Reducer,
    detail: Option<&'a mut DetailReader>,
}

impl<'a> Sink<'a> {
    fn new(samples: Samples, size: (u32, u32), mut detail: Option<&'a mut DetailReader>) -> Self {
        if let Some(detail) = &mut detail {
            detail.begin(samples);
        }
        Self { reducer: Reducer::new(samples, size.0, size.1), detail }
    }

    fn row(&mut self, row: &[u8]) {
        self.reducer.row(row);
        if let Some(detail) = &mut self.detail {
            detail.row(row);
        }
    }
}

/// Decodes a picture of any format but JPEG within `memory` bytes. It must be
/// `expected` pixels large, what the memory was reserved for.
pub(super) fn decode(
    source: impl BufRead + Seek,
    format: Format,
    expected: (u32, u32),
    memory: u64,
    detail: Option<&mut DetailReader>,
) -> Result<Decoded, DecodeProblem> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(memory);
    limits.max_image_width = Some(expected.0);
    limits.max_image_height = Some(expected.1);
    match format {
        Format::Png => with(PngDecoder::with_limits(source, limits.clone()), expected, limits, detail),
        Format::WebP => with(WebPDecoder::new(source), expected, limits, detail),
        Format::Gif => with(GifDecoder::new(source), expected, limits, detail),
        Format::Bmp => with(BmpDecoder::new(source), expected, limits, detail),
        Format::Tiff => with(TiffDecoder::new(source), expected, limits, detail),
        Format::Jpeg => Err(DecodeProblem::broken("JPEG has a decoder of its own")),
    }
}

fn with(
    decoder: ImageResult<impl ImageDecoder>,
    expected: (u32, u32),
    limits: Limits,
    detail: Option<&mut DetailReader>,
) -> Result<Decoded, DecodeProblem> {
    let mut decoder = decoder.map_err(DecodeProblem::broken)?;
    let memory = limits.max_alloc.unwrap_or(u64::MAX);
    decoder.set_limits(limits).map_err(DecodeProblem::broken)?;
    let (color, bytes) = (decoder.color_type(), decoder.total_bytes());
    if decoder.dimensions() != expected || bytes > memory {
        return Err(DecodeProblem::broken("its headers contradict each other"));
    }
    let deep = decoder.original_color_type().bits_per_pixel()
        > 8 * u16::from(decoder.original_color_type().channel_count());
    let mut pixels = vec![0; usize::try_from(bytes).map_err(DecodeProblem::broken)?];
    decoder.read_image(&mut pixels).map_err(DecodeProblem::broken)?;
    reduce(&pixels, color, expected, deep, detail)
}

/// Shrinks a decoded picture: 8 bits, alpha over white.
fn reduce(
    pixels: &[u8],
    color: ColorType,
    (width, height): (u32, u32),
    deep: bool,
    detail: Option<&mut DetailReader>,
) -> Result<Decoded, DecodeProblem> {
    let channels = usize::from(color.channel_count());
    let samples = if channels < 3 { Samples::Grey } else { Samples::Rgb };
    let bytes_per_sample = usize::from(color.bytes_per_pixel()) / channels.max(1);
    let mut sink = Sink::new(samples, (width, height), detail);
    let mut transparent = false;
    let mut eight = vec![0; width as usize * channels];
    let mut opaque = vec![0; width as usize * samples.channels()];
    for row in pixels.chunks_exact((width as usize * channels * bytes_per_sample).max(1)) {
        let row = match bytes_per_sample {
            1 => row,
            2 => {
                for (out, sample) in eight.iter_mut().zip(row.as_chunks().0) {
                    *out = ((u32::from(u16::from_ne_bytes(*sample)) + 128) / 257) as u8;
                }
                if color.has_alpha() {
                    // A pixel of alpha 65,534 rounds to opaque and isn't.
                    let alpha = row.as_chunks().0.chunks_exact(channels).filter_map(|pixel| pixel.last());
                    transparent |= alpha.into_iter().any(|alpha| u16::from_ne_bytes(*alpha) != u16::MAX);
                }
                &eight
            }
            _ => {
                for (out, sample) in eight.iter_mut().zip(row.as_chunks().0) {
                    *out = (f32::from_ne_bytes(*sample).clamp(0.0, 1.0) * 255.0 + 0.5) as u8;
                }
                &eight
            }
        };
        if color.has_alpha() {
            transparent |= over_white(row, channels, &mut opaque);
            sink.row(&opaque);
        } else {
            sink.row(row);
        }
    }
    let reduced = sink.reducer.finish().ok_or_else(|| DecodeProblem::broken("it has no pixels"))?;
    Ok(Decoded { reduced, transparent, deep, damage: None })
}

/// Lays a row with alpha over white; tells whether a pixel was not opaque.
fn over_white(row: &[u8], channels: usize, out: &mut [u8]) -> bool {
    let mut transparent = false;
    for (out, pixel) in out.chunks_exact_mut(channels - 1).zip(row.chunks_exact(channels)) {
        let Some((alpha, colour)) = pixel.split_last() else { continue };
        transparent |= *alpha != 255;
        let alpha = u32::from(*alpha);
        for (out, value) in out.iter_mut().zip(colour) {
            *out = ((u32::from(*value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        }
    }
    transparent
}

/// Decodes any JPEG in full. A damaged one is tried again leniently: what can be seen of
/// it counts, with the complaint.
pub(super) fn decode_jpeg(
    data: &[u8],
    expected: (u32, u32),
    memory: u64,
    mut detail: Option<&mut DetailReader>,
) -> Result<Decoded, DecodeProblem> {
    match jpeg(data, expected, memory, true, detail.as_deref_mut()) {
        Ok(decoded) => Ok(decoded),
        Err(complaint) => {
            let decoded = jpeg(data, expected, memory, false, detail)?;
            Ok(Decoded { damage: Some(complaint.to_string()), ..decoded })
        }
    }
}

fn jpeg(
    data: &[u8],
    expected: (u32, u32),
    memory: u64,
    strict: bool,
    detail: Option<&mut DetailReader>,
) -> Result<Decoded, DecodeProblem> {
    let options = DecoderOptions::default()
        .set_max_width(expected.0 as usize)
        .set_max_height(expected.1 as usize)
        .set_strict_mode(strict);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(data), options);
    decoder.decode_headers().map_err(DecodeProblem::broken)?;
    // Asked for Y, Cb, Cr where the file has them: no rounding through RGB and back.
    let (output, samples) = match decoder.input_colorspace() {
        Some(ColorSpace::YCbCr) => (ColorSpace::YCbCr, Samples::YCbCr),
        Some(ColorSpace::Luma) => (ColorSpace::Luma, Samples::Grey),
        _ => (ColorSpace::RGB, Samples::Rgb),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(output));
    let bytes = decoder.output_buffer_size().unwrap_or(usize::MAX);
    let (width, height) = expected;
    if decoder.dimensions() != Some((width as usize, height as usize)) || bytes as u64 > memory {
        return Err(DecodeProblem::broken("its headers contradict each other"));
    }
    let pixels = decoder.decode().map_err(DecodeProblem::broken)?;
    let mut sink = Sink::new(samples, expected, detail);
    pixels.chunks_exact((width as usize * samples.channels()).max(1)).for_each(|row| sink.row(row));
    let reduced = sink.reducer.finish().ok_or_else(|| DecodeProblem::broken("it has no pixels"))?;
    Ok(Decoded { reduced, transparent: false, deep: false, damage: None })
}
