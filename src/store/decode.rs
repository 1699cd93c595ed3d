//! (being written)
#![allow(missing_docs, clippy::all, clippy::pedantic, unused)]
use std::fs::File;
use crate::picture::Signature;
use crate::transfer::outline::Outline;
use crate::types::Facts;

/// What a file turned out to be.
pub enum Inspection {
    Picture(Box<Inspected>),
    /// A photo or video of a type that is not handled, e.g. "HEIC", "RAW", "video".
    Unprotected(&'static str),
    /// Anything else; a problem when its name says it is a picture (a text file named .jpg, an empty .jpg).
    NotPicture(Option<String>),
}
pub struct Inspected { pub facts: Facts, pub outline: Outline, pub signature: Option<Signature>, pub problem: Option<String> }
pub struct Inspector;
impl Inspector {
    /// `budget` bytes for all decodes at once, shared by every clone/thread; pictures over `max_pixels` are not decoded.
    pub fn new(budget: u64, max_pixels: u64) -> Self { todo!() }
    /// Reads the whole file once or twice; `name` only to decide whether a non-picture is a problem.
    pub fn inspect(&self, file: &File, name: &[u8]) -> std::io::Result<Inspection> { todo!() }
}
