//! A client: an ephemeral identity that talks to one node and gets any image of the swarm
//! through it.

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use libp2p::pnet::PreSharedKey;
use libp2p::request_response::OutboundFailure;
use libp2p::{Multiaddr, PeerId};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::limits;
use crate::protocol::{
    ClientRequest, ClientResponse, HolderStatus, ImageRow, ListPage, NodeStatus, PeerStatus, Refusal,
    RefusalCode,
};
use crate::transfer::busy_pause;
use crate::types::{ContentId, ImageId};
use crate::wire::codec::Frame;

mod connection;
mod dedup;
mod fetch;
mod put;
mod removal;

use connection::Ask;
pub use put::{Copies, Put};

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
    /// The file to be sent could not be read.
    #[error("cannot read {what}: {source}")]
    Input {
        /// Which file.
        what: String,
        /// The system's reason.
        source: std::io::Error,
    },
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
pub trait ChunkSink: Send {
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

/// A connection to one node. Cheap to clone; calls may run at once. The connection ends
/// with the last clone.
#[derive(Debug, Clone)]
pub struct Client {
    node: PeerId,
    address: Multiaddr,
    asks: mpsc::Sender<Ask>,
}

/// Why one request was not answered.
enum CallError {
    /// The node is busy, or reset the stream: the same again after a pause.
    Busy,
    /// Anything else.
    Final(ClientError),
}

impl Client {
    /// Connects to the node at `address` (with or without `/p2p/<peer id>`).
    ///
    /// # Errors
    /// [`ClientError::Connect`].
    pub async fn connect(address: Multiaddr, key: Option<PreSharedKey>) -> Result<Self, ClientError> {
        let (node, asks) = connection::open(&address, key).await?;
        Ok(Self { node, address, asks })
    }

    /// Connects to one of `addresses`: the next one is tried when one has failed, or has
    /// not answered for [`CONNECT_STAGGER`](limits::CONNECT_STAGGER), and the first that
    /// answers is it.
    ///
    /// # Errors
    /// When all have failed: the last one's error.
    pub async fn connect_any(
        addresses: &[Multiaddr],
        key: Option<PreSharedKey>,
    ) -> Result<Self, ClientError> {
        let mut waiting = addresses.iter();
        let mut trying = FuturesUnordered::new();
        let mut last =
            ClientError::Connect { address: Multiaddr::empty(), reason: "no address is known".to_owned() };
        loop {
            if trying.len() < limits::MAX_CONNECTING
                && let Some(address) = waiting.next()
            {
                trying.push(Self::connect(address.clone(), key));
            }
            let more = trying.len() < limits::MAX_CONNECTING && waiting.len() > 0;
            tokio::select! {
                end = trying.next() => match end {
                    Some(Ok(client)) => return Ok(client),
                    Some(Err(error)) => last = error,
                    None => return Err(last),
                },
                () = tokio::time::sleep(limits::CONNECT_STAGGER), if more => {}
            }
        }
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
        match self.call(ClientRequest::Status, "asking its status").await?.header {
            ClientResponse::Status(status) => Ok(*status),
            _ => Err(ClientError::Protocol("status")),
        }
    }

    /// The members it knows.
    ///
    /// # Errors
    /// Connection lost, or refused.
    pub async fn peers(&self) -> Result<Vec<PeerStatus>, ClientError> {
        match self.call(ClientRequest::Peers, "asking for its peers").await?.header {
            ClientResponse::Peers(peers) => Ok(peers),
            _ => Err(ClientError::Protocol("peers")),
        }
    }

    /// One page of the list of all images; start with `None`, go on with
    /// [`ListPage::next`] until it is `None`.
    ///
    /// # Errors
    /// Connection lost, or refused.
    pub async fn list(&self, after: Option<Vec<u8>>, filter: Option<&str>) -> Result<ListPage, ClientError> {
        let request = ClientRequest::List { after: after.map(Into::into), filter: filter.map(str::to_owned) };
        match self.call(request, "listing").await?.header {
            ClientResponse::List(page) => Ok(page),
            _ => Err(ClientError::Protocol("list")),
        }
    }

    /// The contents that a hash or prefix means, and whether there are more.
    ///
    /// # Errors
    /// Connection lost; refused with `invalid` when `query` is no hash or prefix.
    pub async fn resolve(&self, query: &str) -> Result<(Vec<ImageRow>, bool), ClientError> {
        let request = ClientRequest::Resolve { query: query.to_owned() };
        match self.call(request, "looking up the hash").await?.header {
            ClientResponse::Found { rows, more } => Ok((rows, more)),
            _ => Err(ClientError::Protocol("found")),
        }
    }

    /// Asks the holders of a content, now.
    ///
    /// # Errors
    /// Connection lost, or refused.
    pub async fn locate(&self, image: ImageId, content: ContentId) -> Result<Vec<HolderStatus>, ClientError> {
        match self.call(ClientRequest::Locate { content, image }, "looking for the holders").await?.header {
            ClientResponse::Located(holders) => Ok(holders),
            _ => Err(ClientError::Protocol("located")),
        }
    }

    /// Asks, and asks again with growing pauses while the node is busy.
    async fn call(
        &self,
        request: impl Into<Frame<ClientRequest>>,
        doing: &str,
    ) -> Result<Frame<ClientResponse>, ClientError> {
        let request = request.into();
        let mut attempt = 0;
        loop {
            match self.try_call(request.clone(), doing).await {
                Ok(frame) => return Ok(frame),
                Err(CallError::Final(error)) => return Err(error),
                Err(CallError::Busy) if attempt == limits::MAX_BUSY_RETRIES => {
                    let message = format!("the node is too busy ({doing}): try again later");
                    return Err(ClientError::Refused(Refusal::new(RefusalCode::Busy, message)));
                }
                Err(CallError::Busy) => {
                    attempt += 1;
                    tokio::time::sleep(busy_pause(attempt)).await;
                }
            }
        }
    }

    async fn try_call(
        &self,
        request: impl Into<Frame<ClientRequest>>,
        doing: &str,
    ) -> Result<Frame<ClientResponse>, CallError> {
        let request = request.into();
        let (reply, answer) = oneshot::channel();
        self.asks
            .send(Ask { request, reply })
            .await
            .map_err(|_| self.lost(doing, "the connection was closed"))?;
        match answer.await {
            Ok(Ok(frame)) => match frame.header {
                ClientResponse::Refused(refusal) if refusal.code == RefusalCode::Busy => Err(CallError::Busy),
                ClientResponse::Refused(refusal) => Err(CallError::Final(ClientError::Refused(refusal))),
                _ => Ok(frame),
            },
            Ok(Err(OutboundFailure::Io(error))) if error.kind() == std::io::ErrorKind::InvalidData => {
                tracing::debug!(%error, "a malformed answer");
                Err(CallError::Final(ClientError::Protocol("malformed")))
            }
            // A reset stream: the node had no room for one more.
            Ok(Err(OutboundFailure::Io(_))) => Err(CallError::Busy),
            Ok(Err(OutboundFailure::Timeout)) => Err(self.lost(doing, "no answer in time")),
            Ok(Err(OutboundFailure::UnsupportedProtocols)) => {
                Err(self.lost(doing, "it is not a p2pimg node of this version"))
            }
            Ok(Err(_)) | Err(_) => Err(self.lost(doing, "the connection was closed")),
        }
    }

    fn lost(&self, doing: &str, reason: &str) -> CallError {
        CallError::Final(ClientError::Lost {
            address: self.address.clone(),
            doing: doing.to_owned(),
            reason: reason.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client of a port where nobody listens was told that a handshake had failed and
    /// asked whether it needs a swarm key.
    #[tokio::test]
    async fn nobody_listening_is_not_taken_for_a_wrong_key() {
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
        for key in [None, Some(PreSharedKey::new([7; 32]))] {
            let error = Client::connect(address.clone(), key).await.unwrap_err().to_string();
            assert!(error.contains("nobody listens there"), "{error}");
        }
    }

    /// A client without `--peer` tried the running nodes one after the other: one that hung
    /// cost ten seconds for each of its addresses before the next was asked.
    #[tokio::test]
    async fn an_address_that_hangs_does_not_hold_up_the_next() {
        // Accepts connections and never says a word.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let silent_port = silent.local_addr().unwrap().port();
        let dead_port = {
            let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            gone.local_addr().unwrap().port()
        };
        let address = |port: u16| -> Multiaddr { format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap() };
        let only_silent = [address(silent_port)];
        let hang = Client::connect_any(&only_silent, None);
        assert!(tokio::time::timeout(limits::CONNECT_STAGGER * 2, hang).await.is_err());

        let folder = tempfile::tempdir().unwrap();
        let home = tempfile::tempdir().unwrap();
        let mut config = crate::node::NodeConfig::new(folder.path());
        config.home = Some(home.path().to_owned());
        config.listen = vec![address(0)];
        config.mdns = false;
        let (node, _events) = crate::node::start(config).await.unwrap();
        let live = node.addresses().first().unwrap().clone();
        let all = [address(silent_port), address(dead_port), address(silent_port), live];
        let client =
            tokio::time::timeout(limits::CONNECT_DEADLINE / 2, Client::connect_any(&all, None)).await;
        assert_eq!(client.unwrap().unwrap().node(), node.peer_id());
        node.shutdown().await;
    }
}
