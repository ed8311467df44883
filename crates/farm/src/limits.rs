//! The coordinator's bounds and waiting times, each with its unit last.

use crate::event::Millis;

/// Most workers one job remembers; further strangers are not taken, workers of the user always are.
pub const WORKERS_MAX: usize = 20_000;
/// Leases a worker holds at least: one that it renders and one in its queue, so that it never waits for us.
pub const LEASES_PER_WORKER: usize = 2;
/// Most leases in a worker's queue, however short they are.
pub const RUN_TASKS_MAX: usize = 32;
/// Work that a worker's queue is filled to: what a slow connection hides, and little to lose.
pub const RUN_MS: Millis = 10_000;
/// Tiles of one worker that may wait for their checks (or two runs, if that is more); then it gets no more tiles until
/// some are decided.
pub const UNVERIFIED_TILES_MAX: usize = 8;
/// Tasks of one worker whose pixels may be on the way (or two runs, if that is more); then it gets no more until some
/// have come.
pub const REVEALING_MAX: usize = 16;
/// How often idle workers look for late tasks.
pub const COPIES_EVERY_MS: Millis = 200;
/// Late tasks that an idle worker is compared with: the latest that may be its own.
pub const LATE_TRIES_MAX: usize = 16;
/// A late task is given to an idle worker that would end so much earlier with it, and half as much of its own time.
pub const COPY_GAIN_MS: Millis = 500;
/// A probe or opinion is taken from its worker when it is so late, and twice as much after each time that it was.
pub const MOVE_GAIN_MS: Millis = 2_000;
/// A worker busy for longer gets no probes while they are younger than its work is long.
pub const PROBE_WAIT_MS: Millis = 2_000;
/// Most workers that the probes of a tile are dealt out to.
pub const PROBES_PER_TILE_MAX: usize = 8;
/// Squares that each of them gets at least, where probes are squares.
pub const SQUARES_PER_PROBE_MIN: usize = 2;
/// Probes in a worker's queue beyond its run.
pub const PROBES_QUEUED_MAX: usize = 4;
/// To turn to a tile's probes may cost its probers one part of so many of the tile's own time.
pub const PROBE_COST_SHARE: u64 = 20;
/// Of so many tiles of strangers one is looked at by the own engine, where no worker is better trusted.
pub const OWN_AUDIT_ONE_OF: u32 = 8;
/// Newcomers get one tile of so many where enough known workers are there.
pub const NEWCOMER_TILES_ONE_OF: u64 = 5;
/// So many known workers are enough for that.
pub const KNOWN_WORKERS_MIN: usize = 4;
/// A tile that so many workers lost goes to proven workers, if there are any.
pub const LOSSES_FOR_PROVEN: usize = 2;
/// Faults in single cells that a worker may have before it is out of a job.
pub const FLAKY_MAX: u32 = 2;
/// Of fewer cells compared nobody can tell whether a wrong one stands alone.
pub const FLAKY_CELLS_MIN: usize = 8;
/// Whoever is wrong in more than one of so many compared cells, one at a time, has more wrong ones than memory has.
pub const FLAKY_ONE_OF: u64 = 64;
/// Frames that may wait to be written before another is begun.
pub const WRITING_FRAMES_MAX: usize = 64;
/// Renders asked of the requestor's own engine at a time.
pub const OWN_REQUESTS_MAX: usize = 4;
/// A tile that fails on so many own workers, or on so many and nobody else is there, fails its frame.
pub const TILE_FAILURES_MAX: usize = 3;
/// A tile that so many workers fail, or whose lease so many lose (gone, silent, too late), fails its frame: it may be what
/// kills them.
pub const TILE_LOSSES_MAX: usize = 10;
/// A worker that fails so often without a success is dropped until it quotes again.
pub const WORKER_FAILURES_MAX: u32 = 8;

/// A worker with leases that is not heard for so long has lost them.
pub const HEARTBEAT_TIMEOUT_MS: Millis = 15_000;
/// What is left to a tile that ends just before the deadline: for its pixels to come, its checks, its frame.
pub const DEADLINE_MARGIN_MS: Millis = 2_000;
/// Leases of a worker whose connection broke wait for it so long at most.
pub const AWAY_MS_MAX: Millis = 300_000;
/// A worker may take so long to fetch and load the scene, counted from the last word of it.
pub const PREPARE_TIMEOUT_MS: Millis = 900_000;
/// Least time for a task, however small.
pub const PROGRESS_MS_MIN: Millis = 120_000;
/// Most time for a task, however slow the worker says it is.
pub const PROGRESS_MS_MAX: Millis = 3_600_000;
/// A task may take so many times what the worker's own speed predicts.
pub const PROGRESS_SLACK: u64 = 10;
/// Time to open a commitment, besides the time for its bytes.
pub const REVEAL_MS_MIN: Millis = 60_000;
/// Slowest transfer of a delivery that is waited for, in bytes a millisecond (250 kB/s).
pub const REVEAL_BYTES_PER_MS_MIN: u64 = 250;
/// Time for the requestor's own engine to answer; later it counts as unavailable.
pub const OWN_RENDER_MS_MAX: Millis = 600_000;

/// A worker rests this long after its first failure, twice as long after each further one.
pub const REST_MS_MIN: Millis = 1_000;
/// Longest rest.
pub const REST_MS_MAX: Millis = 300_000;
/// After so long without a failure a worker's record is clean again.
pub const FORGIVE_MS: Millis = 600_000;

/// How long to let strangers get ready before the majority's determinism class becomes the job's.
pub const CLASS_SETTLE_MS: Millis = 2_000;
/// How long to wait for a worker of the job's class before another class takes over.
pub const CLASS_WAIT_MS: Millis = 30_000;
/// How long a tile or a dispute waits for somebody who could decide it when the own engine cannot.
pub const OPINION_WAIT_MS: Millis = 300_000;

/// Most determinism classes that a job takes note of.
pub const CLASSES_MAX: usize = 64;
/// A class whose first tiles were judged so often in vain gets no work in this job.
pub const TRIALS_MAX: u32 = 3;
/// Of so many tiles of another class than the own engine's one is judged by its noise.
pub const JUDGED_ONE_OF: u32 = 100;
/// The same of strangers' tiles, where no worker of the class is better trusted.
pub const JUDGED_OF_STRANGERS_ONE_OF: u32 = 8;
/// A worker of another class gets no more work after so many tiles about which the noise decided nothing.
pub const UNDECIDED_TILES_MAX: u32 = 8;
/// The same for one that contradicts so many others of its class.
pub const CONTRADICTED_MAX: usize = 2;
