//! The state of one job and its reaction to each event.

use crate::{
    arbitration::Dispute,
    arrivals::Terms,
    audits::Vouched,
    checking::Arrived,
    class::Admission,
    event::{Effect, Event, Millis, Outcome},
    frame::{
        Commitment, Delivery, Extent, OpenFrames, ProbeRef, Purpose, SealedTile, Task, TileRef,
    },
    ledger::Ledger,
    lookup::Lookup,
    probing::Comparison,
    progress::{Checks, Copies},
    worker::{Standing, Worker, WorkerNumber},
};
use protocol::{
    Blake3Hash, EngineKind, Glm, JobSpec, NodeId, TaskId, TaskSpec, TileGrid,
    geometry::Cell,
    ids::Signature,
    limits::{RANGE_SAMPLES_MIN, SAMPLE_RANGES_MAX},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};
use verifier::{ProbeShape, overlap::TILE_RECTS_MAX};

/// What a job is and what limits its user set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FarmConfig {
    /// The job.
    pub job: JobSpec,
    /// The frames in the order wanted; repetitions are dropped.
    pub frames: Vec<i32>,
    /// The division of each frame ([`crate::plan()`]), and of its samples.
    pub grid: TileGrid,
    /// Draws the probes; random, and never told to anybody.
    pub secret: [u8; 32],
    /// Most that may be spent.
    pub budget: Option<Glm>,
    /// When the job has to end, by its own clock.
    pub deadline: Option<Millis>,
    /// Dearest price of a million samples; workers above it get no work.
    pub price_megasample_max: Option<Glm>,
    /// What probes look like for this engine.
    pub probes: ProbeShape,
    /// Is everybody's work checked as much as there is to be had ([`verifier::TrustPolicy::paranoid`])?
    pub paranoid: bool,
    /// May workers of several determinism classes share the job, judged by the noise? Needs an own engine that works.
    pub mixed_classes: bool,
    /// How long to wait for somebody to work while there is nobody, in milliseconds.
    pub providers_wait_ms: Millis,
}

/// Why a job cannot be coordinated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FarmError {
    /// The job breaks a rule of the protocol.
    #[error("the job: {0}")]
    Job(String),
    /// The grid is of other frames.
    #[error("a grid for {grid} frames in a job of {job} frames")]
    Grid {
        /// The size that the grid divides.
        grid: protocol::Size,
        /// The size of the job.
        job: protocol::Size,
    },
    /// The samples cannot be divided so.
    #[error("{samples} samples in {ranges} ranges of {engine}: {why}")]
    Ranges {
        /// Samples of the job.
        samples: u32,
        /// Ranges that they were to be divided into.
        ranges: u32,
        /// What renders.
        engine: EngineKind,
        /// Why not.
        why: String,
    },
    /// A tile is too large to be delivered.
    #[error("tiles of {bytes} bytes are over the limit, choose smaller ones")]
    TileTooLarge {
        /// Bytes of the largest tile.
        bytes: u64,
    },
}

/// What the requestor's own engine was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OwnPurpose {
    Probe(ProbeRef),
    Opinion(u64),
    /// What a prober said of a tile that fell.
    Audit(u64),
    /// A tile of another class, by its noise.
    Judge(ProbeRef),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OwnRequest {
    pub purpose: OwnPurpose,
    pub extent: Extent,
    pub asked_at: Millis,
}

/// The coordinator of one job. Feed it events with [`Farm::handle`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Farm {
    pub(crate) config: FarmConfig,
    pub(crate) now: Millis,
    #[serde(skip)]
    pub(crate) effects: Vec<Effect>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) numbers: Lookup<NodeId, WorkerNumber>,
    /// Workers that are ready, by determinism class.
    pub(crate) ready: BTreeMap<Blake3Hash, BTreeSet<WorkerNumber>>,
    /// Workers ready for work that hold no lease, and that hold one.
    pub(crate) idle: BTreeSet<WorkerNumber>,
    pub(crate) half_idle: BTreeSet<WorkerNumber>,
    /// Newcomers that would work, while newcomers have their share of the tiles.
    pub(crate) newcomers: BTreeSet<WorkerNumber>,
    /// Tiles leased, and those of them that newcomers got.
    pub(crate) tiles_leased: u64,
    pub(crate) newcomer_tiles: u64,
    /// Workers of the job's class that are ready and known from earlier jobs.
    pub(crate) known_ready: usize,
    /// Frames begun and not final, by their position in the user's order: only these have tiles in memory.
    pub(crate) open: OpenFrames,
    /// Frames of the job by number, with their position.
    pub(crate) positions: Box<[(i32, u32)]>,
    /// Position of the first frame never begun.
    pub(crate) next_frame: u32,
    /// Open frames with tiles to be leased.
    pub(crate) pending_frames: BTreeSet<u32>,
    /// Of these, those with more tiles waiting than workers.
    pub(crate) roomy_frames: BTreeSet<u32>,
    /// Frames that are being written.
    pub(crate) writing_frames: BTreeSet<u32>,
    /// Frames that may have become complete by this event.
    pub(crate) touched_frames: BTreeSet<u32>,
    /// Finished frames.
    pub(crate) sealed: BTreeMap<u32, Box<[SealedTile]>>,
    /// Determinism classes of finished tiles, which name them by their place in here.
    pub(crate) sealed_classes: Vec<Blake3Hash>,
    pub(crate) failed: BTreeMap<u32, String>,
    pub(crate) tasks: Lookup<TaskId, Task>,
    pub(crate) next_task: u64,
    pub(crate) disputes: BTreeMap<u64, Dispute>,
    pub(crate) probes_wanted: BTreeSet<ProbeRef>,
    /// Of these, those for which nobody was drawn yet.
    pub(crate) probes_unassigned: BTreeSet<ProbeRef>,
    /// Replicas whose difference is being looked up.
    pub(crate) comparisons: BTreeMap<u64, Comparison>,
    /// What probers said of tiles that fell: to be looked at, and being looked at.
    pub(crate) audits: VecDeque<Vouched>,
    pub(crate) audited: BTreeMap<u64, Vouched>,
    /// Tiles that look strange and are not decided.
    pub(crate) suspects: BTreeSet<TileRef>,
    /// Workers that may vouch for those of lower levels.
    pub(crate) trusted: Vec<WorkerNumber>,
    pub(crate) opinions_wanted: BTreeSet<u64>,
    pub(crate) own_requests: BTreeMap<u64, OwnRequest>,
    pub(crate) own_engine_works: bool,
    /// The own engine's class, in a job of mixed classes, and whether it was told.
    pub(crate) own_class: Option<Blake3Hash>,
    pub(crate) is_own_class_told: bool,
    /// Classes of the own engine's build.
    pub(crate) comparable: BTreeSet<Blake3Hash>,
    /// What came of trials of such classes.
    pub(crate) admissions: BTreeMap<Blake3Hash, Admission>,
    /// Numbers disputes and requests to the own engine.
    pub(crate) next_number: u64,
    pub(crate) ledger: Ledger,
    /// Deliveries that need each blob: equal pixels share one.
    pub(crate) blobs: Lookup<Blake3Hash, u32>,
    pub(crate) class: Option<Blake3Hash>,
    pub(crate) first_ready_at: Option<Millis>,
    pub(crate) classless_since: Option<Millis>,
    pub(crate) nobody_since: Option<Millis>,
    /// Did the last search for work lease any? If not, another after no change will not either.
    pub(crate) leased_last: bool,
    /// Was somebody idle refused a task only because the budget does not cover it?
    pub(crate) budget_refused: bool,
    /// Was somebody idle refused a tile only because it would end after the deadline?
    pub(crate) deadline_refused: bool,
    /// Tiles to be leased in all open frames.
    pub(crate) pending_tiles: u64,
    /// Time of a typical worker for a million samples, by the average speed of those at work.
    pub(crate) typical_megasample_ms: u32,
    /// Workers that are ready or will be soon.
    pub(crate) workers_coming: u64,
    /// When idle workers looked for late tasks.
    pub(crate) late_sought_at: Millis,
    pub(crate) copies: Copies,
    pub(crate) tiles_accepted: u64,
    pub(crate) checks: Checks,
    pub(crate) outcome: Option<Outcome>,
}

impl Farm {
    /// A job at its beginning.
    ///
    /// # Errors
    /// [`FarmError`] when job and grid do not fit together or break the protocol's limits.
    pub fn new(mut config: FarmConfig) -> Result<Self, FarmError> {
        let job = &config.job;
        job.check().map_err(|e| FarmError::Job(e.to_string()))?;
        if config.grid.size != job.settings.size {
            return Err(FarmError::Grid {
                grid: config.grid.size,
                job: job.settings.size,
            });
        }
        check_ranges(&config)?;
        // The most that a tile's task can be: the tile, and a cell for each rectangle that may follow.
        let cell = Cell { column: 0, row: 0 }.rect(config.grid.size);
        let cells = cell.into_iter().cycle().take(TILE_RECTS_MAX - 1);
        let largest = TaskSpec {
            id: TaskId(0),
            frame: 0,
            samples: None,
            rects: std::iter::once(config.grid.rendered(0))
                .chain(cells)
                .collect(),
            pixels: None,
        };
        largest.check(job).map_err(|_| FarmError::TileTooLarge {
            bytes: largest.delivery_bytes(job),
        })?;
        let mut seen = BTreeSet::new();
        config.frames.retain(|frame| seen.insert(*frame));
        config.frames.truncate(protocol::limits::JOB_FRAMES_MAX);
        let mut positions: Box<[(i32, u32)]> = config.frames.iter().copied().zip(0..).collect();
        positions.sort_unstable();
        let secret = config.secret;
        Ok(Self {
            ledger: Ledger::new(config.budget),
            config,
            now: 0,
            effects: Vec::new(),
            workers: Vec::new(),
            numbers: Lookup::new(&secret),
            ready: BTreeMap::new(),
            idle: BTreeSet::new(),
            half_idle: BTreeSet::new(),
            newcomers: BTreeSet::new(),
            tiles_leased: 0,
            newcomer_tiles: 0,
            known_ready: 0,
            open: OpenFrames::default(),
            positions,
            next_frame: 0,
            pending_frames: BTreeSet::new(),
            roomy_frames: BTreeSet::new(),
            writing_frames: BTreeSet::new(),
            touched_frames: BTreeSet::new(),
            sealed: BTreeMap::new(),
            sealed_classes: Vec::new(),
            failed: BTreeMap::new(),
            tasks: Lookup::new(&secret),
            next_task: 0,
            disputes: BTreeMap::new(),
            probes_wanted: BTreeSet::new(),
            probes_unassigned: BTreeSet::new(),
            comparisons: BTreeMap::new(),
            audits: VecDeque::new(),
            audited: BTreeMap::new(),
            suspects: BTreeSet::new(),
            trusted: Vec::new(),
            opinions_wanted: BTreeSet::new(),
            own_requests: BTreeMap::new(),
            own_engine_works: true,
            own_class: None,
            is_own_class_told: false,
            comparable: BTreeSet::new(),
            admissions: BTreeMap::new(),
            next_number: 0,
            blobs: Lookup::new(&secret),
            class: None,
            first_ready_at: None,
            classless_since: None,
            nobody_since: None,
            leased_last: false,
            budget_refused: false,
            deadline_refused: false,
            pending_tiles: 0,
            typical_megasample_ms: 0,
            workers_coming: 0,
            late_sought_at: 0,
            copies: Copies::default(),
            tiles_accepted: 0,
            checks: Checks::default(),
            outcome: None,
        })
    }

    /// Takes note of an event and says what to do, in this order. Events that make no sense (of strangers, of tasks
    /// long gone, said twice) change nothing; after [`Effect::Finished`] none does but [`Event::Resumed`]. `now` never runs backwards: an
    /// earlier time counts as the latest one.
    pub fn handle(&mut self, now: Millis, event: Event) -> Vec<Effect> {
        if matches!(event, Event::Resumed { .. }) {
            self.outcome = None;
        }
        if self.outcome.is_some() {
            return Vec::new();
        }
        self.now = self.now.max(now);
        let is_heartbeat = matches!(event, Event::Heartbeat { .. });
        self.react(event);
        // With thousands of workers whom the budget or the checks keep idle, to ask them all again at each heartbeat of
        // each would take all the time there is.
        let nothing_new = is_heartbeat && self.effects.is_empty() && !self.leased_last;
        if self.outcome.is_none() {
            if !nothing_new {
                self.lease_work();
            }
            self.conclude();
        }
        std::mem::take(&mut self.effects)
    }

    fn react(&mut self, event: Event) {
        match event {
            Event::Quoted {
                worker,
                trust,
                payee,
                price_megasample,
                held,
                hold_ms,
            } => {
                let terms = Terms {
                    trust,
                    price_megasample,
                    hold_ms,
                };
                self.on_quoted(worker, payee, terms, &held);
            }
            Event::OwnRendered { request, cells } => self.on_own_rendered(request, cells),
            Event::Compared { request, found } => self.on_compared(request, found),
            Event::OwnClass { class } => self.on_own_class(class),
            Event::Judged { request, verdict } => self.on_judged(request, verdict),
            Event::FrameWritten { frame, outcome } => self.on_frame_written(frame, outcome),
            Event::Tick => self.on_tick(),
            Event::Resumed {
                budget,
                deadline,
                again,
            } => {
                self.on_resumed(budget, deadline);
                self.open_again(&again);
            }
            Event::Stop => self.finish(Outcome::Stopped),
            Event::Ready { worker, .. }
            | Event::Left { worker }
            | Event::Heartbeat { worker, .. }
            | Event::Committed { worker, .. }
            | Event::Delivered { worker, .. }
            | Event::Failed { worker, .. } => match self.numbers.get(&worker) {
                Some(&number) if self.worker(number).standing != Standing::Quarantined => {
                    self.worker_mut(number).last_heard = self.now;
                    self.on_worker_event(number, event);
                }
                _ => self.discard(event),
            },
        }
    }

    /// What a stranger or a quarantined worker sends is dropped, its pixels too.
    fn discard(&mut self, event: Event) {
        if let Event::Delivered { root, .. } = event {
            self.forget_if_unused(root);
        }
    }

    fn on_worker_event(&mut self, number: WorkerNumber, event: Event) {
        match event {
            Event::Ready {
                class,
                is_comparable,
                megasample_ms,
                ..
            } => {
                if is_comparable {
                    self.note_comparable(class);
                }
                self.on_ready(number, class, megasample_ms);
            }
            Event::Left { .. } => self.on_left(number),
            Event::Heartbeat { tasks, .. } => self.on_heartbeat(number, &tasks),
            Event::Committed {
                task,
                commitment,
                signature,
                ..
            } => self.on_committed(number, task, commitment, signature),
            Event::Delivered {
                task,
                salt,
                root,
                cells,
                looks,
                ..
            } => {
                let arrived = Arrived {
                    salt,
                    root,
                    cells,
                    looks,
                };
                self.on_delivered(number, task, arrived);
            }
            Event::Failed { task, reason, .. } => self.on_failed(number, task, &reason),
            _ => {}
        }
    }

    fn on_committed(
        &mut self,
        number: WorkerNumber,
        id: TaskId,
        hash: Blake3Hash,
        signature: Signature,
    ) {
        let now = self.now;
        // From now on it is fixed what is due: who is there when the pixels come is another matter.
        let task = self.tasks.get(&id);
        let samples = task.map_or(1, |task| self.samples_in(&task.extent));
        let parts = task.map_or(1, |task| self.pixel_parts(task));
        let turns = task.map_or(1, |task| self.turns(&task.extent));
        let is_tile = task.is_some_and(|task| self.whole_tile(task.purpose).is_some());
        let Some(task) = self.owned_task(number, id) else {
            return;
        };
        if task.committed.is_some() {
            return;
        }
        task.committed = Some(Commitment {
            hash,
            signature,
            parts,
            since: now,
        });
        let pixels = task.pixels;
        let worker = self.worker_mut(number);
        let was_first = worker.queue.first() == Some(&id);
        worker.queue.retain(|queued| *queued != id);
        worker.revealing.push(id);
        if was_first {
            let took = now.saturating_sub(worker.head_since);
            match is_tile {
                true => worker.learn_speed(pixels, samples, took),
                false => worker.learn_overhead(pixels, samples, turns, took),
            }
            worker.head_since = now;
        }
        self.reveal(id);
        self.refresh(number);
    }

    /// Asks for the pixels of a commitment. Those of a tile that another worker delivered wait for its checks.
    pub(crate) fn reveal(&mut self, id: TaskId) {
        let now = self.now;
        let Some((number, purpose)) = self.tasks.get(&id).map(|task| (task.worker, task.purpose))
        else {
            return;
        };
        let is_parked = matches!(purpose, Purpose::Tile(at) if self.delivery(at).is_some());
        if let Some(task) = self.tasks.get_mut(&id) {
            task.is_parked = is_parked;
            if let Some(commitment) = &mut task.committed {
                commitment.since = now;
            }
        }
        let worker = self.worker_mut(number);
        worker.revealing.retain(|revealing| *revealing != id);
        worker.revealing.push(id);
        let worker = worker.id;
        if !is_parked {
            self.effects.push(Effect::Reveal {
                worker,
                task: id,
                due: self.cells_due(id),
            });
        }
    }

    fn on_failed(&mut self, number: WorkerNumber, task: Option<TaskId>, reason: &str) {
        match task {
            Some(id) if self.owned_task(number, id).is_some() => {
                self.task_failed(number, id, reason);
            }
            Some(_) => {}
            None => {
                self.rest(number, self.now);
                self.leave(number);
            }
        }
    }

    /// Gives a worker another standing. Every change to or from ready goes through here.
    pub(crate) fn stand(&mut self, number: WorkerNumber, standing: Standing) {
        let worker = &mut self.workers[number as usize];
        let before = std::mem::replace(&mut worker.standing, standing);
        let Some(class) = worker.class else { return };
        if standing == Standing::Ready {
            self.ready.entry(class).or_default().insert(number);
        } else if before == Standing::Ready
            && let Some(others) = self.ready.get_mut(&class)
        {
            others.remove(&number);
            if others.is_empty() {
                self.ready.remove(&class);
            }
        }
    }

    /// Workers of a class that are ready, by number.
    pub(crate) fn ready_in(
        &self,
        class: &Blake3Hash,
    ) -> impl Iterator<Item = WorkerNumber> + use<'_> {
        self.ready.get(class).into_iter().flatten().copied()
    }

    pub(crate) fn worker(&self, number: WorkerNumber) -> &Worker {
        &self.workers[number as usize]
    }

    pub(crate) fn worker_mut(&mut self, number: WorkerNumber) -> &mut Worker {
        &mut self.workers[number as usize]
    }

    /// A lease, if it is this worker's.
    pub(crate) fn owned_task(&mut self, number: WorkerNumber, id: TaskId) -> Option<&mut Task> {
        self.tasks.get_mut(&id).filter(|task| task.worker == number)
    }

    pub(crate) fn delivery(&self, at: TileRef) -> Option<&Delivery> {
        self.open.get(at.frame)?.delivery(at.tile)
    }

    pub(crate) fn delivery_mut(&mut self, at: TileRef) -> Option<&mut Delivery> {
        self.open.get_mut(at.frame)?.delivery_mut(at.tile)
    }

    pub(crate) fn frame_number(&self, frame: u32) -> i32 {
        self.config.frames[frame as usize]
    }

    /// Position of a frame in the user's order.
    pub(crate) fn frame_position(&self, number: i32) -> Option<u32> {
        let by_number = |(frame, _): &(i32, u32)| *frame;
        let index = self
            .positions
            .binary_search_by_key(&number, by_number)
            .ok()?;
        Some(self.positions[index].1)
    }

    pub(crate) fn fresh_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    pub(crate) fn hold_blob(&mut self, root: Blake3Hash) {
        *self.blobs.entry(root).or_insert(0) += 1;
    }

    pub(crate) fn release_blob(&mut self, root: Blake3Hash) {
        if let Some(count) = self.blobs.get_mut(&root) {
            *count -= 1;
            if *count == 0 {
                self.blobs.remove(&root);
                self.effects.push(Effect::Forget { root });
            }
        }
    }

    pub(crate) fn forget_if_unused(&mut self, root: Blake3Hash) {
        if !self.blobs.contains_key(&root) {
            self.effects.push(Effect::Forget { root });
        }
    }
}

/// Refuses ranges of samples that are no tasks of the job, or too many.
fn check_ranges(config: &FarmConfig) -> Result<(), FarmError> {
    let (job, ranges) = (&config.job, config.grid.ranges);
    if ranges == 1 {
        return Ok(());
    }
    let samples = job.settings.samples;
    let refused = |why: String| FarmError::Ranges {
        samples,
        ranges,
        engine: job.engine,
        why,
    };
    let most = SAMPLE_RANGES_MAX.min(samples / RANGE_SAMPLES_MIN);
    if !(1..=most).contains(&ranges) {
        return Err(refused(format!("from 1 to {most} are allowed")));
    }
    let first = TaskSpec {
        id: TaskId(0),
        frame: 0,
        samples: config.grid.samples(0, samples),
        rects: vec![config.grid.rendered(0)],
        pixels: None,
    };
    first.check(job).map_err(|e| refused(e.to_string()))
}

/// Cells as they arrive: hashes, or why the bytes are no pixels.
pub(crate) type ArrivedCells = Result<Arc<[Blake3Hash]>, String>;
