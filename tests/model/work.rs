//! The event loop of the model: it tells a planner what happened, carries out what the
//! planner wants, and judges what became of it.

use p2pimg::replication::drop::{
    Action, Answer, AskId, Comparison, Entry, Event, Renamed, Request, View, Why,
};

use crate::world::{
    Broken, CONTENTS, COPIES, Message, NODES, Node, OUTSIDER, Place, Scenario, Task, Trash, World, content,
    id, node, peer, same_picture, to_mask, to_set,
};

/// The process is gone, and what was volatile or temporary with it.
pub(crate) fn crash(node: &mut Node) {
    node.planner = None;
    node.tasks.clear();
    node.suspended = false;
    node.begun = 0;
    for place in &mut node.disk.place {
        if *place == Place::Temp {
            *place = Place::Absent;
        }
    }
}

/// The environment takes a copy.
pub(crate) fn take(world: &mut World, n: usize, c: usize, leaves: Place) {
    world.nodes[n].disk.place[c] = leaves;
    world.taken[c] += 1;
    for node in &mut world.nodes {
        node.took[c] += 1;
    }
}

/// Moves the file back, if it was moved; the journal's entry stays.
pub(crate) fn put_back(node: &mut Node, c: usize) {
    let back = match node.disk.trash[c] {
        Trash::Empty => return,
        Trash::Intended => Place::Original,
        Trash::Wrong => Place::Edited,
    };
    // Somebody put a file there meanwhile: the trashed one comes back beside it.
    if !node.disk.place[c].is_copy() {
        node.disk.place[c] = back;
    }
    node.disk.trash[c] = Trash::Empty;
    node.removed[c] = false;
}

impl Scenario {
    pub(crate) fn tell(&self, world: &mut World, n: usize, event: Event) {
        let now = world.nodes[n].now();
        if let Event::Begin(plan) = &event {
            world.nodes[n].took[content(plan.keeper)] = 0;
        }
        if let Some(planner) = &mut world.nodes[n].planner {
            planner.on_event(now, event);
            self.drain(world, n);
        }
    }

    /// Takes the planner's actions. What is between nodes happens in the network, what
    /// can't be told apart from happening at once happens at once, all else is work.
    pub(crate) fn drain(&self, world: &mut World, n: usize) {
        if !world.nodes[n].awake() {
            return;
        }
        let now = world.nodes[n].now();
        while let Some(action) = world.nodes[n].planner.as_mut().and_then(|p| p.next_action(now)) {
            let life = world.nodes[n].life;
            match action {
                Action::Ask { ask, to, keeper, subject, asker_keeps, ref witnesses } => {
                    let (to, keeper) = (node(to), content(keeper));
                    world.nodes[n].took[keeper] = 0;
                    if to == n && self.coarse {
                        self.work(world, n, Task::Do(action));
                    } else if to == n {
                        world.nodes[n].tasks.push(Task::Do(action));
                    } else if to == OUTSIDER {
                        // It may have the bytes, and says whatever helps it.
                        world.net.insert(Message::Answer {
                            from: to,
                            to: n,
                            life,
                            ask: ask.0,
                            granted: true,
                            proof: true,
                        });
                    } else if self.sees(n, to) {
                        let (subject, witnesses) = (content(subject), to_mask(witnesses));
                        let (ask, keeps) = (ask.0, asker_keeps);
                        let ask = Message::Ask {
                            from: n,
                            to,
                            life,
                            ask,
                            content: keeper,
                            subject,
                            keeps,
                            witnesses,
                        };
                        world.net.insert(ask);
                    }
                }
                Action::Discard { keeper, .. } => {
                    let place = &mut world.nodes[n].disk.place[content(keeper)];
                    if *place == Place::Temp {
                        *place = Place::Absent;
                    }
                }
                Action::Ended { .. } => {}
                Action::Grant { .. } | Action::Deny { .. } => unreachable!("taken by deliver"),
                work if self.at_once(&work) => self.work(world, n, Task::Do(work)),
                work => world.nodes[n].tasks.push(Task::Do(work)),
            }
        }
    }

    fn at_once(&self, work: &Action) -> bool {
        let apart = matches!(
            work,
            Action::Rename { .. } | Action::Purge { .. } | Action::Journal { entry: Entry::Final, .. }
        );
        self.coarse && !apart
    }

    /// A request as the event loop completes it. The view is the most permissive one:
    /// safety must not hang on what a node believes of the others.
    pub(crate) fn request(world: &World, n: usize, asks: (usize, u64, usize, usize, bool, u8)) -> Request {
        let (from, ask, c, subject, asker_keeps, witnesses) = asks;
        let disk = &world.nodes[n].disk;
        Request {
            asker: peer(from),
            ask: AskId(ask),
            content: id(c),
            subject: id(subject),
            asker_keeps,
            witnesses: to_set(witnesses),
            witnesses_after: (disk.witnesses[c] | witnesses).count_ones() as usize,
            // An index that has not noticed an edit yet.
            held: disk.place[c].is_copy() || disk.place[c] == Place::Edited,
            view: View { without_asker: COPIES, copies: COPIES },
            asker_rank: from as u64,
        }
    }

    pub(crate) fn deliver(&self, world: &mut World, message: &Message) {
        match *message {
            Message::Ask { from, to, life, ask, content: c, subject, keeps, witnesses } => {
                let request = Self::request(world, to, (from, ask, c, subject, keeps, witnesses));
                let now = world.nodes[to].now();
                let Some(planner) = &mut world.nodes[to].planner else { return };
                planner.on_event(now, Event::Asked(request));
                // The answer is the last of the planner's actions; others may precede it
                // when it gave up a drop of its own.
                let mut granted = false;
                let mut others = Vec::new();
                while let Some(action) = planner.next_action(now) {
                    match action {
                        Action::Grant { .. } => granted = true,
                        Action::Deny { .. } => {}
                        other => others.push(other),
                    }
                }
                world.nodes[to].tasks.extend(others.into_iter().map(Task::Do));
                if granted {
                    world.nodes[to].disk.witnesses[c] |= witnesses;
                }
                let proof = world.nodes[to].disk.place[c].is_copy();
                world.net.insert(Message::Answer { from: to, to: from, life, ask, granted, proof });
            }
            Message::Answer { from, to, life, ask, granted, proof } => {
                // Another start drew other nonces: an old proof does not match.
                let fresh = life == world.nodes[to].life || !self.rules.fresh_answers;
                let answer =
                    if granted { Answer::Granted { proof_matches: fresh && proof } } else { Answer::Denied };
                let ask = if fresh { AskId(ask) } else { AskId(u64::MAX) };
                self.tell(world, to, Event::Answered { ask, from: peer(from), answer });
            }
        }
    }

    pub(crate) fn restart(&self, world: &mut World, n: usize) {
        let now = world.nodes[n].now();
        world.nodes[n].life += 1;
        let mut planner = self.planner(n, now);
        for (c, entry) in world.nodes[n].disk.journal.iter().enumerate() {
            if let Some(entry) = *entry {
                planner.on_event(now, Event::Recovered { subject: id(c), entry });
            }
        }
        world.nodes[n].planner = Some(planner);
        self.drain(world, n);
    }

    /// Whatever an outsider does, the planner is as before and does nothing but decline.
    pub(crate) fn outsider(world: &mut World, n: usize, event: Event) {
        let now = world.nodes[n].now();
        let Some(planner) = &mut world.nodes[n].planner else { return };
        let before = planner.clone();
        planner.on_event(now, event);
        let mut acts = false;
        while let Some(action) = planner.next_action(now) {
            acts |= !matches!(action, Action::Deny { .. });
        }
        if acts || *planner != before {
            world.broken |= Broken::Outsider as u8;
        }
    }

    pub(crate) fn work(&self, world: &mut World, n: usize, task: Task) {
        let action = match task {
            Task::Report(event) => return self.tell(world, n, event),
            Task::Do(action) => action,
        };
        let event = match action {
            Action::Compare { subject, keeper } => {
                let outcome = self.compare(world, n, content(subject), content(keeper));
                let event = Event::Compared { subject, outcome };
                if self.slow {
                    return world.nodes[n].tasks.push(Task::Report(event));
                }
                event
            }
            Action::Commit { subject, keeper } => {
                let place = &mut world.nodes[n].disk.place[content(keeper)];
                if *place == Place::Temp {
                    *place = Place::Replica;
                    world.nodes[n].removed[content(keeper)] = false;
                }
                Event::Committed { subject, ok: world.nodes[n].disk.place[content(keeper)].is_copy() }
            }
            Action::Ask { ask, keeper, witnesses, .. } => {
                let disk = &mut world.nodes[n].disk;
                let held = disk.place[content(keeper)].is_copy();
                if held {
                    disk.witnesses[content(keeper)] |= to_mask(&witnesses);
                }
                let answer = if held { Answer::Granted { proof_matches: true } } else { Answer::Denied };
                Event::Answered { ask, from: peer(n), answer }
            }
            Action::Journal { subject, entry: Entry::Final }
                if self.rules.pins && world.nodes[n].disk.pinned & (1 << content(subject)) != 0 =>
            {
                // The same transaction would have read the pin.
                Event::Journaled { subject, entry: Entry::Final, ok: false }
            }
            Action::Journal { subject, entry } => {
                world.nodes[n].disk.journal[content(subject)] = Some(entry);
                if entry == Entry::Final {
                    self.judge_final(world, n, content(subject));
                }
                Event::Journaled { subject, entry, ok: true }
            }
            Action::Recheck { subject } => {
                let ok = world.nodes[n].disk.place[content(subject)].is_copy();
                Event::Rechecked { subject, ok }
            }
            Action::Rename { subject } => {
                let (keeper, _) = self.keeper_of(n, content(subject));
                world.nodes[n].took[keeper] = 0;
                let outcome = rename(&mut world.nodes[n], content(subject));
                Event::Renamed { subject, outcome }
            }
            Action::PutBack { subject } => {
                put_back(&mut world.nodes[n], content(subject));
                world.nodes[n].disk.journal[content(subject)] = None;
                Event::PutBack { subject, ok: true }
            }
            Action::Purge { subject } => {
                self.judge_purge(world, n, content(subject));
                world.nodes[n].disk.trash[content(subject)] = Trash::Empty;
                Event::Purged { subject, ok: true }
            }
            Action::Withdraw { subject } => {
                // Without a final entry, this is what makes the drop final.
                if world.nodes[n].disk.journal[content(subject)] == Some(Entry::Intent) {
                    self.judge_final(world, n, content(subject));
                }
                world.nodes[n].disk.journal[content(subject)] = None;
                Event::Withdrawn(subject)
            }
            Action::Discard { .. } | Action::Grant { .. } | Action::Deny { .. } | Action::Ended { .. } => {
                return;
            }
        };
        self.tell(world, n, event);
    }

    /// Fetches the keeper from whoever has it, unless it is here, and compares.
    fn compare(&self, world: &mut World, n: usize, subject: usize, keeper: usize) -> Comparison {
        if world.nodes[n].disk.place[keeper] == Place::Absent {
            let has = |m: &usize| {
                *m != n
                    && self.sees(n, *m)
                    && world.nodes[*m].awake()
                    && world.nodes[*m].disk.place[keeper].is_copy()
            };
            let Some(source) = (0..NODES).find(has) else { return Comparison::Failed };
            world.nodes[n].disk.witnesses[keeper] |= world.nodes[source].disk.witnesses[keeper];
            world.nodes[n].disk.place[keeper] = Place::Temp;
            world.nodes[n].transfers[keeper] += 1;
        }
        let disk = &world.nodes[n].disk;
        if disk.place[keeper] == Place::Edited {
            return Comparison::Failed;
        }
        Comparison::Seen {
            matched: (0..CONTENTS).filter(|c| same_picture(*c, keeper)).map(id).collect(),
            witnesses: to_set(disk.witnesses[subject]),
            committed: disk.place[keeper].is_copy(),
        }
    }

    fn keeper_of(&self, n: usize, subject: usize) -> (usize, u16) {
        let plan = self.plans.iter().find(|(of, s, ..)| (*of, *s) == (n, subject));
        let (_, _, keeper, why) = plan.expect("only plans of the scenario are carried out");
        (*keeper, if *why == Why::Local { 1 } else { COPIES })
    }

    /// Whether the keeper is where it must be, less what the environment took since this
    /// node asked for it.
    fn copies_hold(&self, world: &World, n: usize, subject: usize) -> bool {
        let (keeper, need) = self.keeper_of(n, subject);
        world.copies(keeper) + u16::from(world.nodes[n].took[keeper]) >= need
    }

    fn judge_final(&self, world: &mut World, n: usize, subject: usize) {
        world.finals += 1;
        world.dropped |= 1 << subject;
        if !self.copies_hold(world, n, subject) {
            world.broken |= Broken::FinalWithoutCopies as u8;
        }
        let (keeper, _) = self.keeper_of(n, subject);
        let carried = to_set(world.nodes[n].disk.witnesses[subject]).into_iter().map(content);
        if !self.blind
            && keeper != subject
            && !carried.into_iter().all(|witness| same_picture(witness, keeper))
        {
            world.broken |= Broken::Witness as u8;
        }
        if world.nodes[n].disk.trash[subject] != Trash::Intended {
            world.broken |= Broken::WrongBytes as u8;
        }
        if world.nodes[n].disk.pinned & (1 << subject) != 0 {
            world.broken |= Broken::Pinned as u8;
        }
    }

    fn judge_purge(&self, world: &mut World, n: usize, subject: usize) {
        world.purges += 1;
        if !self.copies_hold(world, n, subject) {
            world.broken |= Broken::PurgeWithoutCopies as u8;
        }
    }
}

fn rename(node: &mut Node, c: usize) -> Renamed {
    let (trash, outcome) = match node.disk.place[c] {
        Place::Original | Place::Replica => (Trash::Intended, Renamed::Intact),
        Place::Edited => (Trash::Wrong, Renamed::Changed),
        Place::Absent | Place::Temp => return Renamed::Unsure,
    };
    node.disk.place[c] = Place::Absent;
    node.disk.trash[c] = trash;
    node.removed[c] = true;
    outcome
}
