//! Photo-like pictures out of nothing, for machines without photos: a sky, hills made of
//! value noise, and a few shapes. The same number is the same picture on every machine,
//! and two numbers are two pictures that nobody would take for each other.

use std::path::{Path, PathBuf};

use image::{ImageResult, Rgb, RgbImage};

/// Width and height of every picture.
const SIZE: (u32, u32) = (800, 600);

/// Writes picture `number` into `folder`, as JPEG, now and then as PNG or WebP, and
/// returns its path.
pub(crate) fn write(folder: &Path, number: u64) -> ImageResult<PathBuf> {
    let extension = match number % 8 {
        3 => "png",
        6 => "webp",
        _ => "jpg",
    };
    let path = folder.join(format!("picture-{number:04}.{extension}"));
    draw(number).save(&path)?;
    Ok(path)
}

/// Picture `number`.
pub(crate) fn draw(number: u64) -> RgbImage {
    let mut dice = Dice(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed);
    let (width, height) = SIZE;
    let (above, below) = (dice.colour(), dice.colour());
    let turn = dice.fraction() * std::f32::consts::TAU;
    let noise = Noise::new(&mut dice, 5);
    let fine = Noise::new(&mut dice, 23);
    let shapes: Vec<Shape> = (0..7).map(|_| Shape::new(&mut dice)).collect();
    RgbImage::from_fn(width, height, |x, y| {
        let (u, v) = (x as f32 / width as f32, y as f32 / height as f32);
        let along = ((u - 0.5) * turn.cos() + (v - 0.5) * turn.sin() + 0.5).clamp(0.0, 1.0);
        let mut colour = mix(above, below, along);
        let light = 0.45 + 0.9 * noise.at(u, v) + 0.2 * (fine.at(u, v) - 0.5);
        for shape in shapes.iter().filter(|shape| shape.covers(u, v)) {
            colour = mix(colour, shape.colour, 0.8);
        }
        Rgb(colour.map(|channel| (channel * light).clamp(0.0, 255.0) as u8))
    })
}

type Colour = [f32; 3];

fn mix(a: Colour, b: Colour, share: f32) -> Colour {
    [0, 1, 2].map(|i| a[i] + (b[i] - a[i]) * share)
}

/// Splitmix64: random enough for pictures, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 up to 1.
    fn fraction(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    fn colour(&mut self) -> Colour {
        [0; 3].map(|_| 20.0 + 230.0 * self.fraction())
    }
}

/// A rectangle or an ellipse, in shares of the picture.
struct Shape {
    round: bool,
    centre: (f32, f32),
    half: (f32, f32),
    colour: Colour,
}

impl Shape {
    fn new(dice: &mut Dice) -> Self {
        Self {
            round: dice.next().is_multiple_of(2),
            centre: (dice.fraction(), dice.fraction()),
            half: (0.05 + 0.2 * dice.fraction(), 0.05 + 0.2 * dice.fraction()),
            colour: dice.colour(),
        }
    }

    fn covers(&self, u: f32, v: f32) -> bool {
        let (x, y) = ((u - self.centre.0) / self.half.0, (v - self.centre.1) / self.half.1);
        if self.round { x * x + y * y < 1.0 } else { x.abs() < 1.0 && y.abs() < 1.0 }
    }
}

/// Value noise: random values on a grid, smoothly joined.
struct Noise {
    cells: usize,
    values: Vec<f32>,
}

impl Noise {
    fn new(dice: &mut Dice, cells: usize) -> Self {
        Self { cells, values: (0..(cells + 1) * (cells + 1)).map(|_| dice.fraction()).collect() }
    }

    /// At a point between 0 and 1 each way.
    fn at(&self, u: f32, v: f32) -> f32 {
        let (x, y) = (u * self.cells as f32, v * self.cells as f32);
        let (column, row) = ((x as usize).min(self.cells - 1), (y as usize).min(self.cells - 1));
        let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
        let (right, down) = (smooth(x - column as f32), smooth(y - row as f32));
        let value = |column: usize, row: usize| self.values[row * (self.cells + 1) + column];
        let top = value(column, row) * (1.0 - right) + value(column + 1, row) * right;
        let bottom = value(column, row + 1) * (1.0 - right) + value(column + 1, row + 1) * right;
        top * (1.0 - down) + bottom * down
    }
}
