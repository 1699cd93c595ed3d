use super::*;

fn desk(now: Instant) -> CopyDesk {
    let keeps = Keeps { takes: true, ..Keeps::default() };
    CopyDesk::new(
        now,
        CopySettings {
            me: PeerId::random(),
            folder: FolderId(0),
            keeps,
            copies: 2,
            repair_after: Duration::from_secs(60),
            trim_after: Duration::from_secs(60),
            known: Vec::new(),
            absences: Vec::new(),
        },
    )
}

#[test]
fn one_that_fails_is_probed_until_it_is_failing_and_no_longer() {
    let now = Instant::now();
    let mut desk = desk(now);
    let live: HashMap<PeerId, Standing> = (1..100).map(|_| (PeerId::random(), Standing::Trusted)).collect();
    for peer in live.keys() {
        desk.heard(now, *peer, &hello(), true);
    }
    let bad = desk.next_probed(&live).unwrap();
    for _ in 1..MAX_PROBE_FAILURES {
        desk.delivered(now, bad, false);
        assert_eq!((desk.next_probed(&live), desk.state(&bad)), (Some(bad), Some(MemberState::Live)));
    }
    desk.delivered(now, bad, false);
    assert_eq!(desk.state(&bad), Some(MemberState::Failing));
    let turns: BTreeSet<PeerId> = (0..live.len()).filter_map(|_| desk.next_probed(&live)).collect();
    assert_eq!(turns.len(), live.len(), "each has its turn, and it can show that it works again");
    desk.delivered(now, bad, true);
    assert_eq!(desk.state(&bad), Some(MemberState::Live));
}

#[test]
fn one_that_could_not_be_asked_keeps_nobody_from_their_turn() {
    let now = Instant::now();
    let mut desk = desk(now);
    let live: HashMap<PeerId, Standing> = (0..3).map(|_| (PeerId::random(), Standing::Trusted)).collect();
    let bad = desk.next_probed(&live).unwrap();
    desk.delivered(now, bad, false);
    assert_eq!(desk.next_probed(&live), Some(bad));
    // It was busy: nothing is told.
    assert!(desk.next_probed(&live).is_some_and(|next| next != bad));
    desk.delivered(now, bad, false);
    assert!(desk.next_probed(&HashMap::new()).is_none(), "it is gone");
}

fn hello() -> Hello {
    Hello {
        hash_version: crate::protocol::HASH_VERSION,
        folder: FolderId(1),
        head: crate::types::CatalogHead { epoch: crate::types::Epoch(1), seq: crate::types::Seq(0) },
        images: 0,
        bytes: 0,
        decides: crate::protocol::Decides::default(),
        keeps: Keeps::default(),
    }
}
