//! Index and disk after everything that can part them.

use std::sync::atomic::AtomicBool;

use libp2p::PeerId;

use super::super::settle::{SettleError, Settled, arrived, recheck, settle};
use super::*;
use crate::store::decode::Inspection;
use crate::store::index::{Applied, Change, Index};
use crate::store::scan::Inspect as _;
use crate::store::scan::fakes::FakeDecoder;

struct World {
    _state: tempfile::TempDir,
    replicas: Replicas,
    index: Index,
    decoder: FakeDecoder,
}

impl World {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let replicas = open(state.path());
        let index = Index::in_memory(PeerId::random()).unwrap();
        Self { _state: state, replicas, index, decoder: FakeDecoder::default() }
    }

    fn settle(&self) -> (Settled, Vec<Applied>) {
        let mut told = Vec::new();
        let claimed = self.replicas.inner.book().claimed.clone();
        let go = AtomicBool::new(false);
        let settled =
            settle(&self.replicas, &self.index, &self.decoder, &go, &mut |applied| told.push(applied));
        assert_eq!(self.replicas.inner.book().claimed, claimed, "others' claims, and none of its own");
        (settled.unwrap(), told)
    }

    /// As a node does it that receives one.
    fn receive(&self, data: &[u8]) -> ContentId {
        let content = put(&self.replicas, data);
        let file = fs::File::open(self.replicas.path(&content)).unwrap();
        let Inspection::Picture(inspected) = self.decoder.inspect(&file, b"a.jpg").unwrap() else { panic!() };
        self.index.apply(vec![arrived(*inspected, rel(b"a.jpg"))]).unwrap();
        content
    }

    fn known(&self) -> Vec<ContentId> {
        self.index.replicas(None, 99).unwrap()
    }
}

fn sorted(mut contents: Vec<ContentId>) -> Vec<ContentId> {
    contents.sort_unstable();
    contents
}

#[test]
fn a_new_index_hears_of_every_replica_and_an_old_one_of_nothing() {
    let mut world = World::new();
    let all = sorted((0..5).map(|number| world.receive(format!("PIC {number}").as_bytes())).collect());
    assert_eq!(world.settle(), (Settled::default(), vec![]));
    let before = all.map_held(&world.index);
    world.index = Index::in_memory(PeerId::random()).unwrap();
    let (settled, told) = world.settle();
    assert_eq!((settled.found, settled.gone, settled.problems), (5, 0, vec![]));
    assert_eq!(told.iter().map(|applied| applied.added.len()).sum::<usize>(), 5);
    assert_eq!(world.known(), all);
    assert_eq!(all.map_held(&world.index), before, "the path it once had included");
    fs::remove_file(beside(&world.replicas.path(&all[0]), SIDECAR)).unwrap();
    world.index = Index::in_memory(PeerId::random()).unwrap();
    world.settle();
    let record = world.index.content(&all[0]).unwrap().unwrap();
    assert_eq!(record.path, rel(format!("{}.jpg", all[0]).as_bytes()), "a name is better than none");
}

trait MapHeld {
    fn map_held(&self, index: &Index) -> Vec<(RelPath, u64)>;
}

impl MapHeld for Vec<ContentId> {
    fn map_held(&self, index: &Index) -> Vec<(RelPath, u64)> {
        let record = |content| index.content(content).unwrap().unwrap();
        self.iter().map(record).map(|record| (record.path, record.facts.bytes)).collect()
    }
}

#[test]
fn replicas_that_are_gone_are_withdrawn_and_the_others_stay() {
    let world = World::new();
    let all = sorted((0..5).map(|number| world.receive(format!("PIC {number}").as_bytes())).collect());
    for gone in [0, 2, 4] {
        fs::remove_file(world.replicas.path(&all[gone])).unwrap();
    }
    let new = put(&world.replicas, b"PIC new");
    let (settled, told) = world.settle();
    assert_eq!((settled.found, settled.gone), (1, 3));
    assert_eq!(told.iter().map(|applied| applied.removed.len()).sum::<usize>(), 3);
    assert_eq!(world.known(), sorted(vec![all[1], all[3], new]));
}

#[test]
fn damaged_and_foreign_files_are_told_and_kept() {
    let mut world = World::new();
    let damaged = world.receive(b"PIC damaged");
    let foreign = put(&world.replicas, b"no picture");
    fs::write(world.replicas.path(&damaged), b"PIC damageD").unwrap();
    world.index = Index::in_memory(PeerId::random()).unwrap();
    let (settled, told) = world.settle();
    assert_eq!((settled.found, told), (0, vec![]));
    assert_eq!(settled.problems.len(), 2, "{settled:?}");
    assert_eq!(world.known(), []);
    assert!(world.replicas.path(&foreign).exists(), "perhaps another version knows what it is");
    assert!(beside(&world.replicas.path(&damaged), DAMAGED).exists());
}

#[test]
fn what_somebody_works_on_is_left_to_them() {
    let mut world = World::new();
    let [aside, kept] = [&b"PIC aside"[..], b"PIC kept"].map(|data| world.receive(data));
    let set = world.replicas.set_aside(aside).unwrap();
    assert_eq!(world.settle().0.gone, 0, "it may come back");
    assert_eq!(world.known(), sorted(vec![aside, kept]));
    set.put_back().unwrap();
    world.index = Index::in_memory(PeerId::random()).unwrap();
    let set = world.replicas.set_aside(aside).unwrap();
    assert_eq!(world.settle().0.found, 1);
    drop(set);
}

#[test]
fn a_list_that_can_not_be_had_withdraws_nothing() {
    let world = World::new();
    let content = world.receive(b"PIC");
    fs::rename(&world.replicas.inner.dir, world.replicas.inner.dir.with_extension("away")).unwrap();
    let go = AtomicBool::new(false);
    let settled = settle(&world.replicas, &world.index, &world.decoder, &go, &mut |_| panic!());
    assert!(matches!(settled, Err(SettleError::List(_))), "{settled:?}");
    assert_eq!(world.known(), [content]);
    let stop = AtomicBool::new(true);
    fs::rename(world.replicas.inner.dir.with_extension("away"), &world.replicas.inner.dir).unwrap();
    world.index.apply(vec![Change::ReplicaGone { content }]).unwrap();
    let settled = settle(&world.replicas, &world.index, &world.decoder, &stop, &mut |_| panic!());
    assert!(matches!(settled, Err(SettleError::Stopped)), "{settled:?}");
}

#[test]
fn a_decoder_that_panics_costs_one_replica() {
    let world = World::new();
    let [bad, good] = [&b"PIC bad"[..], b"PIC good"].map(|data| put(&world.replicas, data));
    let (path, calls) = (world.replicas.path(&bad), std::sync::atomic::AtomicU32::new(0));
    assert!(path.exists());
    world.decoder.before(move |_| {
        assert!(calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 0, "a malformed file");
        Ok(())
    });
    let (settled, _) = world.settle();
    assert_eq!((settled.found, settled.problems.len()), (1, 1));
    let first = sorted(vec![bad, good])[0];
    assert_eq!(
        world.known(),
        sorted(vec![bad, good]).into_iter().filter(|id| *id != first).collect::<Vec<_>>()
    );
}

#[test]
fn a_replica_found_wrong_is_withdrawn_when_it_is() {
    let world = World::new();
    let content = world.receive(b"PIC");
    let again = || recheck(&world.replicas, &world.index, content);
    assert_eq!(again().unwrap(), None);
    fs::write(world.replicas.path(&content), b"PIc").unwrap();
    assert_eq!(again().unwrap().map(|applied| applied.removed.len()), Some(1));
    assert_eq!(world.known(), []);
    assert_eq!(again().unwrap(), Some(Applied::default()), "and once only");
    let set = put(&world.replicas, b"PIC");
    let set = world.replicas.set_aside(set).unwrap();
    assert!(matches!(again(), Err(SettleError::Replica(ReplicaError::Busy { .. }))));
    drop(set);
}
