//! Peers that lie, and honest nodes and clients among them: all in one process, over
//! loopback. A liar is a swarm with a node's behaviour and made-up answers.
#![allow(clippy::unwrap_used, reason = "a test may fail so")]

#[path = "../../examples/pictures/mod.rs"]
#[allow(dead_code, reason = "the example writes whole folders")]
mod photos;

mod catalogs;
mod client;
mod drops;
mod failing;
mod floods;
mod holders;
mod leases;
mod liar;
mod net;
mod offers;
