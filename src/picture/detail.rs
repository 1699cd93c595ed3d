//! How sharp a picture is at a given size, and what it looks like there.
//!
//! An upscaled thumbnail has more pixels than the original and less to show. Both are
//! brought to the size of the one that would be dropped, and the one that would be kept
//! must be as sharp there. Reduced with Lanczos3, the sharpest of the usual filters: a
//! softer one would make the larger picture look blurred beside a small copy made with it.
//!
//! Rows come in, rows go out: memory is a few rows, whatever the sizes.

use std::collections::VecDeque;

use super::mosaic::Mosaic;
use super::planes::Orientation;
use super::reduce::Samples;

/// Cells of a [`Detail`] at most: a megabyte.
pub const MAX_DETAIL_CELLS: usize = 1 << 20;

/// Side of a part whose sharpness is measured by itself, in pixels, at least.
const PART: usize = 32;

/// Parts at most: of ten thousand small parts, one is always unlike the others.
const MAX_PARTS: usize = 1024;

/// A picture's luma at the size at which it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Detail {
    /// Half the sum of the squares of a pixel's differences to its neighbours, across and down,
    /// on average, at the full size.
    pub energy: f64,
    /// The same of each whole part of 32x32 pixels, or of more when there would be too many;
    /// upright. None of a smaller picture.
    pub parts: Vec<f32>,
    /// Pixels a side of a cell.
    pub cell: usize,
    /// Columns of `cells`.
    pub width: usize,
    /// Rows of `cells`.
    pub height: usize,
    /// Means of squares of pixels, as few pixels each as [`MAX_DETAIL_CELLS`] allows; upright,
    /// and counted from the upright corner.
    pub cells: Vec<u8>,
}

/// The source samples of one output sample.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

impl Taps {
    fn end(&self) -> usize {
        self.first + self.weights.len()
    }
}

fn lanczos3(x: f64) -> f64 {
    if x.abs() < 1e-9 {
        return 1.0;
    }
    if x.abs() >= 3.0 {
        return 0.0;
    }
    let x = x * std::f64::consts::PI;
    3.0 * x.sin() * (x / 3.0).sin() / (x * x)
}

fn taps(from: usize, to: usize) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let tap = |i: usize| {
        if from == to {
            return Taps { first: i, weights: vec![1.0] };
        }
        let centre = (i as f64 + 0.5) * scale - 0.5;
        let first = (centre - 3.0 * stretch).ceil().max(0.0) as usize;
        let end = ((centre + 3.0 * stretch).floor() as usize + 1).clamp(first + 1, from.max(first + 1));
        let weights: Vec<f64> = (first..end).map(|at| lanczos3((at as f64 - centre) / stretch)).collect();
        let total: f64 = weights.iter().sum();
        let weights = weights.into_iter().map(|weight| (weight / total) as f32).collect();
        Taps { first: first.min(from - 1), weights }
    };
    (0..to).map(tap).collect()
}

/// Takes a picture's rows as stored, from top to bottom, and makes a [`Detail`].
pub struct DetailReader {
    samples: Samples,
    orientation: Orientation,
    columns: Vec<Taps>,
    lines: Vec<Taps>,
    /// The source row that comes next.
    row: usize,
    /// Output rows that have begun, the first of them with this number.
    open: VecDeque<Vec<f32>>,
    first_open: usize,
    luma: Vec<f32>,
    narrow: Vec<f32>,
    /// The row before, and the squares of its pixels' differences to all but the next row.
    before: Vec<u8>,
    squares: Vec<u32>,
    energy: u64,
    /// Of the sums of squares, in squares of `part` pixels a side.
    parts: Mosaic,
    part: usize,
    /// Of the luma, in squares of `cell` pixels a side.
    cells: Mosaic,
    cell: usize,
}

impl DetailReader {
    /// For a picture stored as `from` pixels, to be seen at `to` pixels *upright*. `None`
    /// when a side is zero.
    #[must_use]
    pub fn new(from: (u32, u32), orientation: Orientation, to: (u32, u32)) -> Option<Self> {
        let to = if orientation.swaps_sides() { (to.1, to.0) } else { to };
        if [from.0, from.1, to.0, to.1].contains(&0) {
            return None;
        }
        let [from, to] = [from, to].map(|(width, height)| (width as usize, height as usize));
        let mut cell = 1;
        while to.0.div_ceil(cell).saturating_mul(to.1.div_ceil(cell)) > MAX_DETAIL_CELLS {
            cell += 1;
        }
        let mut part = PART;
        while (to.0 / part).saturating_mul(to.1 / part) > MAX_PARTS {
            part *= 2;
        }
        Some(Self {
            samples: Samples::Grey,
            orientation,
            columns: taps(from.0, to.0),
            lines: taps(from.1, to.1),
            row: 0,
            open: VecDeque::new(),
            first_open: 0,
            luma: vec![0.0; from.0],
            narrow: vec![0.0; to.0],
            before: Vec::new(),
            squares: Vec::new(),
            energy: 0,
            parts: Mosaic::new(to, part, orientation),
            part,
            cells: Mosaic::new(to, cell, orientation),
            cell,
        })
    }

    /// Rows of this kind follow, from the first one on.
    pub fn begin(&mut self, samples: Samples) {
        self.samples = samples;
        (self.row, self.first_open, self.energy) = (0, 0, 0);
        self.open.clear();
        self.before.clear();
        self.squares.clear();
        self.parts.begin();
        self.cells.begin();
    }

    /// The next row.
    pub fn row(&mut self, row: &[u8]) {
        match self.samples {
            Samples::Grey => self.luma.iter_mut().zip(row).for_each(|(out, y)| *out = f32::from(*y)),
            Samples::YCbCr => {
                self.luma
                    .iter_mut()
                    .zip(row.as_chunks::<3>().0)
                    .for_each(|(out, [y, ..])| *out = f32::from(*y));
            }
            Samples::Rgb => {
                for (out, [r, g, b]) in self.luma.iter_mut().zip(row.as_chunks().0) {
                    *out = 0.299 * f32::from(*r) + 0.587 * f32::from(*g) + 0.114 * f32::from(*b);
                }
            }
        }
        for (out, taps) in self.narrow.iter_mut().zip(&self.columns) {
            let source = self.luma.get(taps.first..taps.end()).unwrap_or_default();
            *out = source.iter().zip(&taps.weights).map(|(value, weight)| value * weight).sum();
        }
        while self.lines.get(self.first_open + self.open.len()).is_some_and(|line| line.first <= self.row) {
            self.open.push_back(vec![0.0; self.narrow.len()]);
        }
        for (line, sums) in self.lines.iter().skip(self.first_open).zip(&mut self.open) {
            if let Some(weight) = self.row.checked_sub(line.first).and_then(|at| line.weights.get(at)) {
                sums.iter_mut().zip(&self.narrow).for_each(|(sum, value)| *sum += value * weight);
            }
        }
        self.row += 1;
        while self.lines.get(self.first_open).is_some_and(|line| line.end() <= self.row)
            && let Some(sums) = self.open.pop_front()
        {
            self.finish_row(&sums);
            self.first_open += 1;
        }
    }

    fn finish_row(&mut self, sums: &[f32]) {
        let row: Vec<u8> = sums.iter().map(|sum| (sum + 0.5).clamp(0.0, 255.0) as u8).collect();
        let square = |a: u8, b: u8| u32::from(a.abs_diff(b)).pow(2);
        // A difference belongs to both of its pixels: which of them comes first depends on how
        // the picture is stored.
        let mut squares = vec![0; row.len()];
        for (at, pair) in row.windows(2).enumerate() {
            let value = square(pair[0], pair[1]);
            squares[at] += value;
            squares[at + 1] += value;
        }
        let down = row.iter().zip(&self.before).map(|(a, b)| square(*a, *b));
        for ((above, below), value) in self.squares.iter_mut().zip(&mut squares).zip(down) {
            *above += value;
            *below += value;
        }
        self.measure();
        self.squares = squares;
        let values: Vec<u32> = row.iter().map(|value| u32::from(*value)).collect();
        self.cells.row(&values);
        self.before = row;
    }

    /// Takes the squares of the row before, which are complete.
    fn measure(&mut self) {
        if !self.squares.is_empty() {
            self.energy += self.squares.iter().map(|value| u64::from(*value)).sum::<u64>();
            self.parts.row(&self.squares);
        }
    }

    /// What was seen; `None` when rows are missing.
    #[must_use]
    pub fn finish(mut self) -> Option<Detail> {
        if self.first_open != self.lines.len() {
            return None;
        }
        self.measure();
        let (across, down) = (self.narrow.len(), self.lines.len());
        let whole = if self.orientation.swaps_sides() { (down, across) } else { (across, down) };
        let (parts, columns, _) = self.parts.upright();
        // Without what is left at the edges: of a few pixels, anything may be said.
        let rows = parts.chunks(columns.max(1)).take(whole.1 / self.part);
        let parts = rows.flat_map(|row| row.iter().take(whole.0 / self.part).map(|sum| sum / 2.0)).collect();
        let (cells, width, height) = self.cells.upright();
        let cells = cells.into_iter().map(|mean| (mean + 0.5) as u8).collect();
        let energy = self.energy as f64 / (2 * across * down) as f64;
        Some(Detail { energy, parts, cell: self.cell, width, height, cells })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn detail(picture: &[u8], from: (u32, u32), to: (u32, u32)) -> Detail {
        let mut reader = DetailReader::new(from, Orientation::UPRIGHT, to).unwrap();
        reader.begin(Samples::Grey);
        picture.chunks(from.0 as usize).for_each(|row| reader.row(row));
        reader.finish().unwrap()
    }

    fn checks(width: u32, height: u32) -> Vec<u8> {
        (0..width * height)
            .map(|i| if (i % width / 2 + i / width / 2).is_multiple_of(2) { 200 } else { 50 })
            .collect()
    }

    #[test]
    fn an_enlarged_picture_is_less_sharp_than_the_original() {
        let original = detail(&checks(120, 80), (120, 80), (120, 80));
        // Halved and back: what an enlarged thumbnail has left.
        let small = detail(&checks(120, 80), (120, 80), (30, 20));
        let enlarged = detail(&small.cells, (30, 20), (120, 80));
        assert!(enlarged.energy < original.energy * 0.5, "{} {}", enlarged.energy, original.energy);
    }

    #[test]
    fn large_pictures_are_kept_in_cells_and_measured_in_pixels() {
        let (width, height) = (2001u32, 1201u32);
        let found = detail(&checks(width, height), (width, height), (width, height));
        assert_eq!((found.width, found.height), (1001, 601));
        assert_eq!(found.parts.len(), 31 * 18);
        assert!(found.parts.iter().all(|part| (f64::from(*part) / found.energy - 1.0).abs() < 0.1));
        assert!(found.cells.len() <= MAX_DETAIL_CELLS);
        assert!(found.energy > 10_000.0);
    }

    #[test]
    fn missing_rows_are_noticed() {
        let mut reader = DetailReader::new((10, 3), Orientation::UPRIGHT, (5, 2)).unwrap();
        reader.begin(Samples::Grey);
        reader.row(&[0; 10]);
        assert!(reader.finish().is_none());
        assert!(DetailReader::new((10, 3), Orientation::UPRIGHT, (0, 2)).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_size_gives_all_rows_and_keeps_a_flat_picture_flat(
            from in (1u32..90, 1u32..90), to in (1u32..90, 1u32..90), level: u8
        ) {
            let found = detail(&vec![level; (from.0 * from.1) as usize], from, to);
            prop_assert_eq!((found.width, found.height), (to.0 as usize, to.1 as usize));
            prop_assert!(found.cells.iter().all(|v| *v == level));
            prop_assert!(found.energy.abs() < 1e-9);
        }
    }
}
