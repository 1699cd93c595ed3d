//! A node: owns a folder, finds the others, publishes, serves and relays.
//!
//! [`start`] puts the parts together and returns a [`NodeHandle`]. One task owns the
//! swarm (`event_loop`), one thread owns the folder (`store::watch`), and every request
//! of others is answered in a task of its own (`serve`).

use std::sync::Arc;

use libp2p::{Multiaddr, PeerId};
use thiserror::Error;
use tokio::sync::broadcast;

use crate::protocol::NodeStatus;
use crate::store::folder::FolderError;
use crate::store::index::IndexError;
use crate::store::replicas::ReplicaError;

mod admission;
mod asking;
mod await_copies;
mod bands;
mod beyond;
mod boot_clock;
pub mod config;
mod copies;
mod describe;
mod drops;
pub mod event;
mod event_loop;
mod finder;
mod gather;
mod heal;
mod housekeeping;
mod links;
mod listen;
mod local_discovery;
mod locate;
mod nat;
mod network;
mod on_action;
mod on_connection;
mod on_event;
mod publishing;
mod pull;
mod put;
mod reach;
mod recent;
mod relay;
mod removal;
mod scrubbing;
mod serve;
mod settling;
mod similar;
mod start;
mod verify;
mod why;

pub use config::NodeConfig;
pub use event::NodeEvent;
pub use start::start;

use serve::Services;

/// Why a node could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The folder or its state can't be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The index can't be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A node that everybody could reach, and nothing that says so.
    #[error(
        "{address} can be reached from other machines: make a swarm key with `p2pimg keygen` and copy it to \
         all machines of the swarm, or allow everybody with --open"
    )]
    Exposed {
        /// The address of `--listen` or `--bootstrap`.
        address: Multiaddr,
    },
    /// A transport that lets nodes in without the key.
    #[error("{address}: QUIC carries no swarm key, and would let anybody in: say an address with /tcp/")]
    Keyless {
        /// The address of `--listen` or `--bootstrap`.
        address: Multiaddr,
    },
    /// The folder of the replicas can't be used.
    #[error(transparent)]
    Replicas(#[from] ReplicaError),
    /// None of the addresses could be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// The system's reason.
        reason: String,
    },
    /// The system gave no thread for the folder.
    #[error("cannot start the thread that keeps the folder: {0}")]
    Thread(std::io::Error),
    /// The keys of the encrypted transport can't be made.
    #[error("cannot set up the encrypted transport: {0}")]
    Transport(String),
}

/// A running node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NodeHandle {
    services: Arc<Services>,
    addresses: Vec<Multiaddr>,
}

impl NodeHandle {
    /// The node's id.
    pub fn peer_id(&self) -> PeerId {
        self.services.net.me()
    }

    /// The addresses it listened on when it started, with its peer id.
    pub fn addresses(&self) -> &[Multiaddr] {
        &self.addresses
    }

    /// The node's state; `None` when it has stopped.
    pub async fn status(&self) -> Option<NodeStatus> {
        self.services.full_status().await?.ok()
    }

    /// Has the node hand over what it holds and take nothing; [`NodeEvent::Drained`] tells when
    /// that is done. False when it has stopped.
    pub async fn drain(&self) -> bool {
        self.services.net.drain(false).await.is_some()
    }

    /// Stops the node: no new work, connections closed, folder unlocked. The index is
    /// closed with the last handle.
    pub async fn shutdown(&self) {
        self.services.net.shutdown().await;
    }
}

/// Events of a node, in order.
#[derive(Debug)]
pub struct NodeEvents(broadcast::Receiver<NodeEvent>);

impl NodeEvents {
    /// The next event; `None` when the node has stopped. A reader that is far behind
    /// misses the oldest and is told how many.
    pub async fn next(&mut self) -> Option<NodeEvent> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                Some(NodeEvent::Notice { message: format!("{missed} events were dropped: nobody read them") })
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
