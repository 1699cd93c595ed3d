//! Messages on streams.

pub mod codec;
pub mod kad_stream;
pub mod shape;
pub mod transport;
pub mod trouble;
pub mod validate;
