//! The event loop as the node's other tasks see it: questions to peers and to the DHT.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use libp2p::request_response::OutboundFailure;
use libp2p::{Multiaddr, PeerId};
use thiserror::Error;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use crate::limits::MAX_BUSY_RETRIES;
use crate::protocol::{
    Denial, DrainStatus, NodeStatus, PeerRequest, PeerResponse, PeerStatus, Refusal, RefusalCode, ScrubStatus,
};
use crate::replication::drop;
use crate::store::index::Applied;
use crate::store::trash::EntryId;
use crate::transfer::busy_pause;
use crate::types::{ContentId, ImageId, RelPath, Standing};
use crate::wire::codec::Frame;

use super::NodeEvent;
use super::admission::Reply;
use super::beyond::Beyond;
use super::copies::News;
use super::drops::{Hindrance, LeaseDecision, Removing};

/// How often a thread tries a full queue again.
const QUEUE_RETRY: Duration = Duration::from_millis(10);

/// Why another node's answer did not come.
#[derive(Debug, Error)]
pub(super) enum AskError {
    /// Dead, frozen, gone.
    #[error("{0}")]
    Unreachable(String),
    /// It has too much to do; ask again.
    #[error("busy")]
    Busy,
    /// It answered that it won't or can't.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// It answered something else than what was asked.
    #[error("its answer makes no sense")]
    Nonsense,
    /// It sent bytes that are not the content's.
    #[error("it sent wrong bytes")]
    WrongBytes,
    /// This node is shutting down.
    #[error("this node is shutting down")]
    Stopping,
}

impl From<OutboundFailure> for AskError {
    fn from(failure: OutboundFailure) -> Self {
        match failure {
            // What it sent breaks the protocol; the same again would bring the same.
            OutboundFailure::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => Self::Nonsense,
            // A reset stream: the other side had no room for one more.
            OutboundFailure::Io(_) => Self::Busy,
            OutboundFailure::DialFailure => Self::Unreachable("it can't be reached".into()),
            OutboundFailure::Timeout => Self::Unreachable("it did not answer in time".into()),
            OutboundFailure::ConnectionClosed => Self::Unreachable("the connection was closed".into()),
            OutboundFailure::UnsupportedProtocols => Self::Unreachable("it speaks another protocol".into()),
        }
    }
}

/// What the event loop is asked to do. Each is answered exactly once.
#[derive(Debug)]
pub(super) enum Command {
    /// Ask a peer.
    Ask {
        peer: PeerId,
        request: Frame<PeerRequest>,
        reply: oneshot::Sender<Result<Frame<PeerResponse>, AskError>>,
    },
    /// Ask the DHT who provides a picture.
    Providers { image: ImageId, reply: oneshot::Sender<Vec<PeerId>> },
    /// Connect to a node, at these addresses and those that are known; whether there is a
    /// connection then.
    Connect { peer: PeerId, addresses: Vec<Multiaddr>, reply: oneshot::Sender<bool> },
    /// A peer says of itself that it has nothing of a picture.
    Denied { peer: PeerId, image: ImageId },
    /// Send an answer.
    Answer(Reply),
    /// A peer sent bytes that are not the content's.
    WrongBytes { peer: PeerId, content: ContentId },
    /// A file turned out not to be what the index says.
    LookAgain { paths: Vec<RelPath> },
    /// The index has changed, by other hands than the folder's.
    Applied(Applied),
    /// A step of a drop ended.
    Dropped(Box<drop::Event>),
    /// A member asks for a lease; the planner decides.
    Lease { request: Box<drop::Request>, reply: oneshot::Sender<LeaseDecision> },
    /// A file of the trash whose time is over.
    Purge { plan: Box<drop::Plan>, entry: EntryId },
    /// A content of this node, in so many files, is to go because a person says so.
    BeginRemoval { content: ContentId, files: u64, reply: oneshot::Sender<Result<Removing, Hindrance>> },
    /// It has gone, in so many files.
    Removed { content: ContentId, files: u64 },
    /// How many copies there should be of what these nodes hold.
    WantedCopies { holders: Vec<PeerId>, reply: oneshot::Sender<u16> },
    /// A person lets drops go on.
    Approve { reply: oneshot::Sender<u64> },
    /// A person wants everything read again, or only to know how far that is.
    Scrub { now: bool, reply: oneshot::Sender<ScrubStatus> },
    /// Something to tell who watches the node.
    Tell(NodeEvent),
    /// What a task that has to do with copies found out.
    Copies(Box<News>),
    /// What has to do with nodes whose catalogs are not here.
    Beyond(Beyond),
    /// The loop's part of the status.
    Status { reply: oneshot::Sender<NodeStatus> },
    /// The members.
    Peers { reply: oneshot::Sender<Vec<PeerStatus>> },
    /// Stop.
    Shutdown { done: oneshot::Sender<()> },
}

/// The members that are connected and understood, and what they are to this node.
pub(super) type Live = Arc<HashMap<PeerId, Standing>>;

/// A handle on the event loop. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Network {
    me: PeerId,
    commands: mpsc::Sender<Command>,
    live: watch::Receiver<Live>,
}

impl Network {
    pub(super) fn new(me: PeerId, commands: mpsc::Sender<Command>, live: watch::Receiver<Live>) -> Self {
        Self { me, commands, live }
    }

    /// This node.
    pub(super) fn me(&self) -> PeerId {
        self.me
    }

    /// The members that are connected and understood, now.
    pub(super) fn live(&self) -> Live {
        Arc::clone(&self.live.borrow())
    }

    /// What any node is to this one, now.
    pub(super) fn standing(&self) -> impl Fn(&PeerId) -> Standing + Send + 'static {
        let (me, live) = (self.me, self.live());
        move |peer| {
            if *peer == me { Standing::Trusted } else { live.get(peer).copied().unwrap_or(Standing::Away) }
        }
    }

    /// Asks a peer; a refusal is an error, `busy` one of its own.
    pub(super) async fn ask(
        &self,
        peer: PeerId,
        request: PeerRequest,
    ) -> Result<Frame<PeerResponse>, AskError> {
        self.ask_frame(peer, request.into()).await
    }

    /// Like [`Network::ask`], for a request with a payload.
    pub(super) async fn ask_frame(
        &self,
        peer: PeerId,
        request: Frame<PeerRequest>,
    ) -> Result<Frame<PeerResponse>, AskError> {
        let answer =
            self.call(|reply| Command::Ask { peer, request, reply }).await.ok_or(AskError::Stopping)??;
        match answer.header {
            PeerResponse::Refused(refusal) if refusal.code == RefusalCode::Busy => Err(AskError::Busy),
            PeerResponse::Refused(refusal) => Err(AskError::Refused(refusal)),
            _ => Ok(answer),
        }
    }

    /// Asks, and asks again with growing pauses while the peer is busy.
    pub(super) async fn ask_patiently(
        &self,
        peer: PeerId,
        request: PeerRequest,
    ) -> Result<Frame<PeerResponse>, AskError> {
        let mut attempt = 0;
        loop {
            match self.ask(peer, request.clone()).await {
                Err(AskError::Busy) if attempt < MAX_BUSY_RETRIES => {
                    attempt += 1;
                    tokio::time::sleep(busy_pause(attempt)).await;
                }
                answer => return answer,
            }
        }
    }

    /// The providers that the DHT names first; empty when it names none in time.
    pub(super) async fn providers(&self, image: ImageId) -> Vec<PeerId> {
        self.call(|reply| Command::Providers { image, reply }).await.unwrap_or_default()
    }

    /// Connects to a node; whether there is a connection now.
    pub(super) async fn connect(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> bool {
        self.call(|reply| Command::Connect { peer, addresses, reply }).await.unwrap_or(false)
    }

    /// Has the record forgotten that says that `peer` has something of a picture: it says
    /// itself that it hasn't. Only a hint goes, and comes again when the peer is wrong.
    pub(super) async fn denied(&self, peer: PeerId, image: ImageId) {
        let _ = self.commands.send(Command::Denied { peer, image }).await;
    }

    /// Sends an answer.
    pub(super) async fn answer(&self, reply: Reply) {
        // A stopped loop has closed the stream already.
        let _ = self.commands.send(Command::Answer(reply)).await;
    }

    /// Reports wrong bytes by name (promise P7).
    pub(super) async fn wrong_bytes(&self, peer: PeerId, content: ContentId) {
        let _ = self.commands.send(Command::WrongBytes { peer, content }).await;
    }

    /// Has files looked at again.
    pub(super) async fn look_again(&self, paths: Vec<RelPath>) {
        let _ = self.commands.send(Command::LookAgain { paths }).await;
    }

    /// Tells what changed in the index: members pull it, and the DHT hears of it.
    pub(super) async fn applied(&self, applied: Applied) {
        let _ = self.commands.send(Command::Applied(applied)).await;
    }

    /// The same from a thread, which waits for room only as long as `stop` is false.
    pub(super) fn applied_unless(&self, stop: &AtomicBool, applied: Applied) {
        let mut command = Command::Applied(applied);
        while !stop.load(Relaxed) {
            command = match self.commands.try_send(command) {
                Err(TrySendError::Full(command)) => command,
                Ok(()) | Err(TrySendError::Closed(_)) => return,
            };
            thread::sleep(QUEUE_RETRY);
        }
    }

    /// Tells the drop planner what came of a step.
    pub(super) async fn dropped(&self, event: drop::Event) {
        let _ = self.commands.send(Command::Dropped(Box::new(event))).await;
    }

    /// Whether a lease may be promised; from then on it is.
    pub(super) async fn judge_lease(&self, request: drop::Request) -> LeaseDecision {
        let request = Box::new(request);
        let decision = self.call(|reply| Command::Lease { request, reply }).await;
        // The planner was silent: it has too much to do.
        decision.unwrap_or(LeaseDecision::Denied(Denial::Busy))
    }

    /// Tells the desk of copies.
    pub(super) async fn copies(&self, news: News) {
        let _ = self.commands.send(Command::Copies(Box::new(news))).await;
    }

    /// See [`News::Drain`]; `None` when the loop has stopped.
    pub(super) async fn drain(&self, cancel: bool) -> Option<DrainStatus> {
        self.call(|reply| Command::Copies(Box::new(News::Drain { cancel, reply }))).await
    }

    /// Has a file of the trash proved and deleted.
    pub(super) async fn purge(&self, plan: drop::Plan, entry: EntryId) {
        let _ = self.commands.send(Command::Purge { plan: Box::new(plan), entry }).await;
    }

    /// Lets the drops go on that the brake holds back; how many files may go then.
    pub(super) async fn approve(&self) -> Option<u64> {
        self.call(|reply| Command::Approve { reply }).await
    }

    /// Has everything read again, if it is to be `now`; how far that is.
    pub(super) async fn scrub(&self, now: bool) -> Option<ScrubStatus> {
        self.call(|reply| Command::Scrub { now, reply }).await
    }

    /// How many copies there should be of what these nodes hold, as any of them or this one asks
    /// for.
    pub(super) async fn wanted_copies(&self, holders: Vec<PeerId>) -> u16 {
        self.call(|reply| Command::WantedCopies { holders, reply }).await.unwrap_or(u16::MAX)
    }

    /// Whether a content may go now because a person says so. Until the answer is dropped no lease
    /// is granted on it.
    pub(super) async fn begin_removal(&self, content: ContentId, files: u64) -> Result<Removing, Hindrance> {
        let begun = self.call(|reply| Command::BeginRemoval { content, files, reply }).await;
        begun.unwrap_or_else(|| Err(Hindrance::Wait("this node is shutting down".to_owned())))
    }

    /// So many files of it went.
    pub(super) async fn removed(&self, content: ContentId, files: u64) {
        let _ = self.commands.send(Command::Removed { content, files }).await;
    }

    /// Whether the loop has ended.
    pub(super) fn is_stopped(&self) -> bool {
        self.commands.is_closed()
    }

    /// Tells who watches the node.
    pub(super) async fn tell(&self, event: NodeEvent) {
        let _ = self.commands.send(Command::Tell(event)).await;
    }

    /// The loop's part of the status; `None` when it has stopped.
    pub(super) async fn status(&self) -> Option<NodeStatus> {
        self.call(|reply| Command::Status { reply }).await
    }

    /// The members; `None` when the loop has stopped.
    pub(super) async fn peers(&self) -> Option<Vec<PeerStatus>> {
        self.call(|reply| Command::Peers { reply }).await
    }

    /// Stops the loop; returns when it has.
    pub(super) async fn shutdown(&self) {
        self.call(|done| Command::Shutdown { done }).await;
    }

    /// Tells the loop; nothing when it has stopped.
    pub(super) async fn tell_loop(&self, command: Command) {
        let _ = self.commands.send(command).await;
    }

    pub(super) async fn call<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}
