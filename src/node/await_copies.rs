//! How many copies there are of a content, as its holders confirm it, and waiting for them.

use std::collections::BTreeSet;
use std::time::Instant;

use libp2p::PeerId;

use super::serve::Services;
use crate::limits::{PUT_ANSWER, PUT_LOOK_EVERY};
use crate::protocol::{PutResponse, Refusal};
use crate::types::{ContentId, ImageId, Standing};

impl Services {
    /// The copies there are when there are enough of them, or after [`PUT_ANSWER`].
    pub(super) async fn await_copies(
        &self,
        content: ContentId,
        image: ImageId,
    ) -> Result<PutResponse, Refusal> {
        let end = Instant::now() + PUT_ANSWER;
        loop {
            let standing = self.net.standing();
            let copies = self.on_disk(move |index| index.copies(&content, &standing)).await?;
            let named: BTreeSet<_> = copies.holders.iter().map(|(_, folder)| *folder).collect();
            let holders: Vec<PeerId> = copies.holders.iter().map(|(peer, _)| *peer).collect();
            let wanted = u32::from(self.net.wanted_copies(holders).await);
            let late = Instant::now() >= end;
            // Asking the holders costs them something: only when their catalogs say enough.
            if late || named.len() as u64 >= u64::from(wanted) {
                let confirmed = self.locate(image, content).await;
                let confirmed: BTreeSet<PeerId> = confirmed
                    .into_iter()
                    .filter(|holder| holder.confirmed)
                    .map(|holder| holder.peer)
                    .collect();
                let folders: BTreeSet<_> = copies
                    .holders
                    .iter()
                    .filter(|(peer, _)| confirmed.contains(peer))
                    .map(|(_, folder)| *folder)
                    .collect();
                let have = u32::try_from(folders.len()).unwrap_or(u32::MAX);
                if late || have >= wanted {
                    return Ok(PutResponse::Copies { have, wanted, nodes: self.trusted_nodes() });
                }
            }
            tokio::time::sleep(PUT_LOOK_EVERY).await;
        }
    }

    /// Trusted nodes that are there, and this one.
    fn trusted_nodes(&self) -> u32 {
        let live = self.net.live();
        let trusted = live.values().filter(|standing| **standing == Standing::Trusted).count();
        u32::try_from(trusted).unwrap_or(u32::MAX).saturating_add(1)
    }
}
