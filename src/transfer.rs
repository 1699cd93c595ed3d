//! Moving a content: what its chunks must hash to ([`outline`]) and which chunk to ask of
//! whom next ([`schedule`]). Decisions only; the bytes move in `node/` and `client.rs`.

pub mod outline;
pub mod schedule;
