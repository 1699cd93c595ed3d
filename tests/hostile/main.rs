//! Peers that lie, and honest nodes and clients among them: all in one process, over
//! loopback. A liar is a swarm with a node's behaviour and made-up answers.
#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod catalogs;
mod client;
mod floods;
mod holders;
mod liar;
mod net;
