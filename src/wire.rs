//! Messages on streams.

pub mod codec;
