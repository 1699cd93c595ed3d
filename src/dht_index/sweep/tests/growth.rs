//! What a node's part costs as the swarm grows: the table of `docs/sweep.md`.
//!
//! `cargo test --release --lib growth -- --ignored --nocapture`

use super::*;

/// Bytes of an `ADD_PROVIDER` with one address, of a `FIND_NODE` and of its answer with 20 nodes.
const RECORD_BYTES: usize = 93;
const QUESTION_BYTES: usize = 39;
const ANSWER_BYTES: usize = 20 * 60;

struct Row {
    lookups: usize,
    questions: usize,
    deliveries: usize,
    records: usize,
    most_spans: usize,
    memory: usize,
}

fn measure(nodes: usize, keys: u32) -> Row {
    let peers = even(nodes);
    let me = peers[nodes / 2];
    let mut net = Net::new(&peers);
    let explored = net.explore(&me, 0);
    assert_eq!(explored.found().count(), nodes - 1, "all are found");
    let mut world = World::new(keys);
    world.most = DELIVERY_KEYS;
    world.meets(explored.found().map(|(peer, _)| *peer));
    world.work();
    let sampled: Vec<OwnKey> = world.own.iter().copied().step_by(97).collect();
    for key in &sampled {
        assert_eq!(world.holders(key), world.closest(key));
    }
    let spans = world.plan.holders.values().map(|holder| holder.wanted().len() + holder.owed().len());
    Row {
        lookups: explored.lookups(),
        questions: net.messages,
        deliveries: world.deliveries,
        records: world.records,
        most_spans: world.plan.holders.values().map(|holder| holder.wanted().len()).max().unwrap_or(0),
        memory: spans.sum::<usize>() * 16 + world.plan.holders.len() * size_of::<Holder>(),
    }
}

#[test]
#[ignore = "a measurement; 10,000 nodes take a minute or two"]
fn growth() {
    let keys = 10_000;
    println!("{keys} own keys; what one node sends, and one of the others receives, in a round");
    println!(
        "| nodes | lookups | questions | deliveries | records sent | MB sent | records received | MB received | kB exploring | longest share | plan kB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for nodes in [10, 50, 200, 1_000, 10_000] {
        let row = measure(nodes, keys);
        // Every other node sends as many, to all alike.
        let mb = (row.records * RECORD_BYTES) as f64 / 1e6;
        println!(
            "| {nodes} | {} | {} | {} | {} | {mb:.1} | {} | {mb:.1} | {:.0} | {} ranges | {:.0} |",
            row.lookups,
            row.questions,
            row.deliveries,
            row.records,
            row.records,
            (row.questions * (QUESTION_BYTES + ANSWER_BYTES)) as f64 / 1e3,
            row.most_spans,
            row.memory as f64 / 1e3,
        );
    }
}
