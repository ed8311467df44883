//! The simulated world: virtual time moves from one happening to the next; what the coordinator asks for is done.

use super::{
    disk::Disk,
    engine::{CLASS, job, packed_hashes, true_content},
    invariants::{Referee, check_files, content_of},
    network::{Agenda, Happening, Message, WorkerIndex},
    random::Random,
    requestor::Requestor,
    scenario::{Crashes, Scenario},
    trace::{Sink, Trace},
    worker::{Member, Strategy, Worker},
};
use farm::{
    Farm, FarmConfig,
    event::{Effect, Event, Millis, Outcome},
};
use protocol::{JobSpec, NodeId, TaskId, TaskSpec};
use std::collections::HashMap;

/// How often the coordinator learns that time passes.
const TICK_MS: Millis = 250;
/// Among more workers there is an audit, which looks at all of them, after so many events for each and not after each event.
const MANY_WORKERS: usize = 50;
/// See there.
const AUDIT_EVENTS_PER_WORKER: u64 = 10;
/// How long the coordinator waits while nobody is there to work.
const PROVIDERS_WAIT_MS: Millis = 60_000;
/// Time after which a job without troubles counts as stuck.
const JOB_MS_MAX: Millis = 40 * 3_600_000;

/// Everything there is.
pub struct World {
    pub(super) scenario: Scenario,
    pub(super) job: JobSpec,
    pub(super) now: Millis,
    pub(super) random: Random,
    pub(super) agenda: Agenda,
    pub(super) workers: Vec<Worker>,
    pub(super) indices: HashMap<NodeId, WorkerIndex>,
    pub(super) requestor: Requestor,
    pub(super) referee: Referee,
    pub(super) trace: Trace,
    /// When the requestor's disk has room for frames again.
    pub(super) frames_full_until: Millis,
    /// The same for its journal.
    pub(super) journal_full_until: Millis,
    pub(super) resumes: u32,
    pub(super) outcome: Option<Outcome>,
    until: u64,
    audited: u64,
}

impl World {
    /// A world in which the scenario begins; it stops after the event with the number `until`.
    pub fn new(scenario: Scenario, sink: Option<Sink>, until: u64) -> Result<Self, String> {
        let mut random = Random::new(scenario.seed);
        let config = FarmConfig {
            job: job(scenario.grid.size),
            frames: scenario.frames.clone(),
            grid: scenario.grid,
            secret: random.bytes(),
            budget: scenario.budget,
            deadline: scenario.deadline,
            price_megasample_max: None,
            probes: verifier::ProbeShape::Pixels,
            paranoid: scenario.paranoid,
            mixed_classes: scenario.mixed_classes,
            providers_wait_ms: PROVIDERS_WAIT_MS,
        };
        let farm = Farm::new(config).map_err(|e| e.to_string())?;
        let has_journal = scenario.crashes != Crashes::Never
            || scenario.resumes_max > 0
            || scenario.checks_journal;
        let is_honest = |member: &Member| member.strategy == Strategy::Honest;
        let keeps_cells = scenario.mixed_classes || !scenario.members.iter().all(is_honest);
        let disk = Disk::new(&farm, has_journal, keeps_cells)?;
        let requestor = Requestor::new(farm, disk, scenario.crashes, &mut random);
        let members = scenario.members.clone();
        let mut world = Self {
            job: job(scenario.grid.size),
            now: 0,
            agenda: Agenda::default(),
            workers: Vec::with_capacity(members.len()),
            indices: HashMap::new(),
            referee: Referee::new(scenario.grid, scenario.budget),
            requestor,
            trace: Trace::new(sink),
            frames_full_until: 0,
            journal_full_until: 0,
            resumes: 0,
            outcome: None,
            until,
            audited: 0,
            random,
            scenario,
        };
        world.agenda.add(0, Happening::Tick { process: 1 });
        for member in members {
            world.join(member);
        }
        world.plan_requestor_trouble();
        world.calibrate();
        Ok(world)
    }

    /// The requestor's own engine begins, where classes are mixed.
    fn calibrate(&mut self) {
        if self.scenario.mixed_classes {
            let process = self.requestor.process;
            let class = self.scenario.own_engine.then_some(CLASS);
            let event = Box::new(Event::OwnClass { class });
            let at = self.now + self.random.below(4_000);
            self.agenda.add(at, Happening::Local { process, event });
        }
    }

    /// A worker appears and looks for the requestor.
    pub(super) fn join(&mut self, member: Member) -> WorkerIndex {
        let index = self.workers.len();
        let mut name = self.scenario.seed.to_le_bytes().to_vec();
        name.extend(index.to_le_bytes());
        let id = NodeId(*blake3::hash(&name).as_bytes());
        self.indices.insert(id, index);
        self.referee.meet(id, member.strategy.is_wrong());
        self.workers.push(Worker::new(member, id));
        let after = self.random.below(3_000);
        self.seek(index, after);
        self.plan_trouble(index);
        index
    }

    /// Lets the next thing happen; false when the job is over, or at the event where to stop.
    pub fn step(&mut self) -> Result<bool, String> {
        let is_there = self.trace.number() >= self.until && !self.requestor.is_writing();
        if self.outcome.is_some() || is_there {
            return Ok(false);
        }
        let Some((at, happening)) = self.agenda.take() else {
            return Err("nothing is going to happen any more".into());
        };
        self.now = at;
        if at > JOB_MS_MAX.saturating_add(self.scenario.troubles_until) {
            return Err(self.stuck());
        }
        self.happen(happening)?;
        Ok(true)
    }

    fn stuck(&self) -> String {
        let progress = self.requestor.farm.progress();
        let states: Vec<_> = progress.workers.iter().map(|row| row.state).collect();
        format!(
            "no end: {} of {} tiles accepted, {} frames failed, {} probes wait, workers {states:?}",
            progress.tiles_accepted,
            progress.tiles_total,
            progress.frames_failed,
            progress.probes_waiting
        )
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Arrive {
                worker,
                connection,
                process,
                event,
                blob,
            } => match self.reaches_requestor(worker, connection, process, &event) {
                true => {
                    if let (Event::Delivered { root, .. }, Some(blob)) = (&*event, blob) {
                        self.requestor.disk.add_blob(*root, *blob);
                    }
                    self.requestor_hears(*event)
                }
                false => Ok(()),
            },
            Happening::Local { process, event } if self.lives(process) => {
                self.requestor_hears(*event)
            }
            Happening::FileWritten {
                process,
                frame,
                content,
            } if self.lives(process) => self.file_written(frame, content),
            Happening::Tick { process } if self.lives(process) => {
                let next = self.now + TICK_MS;
                self.agenda.add(next, Happening::Tick { process });
                match self.requestor.is_asleep {
                    true => Ok(()),
                    false => self.requestor_hears(Event::Tick),
                }
            }
            Happening::Journalled { process } if self.lives(process) => {
                self.journalled()?;
                self.handle_waiting()
            }
            Happening::Wake { process } if self.lives(process) => {
                self.requestor.is_asleep = false;
                self.handle_waiting()
            }
            Happening::Local { .. }
            | Happening::FileWritten { .. }
            | Happening::Tick { .. }
            | Happening::Journalled { .. }
            | Happening::Wake { .. } => Ok(()),
            Happening::RequestorTrouble => self.requestor_trouble(),
            Happening::Begin => self.begin(),
            other => self.happen_to_worker(other),
        }
    }

    fn lives(&self, process: u32) -> bool {
        self.requestor.is_up && self.requestor.process == process
    }

    /// The coordinator is told something, now or when the journal has written what was before.
    pub fn requestor_hears(&mut self, event: Event) -> Result<(), String> {
        if !self.requestor.is_up {
            return Ok(());
        }
        self.requestor.receive(event);
        self.handle_waiting()
    }

    fn handle_waiting(&mut self) -> Result<(), String> {
        while self.requestor.is_free() && self.trace.number() < self.until {
            self.requestor
                .handle(self.now, &mut self.trace, self.until)?;
            let process = self.requestor.process;
            match self.scenario.journal_ms {
                0 => self.journalled()?,
                _ => {
                    let took = self.random.below(self.scenario.journal_ms * 2) + 1;
                    self.agenda
                        .add(self.now + took, Happening::Journalled { process });
                }
            }
        }
        Ok(())
    }

    fn journalled(&mut self) -> Result<(), String> {
        let disk_is_full = self.now < self.journal_full_until;
        let written = self.requestor.write(disk_is_full)?;
        for (note, effects) in &written.written {
            self.referee.watch(note, effects, &self.requestor.disk)?;
        }
        if !written.is_dead {
            self.audit()?;
        }
        for effect in written.effects {
            self.carry_out(effect)?;
        }
        if written.is_dead && self.outcome.is_none() {
            return self.die(written.state, disk_is_full);
        }
        Ok(())
    }

    fn audit(&mut self) -> Result<(), String> {
        let workers = self.workers.len();
        let every = match workers > MANY_WORKERS {
            true => workers as u64 * AUDIT_EVENTS_PER_WORKER,
            false => 1,
        };
        if self.trace.number() < self.audited + every {
            return Ok(());
        }
        self.audited = self.trace.number();
        self.referee.audit(&self.requestor.farm)?;
        if self.scenario.checks_journal {
            self.check_journal(
                &self
                    .requestor
                    .farm
                    .checkpoint()
                    .map_err(|e| e.to_string())?,
            )?;
        }
        Ok(())
    }

    fn check_journal(&self, state: &[u8]) -> Result<(), String> {
        let (read, _) = self.requestor.disk.read()?;
        match read.checkpoint().is_ok_and(|bytes| bytes == state) {
            true => Ok(()),
            false => Err("the journal gives another state than there was".into()),
        }
    }

    fn die(&mut self, state: Option<Vec<u8>>, disk_is_full: bool) -> Result<(), String> {
        self.trace.note(self.now, "the requestor's process dies");
        self.requestor.crashes += u32::from(!disk_is_full);
        if let Some(state) = state {
            self.check_journal(&state)?;
        }
        self.end_process();
        let away = match self.random.below(3) {
            0 => self.random.below(3_000),
            1 => self.random.below(60_000),
            _ => self.random.below(900_000),
        };
        let from = self.now.max(self.journal_full_until);
        self.agenda.add(from + away, Happening::Begin);
        Ok(())
    }

    fn end_process(&mut self) {
        self.requestor.end();
        for index in 0..self.workers.len() {
            self.lose(index);
        }
    }

    /// Starts the job again, as the user does.
    fn begin(&mut self) -> Result<(), String> {
        if self.requestor.is_up {
            return Ok(());
        }
        self.trace
            .note(self.now, "the requestor's process begins again");
        self.requestor.begin(self.now)?;
        if let Crashes::Often(_, every) = self.scenario.crashes {
            self.requestor.plan_crash(every, &mut self.random);
        }
        let again = self.requestor.frames_again();
        let process = self.requestor.process;
        self.agenda
            .add(self.now + TICK_MS, Happening::Tick { process });
        for index in 0..self.workers.len() {
            let after = self.random.below(3_000);
            self.seek(index, after);
        }
        self.calibrate();
        self.requestor_hears(Event::Resumed {
            budget: self.scenario.budget,
            deadline: self.scenario.deadline,
            again,
        })
    }

    /// Starts an ended job once more, with these frames to be rendered again.
    pub fn begin_again(&mut self, again: Vec<i32>) -> Result<(), String> {
        self.outcome = None;
        for frame in &again {
            self.requestor.disk.files.remove(frame);
        }
        self.begin()
    }

    fn carry_out(&mut self, effect: Effect) -> Result<(), String> {
        let process = self.requestor.process;
        match effect {
            Effect::Lease {
                worker,
                tasks,
                next,
                ..
            } => self.tell(worker, Message::Lease(tasks, next)),
            Effect::Reveal { worker, task, due } => {
                self.tell(worker, Message::Reveal(task, due));
            }
            Effect::Cancel { worker, tasks } => self.tell(worker, Message::Cancel(tasks)),
            Effect::Accept { worker, task, .. } | Effect::Reject { worker, task, .. } => {
                self.tell(worker, Message::Verdict(task));
            }
            Effect::Quarantine { worker, .. } => self.tell(worker, Message::Close),
            Effect::RenderOwn {
                request,
                frame,
                samples,
                class,
                rects,
                pixels,
            } => {
                let able = self.scenario.own_engine && class == CLASS;
                let cells = match able {
                    true => {
                        let id = TaskId(0);
                        let spec = TaskSpec {
                            id,
                            frame,
                            samples,
                            rects,
                            pixels,
                        };
                        let content = true_content(class, &spec);
                        Ok(match &spec.pixels {
                            Some(pixels) => packed_hashes(pixels, &spec.rects[0], &content),
                            None => content,
                        })
                    }
                    false => Err("no engine".into()),
                };
                let event = Box::new(Event::OwnRendered { request, cells });
                let at = self.now + self.random.below(2_000);
                self.agenda.add(at, Happening::Local { process, event });
            }
            Effect::WriteFrame { frame, tiles } => {
                let content = content_of(frame, &tiles, &self.requestor.disk);
                let at = self.now + self.random.below(1_000);
                let written = Happening::FileWritten {
                    process,
                    frame,
                    content,
                };
                self.agenda.add(at, written);
            }
            Effect::Compare {
                request,
                rects,
                pixels,
                left,
                right,
            } => {
                let disk = &self.requestor.disk;
                let found = disk.difference(&rects, pixels.as_ref(), &left, &right);
                let event = Box::new(Event::Compared { request, found });
                let at = self.now + self.random.below(100);
                self.agenda.add(at, Happening::Local { process, event });
            }
            Effect::Judge {
                request,
                frame,
                rects,
                root,
                regions,
                ..
            } => {
                let verdict = match self.scenario.own_engine {
                    true => self.requestor.disk.judge(frame, &rects, &regions, &root),
                    false => Err("no engine".into()),
                };
                let event = Box::new(Event::Judged { request, verdict });
                let at = self.now + self.random.below(3_000);
                self.agenda.add(at, Happening::Local { process, event });
            }
            Effect::Forget { .. } | Effect::Fault { .. } | Effect::Pay { .. } => {}
            Effect::Finished { outcome } => return self.finish(outcome),
        }
        Ok(())
    }

    fn file_written(&mut self, frame: i32, content: Result<(), String>) -> Result<(), String> {
        let outcome = match self.now < self.frames_full_until {
            true => Err("no space left on device".into()),
            false => {
                self.requestor.disk.files.insert(frame, content);
                Ok(())
            }
        };
        self.requestor_hears(Event::FrameWritten { frame, outcome })
    }

    /// The job ends; a user whose job went wrong without need starts it again.
    fn finish(&mut self, outcome: Outcome) -> Result<(), String> {
        self.referee.audit(&self.requestor.farm)?;
        let may_go_on = matches!(
            outcome,
            Outcome::FramesFailed { .. } | Outcome::NoProviders | Outcome::Unverified { .. }
        );
        self.end_process();
        if may_go_on && self.resumes < self.scenario.resumes_max {
            self.trace.note(self.now, "the user starts the job again");
            self.resumes += 1;
            let room = self.now.max(self.frames_full_until);
            let at = room + 1_000 + self.random.below(60_000);
            self.agenda.add(at, Happening::Begin);
            return Ok(());
        }
        check_files(&self.requestor.farm, &self.requestor.disk)?;
        if outcome == Outcome::Done {
            self.check_done()?;
        }
        self.outcome = Some(outcome);
        Ok(())
    }

    fn check_done(&self) -> Result<(), String> {
        let progress = self.requestor.farm.progress();
        let (frames, tiles) = (
            self.scenario.frames.len() as u64,
            self.scenario.tile_count(),
        );
        if progress.frames_done != frames {
            return Err(format!(
                "done with {} of {frames} frames",
                progress.frames_done
            ));
        }
        if progress.tiles_accepted != tiles {
            return Err(format!(
                "done with {} of {tiles} tiles",
                progress.tiles_accepted
            ));
        }
        match self.requestor.farm.blobs().len() {
            0 => Ok(()),
            count => Err(format!("{count} blobs were never forgotten")),
        }
    }
}
