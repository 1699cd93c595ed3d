//! Pictures that clients add: received like a replica, verified, and moved into the user's
//! folder under a safe name. From there on it is a file like any other: the folder's own look
//! finds it, and members hear of it.
//!
//! An upload lives in memory: when the node ends, what came of it is gone, and the client,
//! which has the file, sends it again.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use libp2p::PeerId;
use tokio::sync::watch;

use super::NodeEvent;
use super::serve::{Served, Services, blocking, frame};
use crate::dedup;
use crate::limits::{
    CHUNK_BYTES, MAX_FREE_NAMES, MAX_UPLOADS, PUT_ANSWER, PUT_INDEXED, PUT_LOOK_EVERY, UPLOAD_SILENT,
};
use crate::protocol::{ClientResponse, ImageRow, PutRequest, PutResponse, Refusal, RefusalCode};
use crate::store::decode::Inspector;
use crate::store::replicas::{Receiving, ReplicaError};
use crate::transfer::outline::Outline;
use crate::types::{ContentId, RelPath, safe_file_name};

/// How an upload ended: where the picture is.
type Finished = Result<RelPath, Refusal>;

/// The pictures that are being sent to this node.
#[derive(Debug, Default)]
pub(super) struct Uploads(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    last: u64,
    open: HashMap<u64, Upload>,
}

#[derive(Debug)]
struct Upload {
    /// Only this client may go on with it.
    of: PeerId,
    heard: Instant,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Chunks are coming.
    Coming(Arc<Coming>),
    /// The client said that this was all.
    Finishing(watch::Receiver<Option<Finished>>),
}

/// A picture of which chunks are coming.
#[derive(Debug)]
struct Coming {
    /// `None` when the end has come. The lock is held for the writing of a chunk.
    file: Mutex<Option<Receiving>>,
    outline: Outline,
    /// As the client calls it.
    name: String,
}

impl Uploads {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, of: PeerId, coming: Coming) -> Result<u64, Refusal> {
        let mut book = self.book();
        if book.open.len() >= MAX_UPLOADS {
            return Err(Refusal::new(RefusalCode::Busy, "this node receives as many pictures as it can"));
        }
        book.last += 1;
        let (token, stage) = (book.last, Stage::Coming(Arc::new(coming)));
        book.open.insert(token, Upload { of, heard: Instant::now(), stage });
        Ok(token)
    }

    /// The upload that a chunk is for.
    fn coming(&self, of: PeerId, token: u64) -> Result<Arc<Coming>, Refusal> {
        let mut book = self.book();
        let upload = book.open.get_mut(&token).filter(|upload| upload.of == of).ok_or_else(unknown)?;
        upload.heard = Instant::now();
        match &upload.stage {
            Stage::Coming(coming) => Ok(Arc::clone(coming)),
            Stage::Finishing(_) => Err(Refusal::new(RefusalCode::Invalid, "the upload has ended already")),
        }
    }

    /// The end of an upload has come: what is to be finished, the first time, and who waits for it.
    #[allow(clippy::type_complexity, reason = "used once")]
    fn end(
        &self,
        of: PeerId,
        token: u64,
    ) -> Result<
        (Option<(Arc<Coming>, watch::Sender<Option<Finished>>)>, watch::Receiver<Option<Finished>>),
        Refusal,
    > {
        let mut book = self.book();
        let upload = book.open.get_mut(&token).filter(|upload| upload.of == of).ok_or_else(unknown)?;
        upload.heard = Instant::now();
        if let Stage::Finishing(waiting) = &upload.stage {
            return Ok((None, waiting.clone()));
        }
        let (sender, waiting) = watch::channel(None);
        let Stage::Coming(coming) = std::mem::replace(&mut upload.stage, Stage::Finishing(waiting.clone()))
        else {
            return Err(unknown());
        };
        Ok((Some((coming, sender)), waiting))
    }

    fn forget(&self, token: u64) {
        self.book().open.remove(&token);
    }

    /// Forgets an upload of which nothing came for too long; when to look again, while it is
    /// there.
    fn forget_silent(&self, token: u64, now: Instant) -> Option<Instant> {
        let mut book = self.book();
        let silent_at = book.open.get(&token)?.heard + UPLOAD_SILENT;
        if now < silent_at {
            return Some(silent_at);
        }
        // Its temporary file goes with it.
        book.open.remove(&token);
        tracing::info!("an upload was forgotten: its client is silent");
        None
    }
}

fn unknown() -> Refusal {
    Refusal::new(RefusalCode::NotFound, "no such upload: it was silent for too long, or the node restarted")
}

impl Services {
    /// Whether clients may change this node's folder.
    pub(super) fn may_write(&self) -> Result<(), Refusal> {
        if self.allow_write {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalCode::Forbidden,
            "this node is open to anybody, so clients can't change what it holds: start it with --allow-write",
        ))
    }

    /// Answers one step.
    pub(super) async fn put(
        self: &Arc<Self>,
        of: PeerId,
        request: PutRequest,
        payload: Vec<u8>,
    ) -> Served<ClientResponse> {
        self.may_write()?;
        let response = match request {
            PutRequest::Begin { content, bytes, name } => {
                self.begin_put(of, (content, bytes, &payload), name).await?
            }
            PutRequest::Chunk { token, index } => self.take_chunk(of, token, index, payload).await?,
            PutRequest::End { token } => self.end_put(of, token).await?,
            PutRequest::Copies { content, image } => self.await_copies(content, image).await?,
        };
        Ok(frame(ClientResponse::Put(response)))
    }

    async fn begin_put(
        self: &Arc<Self>,
        of: PeerId,
        (content, bytes, values): (ContentId, u64, &[u8]),
        name: String,
    ) -> Result<PutResponse, Refusal> {
        let Some(outline) = Outline::verify(content, bytes, values) else {
            return Err(Refusal::new(RefusalCode::Invalid, "the outline is not the content's"));
        };
        if let Some(row) = self.in_swarm(content).await? {
            return Ok(PutResponse::Known(Box::new(row)));
        }
        let replicas = self.replicas.clone();
        let receiving = blocking(move || replicas.receive(content, bytes)).await?;
        let file = Mutex::new(Some(receiving.map_err(|error| refusal(&error))?));
        let token = self.uploads.open(of, Coming { file, outline, name })?;
        // Weak: a node that stops does not wait for it.
        let services = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut next = Some(Instant::now() + UPLOAD_SILENT);
            while let Some(at) = next {
                tokio::time::sleep_until(at.into()).await;
                next = services.upgrade().and_then(|s| s.uploads.forget_silent(token, Instant::now()));
            }
        });
        Ok(PutResponse::Begun { token })
    }

    /// The row of a content that a trusted node holds which is there.
    async fn in_swarm(&self, content: ContentId) -> Result<Option<ImageRow>, Refusal> {
        let (standing, sought) = (self.net.standing(), super::why::parse(&format!("c:{content}"))?);
        let (rows, _) = self.on_disk(move |index| index.resolve(&sought, &standing)).await?;
        Ok(rows.into_iter().find(|row| row.copies > 0))
    }

    async fn take_chunk(
        &self,
        of: PeerId,
        token: u64,
        index: u32,
        data: Vec<u8>,
    ) -> Result<PutResponse, Refusal> {
        let coming = self.uploads.coming(of, token)?;
        blocking(move || {
            if !coming.outline.matches(index, &data) {
                return Err(Refusal::new(RefusalCode::Corrupt, "a chunk is not the content's"));
            }
            let file = coming.file.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(receiving) = file.as_ref() else { return Err(unknown()) };
            let written = receiving.write_at(u64::from(index) * CHUNK_BYTES as u64, &data);
            written.map(|()| PutResponse::Taken).map_err(|error| refusal(&error))
        })
        .await?
    }

    async fn end_put(self: &Arc<Self>, of: PeerId, token: u64) -> Result<PutResponse, Refusal> {
        let (to_finish, mut waiting) = self.uploads.end(of, token)?;
        if let Some((coming, sender)) = to_finish {
            let services = Arc::clone(self);
            // Not in the task that answers, which has a deadline.
            tokio::spawn(async move {
                let finished = services.finish_put(coming).await;
                let _ = sender.send(Some(finished));
            });
        }
        let finished = match tokio::time::timeout(PUT_ANSWER, waiting.wait_for(Option::is_some)).await {
            Ok(Ok(finished)) => finished.clone(),
            Ok(Err(_)) => Some(Err(Refusal::new(RefusalCode::Unavailable, "this node could not finish it"))),
            Err(_) => None,
        };
        let Some(finished) = finished else { return Ok(PutResponse::Stored { path: None }) };
        self.uploads.forget(token);
        Ok(PutResponse::Stored { path: Some(finished?) })
    }

    async fn finish_put(self: &Arc<Self>, coming: Arc<Coming>) -> Finished {
        let (services, content) = (Arc::clone(self), coming.outline.content());
        let path = blocking(move || services.place(&coming)).await??;
        tracing::info!(%path, %content, "added by a client");
        self.net.look_again(vec![path.clone()]).await;
        self.net.tell(NodeEvent::Added { path: path.to_string(), content: content.to_string() }).await;
        let end = Instant::now() + PUT_INDEXED;
        while Instant::now() < end && !self.net.is_stopped() {
            // A better version of it may have taken its place at once: then it is here no more.
            let sought = path.clone();
            if self.on_disk(move |index| index.file(&sought)).await?.is_some() {
                break;
            }
            tokio::time::sleep(PUT_LOOK_EVERY).await;
        }
        Ok(path)
    }

    /// Verifies what came and moves it into the folder. Blocks on the disk.
    fn place(&self, coming: &Coming) -> Finished {
        let receiving = coming.file.lock().unwrap_or_else(PoisonError::into_inner).take();
        let received = receiving.ok_or_else(unknown)?.verify().map_err(|error| refusal(&error))?;
        let name = coming.name.as_bytes();
        let format = File::open(received.path()).and_then(|file| Inspector::format(&file, name));
        let format = format
            .map_err(|error| Refusal::new(RefusalCode::Unreadable, format!("can't read it again: {error}")))?
            .map_err(|what| Refusal::new(RefusalCode::Invalid, format!("nothing was added: {what}")))?;
        // A drive that is away looks like an empty folder, and would not get the picture.
        self.root
            .check_marker()
            .map_err(|error| Refusal::new(RefusalCode::Unavailable, error.to_string()))?;
        let wish = RelPath::from_bytes(safe_file_name(name, format.extension()).into_bytes());
        let wish = wish.ok_or_else(|| Refusal::new(RefusalCode::Invalid, "its name can't be used"))?;
        let names = (0..MAX_FREE_NAMES).map_while(|number| dedup::adopted_name(&wish, format, number));
        self.replicas.place(received, self.root.dir(), names).map_err(|error| refusal(&error))
    }
}

fn refusal(error: &ReplicaError) -> Refusal {
    let code = match error {
        ReplicaError::Wrong { .. } => RefusalCode::Corrupt,
        ReplicaError::TooLong { .. } | ReplicaError::Outside { .. } => RefusalCode::Invalid,
        ReplicaError::Busy { .. } => RefusalCode::Busy,
        _ => RefusalCode::Unavailable,
    };
    Refusal::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::replicas::{Replicas, Reserve};

    fn coming(replicas: &Replicas) -> Coming {
        let content = ContentId(*blake3::hash(b"x").as_bytes());
        let receiving = replicas.receive(content, 1).unwrap();
        let outline = Outline::verify(content, 1, &[]).unwrap();
        Coming { file: Mutex::new(Some(receiving)), outline, name: "x.jpg".into() }
    }

    #[test]
    fn uploads_are_few_their_clients_own_and_forgotten_when_silent() {
        let state = tempfile::tempdir().unwrap();
        let (replicas, _) = Replicas::open_in(state.path(), Reserve { bytes: 0, percent: 0 }).unwrap();
        let (uploads, client, other) = (Uploads::default(), PeerId::random(), PeerId::random());
        let tokens: Vec<u64> =
            (0..MAX_UPLOADS).map(|_| uploads.open(client, coming(&replicas)).unwrap()).collect();
        assert_eq!(uploads.open(other, coming(&replicas)).unwrap_err().code, RefusalCode::Busy);
        let token = tokens[0];
        assert!(uploads.coming(client, token).is_ok());
        assert_eq!(uploads.coming(other, token).unwrap_err().code, RefusalCode::NotFound);
        assert_eq!(uploads.end(other, token).unwrap_err().code, RefusalCode::NotFound);
        let heard = Instant::now();
        assert!(uploads.forget_silent(token, heard).is_some());
        assert!(uploads.forget_silent(token, heard + UPLOAD_SILENT).is_none());
        assert!(uploads.coming(client, token).is_err());
        assert!(uploads.open(other, coming(&replicas)).is_ok(), "its place is free");
        let left = std::fs::read_dir(state.path().join("replicas/incoming")).unwrap().count();
        assert_eq!(left, MAX_UPLOADS, "and its file is gone");
    }

    #[test]
    fn an_upload_is_finished_once_however_often_its_end_comes() {
        let state = tempfile::tempdir().unwrap();
        let (replicas, _) = Replicas::open_in(state.path(), Reserve { bytes: 0, percent: 0 }).unwrap();
        let (uploads, client) = (Uploads::default(), PeerId::random());
        let token = uploads.open(client, coming(&replicas)).unwrap();
        let (first, _) = uploads.end(client, token).unwrap();
        let (second, waiting) = uploads.end(client, token).unwrap();
        assert!(first.is_some() && second.is_none());
        assert_eq!(uploads.coming(client, token).unwrap_err().code, RefusalCode::Invalid);
        let (_, sender) = first.unwrap();
        sender.send(Some(Err(unknown()))).unwrap();
        assert!(waiting.borrow().is_some());
    }
}
