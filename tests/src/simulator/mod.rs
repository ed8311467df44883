//! A simulated render farm in one process and in virtual time: the real coordinator, verifier and journal among thousands
//! of simulated workers, honest and not, on a network and disks that fail. A seed decides everything, so a run that
//! breaks an invariant can be repeated up to the very event.
//!
//! | module | holds |
//! |---|---|
//! | [`scenario`] | what is simulated, and how a seed draws it |
//! | [`world`] | virtual time, the coordinator's effects and what they bring |
//! | [`requestor`], [`disk`] | the coordinator's process, its journal, blobs and files |
//! | `connections`, [`network`] | messages between workers and requestor |
//! | [`worker`], `tasks` | what workers are like and do |
//! | [`strategies`] | what they may be up to |
//! | [`baselines`] | other schemes and ours as small models, with the same strategies, for volume |
//! | [`table`], [`table_page`], `table_goals` | what is compared, and the page that says what came of it and which goals are met |
//! | `troubles` | failures |
//! | [`engine`] | pixels, whose truth is known |
//! | [`invariants`] | what must hold at every step |
//! | [`trace`] | a hash over all events and effects, and a line for each |
//!
//! Not simulated: the bytes of messages, the distribution of the scene, who finds whom, the payments behind vouchers.

pub mod baselines;
mod connections;
pub mod disk;
pub mod engine;
pub mod invariants;
pub mod network;
pub mod random;
pub mod requestor;
pub mod scenario;
pub mod strategies;
pub mod table;
mod table_goals;
pub mod table_page;
mod tasks;
pub mod trace;
mod troubles;
pub mod worker;
pub mod world;

use farm::{
    Farm, Progress,
    event::{Millis, Outcome},
};
use protocol::{Blake3Hash, Glm, NodeId};
use scenario::Scenario;
use std::time::{Duration, Instant};
use trace::Sink;
use worker::Effort;
use world::World;

/// A broken invariant, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The seed.
    pub seed: u64,
    /// Virtual time.
    pub at: Millis,
    /// Events until then.
    pub event: u64,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            seed,
            at,
            event,
            what,
        } = self;
        write!(f, "seed {seed}, event {event} at {at} ms: {what}")
    }
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// How the job ended; none if the run stopped before.
    pub outcome: Option<Outcome>,
    /// Workers at the beginning.
    pub workers: usize,
    /// Virtual time of the whole run.
    pub makespan_ms: Millis,
    /// What the job takes honest workers that do nothing else ([`Scenario::ideal_ms`]).
    pub ideal_ms: Millis,
    /// Events that the coordinator handled.
    pub events: u64,
    /// Writes of the journal, or events if there is none.
    pub writes: u64,
    /// Crashes of the requestor.
    pub crashes: u32,
    /// Times that the user started a job again that had ended early.
    pub resumes: u32,
    /// Workers caught.
    pub caught: u64,
    /// Most blobs kept at a time.
    pub blobs_max: usize,
    /// Money paid.
    pub paid: Glm,
    /// What each worker's work was, in the order they came.
    pub efforts: Vec<(NodeId, Effort)>,
    /// The coordinator's own view.
    pub progress: Progress,
    /// Time in the coordinator.
    pub coordinator: Duration,
    /// Time of the whole run.
    pub wall: Duration,
    /// Over all events and effects.
    pub hash: Blake3Hash,
}

/// A run.
pub struct Simulation {
    world: World,
    begun: Instant,
}

impl Simulation {
    /// A run that begins.
    ///
    /// # Errors
    /// When the scenario's job breaks a rule of the protocol.
    pub fn new(scenario: Scenario) -> Result<Self, Violation> {
        Self::traced(scenario, None, u64::MAX)
    }

    /// The same, with a line for each event and effect, up to the event with the number `until`.
    ///
    /// # Errors
    /// As [`Simulation::new`].
    pub fn traced(scenario: Scenario, sink: Option<Sink>, until: u64) -> Result<Self, Violation> {
        let seed = scenario.seed;
        let world = World::new(scenario, sink, until).map_err(|what| Violation {
            seed,
            at: 0,
            event: 0,
            what,
        })?;
        let begun = Instant::now();
        Ok(Self { world, begun })
    }

    /// Goes on to the end of the job, or to the event where to stop.
    ///
    /// # Errors
    /// The first invariant that is broken.
    pub fn run(&mut self) -> Result<Report, Violation> {
        while self.step()? {}
        Ok(self.report())
    }

    /// Lets the next thing happen; false when there is nothing to be done any more.
    ///
    /// # Errors
    /// The invariant that is broken.
    pub fn step(&mut self) -> Result<bool, Violation> {
        let stepped = self.world.step();
        stepped.map_err(|what| self.violation(what))
    }

    fn violation(&self, what: String) -> Violation {
        Violation {
            seed: self.world.scenario.seed,
            at: self.world.now,
            event: self.world.trace.number(),
            what,
        }
    }

    /// Starts an ended job again, with these frames to be rendered once more.
    ///
    /// # Errors
    /// The invariant that is broken.
    pub fn begin_again(&mut self, again: Vec<i32>) -> Result<(), Violation> {
        let begun = self.world.begin_again(again);
        begun.map_err(|what| self.violation(what))
    }

    /// The coordinator as it is, and its time.
    pub fn into_farm(self) -> (Millis, Farm) {
        let requestor = self.world.requestor;
        (requestor.clock(self.world.now), requestor.farm)
    }

    /// Where the run is.
    pub fn report(&self) -> Report {
        let world = &self.world;
        Report {
            seed: world.scenario.seed,
            outcome: world.outcome.clone(),
            workers: world.scenario.members.len(),
            makespan_ms: world.now,
            ideal_ms: world.scenario.ideal_ms(),
            events: world.trace.number(),
            writes: world.requestor.writes(),
            crashes: world.requestor.crashes,
            resumes: world.resumes,
            caught: world.referee.caught(),
            blobs_max: world.referee.live_max(),
            paid: world.referee.total(),
            efforts: (world.workers.iter())
                .map(|worker| (worker.id, worker.effort))
                .collect(),
            progress: world.requestor.farm.progress(),
            coordinator: world.requestor.spent,
            wall: self.begun.elapsed(),
            hash: world.trace.hash(),
        }
    }
}
