//! Means of squares of pixels, from rows that come one by one.

use super::planes::Orientation;

/// Takes numbers of pixels, row by row as stored, and keeps the mean of each square.
///
/// Squares are counted from the upright corner: of two copies stored in different
/// orientations, the same squares are then the same parts. What is left at the far edges makes
/// narrower ones.
pub(super) struct Mosaic {
    orientation: Orientation,
    /// Pixels across and down of the squares, in the order in which they come.
    columns: Vec<usize>,
    rows: Vec<usize>,
    /// Rows that are in `sums`, all of one row of squares.
    filled: usize,
    sums: Vec<u64>,
    means: Vec<f32>,
}

impl Mosaic {
    /// For rows of `size` as stored, in squares of `piece` pixels a side.
    pub(super) fn new((width, height): (usize, usize), piece: usize, orientation: Orientation) -> Self {
        let cut = |side: usize, backwards: bool| {
            let mut lengths = vec![piece; side / piece];
            if !side.is_multiple_of(piece) {
                lengths.insert(if backwards { 0 } else { lengths.len() }, side % piece);
            }
            lengths
        };
        let (across, down) = orientation.runs_backwards();
        let columns = cut(width, across);
        let sums = vec![0; columns.len()];
        Self { orientation, columns, rows: cut(height, down), filled: 0, sums, means: Vec::new() }
    }

    /// Rows follow from the first one on.
    pub(super) fn begin(&mut self) {
        self.filled = 0;
        self.sums.fill(0);
        self.means.clear();
    }

    /// The next row.
    pub(super) fn row(&mut self, mut values: &[u32]) {
        for (sum, length) in self.sums.iter_mut().zip(&self.columns) {
            let (square, rest) = values.split_at((*length).min(values.len()));
            *sum += square.iter().map(|value| u64::from(*value)).sum::<u64>();
            values = rest;
        }
        self.filled += 1;
        let row = self.means.len() / self.columns.len().max(1);
        if self.rows.get(row) != Some(&self.filled) {
            return;
        }
        let pixels = self.columns.iter().map(|length| length * self.filled);
        self.means.extend(self.sums.iter().zip(pixels).map(|(sum, pixels)| *sum as f32 / pixels as f32));
        self.sums.fill(0);
        self.filled = 0;
    }

    /// The means upright, their width and height.
    pub(super) fn upright(self) -> (Vec<f32>, usize, usize) {
        let width = self.columns.len();
        self.orientation.turn_any(self.means, width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_are_the_same_parts_however_a_picture_is_stored() {
        // Upright, 5x3 in squares of 2.
        let upright: Vec<u32> = (0..15).map(|i| i * i).collect();
        let expected =
            [5, 6].map(|rest| upright[rest - 5] + upright[rest - 4] + upright[rest] + upright[rest + 1]);
        for value in 1..=8 {
            let orientation = Orientation::from_exif(value);
            let (width, height) = if orientation.swaps_sides() { (3, 5) } else { (5, 3) };
            // What is stored so that it turns into `upright`: by trying all places.
            let places: Vec<usize> = (0..15).collect();
            let (turned, ..) = orientation.turn_any(places, width);
            let mut stored = [0; 15];
            turned.iter().zip(&upright).for_each(|(place, value)| stored[*place] = *value);
            let mut mosaic = Mosaic::new((width, height), 2, orientation);
            stored.chunks(width).for_each(|row| mosaic.row(row));
            let (means, width, height) = mosaic.upright();
            assert_eq!((width, height), (3, 2), "{value}");
            assert!((means[0] - expected[0] as f32 / 4.0).abs() < 1e-3, "{value}: {means:?}");
            assert!((means[5] - upright[14] as f32).abs() < 1e-3, "{value}: {means:?}");
        }
    }
}
