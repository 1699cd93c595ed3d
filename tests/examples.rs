//! The made-up pictures of the examples are different pictures for the program as well.

#[path = "../examples/pictures/mod.rs"]
#[allow(dead_code, reason = "the test draws, and writes no files")]
mod pictures;

use image_hasher::{HashAlg, HasherConfig};

#[test]
fn made_up_pictures_are_distinct_and_always_the_same() {
    let hasher = HasherConfig::new().hash_size(16, 16).hash_alg(HashAlg::Gradient).to_hasher();
    let small = |number| image::imageops::thumbnail(&pictures::draw(number), 100, 75);
    let hashes: Vec<_> = (1..=24).map(|number| hasher.hash_image(&small(number))).collect();
    for (number, hash) in hashes.iter().enumerate() {
        for (other, another) in hashes.iter().enumerate().skip(number + 1) {
            let distance = hash.dist(another);
            assert!(distance > 64, "pictures {} and {} differ by {distance} bits", number + 1, other + 1);
        }
    }
    assert_eq!(pictures::draw(7), pictures::draw(7));
}
