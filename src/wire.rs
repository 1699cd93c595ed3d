//! Messages on streams.

pub mod codec;
pub mod shape;
pub mod validate;
