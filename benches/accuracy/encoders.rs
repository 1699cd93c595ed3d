//! Encoders that the `image` crate doesn't have, as programs: libjpeg-turbo's `cjpeg` and
//! libwebp's `cwebp`. Where they are not installed, their copies are not made.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use image::RgbImage;

/// Which of the programs there are.
#[derive(Clone, Copy)]
pub(crate) struct Encoders {
    pub(crate) cjpeg: bool,
    pub(crate) cwebp: bool,
}

impl Encoders {
    pub(crate) fn find() -> Self {
        let there = |program: &str| {
            let mut command = Command::new(program);
            command.arg("-version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok()
        };
        Self { cjpeg: there("cjpeg"), cwebp: there("cwebp") }
    }
}

/// Hands a picture to a program as a file and takes what it writes.
fn run(program: &str, arguments: &[&str], picture: &RgbImage, folder: &Path) -> Option<Vec<u8>> {
    let file = folder.join(format!("{:?}.ppm", std::thread::current().id()));
    let mut ppm = format!("P6\n{} {}\n255\n", picture.width(), picture.height()).into_bytes();
    ppm.extend_from_slice(picture);
    fs::write(&file, ppm).expect("temporary folder");
    let output = Command::new(program).args(arguments).arg(&file).stderr(Stdio::null()).output().ok()?;
    (output.status.success() && !output.stdout.is_empty()).then_some(output.stdout)
}

/// With half the colour resolution, as cameras and messengers do.
pub(crate) fn cjpeg(picture: &RgbImage, quality: &str, progressive: bool, folder: &Path) -> Option<Vec<u8>> {
    let scans = if progressive { "-progressive" } else { "-baseline" };
    run("cjpeg", &["-quality", quality, "-sample", "2x2", scans], picture, folder)
}

/// Lossy.
pub(crate) fn cwebp(picture: &RgbImage, quality: &str, folder: &Path) -> Option<Vec<u8>> {
    run("cwebp", &["-quiet", "-q", quality, "-o", "-", "--"], picture, folder)
}
