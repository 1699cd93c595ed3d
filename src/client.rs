//! A client: an ephemeral identity that talks to one node and gets any image of the swarm
//! through it.
#![allow(unused, clippy::unused_async)]

use std::time::Duration;

use libp2p::pnet::PreSharedKey;
use libp2p::{Multiaddr, PeerId};
use thiserror::Error;

use crate::protocol::{HolderStatus, ImageRow, ListPage, NodeStatus, PeerStatus, Refusal};
use crate::types::{ContentId, ImageId};

/// Why a client's call failed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No connection to the node.
    #[error("cannot connect to the node at {address}: {reason}")]
    Connect {
        /// The address tried.
        address: Multiaddr,
        /// What went wrong and what to do.
        reason: String,
    },
    /// The connection broke, or the node did not answer in time.
    #[error("lost the node at {address} while {doing}: {reason}")]
    Lost {
        /// The node's address.
        address: Multiaddr,
        /// What was being done.
        doing: String,
        /// What went wrong.
        reason: String,
    },
    /// The node answered that it won't or can't.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The node sent bytes that are not the content's.
    #[error("the node sent wrong bytes for content {content}: nothing was kept")]
    Corrupt {
        /// The content asked for.
        content: ContentId,
    },
    /// The node answered something else than what was asked.
    #[error("the node's answer makes no sense ({0}): is it the same version?")]
    Protocol(&'static str),
    /// Verified bytes could not be written.
    #[error("cannot write {what}: {source}")]
    Output {
        /// To what.
        what: String,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// Where verified chunks go. Called in order of arrival unless [`ChunkSink::in_order`].
pub trait ChunkSink {
    /// The content's length is known; called once, first.
    ///
    /// # Errors
    /// When there is no room for it.
    fn begin(&mut self, bytes: u64) -> std::io::Result<()>;
    /// One verified chunk at its place.
    ///
    /// # Errors
    /// When it can't be written.
    fn chunk(&mut self, offset: u64, data: &[u8]) -> std::io::Result<()>;
    /// Chunks must come in order (a pipe).
    fn in_order(&self) -> bool {
        false
    }
    /// For messages: what is being written.
    fn name(&self) -> String;
}

/// A connection to one node. Cheap to clone; calls may run at once.
#[derive(Debug, Clone)]
pub struct Client {
    node: PeerId,
    address: Multiaddr,
}

impl Client {
    /// Connects to the node at `address` (with or without `/p2p/<peer id>`).
    ///
    /// # Errors
    /// [`ClientError::Connect`].
    pub async fn connect(address: Multiaddr, key: Option<PreSharedKey>) -> Result<Self, ClientError> {
        todo!()
    }

    /// Like [`Client::connect`] with the first of `addresses` that answers.
    ///
    /// # Errors
    /// The last address's error.
    pub async fn connect_any(
        addresses: &[Multiaddr],
        key: Option<PreSharedKey>,
    ) -> Result<Self, ClientError> {
        todo!()
    }

    /// The node's id.
    pub fn node(&self) -> PeerId {
        self.node
    }

    /// The node's state.
    ///
    /// # Errors
    /// Connection lost, or refused.
    pub async fn status(&self) -> Result<NodeStatus, ClientError> {
        todo!()
    }

    /// The members it knows.
    ///
    /// # Errors
    /// Connection lost, or refused.
    pub async fn peers(&self) -> Result<Vec<PeerStatus>, ClientError> {
        todo!()
    }

    /// One page of the list of all images; start with `None`, go on with
    /// [`ListPage::next`] until it is `None`.
    ///
    /// # Errors
    /// Connection lost, or refused.
    pub async fn list(&self, after: Option<Vec<u8>>, filter: Option<&str>) -> Result<ListPage, ClientError> {
        todo!()
    }

    /// The contents that a hash or prefix means, and whether there are more.
    ///
    /// # Errors
    /// Connection lost; refused with `invalid` when `query` is no hash or prefix.
    pub async fn resolve(&self, query: &str) -> Result<(Vec<ImageRow>, bool), ClientError> {
        todo!()
    }

    /// Asks the holders of a content, now.
    ///
    /// # Errors
    /// Connection lost, or refused.
    pub async fn locate(&self, image: ImageId, content: ContentId) -> Result<Vec<HolderStatus>, ClientError> {
        todo!()
    }

    /// Fetches a content into `sink`; every chunk is verified before the sink sees it.
    /// Returns its length in bytes.
    ///
    /// # Errors
    /// Connection lost, refused (not found, unavailable, corrupt at the holders), wrong
    /// bytes, sink full. The sink may have seen part of the content by then.
    pub async fn fetch(
        &self,
        image: ImageId,
        content: ContentId,
        sink: &mut dyn ChunkSink,
    ) -> Result<u64, ClientError> {
        todo!()
    }
}
