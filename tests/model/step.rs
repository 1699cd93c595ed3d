//! What can happen in the world: the event loop's work, the network, time, and faults.

use p2pimg::replication::drop::{Action, Answer, AskId, Event, Why};

use crate::work::{crash, put_back, take};
use crate::world::{
    CONTENTS, Fault, Message, NODES, Node, OUTSIDER, Place, Scenario, Task, Trash, World, content, id, peer,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Somebody tells the node to carry out this plan of the scenario.
    Begin(usize, usize),
    /// The event loop does a piece of work.
    Work(usize, usize),
    Deliver(Message),
    /// Delivers a message that will come once more.
    Repeat(Message),
    Tick,
    /// One clock runs ahead.
    Drift(usize),
    Crash(usize),
    /// In the midst of putting a file back.
    CrashPuttingBack(usize, usize),
    Restart(usize),
    Suspend(usize),
    Resume(usize),
    Delete(usize, usize),
    Edit(usize, usize),
    Arrive(usize, usize),
    DiskFull(usize, usize),
    Pin(usize, usize),
    /// The plan is called off, and may be wished for again.
    Cancel(usize, usize),
    /// The plan with its holders in the other order, or without the first of them.
    Replan(usize, usize, bool),
    OutsiderAsks(usize, usize),
    OutsiderAnswers(usize, u64),
}

impl Scenario {
    pub(crate) fn sees(&self, a: usize, b: usize) -> bool {
        !self.cut.contains(&(a, b)) && !self.cut.contains(&(b, a))
    }

    fn can(&self, world: &World, fault: Fault) -> bool {
        world.faults[fault as usize] < self.budget_of(fault) && world.fault_count() < self.faults
    }

    pub(crate) fn steps(&self, world: &World, steps: &mut Vec<Step>) {
        if world.broken != 0 {
            return; // Found; what comes after is of no interest.
        }
        for (n, node) in world.nodes.iter().enumerate() {
            self.steps_of(world, n, node, steps);
        }
        for message in &world.net {
            if world.nodes[message.ends().1].awake() {
                steps.push(Step::Deliver(message.clone()));
                if self.can(world, Fault::Repeat) {
                    steps.push(Step::Repeat(message.clone()));
                }
            }
        }
        if world.now < self.horizon {
            steps.push(Step::Tick);
        }
    }

    fn steps_of(&self, world: &World, n: usize, node: &Node, steps: &mut Vec<Step>) {
        let can = |fault| self.can(world, fault);
        if node.planner.is_none() {
            steps.push(Step::Restart(n));
        } else if node.suspended {
            steps.push(Step::Resume(n));
        } else {
            self.steps_awake(world, n, node, steps);
        }
        for c in 0..CONTENTS {
            let place = node.disk.place[c];
            if place.is_copy() && can(Fault::Delete) {
                steps.push(Step::Delete(n, c));
            }
            if place == Place::Original && can(Fault::Edit) {
                steps.push(Step::Edit(n, c));
            }
            if place == Place::Absent && can(Fault::Arrive) {
                steps.push(Step::Arrive(n, c));
            }
        }
        if can(Fault::Drift) {
            steps.push(Step::Drift(n));
        }
    }

    fn steps_awake(&self, world: &World, n: usize, node: &Node, steps: &mut Vec<Step>) {
        for (index, (of, subject, _, why)) in self.plans.iter().enumerate() {
            let there = match why {
                Why::Purge => node.disk.trash[*subject] == Trash::Intended,
                _ => node.disk.place[*subject].is_copy(),
            };
            if *of == n && node.begun & (1 << index) == 0 && there {
                steps.push(Step::Begin(n, index));
            }
            if *of == n && node.planner.as_ref().is_some_and(|planner| planner.is_dropping(id(*subject))) {
                if self.can(world, Fault::Cancel) {
                    steps.push(Step::Cancel(n, index));
                }
                if self.can(world, Fault::Replan) {
                    steps.extend([true, false].map(|fewer| Step::Replan(n, index, fewer)));
                }
            }
        }
        for (index, task) in node.tasks.iter().enumerate() {
            steps.push(Step::Work(n, index));
            if self.can(world, Fault::DiskFull)
                && matches!(
                    task,
                    Task::Do(Action::Commit { .. } | Action::Journal { .. } | Action::PutBack { .. })
                )
            {
                steps.push(Step::DiskFull(n, index));
            }
            if self.can(world, Fault::Crash) && matches!(task, Task::Do(Action::PutBack { .. })) {
                steps.push(Step::CrashPuttingBack(n, index));
            }
        }
        // Only while something is going on: an idle node has nothing volatile.
        let busy = !node.tasks.is_empty()
            || node
                .planner
                .as_ref()
                .is_some_and(|p| p.next_wakeup().is_some() || p.leases().live(node.now()) > 0);
        if busy && self.can(world, Fault::Crash) {
            steps.push(Step::Crash(n));
        }
        if busy && self.can(world, Fault::Suspend) {
            steps.push(Step::Suspend(n));
        }
        if self.can(world, Fault::Pin) {
            let here = |c: &usize| node.disk.place[*c].is_copy() || node.disk.trash[*c] != Trash::Empty;
            steps.extend((0..CONTENTS).filter(here).map(|c| Step::Pin(n, c)));
        }
        if self.talks {
            let asks = (0..CONTENTS).map(|c| Step::OutsiderAsks(n, c));
            let answers = (0..6).map(|ask| Step::OutsiderAnswers(n, ask));
            // Steps that move nothing are none.
            steps.extend(asks.chain(answers).filter(|step| self.apply(world, step.clone()).is_some()));
        }
    }

    pub(crate) fn apply(&self, before: &World, step: Step) -> Option<World> {
        let mut next = before.clone();
        let world = &mut next;
        let mut fault = |kind: Fault| world.faults[kind as usize] += 1;
        match step {
            Step::Begin(n, index) => {
                world.nodes[n].begun |= 1 << index;
                let mut plan = self.plan(index);
                plan.pinned = world.nodes[n].disk.pinned & (1 << content(plan.subject)) != 0;
                self.tell(world, n, Event::Begin(plan));
            }
            Step::Work(n, index) => {
                let task = world.nodes[n].tasks.remove(index);
                self.work(world, n, task);
            }
            Step::Deliver(message) => {
                world.net.remove(&message);
                self.deliver(world, &message);
            }
            Step::Repeat(message) => {
                fault(Fault::Repeat);
                self.deliver(world, &message);
            }
            Step::Tick => {
                world.now += 1;
                for n in 0..NODES {
                    world.nodes[n].clock += 1;
                    self.drain(world, n);
                }
            }
            Step::Drift(n) => {
                fault(Fault::Drift);
                world.nodes[n].clock += 1;
                self.drain(world, n);
            }
            Step::Crash(n) => {
                fault(Fault::Crash);
                crash(&mut world.nodes[n]);
            }
            Step::CrashPuttingBack(n, index) => {
                fault(Fault::Crash);
                if let Task::Do(Action::PutBack { subject }) = world.nodes[n].tasks[index] {
                    put_back(&mut world.nodes[n], content(subject));
                }
                crash(&mut world.nodes[n]);
            }
            Step::Restart(n) => self.restart(world, n),
            Step::Suspend(n) => {
                fault(Fault::Suspend);
                world.nodes[n].suspended = true;
            }
            Step::Resume(n) => {
                // The process runs on before it notices.
                world.nodes[n].suspended = false;
                world.nodes[n].tasks.push(Task::Report(Event::Resumed));
                self.drain(world, n);
            }
            Step::Delete(n, c) => {
                fault(Fault::Delete);
                take(world, n, c, Place::Absent);
            }
            Step::Edit(n, c) => {
                fault(Fault::Edit);
                take(world, n, c, Place::Edited);
            }
            Step::Arrive(n, c) => {
                fault(Fault::Arrive);
                world.nodes[n].disk.place[c] = Place::Original;
                world.nodes[n].removed[c] = false;
            }
            Step::DiskFull(n, index) => {
                fault(Fault::DiskFull);
                let event = match world.nodes[n].tasks.remove(index) {
                    Task::Do(Action::Commit { subject, .. }) => Event::Committed { subject, ok: false },
                    Task::Do(Action::Journal { subject, entry }) => {
                        Event::Journaled { subject, entry, ok: false }
                    }
                    Task::Do(Action::PutBack { subject }) => Event::PutBack { subject, ok: false },
                    _ => return None,
                };
                self.tell(world, n, event);
            }
            Step::Pin(n, c) => {
                fault(Fault::Pin);
                world.nodes[n].disk.pinned |= 1 << c;
                self.tell(world, n, Event::Pinned(id(c)));
            }
            Step::Cancel(n, index) => {
                fault(Fault::Cancel);
                world.nodes[n].begun &= !(1 << index);
                self.tell(world, n, Event::Cancel(self.plan(index).subject));
            }
            Step::Replan(n, index, fewer) => {
                fault(Fault::Replan);
                let mut plan = self.plan(index);
                plan.holders.reverse();
                if fewer {
                    plan.holders.pop();
                }
                self.tell(world, n, Event::Replan(plan));
            }
            Step::OutsiderAsks(n, c) => {
                let request = Self::request(world, n, (OUTSIDER, 0, c, c, true, 0));
                Self::outsider(world, n, Event::Asked(request));
            }
            Step::OutsiderAnswers(n, ask) => {
                let answer = Answer::Granted { proof_matches: true };
                Self::outsider(world, n, Event::Answered { ask: AskId(ask), from: peer(OUTSIDER), answer });
            }
        }
        (next != *before).then_some(next)
    }
}
