//! Duplicates with the real binary: what is dropped, what is not, and that nothing is lost.
#![allow(clippy::unwrap_used, reason = "a test may fail so")]

#[path = "../examples/pictures/mod.rs"]
#[allow(dead_code, reason = "the example writes whole folders")]
mod photos;
mod support;

#[path = "dedup/beyond_catalogs.rs"]
mod beyond_catalogs;
#[path = "dedup/in_one_folder.rs"]
mod in_one_folder;
#[path = "dedup/in_the_swarm.rs"]
mod in_the_swarm;
#[path = "dedup/killed.rs"]
mod killed;

use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat};

use support::{Site, TestNode, eventually};

/// A short lease: a started node removes nothing for so long. Not shorter: an answer may take
/// six tenths of it, and the machine may be busy.
const QUICK: &[&str] = &["--lease-seconds", "6"];

/// Photo `number` in its best version.
fn best(number: u64) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    DynamicImage::from(photos::draw(number)).write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}

/// The same photo as a JPEG.
fn saved_as_jpeg(number: u64, quality: u8) -> Vec<u8> {
    let mut file = Vec::new();
    photos::draw(number).write_with_encoder(JpegEncoder::new_with_quality(&mut file, quality)).unwrap();
    file
}

/// The same photo at half its size.
fn halved(number: u64) -> Vec<u8> {
    let photo = DynamicImage::from(photos::draw(number));
    let small = photo.resize_exact(photo.width() / 2, photo.height() / 2, FilterType::Triangle);
    let mut file = Vec::new();
    small.to_rgb8().write_with_encoder(JpegEncoder::new_with_quality(&mut file, 90)).unwrap();
    file
}

/// Waits until the folder holds exactly these pictures.
#[track_caller]
fn holds(site: &Site, wanted: &[&str]) {
    let wanted: BTreeSet<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    eventually(&format!("{wanted:?} and nothing else in the folder, but {:?}", pictures(site)), || {
        (pictures(site) == wanted).then_some(())
    });
}

/// The names of the pictures in a folder.
fn pictures(site: &Site) -> BTreeSet<String> {
    let names = fs::read_dir(site.photos()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with(".p2pimg")).collect()
}

/// Waits for a look at the swarm that saw so many contents and found so many drops that could
/// begin.
#[track_caller]
fn looked(node: &TestNode, contents: u64, wishes: u64) {
    node.event("looked", |look| look["contents"] == contents && look["wishes"] == wishes);
}
