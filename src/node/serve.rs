//! Answers to other nodes and to clients. Everything here runs in a task of its own, off
//! the event loop, under a deadline and holding its [`Places`](super::admission::Places).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use libp2p::PeerId;

use crate::limits;
use crate::protocol::{
    CatalogEntry, ClientRequest, ClientResponse, PeerRequest, PeerResponse, Refusal, RefusalCode,
};
use crate::store::files::{self, ChunkRead, ReadError};
use crate::store::folder::Root;
use crate::store::index::{Index, IndexError};
use crate::store::ledger::LedgerError;
use crate::store::recording::RecordingShelf;
use crate::store::replicas::{Replicas, settle};
use crate::transfer::outline::{Outline, Run};
use crate::types::{ContentId, Epoch, ImageId, RelPath, Seq, Standing};
use crate::wire::codec::Frame;

use super::asking::RollCalls;
use super::bands::Bands;
use super::copies::{AddedUp, HeldElsewhere, Taking};
use super::describe;
use super::drops::{Asked, Tools};
use super::finder::{self, Memory};
use super::heal::Damage;
use super::network::Network;
use super::put::Uploads;
use super::recent::Recent;
use super::relay::{Relay, no_such_chunk};
use super::similar::Turns;
use super::why::{self, Confirmations};

/// What answering needs. One per node, shared by all its tasks.
#[derive(Debug)]
pub(super) struct Services {
    pub(super) net: Network,
    pub(super) index: Arc<Index>,
    pub(super) folder: PathBuf,
    /// The same with its marker.
    pub(super) root: Root,
    pub(super) replicas: Replicas,
    /// What drops work with.
    pub(super) drops: Tools,
    /// What was found damaged, and healing it.
    pub(super) damage: Damage,
    /// The index and the ledger, for what is found out about a file.
    pub(super) shelf: Arc<RecordingShelf>,
    /// What looks for duplicates leave behind.
    pub(super) memory: Arc<Memory>,
    /// Who said when that it holds what.
    pub(super) confirmations: Confirmations,
    /// What clients are sending.
    pub(super) uploads: Uploads,
    /// Clients may change the folder.
    pub(super) allow_write: bool,
    /// What members hold whose catalogs are not kept.
    pub(super) held_elsewhere: HeldElsewhere,
    /// Who was there when that was last asked.
    pub(super) roll_calls: RollCalls,
    /// What is being relayed.
    pub(super) relays: Recent<Relay>,
    /// What is being read from the own folder and the replicas.
    pub(super) reading: Recent<OwnContent>,
    /// What the own catalog added up to when it was last asked.
    pub(super) added_up: AddedUp,
    /// Who asks for similar pictures.
    pub(super) turns: Turns,
    /// Copies that are being taken.
    pub(super) taking: Taking,
    /// Near-duplicates through the DHT.
    pub(super) bands: Bands,
    pub(super) started: Instant,
}

/// An own content while its chunks are asked for: reading its record anew for each chunk
/// would fold the whole outline each time.
#[derive(Debug)]
pub(super) struct OwnContent {
    outline: Outline,
    paths: Vec<RelPath>,
    replica: Option<PathBuf>,
}

impl OwnContent {
    /// Blocks on the disk.
    fn read(&self, folder: &Path, run: Run) -> Read {
        match &self.replica {
            None => files::read_chunk(folder, &self.paths, &self.outline, run),
            Some(replica) => files::read_chunk_or_replica(folder, &self.paths, replica, &self.outline, run),
        }
    }
}

pub(super) fn frame<H>(header: H) -> Frame<H> {
    Frame { header, payload: Vec::new() }
}

/// What reading chunks gave.
type Read = Result<ChunkRead, ReadError>;

/// An answer with bytes, or a refusal.
pub(super) type Served<H> = Result<Frame<H>, Refusal>;

impl Services {
    /// Answers another node.
    pub(super) async fn answer_peer(
        self: &Arc<Self>,
        peer: PeerId,
        request: Frame<PeerRequest>,
    ) -> Frame<PeerResponse> {
        let served = tokio::time::timeout(limits::HOLDER_DEADLINE, self.serve_peer(peer, request)).await;
        served
            .unwrap_or_else(|_| Err(too_slow()))
            .unwrap_or_else(|refusal| frame(PeerResponse::Refused(refusal)))
    }

    /// Answers a client.
    pub(super) async fn answer_client(
        self: &Arc<Self>,
        client: PeerId,
        request: Frame<ClientRequest>,
        trusted: bool,
    ) -> Frame<ClientResponse> {
        let served = match request {
            Frame { header: ClientRequest::Put(put), payload } => {
                tokio::time::timeout(limits::RELAY_DEADLINE, self.put(client, put, payload)).await
            }
            Frame { header, .. } => {
                tokio::time::timeout(limits::RELAY_DEADLINE, self.serve_client(header, trusted)).await
            }
        };
        served
            .unwrap_or_else(|_| Err(too_slow()))
            .unwrap_or_else(|refusal| frame(ClientResponse::Refused(refusal)))
    }

    async fn serve_peer(
        self: &Arc<Self>,
        peer: PeerId,
        Frame { header: request, payload }: Frame<PeerRequest>,
    ) -> Served<PeerResponse> {
        match request {
            PeerRequest::Catalog { epoch, after } => self.catalog(epoch, after).await,
            PeerRequest::Holding { images } => self.holding(images).await,
            PeerRequest::Outline { content } => match self.own_outline(content).await? {
                Some(outline) => Ok(Frame {
                    header: PeerResponse::Outline { bytes: outline.bytes() },
                    payload: outline.values().to_vec(),
                }),
                None => Err(not_held(content)),
            },
            PeerRequest::Chunk { content, index } => match self.own_chunks(content, index.into()).await? {
                Some(payload) => Ok(Frame { header: PeerResponse::Chunk, payload }),
                None => Err(not_held(content)),
            },
            PeerRequest::Chunks { content, first, count } => {
                match self.own_chunks(content, Run { first, count }).await? {
                    Some(payload) => Ok(Frame { header: PeerResponse::Chunks, payload }),
                    None => Err(not_held(content)),
                }
            }
            PeerRequest::Witnesses { content } => self.serve_witnesses(peer, content).await,
            PeerRequest::Lease { content, subject, keeps, nonce, witnesses } => {
                self.serve_lease(peer, Asked { content, subject, keeps, nonce, witnesses, payload }).await
            }
            PeerRequest::Prove { content, nonce } => {
                refuse_stranger(self, peer)?;
                self.serve_proof(peer, content, &nonce).await
            }
            PeerRequest::Describe { contents } => {
                refuse_stranger(self, peer)?;
                let (index, ledger) = (Arc::clone(&self.index), self.drops.ledger.clone());
                blocking(move || describe::describe(&index, ledger.as_deref(), &contents)).await?
            }
            PeerRequest::StoreBands(store) => self.serve_store_bands(peer, store, payload).await,
            PeerRequest::AskBands(ask) => self.serve_ask_bands(peer, ask, payload).await,
            PeerRequest::Digest => self.serve_digest(peer).await,
            PeerRequest::Offer { contents } => self.serve_offer(peer, contents).await,
            PeerRequest::Removals(told) => self.serve_removals(peer, told).await,
            PeerRequest::List { after, query, most } => self.serve_list(after, query, most).await,
            PeerRequest::History { query } => {
                refuse_stranger(self, peer)?;
                Ok(frame(PeerResponse::History(self.own_history(why::parse(&query)?).await?)))
            }
            // The event loop answers these two itself: they are about the network.
            PeerRequest::Hello(_) | PeerRequest::Members => {
                Err(Refusal::new(RefusalCode::Invalid, "answered elsewhere"))
            }
        }
    }

    async fn serve_client(self: &Arc<Self>, request: ClientRequest, trusted: bool) -> Served<ClientResponse> {
        match request {
            ClientRequest::Status => self.status().await,
            ClientRequest::Peers => {
                self.net.peers().await.map(|peers| frame(ClientResponse::Peers(peers))).ok_or_else(stopping)
            }
            ClientRequest::List { after, filter } => self.list(after, filter).await,
            ClientRequest::Resolve { query } => self.resolve(&query).await,
            ClientRequest::Locate { content, image } => {
                Ok(frame(ClientResponse::Located(self.locate(image, content).await)))
            }
            ClientRequest::Outline { content, image } => {
                let outline = match self.own_outline(content).await? {
                    Some(outline) => outline,
                    None => self.relayed_outline(image, content).await?,
                };
                let header = ClientResponse::Outline { bytes: outline.bytes() };
                Ok(Frame { header, payload: outline.values().to_vec() })
            }
            ClientRequest::Chunk { content, image, index } => {
                let payload = self.chunks(image, content, index.into()).await?;
                Ok(Frame { header: ClientResponse::Chunk, payload })
            }
            ClientRequest::Chunks { content, image, first, count } => {
                let payload = self.chunks(image, content, Run { first, count }).await?;
                Ok(Frame { header: ClientResponse::Chunks, payload })
            }
            ClientRequest::ApproveDrops
            | ClientRequest::Drain { .. }
            | ClientRequest::Scrub { now: true }
            | ClientRequest::Verify { .. }
            | ClientRequest::RestoreTrash { .. }
            | ClientRequest::EmptyTrash { .. }
                if !trusted =>
            {
                Err(Refusal::new(
                    RefusalCode::Forbidden,
                    "only clients with the swarm key, or on this machine, may do that",
                ))
            }
            ClientRequest::ApproveDrops => {
                let files = self.net.approve().await.ok_or_else(stopping)?;
                Ok(frame(ClientResponse::Approved { files }))
            }
            ClientRequest::Drain { cancel } => {
                let status = self.net.drain(cancel).await.ok_or_else(stopping)?;
                Ok(frame(ClientResponse::Drain(status)))
            }
            ClientRequest::Scrub { now } => {
                let mut status = self.net.scrub(now).await.ok_or_else(stopping)?;
                self.tell_damage(&mut status).await?;
                Ok(frame(ClientResponse::Scrub(status)))
            }
            ClientRequest::Verify { content, image } => {
                Ok(frame(ClientResponse::Verified(self.verify(image, content).await)))
            }
            ClientRequest::RestoreTrash { entry } => self.restore_trash(&entry).await,
            ClientRequest::EmptyTrash { until } => self.empty_trash(until).await,
            ClientRequest::Duplicates { from } => {
                let page = finder::page(self.memory.shown().as_deref(), from);
                Ok(frame(ClientResponse::Duplicates(page)))
            }
            ClientRequest::Remove { content } => self.remove(content).await,
            ClientRequest::Similar(query) => self.similar(query).await,
            // With its payload, and so elsewhere.
            ClientRequest::Put(_) => Err(Refusal::new(RefusalCode::Invalid, "answered elsewhere")),
            ClientRequest::Why { query } => Ok(frame(ClientResponse::Why(Box::new(self.why(&query).await?)))),
        }
    }

    async fn catalog(&self, epoch: Epoch, after: Seq) -> Served<PeerResponse> {
        let page = self.on_disk(move |index| index.catalog_page(epoch, after)).await?;
        Ok(frame(PeerResponse::Catalog(page)))
    }

    async fn holding(&self, images: Vec<ImageId>) -> Served<PeerResponse> {
        let entries = self
            .on_disk(move |index| {
                let mut entries: Vec<CatalogEntry> = Vec::new();
                for image in &images {
                    entries.extend(index.held(image)?);
                    if entries.len() >= limits::MAX_PAGE_ENTRIES {
                        break;
                    }
                }
                entries.truncate(limits::MAX_PAGE_ENTRIES);
                Ok(entries)
            })
            .await?;
        Ok(frame(PeerResponse::Holding(entries)))
    }

    async fn status(&self) -> Served<ClientResponse> {
        let status = self.full_status().await.ok_or_else(stopping)??;
        Ok(frame(ClientResponse::Status(Box::new(status))))
    }

    /// The loop's part of the status and the index's; `None` when the loop has stopped.
    pub(super) async fn full_status(&self) -> Option<Result<crate::protocol::NodeStatus, Refusal>> {
        let mut status = self.net.status().await?;
        status.uptime_s = self.started.elapsed().as_secs();
        let facts =
            self.on_disk(|index| Ok((index.totals()?, index.problems(limits::MAX_REPORTED_PROBLEMS)?))).await;
        let (totals, problems) = match facts {
            Ok(facts) => facts,
            Err(refusal) => return Some(Err(refusal)),
        };
        status.images = totals.images;
        status.bytes = totals.bytes;
        status.unprotected = totals.unprotected;
        // What could not be read, which the loop knows, before what could not be decoded.
        status.problem_count += totals.problems;
        status.problems.extend(problems);
        status.problems.truncate(limits::MAX_REPORTED_PROBLEMS);
        self.damage.tell(&mut status.scrub, &totals);
        status.dedup.replicas = totals.replicas;
        status.dedup.replica_bytes = totals.replica_bytes;
        if let Some(trash) = &self.drops.trash {
            let usage = trash.usage();
            status.dedup.trash_files = usage.files;
            status.dedup.trash_bytes = usage.bytes;
        }
        Some(Ok(status))
    }

    pub(super) async fn own_outline(&self, content: ContentId) -> Result<Option<Outline>, Refusal> {
        Ok(self.on_disk(move |index| index.content(&content)).await?.map(|record| record.outline))
    }

    /// Chunks from wherever they are, checked.
    async fn chunks(
        self: &Arc<Self>,
        image: ImageId,
        content: ContentId,
        run: Run,
    ) -> Result<Vec<u8>, Refusal> {
        match self.own_chunks(content, run).await {
            Ok(Some(data)) => Ok(data),
            // Not here, or here but unreadable: another holder may have it.
            Ok(None) => self.relayed_chunks(image, content, run).await,
            Err(own) => self.relayed_chunks(image, content, run).await.map_err(|_| own),
        }
    }

    /// Chunks of an own file or a replica, checked; `None` when this node doesn't hold the content.
    pub(super) async fn own_chunks(
        self: &Arc<Self>,
        content: ContentId,
        run: Run,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let services = Arc::clone(self);
        let read = blocking(move || services.read_chunks(content, run)).await??;
        let (answer, suspects) = match read {
            None => return Ok(None),
            Some(Ok(read)) => (Ok(Some(read.data)), read.suspects),
            Some(Err(ReadError::NoSuchChunk { index, .. })) => return Err(no_such_chunk(content, index)),
            Some(Err(error)) => {
                if matches!(&error, ReadError::Replica { problem, .. } if problem.wants_recheck()) {
                    self.recheck(content);
                }
                (Err(Refusal::new(RefusalCode::Unreadable, error.to_string())), error.suspects().to_vec())
            }
        };
        if !suspects.is_empty() {
            self.net.look_again(suspects).await;
        }
        answer
    }

    /// Has a replica read again as a whole, and withdrawn when it is damaged or gone. Not in the
    /// task that answers, which has a deadline. A second one meanwhile ends at once.
    pub(super) fn recheck(self: &Arc<Self>, content: ContentId) {
        let services = Arc::clone(self);
        tokio::spawn(async move {
            let checked = blocking({
                let services = Arc::clone(&services);
                move || settle::recheck(&services.replicas, &services.index, content)
            });
            match checked.await {
                Ok(Ok(Some(applied))) => services.lost_replica(content, applied).await,
                Ok(Ok(None)) | Err(_) => {}
                Ok(Err(error)) => tracing::debug!(%error, "reading a replica again"),
            }
        });
    }

    /// Blocks on the disk.
    fn read_chunks(&self, content: ContentId, run: Run) -> Result<Option<Read>, Refusal> {
        let read = |own: &OwnContent| own.read(&self.folder, run);
        if let Some(known) = self.reading.get(&content) {
            match read(&known) {
                Ok(chunk) if chunk.suspects.is_empty() => return Ok(Some(Ok(chunk))),
                // The file may have been moved since: the index knows.
                _ => self.reading.forget(&content),
            }
        }
        let Some(record) = self.index.content(&content).map_err(|error| index_refusal(&error))? else {
            return Ok(None);
        };
        let replica = record.replica.then(|| self.replicas.path(&content));
        let own = Arc::new(OwnContent { outline: record.outline, paths: record.paths, replica });
        let chunk = read(&own);
        if chunk.as_ref().is_ok_and(|chunk| chunk.suspects.is_empty()) {
            let paths: usize = own.paths.iter().map(|path| path.as_bytes().len()).sum();
            let bytes = own.outline.values().len() + paths;
            self.reading.insert(content, own, bytes);
        }
        Ok(Some(chunk))
    }

    /// Runs an index call where blocking is allowed.
    pub(super) async fn on_disk<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Index) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let index = Arc::clone(&self.index);
        blocking(move || call(&index)).await?.map_err(|error| index_refusal(&error))
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(call).await.map_err(|error| {
        tracing::error!(%error, "a disk task failed");
        Refusal::new(RefusalCode::Unreadable, "this node could not read its disk")
    })
}

pub(super) fn index_refusal(error: &IndexError) -> Refusal {
    tracing::error!(%error, "index");
    Refusal::new(RefusalCode::Unreadable, format!("this node's index: {error}"))
}

pub(super) fn ledger_refusal(error: &LedgerError) -> Refusal {
    tracing::error!(%error, "ledger");
    Refusal::new(RefusalCode::Unreadable, format!("this node's ledger: {error}"))
}

/// What only trusted members are told.
pub(super) fn refuse_stranger(services: &Services, peer: PeerId) -> Result<(), Refusal> {
    match services.net.live().get(&peer) {
        Some(Standing::Trusted) => Ok(()),
        _ => Err(Refusal::new(RefusalCode::Forbidden, "only for members of the swarm")),
    }
}

fn not_held(content: ContentId) -> Refusal {
    Refusal::new(RefusalCode::NotFound, format!("this node does not hold c:{content}"))
}

fn too_slow() -> Refusal {
    Refusal::new(RefusalCode::Unavailable, "it took too long")
}

fn stopping() -> Refusal {
    Refusal::new(RefusalCode::Unavailable, "this node is shutting down")
}
