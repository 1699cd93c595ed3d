//! Where the checker starts, and which faults it may throw in.

use p2pimg::replication::drop::{Rules, Why};

use crate::world::{Fault, K, K2, L, Place, Scenario};

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

fn scenario(name: &'static str) -> Scenario {
    Scenario {
        name,
        places: Vec::new(),
        trashed: Vec::new(),
        plans: Vec::new(),
        budget: Vec::new(),
        faults: 1,
        horizon: 2,
        cut: Vec::new(),
        outsider: false,
        talks: false,
        slow: false,
        coarse: false,
        blind: false,
        carried: Vec::new(),
        rules: Rules::default(),
    }
}

/// One node has L, the others K.
pub(crate) fn superseded() -> Scenario {
    Scenario {
        places: vec![(A, L, Place::Original), (B, K, Place::Original), (C, K, Place::Replica)],
        plans: vec![(A, L, K, Why::Superseded)],
        budget: vec![
            (Fault::Crash, 1),
            (Fault::Suspend, 1),
            (Fault::Delete, 1),
            (Fault::Edit, 1),
            (Fault::Repeat, 1),
            (Fault::Drift, 1),
            (Fault::DiskFull, 1),
            (Fault::Pin, 1),
        ],
        ..scenario("superseded")
    }
}

/// The keeper is on one node only: who drops its worse version becomes the second copy.
pub(crate) fn second_copy() -> Scenario {
    Scenario {
        places: vec![(A, L, Place::Original), (B, K, Place::Original)],
        budget: vec![
            (Fault::Crash, 1),
            (Fault::Delete, 1),
            (Fault::Arrive, 1),
            (Fault::DiskFull, 1),
            (Fault::Repeat, 1),
        ],
        cut: vec![(A, C)],
        ..Scenario { name: "second copy", ..superseded() }
    }
}

/// One node drops L for K while others drop K for K2: K2 is not like L.
pub(crate) fn race() -> Scenario {
    Scenario {
        places: vec![
            (A, L, Place::Original),
            (A, K2, Place::Original),
            (B, K, Place::Original),
            (B, K2, Place::Original),
            (C, K, Place::Original),
        ],
        plans: vec![(A, L, K, Why::Superseded), (B, K, K2, Why::Superseded), (C, K, K2, Why::Superseded)],
        budget: vec![(Fault::Crash, 1), (Fault::Suspend, 1), (Fault::Drift, 1), (Fault::Repeat, 1)],
        horizon: 5,
        slow: true,
        coarse: true,
        ..scenario("race")
    }
}

/// L was dropped for K long ago, and now K is to go for K2.
pub(crate) fn drift_of_looks() -> Scenario {
    Scenario {
        places: vec![
            (A, K2, Place::Original),
            (B, K2, Place::Original),
            (B, K, Place::Original),
            (C, K, Place::Original),
        ],
        trashed: vec![(A, L)],
        carried: vec![(B, K, 1 << L), (C, K, 1 << L)],
        plans: vec![(B, K, K2, Why::Superseded), (C, K, K2, Why::Superseded), (C, K, K, Why::Excess)],
        ..Scenario { name: "drift of looks", ..race() }
    }
}

/// Three copies, and everybody wants to trim.
pub(crate) fn excess() -> Scenario {
    Scenario {
        places: vec![(A, K, Place::Original), (B, K, Place::Replica), (C, K, Place::Replica)],
        plans: vec![(A, K, K, Why::Excess), (B, K, K, Why::Excess), (C, K, K, Why::Excess)],
        budget: vec![(Fault::Crash, 1), (Fault::Suspend, 1), (Fault::Drift, 1), (Fault::Repeat, 1)],
        horizon: 3,
        coarse: true,
        ..scenario("excess")
    }
}

/// One node drops L and counts its own K and another's, while that one trims its K.
pub(crate) fn trim_and_drop() -> Scenario {
    Scenario {
        places: vec![
            (A, L, Place::Original),
            (A, K, Place::Original),
            (B, K, Place::Replica),
            (C, K, Place::Replica),
        ],
        plans: vec![(A, L, K, Why::Superseded), (B, K, K, Why::Excess)],
        budget: vec![(Fault::Crash, 1), (Fault::Suspend, 1), (Fault::Drift, 1), (Fault::Repeat, 1)],
        horizon: 4,
        coarse: true,
        ..scenario("trim and drop")
    }
}

/// L is in the trash and its time is over.
pub(crate) fn purge() -> Scenario {
    Scenario {
        places: vec![(B, K, Place::Original), (C, K, Place::Replica)],
        trashed: vec![(A, L)],
        plans: vec![(A, L, K, Why::Purge), (C, K, K, Why::Excess)],
        budget: vec![(Fault::Crash, 1), (Fault::Delete, 1), (Fault::Repeat, 1), (Fault::Suspend, 1)],
        horizon: 3,
        coarse: true,
        ..scenario("purge")
    }
}

/// L and K in one folder; another node may drop its L for that K.
pub(crate) fn local() -> Scenario {
    Scenario {
        places: vec![
            (A, L, Place::Original),
            (A, K, Place::Original),
            (B, L, Place::Original),
            (B, K, Place::Replica),
        ],
        plans: vec![(A, L, K, Why::Local), (B, L, K, Why::Superseded)],
        budget: vec![(Fault::Crash, 1), (Fault::Suspend, 1), (Fault::Edit, 1)],
        coarse: true,
        ..scenario("local")
    }
}

/// Somebody without the swarm's key offers itself as a holder of K.
pub(crate) fn outsider() -> Scenario {
    Scenario {
        places: vec![(A, L, Place::Original), (B, K, Place::Original)],
        plans: vec![(A, L, K, Why::Superseded)],
        budget: vec![(Fault::Crash, 1)],
        outsider: true,
        talks: true,
        ..scenario("outsider")
    }
}

/// What is wished for changes while the drop is under way.
pub(crate) fn called_off() -> Scenario {
    let budget = vec![(Fault::Cancel, 1), (Fault::Replan, 1)];
    Scenario { budget, name: "called off", ..superseded() }
}

/// The same, while another node trims what is counted.
pub(crate) fn trim_called_off() -> Scenario {
    let budget = vec![(Fault::Cancel, 1), (Fault::Replan, 1)];
    Scenario { budget, name: "trim, called off", ..trim_and_drop() }
}
