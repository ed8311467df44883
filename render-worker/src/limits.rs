//! Every bound of a provider beyond those of the protocol, with its unit last.

use protocol::limits::TASKS_HELD_MAX;
use std::time::Duration;

/// Jobs that are open at once; one of them renders at a time.
pub const JOBS_MAX: usize = 4;
/// Jobs besides whose engine is put away and whose results are kept for requestors that are away.
pub const JOBS_HELD_MAX: usize = 8;
/// Messages to one requestor that wait for the ones before them: room for all that is said of the tasks held.
pub const OUTBOX_MAX: usize = TASKS_HELD_MAX + 16;
/// Widest guard band that a job may ask for; wider ones make small tiles cost many times their pixels.
pub const GUARD_MAX_PX: u32 = 64;
/// Between two heartbeats of an open job.
pub const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long an offer or a failed job outlives its last message.
pub const JOB_IDLE_MAX: Duration = Duration::from_secs(60);
/// How long an engine that has nothing to render stays loaded for a requestor that is away: it holds memory.
pub const ENGINE_IDLE_MAX: Duration = Duration::from_secs(60);
/// Failures of the engine in a row, each answered with a restart.
pub const RESTARTS_MAX: u32 = 3;
/// Files of one bundle that are fetched at once.
pub const FETCHES_MAX: usize = 8;
/// Scenes that are kept, those of jobs included.
pub const SCENES_KEPT_MAX: usize = 256;
/// Files of all scenes that are kept, unless those of a job alone are more.
pub const BLOBS_KEPT_MAX: usize = 1 << 18;
/// Kept scenes in which earlier versions of a new one's files are looked for.
pub const EARLIER_SCENES_MAX: usize = 8;
/// Earlier versions of one file in which its segments are looked for.
pub const EARLIER_FILES_MAX: usize = 4;
/// Attempts at one file before the job fails.
pub const FETCH_ATTEMPTS_MAX: u32 = 4;
/// Between two attempts at the same file or message.
pub const RETRY: Duration = Duration::from_secs(1);
/// First and longest wait before a peer is dialled again.
pub const REDIAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Notes of the worker's own tasks and threads that wait for its loop.
pub const NOTES_MAX: usize = 64;
/// Vouchers that wait for the disk.
pub const VOUCHERS_MAX: usize = 64;
/// How long another worker that uses the folder is waited for, and how often it is tried.
pub const LOCK_WAIT_MAX: Duration = Duration::from_millis(1_500);
pub const LOCK_RETRY: Duration = Duration::from_millis(50);
/// Requests that wait for a look at an escrow, and sights that wait for the loop.
pub const QUESTIONS_MAX: usize = 64;
/// Between two looks at the escrows on a chain: about a block.
pub const LOOK_EVERY: Duration = Duration::from_secs(3);
/// How long what was seen of an escrow is good for a lease.
pub const SIGHT_FRESH: Duration = Duration::from_secs(5);
/// Between two looks at the escrow of a requestor without a job that owes something, and how many are looked at each time.
pub const OTHERS_EVERY: Duration = Duration::from_secs(15);
pub const OTHERS_LOOKED_AT_MAX: usize = 4;
/// How long a price of gas is believed.
pub const FEE_FRESH: Duration = Duration::from_secs(60);
/// What a voucher has to give to be redeemed at once, in fees.
pub const FEES_WORTH_REDEEMING: u128 = 20;
/// How long a voucher waits that gives less.
pub const VOUCHER_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a requestor may take to hand in a release before its vouchers are redeemed as others.
pub const RELEASE_WAIT: Duration = Duration::from_secs(10 * 60);
/// First and longest rest of redeeming after it failed.
pub const REDEEM_AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// Memory of a rendering process unless told otherwise, and the most that can be told, in GiB.
pub const MEMORY_GIB_DEFAULT: u32 = 64;
pub const MEMORY_GIB_MAX: i64 = 1 << 16;
/// What a process may ask the system for, in what it may hold: it asks for much that it never touches.
pub const ADDRESSES_PER_MEMORY: u64 = 2;
/// Time for renders to stop by themselves when the worker stops.
pub const STOP_MAX: Duration = Duration::from_secs(2);
