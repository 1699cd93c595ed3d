//! From the coefficients of a block to averages of its samples.

use super::bits::{Bits, Entry, Huffman};

/// Position in the block (row * 8 + column) of each coefficient in zigzag order.
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Averages of boxes of a component, being filled block by block.
pub(super) struct Cells {
    values: Vec<f32>,
    size: (usize, usize),
    /// Blocks that show a part of the picture; further ones fill up an MCU.
    blocks: (usize, usize),
    /// Blocks that share a cell: 1, or 2 where a cell is 16 samples long.
    shared: (usize, usize),
}

impl Cells {
    /// `size` cells of `cell` samples each, from `blocks` blocks.
    pub(super) fn new(size: (usize, usize), blocks: (usize, usize), cell: (u32, u32)) -> Self {
        let shared = ((cell.0 / 8).max(1) as usize, (cell.1 / 8).max(1) as usize);
        Self { values: vec![0.0; size.0 * size.1], size, blocks, shared }
    }

    fn add(&mut self, x: usize, y: usize, value: f32) {
        if x < self.size.0
            && let Some(cell) = self.values.get_mut(y * self.size.0 + x)
        {
            *cell += value.clamp(0.0, 255.0);
        }
    }

    /// The averages, row by row.
    pub(super) fn finish(mut self) -> Vec<f32> {
        let (across, down) = self.shared;
        if across * down > 1 {
            for (y, row) in self.values.chunks_exact_mut(self.size.0).enumerate() {
                let rows = self.blocks.1.saturating_sub(y * down).clamp(1, down);
                for (x, cell) in row.iter_mut().enumerate() {
                    let columns = self.blocks.0.saturating_sub(x * across).clamp(1, across);
                    *cell /= (rows * columns) as f32;
                }
            }
        }
        self.values
    }
}

/// How blocks of a component become cells.
pub(super) enum Transform {
    /// One cell a block, or less: the DC coefficient.
    Mean { dc: f32 },
    /// Four quarters. Even frequencies other than 0 cancel out in each half; odd ones
    /// count with one sign in the first half and the other in the second.
    Quarters { weights: Box<[(u8, f32); 64]> },
    /// Any other number of cells: the block's coefficients between two matrices.
    Matrix { dequantise: Box<[f32; 64]>, across: Box<Basis>, down: Box<Basis>, cells: (usize, usize) },
}

/// Row `n`: how much each frequency adds to the mean of part `n` of a block's side.
type Basis = [[f32; 8]; 8];

fn basis(cells: usize) -> Basis {
    let mut basis = [[0.0; 8]; 8];
    for (part, row) in basis.iter_mut().enumerate().take(cells) {
        for (frequency, value) in row.iter_mut().enumerate() {
            let scale = if frequency == 0 { 0.5f64.sqrt() } else { 1.0 } / 2.0;
            let step = 8 / cells;
            let samples = part * step..(part + 1) * step;
            let angle = |x: usize| (2 * x + 1) as f64 * frequency as f64 * std::f64::consts::PI / 16.0;
            *value = (samples.map(|x| angle(x).cos()).sum::<f64>() * scale / step as f64) as f32;
        }
    }
    basis
}

/// Which of the four sums of [`Transform::Quarters`] a coefficient belongs to.
const UNUSED: u8 = 4;

impl Transform {
    /// For blocks that become `cells` cells across and down, each 1, 2, 4 or 8.
    /// `quantisation` is in zigzag order.
    pub(super) fn new(quantisation: &[u16; 64], cells: (u32, u32)) -> Self {
        let cells = (cells.0 as usize, cells.1 as usize);
        match cells {
            (1, 1) => Self::Mean { dc: f32::from(quantisation[0]) / 8.0 },
            (2, 2) => {
                let basis = basis(2)[0];
                let mut weights = Box::new([(UNUSED, 0.0); 64]);
                for ((weight, position), step) in weights.iter_mut().zip(ZIGZAG).zip(quantisation) {
                    let (u, v) = (usize::from(position % 8), usize::from(position / 8));
                    if (u == 0 || u % 2 == 1) && (v == 0 || v % 2 == 1) {
                        let sum = u8::from(u > 0) | u8::from(v > 0) << 1;
                        *weight = (sum, f32::from(*step) * basis[u] * basis[v]);
                    }
                }
                Self::Quarters { weights }
            }
            _ => Self::Matrix {
                dequantise: Box::new(quantisation.map(f32::from)),
                across: Box::new(basis(cells.0)),
                down: Box::new(basis(cells.1)),
                cells,
            },
        }
    }

    /// Reads one block and puts its averages where they belong.
    #[inline]
    pub(super) fn block(
        &self,
        bits: &mut Bits,
        (dc_table, ac_table): (&Huffman, &Huffman),
        prediction: &mut i32,
        cells: &mut Cells,
        (x, y): (usize, usize),
    ) -> Option<()> {
        // Sums of differences fit: a valid coefficient has 11 bits, a crafted one wraps
        // to nonsense that the clamp below bounds.
        *prediction = prediction.wrapping_add(bits.difference(dc_table)?);
        let dc = *prediction as f32;
        let visible = x < cells.blocks.0 && y < cells.blocks.1;
        match self {
            Self::Mean { dc: step } => {
                let mut k = 1u8;
                while k < 64 {
                    k += bits.skip_symbol(ac_table)?;
                }
                check_end(k)?;
                if visible {
                    cells.add(x / cells.shared.0, y / cells.shared.1, dc * step + 128.0);
                }
            }
            Self::Quarters { weights } => {
                let mut sums = [0.0f32; 5];
                sums[0] = dc * weights[0].1 + 128.0;
                coefficients(bits, ac_table, |k, value| {
                    let (sum, weight) = weights[k & 63];
                    sums[usize::from(sum)] += value as f32 * weight;
                })?;
                if visible {
                    let [mean, across, down, both, _] = sums;
                    cells.add(2 * x, 2 * y, mean + across + down + both);
                    cells.add(2 * x + 1, 2 * y, mean - across + down - both);
                    cells.add(2 * x, 2 * y + 1, mean + across - down - both);
                    cells.add(2 * x + 1, 2 * y + 1, mean - across - down + both);
                }
            }
            Self::Matrix { dequantise, across, down, cells: (columns, rows) } => {
                let mut block = [0.0f32; 64];
                block[0] = dc * dequantise[0];
                coefficients(bits, ac_table, |k, value| {
                    block[usize::from(ZIGZAG[k & 63] & 63)] += value as f32 * dequantise[k & 63];
                })?;
                if visible {
                    for row in 0..*rows {
                        let mut line = [0.0f32; 8];
                        for (v, weight) in down[row & 7].iter().enumerate() {
                            for (sum, value) in line.iter_mut().zip(&block[v * 8..v * 8 + 8]) {
                                *sum += value * weight;
                            }
                        }
                        for column in 0..*columns {
                            let sum: f32 =
                                line.iter().zip(&across[column & 7]).map(|(value, w)| value * w).sum();
                            cells.add(
                                x * columns / cells.shared.0 + column,
                                y * rows / cells.shared.1 + row,
                                sum + 128.0,
                            );
                        }
                    }
                }
            }
        }
        Some(())
    }
}

/// Hands each AC coefficient that isn't 0 to `each`, with its place in zigzag order.
#[inline(always)]
#[allow(clippy::inline_always)]
fn coefficients(bits: &mut Bits, table: &Huffman, mut each: impl FnMut(usize, i32)) -> Option<()> {
    let mut k = 1u8;
    while k < 64 {
        let (advance, value) = bits.coefficient(table)?;
        k += advance;
        // A symbol without a value (the block's end, 16 zeros) adds nothing, wherever.
        each(usize::from(k).wrapping_sub(1), value);
    }
    check_end(k)
}

/// A block ends at its 64th coefficient or with an end symbol, not past it.
#[inline(always)]
#[allow(clippy::inline_always)]
fn check_end(k: u8) -> Option<()> {
    (k == 64 || k > Entry::END).then_some(())
}
