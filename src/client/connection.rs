//! The client's swarm: one connection, requests in, answers out.

use std::collections::HashMap;

use futures::StreamExt as _;
use libp2p::identity::Keypair;
use libp2p::pnet::PreSharedKey;
use libp2p::request_response::{self, OutboundFailure, OutboundRequestId};
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

use crate::behaviour::{self, ClientBehaviour, ClientBehaviourEvent};
use crate::limits;
use crate::protocol::{ClientRequest, ClientResponse};
use crate::wire::codec::Frame;
use crate::wire::trouble;

use super::ClientError;

pub(super) type Answer = Result<Frame<ClientResponse>, OutboundFailure>;

/// A request and where its answer goes.
pub(super) struct Ask {
    pub(super) request: Frame<ClientRequest>,
    pub(super) reply: oneshot::Sender<Answer>,
}

/// Connects, then serves [`Ask`]s in a task of its own until all senders are gone or the
/// connection is.
pub(super) async fn open(
    address: &Multiaddr,
    key: Option<PreSharedKey>,
) -> Result<(PeerId, mpsc::Sender<Ask>), ClientError> {
    let failed = |reason: String| ClientError::Connect { address: address.clone(), reason };
    let keypair = Keypair::generate_ed25519();
    let mut swarm = behaviour::swarm(&keypair, key, ClientBehaviour::new(&keypair))
        .map_err(|error| failed(error.to_string()))?;
    swarm
        .dial(DialOpts::from(address.clone()))
        .map_err(|error| failed(trouble::dial_failure(&error, key.is_some())))?;
    let connected =
        tokio::time::timeout(limits::CONNECT_DEADLINE, established(&mut swarm, key.is_some())).await;
    let node = match connected {
        Ok(Ok(node)) => node,
        Ok(Err(reason)) => return Err(failed(reason)),
        Err(_) => return Err(failed("no answer in time".to_owned())),
    };
    let (asks, inbox) = mpsc::channel(limits::COMMAND_QUEUE);
    tokio::spawn(serve(swarm, node, inbox));
    Ok((node, asks))
}

async fn established(swarm: &mut Swarm<ClientBehaviour>, keyed: bool) -> Result<PeerId, String> {
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => return Ok(peer_id),
            SwarmEvent::OutgoingConnectionError { error, .. } => {
                return Err(trouble::dial_failure(&error, keyed));
            }
            _ => {}
        }
    }
}

async fn serve(mut swarm: Swarm<ClientBehaviour>, node: PeerId, mut inbox: mpsc::Receiver<Ask>) {
    let mut waiting: HashMap<OutboundRequestId, oneshot::Sender<Answer>> = HashMap::new();
    loop {
        // Answers first: a new request may wait until a finished one has made room.
        tokio::select! {
            biased;
            event = swarm.select_next_some() => match event {
                SwarmEvent::Behaviour(ClientBehaviourEvent::Client(event)) => on_answer(event, &mut waiting),
                // Requests under way are reported by request-response itself; later ones
                // find the channel closed.
                SwarmEvent::ConnectionClosed { num_established: 0, .. } => {
                    inbox.close();
                    if waiting.is_empty() {
                        return;
                    }
                }
                _ => {}
            },
            ask = inbox.recv(), if waiting.len() < limits::MAX_STREAMS_PER_CONNECTION => match ask {
                Some(Ask { request, reply }) => {
                    waiting.insert(swarm.behaviour_mut().client.send_request(&node, request), reply);
                }
                None if waiting.is_empty() => return,
                // Closed, and answers still to come: wait for the swarm alone.
                None => if let SwarmEvent::Behaviour(ClientBehaviourEvent::Client(event)) = swarm.select_next_some().await { on_answer(event, &mut waiting) },
            },
        }
    }
}

fn on_answer(
    event: request_response::Event<Frame<ClientRequest>, Frame<ClientResponse>>,
    waiting: &mut HashMap<OutboundRequestId, oneshot::Sender<Answer>>,
) {
    use request_response::{Event, Message};
    let (request_id, answer) = match event {
        Event::Message { message: Message::Response { request_id, response }, .. } => {
            (request_id, Ok(response))
        }
        Event::OutboundFailure { request_id, error, .. } => (request_id, Err(error)),
        _ => return,
    };
    if let Some(reply) = waiting.remove(&request_id) {
        // The caller may have given up.
        let _ = reply.send(answer);
    }
}
