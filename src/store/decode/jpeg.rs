//! Baseline JPEGs at a reduced size, without decoding what would be averaged away.
//!
//! The hash wants box averages ([`crate::picture::reduce`]). A JPEG block of 8x8 samples
//! is a sum of cosines; the mean of the block is its DC coefficient over 8, the means of
//! its four quarters need the odd frequencies only, and so on (ITU-T T.81, A.3.3). So for
//! a large picture nothing but DC coefficients is computed and the AC symbols are only
//! stepped over; no plane of full size ever exists.
//!
//! It reads baseline and extended sequential Huffman streams of 8 bits, grey or YCbCr in
//! one scan, and nothing else: at the first thing that is unusual or wrong it gives up
//! ([`None`]) and the full decoder decides. It is therefore strict where decoders are
//! lenient: bits left over, a missing restart or end marker, anything after the scan.
//!
//! Not guaranteed: cells at the right and lower edge that are only partly covered average
//! over what the encoder put beyond the edge as well. They weigh little (`Plane`).

mod bits;
mod block;
mod headers;

use block::{Cells, Transform};
use headers::{Component, Headers};

use crate::picture::reduce::{chroma_scale, luma_scale};
use crate::picture::{Plane, Reduced};

/// A picture read by [`read`].
#[derive(Debug)]
pub(super) struct FastRead {
    pub(super) reduced: Reduced,
    /// Where the image ends in the data, behind its end marker.
    pub(super) end: usize,
}

/// Shortest side that is worth it, and for which chroma cells are never smaller than
/// chroma samples.
const MIN_SIDE: u32 = 256;

/// Reads a JPEG of exactly `size` pixels; `None` when the full decoder has to.
pub(super) fn read(data: &[u8], size: (u32, u32)) -> Option<FastRead> {
    let headers = Headers::parse(data)?;
    if (headers.width, headers.height) != size || size.0.min(size.1) < MIN_SIDE {
        return None;
    }
    let mut planes = Vec::with_capacity(headers.components.len());
    for (index, component) in headers.components.iter().enumerate() {
        planes.push(Output::new(&headers, component, index > 0)?);
    }
    let end = scan(&headers, data, &mut planes)?;
    let mut planes = planes.into_iter().map(|output| output.cells.finish());
    let plane = |scale, cells| Plane::new(size.0, size.1, scale, cells);
    let luma = plane(luma_scale(size.0, size.1), planes.next()?)?;
    let chroma = match (planes.next(), planes.next()) {
        (Some(cb), Some(cr)) => {
            let scale = chroma_scale(size.0, size.1);
            Some([plane(scale, cb)?, plane(scale, cr)?])
        }
        _ => None,
    };
    Some(FastRead { reduced: Reduced { luma, chroma }, end })
}

/// Where the blocks of one component go.
struct Output {
    cells: Cells,
    transform: Transform,
}

impl Output {
    fn new(headers: &Headers, component: &Component, chroma: bool) -> Option<Self> {
        let scale = if chroma { chroma_scale } else { luma_scale }(headers.width, headers.height);
        // The cell in samples of this component.
        let cell = (scale / component.step.0, scale / component.step.1);
        if cell.0 == 0 || cell.1 == 0 {
            return None;
        }
        let transform = Transform::new(&component.quantisation, (8 / cell.0.min(8), 8 / cell.1.min(8)));
        let size = (headers.width.div_ceil(scale) as usize, headers.height.div_ceil(scale) as usize);
        let blocks = (
            headers.width.div_ceil(8 * component.step.0) as usize,
            headers.height.div_ceil(8 * component.step.1) as usize,
        );
        Some(Self { cells: Cells::new(size, blocks, cell), transform })
    }
}

/// Reads the one scan. Returns where the image ends.
fn scan(headers: &Headers, data: &[u8], outputs: &mut [Output]) -> Option<usize> {
    let mut bits = bits::Bits::new(data, headers.scan);
    let mut predictions = [0i32; 3];
    let mut until_restart = headers.restart_interval;
    let mut restart = 0u8;
    for mcu_y in 0..headers.mcus.1 {
        for mcu_x in 0..headers.mcus.0 {
            if headers.restart_interval > 0 {
                if until_restart == 0 {
                    bits.restart(restart)?;
                    restart = (restart + 1) % 8;
                    predictions = [0; 3];
                    until_restart = headers.restart_interval;
                }
                until_restart -= 1;
            }
            for ((component, output), prediction) in
                headers.components.iter().zip(outputs.iter_mut()).zip(&mut predictions)
            {
                for v in 0..component.sampling.1 {
                    for h in 0..component.sampling.0 {
                        let x = (mcu_x * component.sampling.0 + h) as usize;
                        let y = (mcu_y * component.sampling.1 + v) as usize;
                        output.transform.block(
                            &mut bits,
                            (&component.dc, &component.ac),
                            prediction,
                            &mut output.cells,
                            (x, y),
                        )?;
                    }
                }
            }
            if bits.overrun() {
                return None;
            }
        }
    }
    bits.end()
}

#[cfg(test)]
mod tests;
