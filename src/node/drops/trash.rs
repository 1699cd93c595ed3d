//! What a client may do with this node's trash.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::NodeEvent;
use super::super::serve::{Served, Services, blocking, frame};
use crate::limits::MAX_REPORTED_PROBLEMS;
use crate::protocol::{ClientResponse, EmptiedTrash, Refusal, RefusalCode};
use crate::replication::drop::Event;
use crate::store::trash::{EntryId, Trash, TrashError};

impl Services {
    /// Puts a file back. Its content is pinned: every node keeps it from now on.
    pub(in crate::node) async fn restore_trash(self: &Arc<Self>, entry: &str) -> Served<ClientResponse> {
        let id: EntryId = entry
            .parse()
            .map_err(|error| Refusal::new(RefusalCode::Invalid, format!("'{entry}' is {error}")))?;
        let trash = self.trash()?;
        let restored = blocking(move || {
            let plan = trash.plan_restore(&id)?;
            let content = plan.entry().content;
            trash.restore(plan, SystemTime::now()).map(|path| (content, path))
        });
        let (content, path) = restored.await?.map_err(|error| refusal(&error))?;
        self.tell_pinned(content).await;
        self.net.look_again(vec![path.clone()]).await;
        self.net.tell(NodeEvent::Restored { path: path.to_string() }).await;
        Ok(frame(ClientResponse::Restored { path }))
    }

    /// The trash has pinned a content: the planner and all other nodes hear of it.
    pub(super) async fn tell_pinned(self: &Arc<Self>, content: crate::types::ContentId) {
        self.net.dropped(Event::Pinned(content)).await;
        // A mirror only: should this fail, the next start mirrors all pins.
        match self.on_disk(move |index| index.set_pinned(content, true)).await {
            Ok(applied) => self.net.applied(applied).await,
            Err(refusal) => tracing::error!(refusal.message),
        }
    }

    /// Deletes what was dropped up to a time, because a person says so.
    pub(in crate::node) async fn empty_trash(self: &Arc<Self>, until: u64) -> Served<ClientResponse> {
        let until = UNIX_EPOCH.checked_add(Duration::from_secs(until));
        let until = until.ok_or_else(|| Refusal::new(RefusalCode::Invalid, "no such time"))?;
        let trash = self.trash()?;
        let emptied = blocking(move || trash.plan_empty(until).and_then(|plan| trash.empty(plan)));
        let emptied = emptied.await?.map_err(|error| refusal(&error))?;
        let problems = emptied.problems.iter().take(MAX_REPORTED_PROBLEMS);
        Ok(frame(ClientResponse::Emptied(EmptiedTrash {
            files: emptied.files,
            bytes: emptied.bytes,
            problems: problems
                .map(|p| Refusal::new(RefusalCode::Unreadable, p.to_string()).message)
                .collect(),
        })))
    }

    fn trash(&self) -> Result<Trash, Refusal> {
        let none =
            || Refusal::new(RefusalCode::Unavailable, "this node has no trash: its folder allows none");
        self.drops.trash.clone().ok_or_else(none)
    }
}

fn refusal(error: &TrashError) -> Refusal {
    let code = match error {
        TrashError::NoEntry { .. } => RefusalCode::NotFound,
        TrashError::Busy { .. } => RefusalCode::Busy,
        _ => RefusalCode::Unreadable,
    };
    Refusal::new(code, error.to_string())
}
