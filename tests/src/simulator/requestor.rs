//! The requestor's simulated process, in the order of the real one: events wait while the journal writes, are handled
//! together, go to the journal, and only then do their effects leave.

use super::{
    disk::{Disk, checkpoint, entry_of},
    invariants::Note,
    random::Random,
    scenario::{Crashes, Loss},
    trace::Trace,
};
use farm::{
    Farm,
    event::{Effect, Event, Millis},
};
use protocol::Blake3Hash;
use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

/// Events that are written to the journal at once.
const BATCH_MAX: usize = 256;

/// An event that is handled and waits for the journal.
struct Handled {
    entry: Vec<u8>,
    note: Note,
    effects: Vec<Effect>,
}

/// What a write of the journal came to.
#[derive(Default)]
pub struct Outcome {
    /// Events that are in the journal, with what followed from each.
    pub written: Vec<(Note, Vec<Effect>)>,
    /// Effects that leave the process.
    pub effects: Vec<Effect>,
    /// Did the process die?
    pub is_dead: bool,
    /// The state that the journal must give when it is read again, if all of it was written.
    pub state: Option<Vec<u8>>,
}

/// The process, or what is left when it is gone.
pub struct Requestor {
    /// The coordinator.
    pub farm: Farm,
    /// What survives.
    pub disk: Disk,
    /// Does the process live?
    pub is_up: bool,
    /// Number of the process.
    pub process: u32,
    /// Processes that died.
    pub crashes: u32,
    /// Does its computer sleep?
    pub is_asleep: bool,
    /// Time spent in the coordinator.
    pub spent: Duration,
    inbox: VecDeque<Event>,
    /// How often each blob is on its way to the coordinator.
    arriving: HashMap<Blake3Hash, u32>,
    handled: Vec<Handled>,
    writes: u64,
    crash_at: Option<(u64, Loss)>,
    crashes_left: u32,
    /// When this process began, by the world's clock, and what the job's clock was.
    begun: Millis,
    offset: Millis,
}

impl Requestor {
    /// A process that begins a job.
    pub fn new(farm: Farm, disk: Disk, crashes: Crashes, random: &mut Random) -> Self {
        let mut requestor = Self {
            farm,
            disk,
            is_up: true,
            process: 1,
            crashes: 0,
            is_asleep: false,
            spent: Duration::ZERO,
            inbox: VecDeque::new(),
            arriving: HashMap::new(),
            handled: Vec::new(),
            writes: 0,
            crash_at: None,
            crashes_left: 0,
            begun: 0,
            offset: 0,
        };
        match crashes {
            Crashes::Never => {}
            Crashes::AtWrite(write, loss) => requestor.crash_at = Some((write, loss)),
            Crashes::Often(count, every) => {
                requestor.crashes_left = count;
                requestor.plan_crash(every, random);
            }
        }
        requestor
    }

    /// Draws when the next crash comes.
    pub fn plan_crash(&mut self, every: u64, random: &mut Random) {
        self.crash_at = None;
        if self.crashes_left > 0 {
            self.crashes_left -= 1;
            let write = self.writes + random.below(every * 2 + 1);
            self.crash_at = Some((write, random.pick(&Loss::ALL)));
        }
    }

    /// Writes of the journal so far.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// The job's time at a moment of the world.
    pub fn clock(&self, now: Millis) -> Millis {
        self.offset + now.saturating_sub(self.begun)
    }

    /// The clock jumps forward.
    pub fn jump(&mut self, by: Millis) {
        self.offset += by;
    }

    /// An event waits to be handled.
    pub fn receive(&mut self, event: Event) {
        if let Event::Delivered { root, .. } = &event {
            *self.arriving.entry(*root).or_default() += 1;
        }
        self.inbox.push_back(event);
    }

    /// Do handled events wait for the journal?
    pub fn is_writing(&self) -> bool {
        !self.handled.is_empty()
    }

    /// Can waiting events be handled now?
    pub fn is_free(&self) -> bool {
        self.is_up && !self.is_asleep && self.handled.is_empty() && !self.inbox.is_empty()
    }

    /// Handles what waits, up to an event of this number; then the journal is to be written.
    pub fn handle(&mut self, now: Millis, trace: &mut Trace, until: u64) -> Result<(), String> {
        let clock = self.clock(now);
        while self.handled.len() < BATCH_MAX
            && trace.number() < until
            && let Some(event) = self.inbox.pop_front()
        {
            if let Event::Delivered { root, .. } = &event
                && let Some(count) = self.arriving.get_mut(root)
            {
                *count -= 1;
                if *count == 0 {
                    self.arriving.remove(root);
                }
            }
            let entry = entry_of(clock, &event)?;
            trace.event(now, &event, &entry);
            let note = Note::of(&event);
            let begin = Instant::now();
            let effects = self.farm.handle(clock, event);
            self.spent += begin.elapsed();
            effects.iter().for_each(|effect| trace.effect(effect));
            self.handled.push(Handled {
                entry,
                note,
                effects,
            });
        }
        Ok(())
    }

    /// The journal's write ends, or with it the process; a full disk ends it too.
    pub fn write(&mut self, disk_is_full: bool) -> Result<Outcome, String> {
        let mut handled = std::mem::take(&mut self.handled);
        let planned = self.crash_at.filter(|(write, _)| *write <= self.writes);
        self.writes += 1;
        let loss = match (planned, disk_is_full) {
            (Some((_, loss)), _) => Some(loss),
            (None, true) => Some(Loss::Write),
            (None, false) => None,
        };
        if planned.is_some() {
            self.crash_at = None;
        }
        let is_over = handled.iter().flat_map(|one| &one.effects).any(is_end);
        let state = self.store(&mut handled, loss, is_over)?;
        let mut outcome = Outcome {
            is_dead: loss.is_some(),
            state,
            ..Outcome::default()
        };
        for one in handled {
            for effect in &one.effects {
                match effect {
                    Effect::Forget { root } => self.disk.forget(*root),
                    other => outcome.effects.push(other.clone()),
                }
            }
            outcome.written.push((one.note, one.effects));
        }
        match loss {
            None => {
                let arriving = &self.arriving;
                self.disk
                    .delete_unnamed(&self.farm, |root| arriving.contains_key(root));
            }
            Some(Loss::Effects(parts)) => {
                let left = outcome.effects.len() * usize::from(parts) / 4;
                outcome.effects.truncate(left);
            }
            Some(Loss::Write | Loss::LastEntry) => outcome.effects.clear(),
        }
        Ok(outcome)
    }

    /// Puts entries on disk; those that do not get there are dropped from `handled`.
    fn store(
        &mut self,
        handled: &mut Vec<Handled>,
        loss: Option<Loss>,
        is_over: bool,
    ) -> Result<Option<Vec<u8>>, String> {
        if loss == Some(Loss::Write) {
            handled.clear();
            return Ok(None);
        }
        if !self.disk.has_journal() {
            return Ok(None);
        }
        let entries = handled.iter_mut().map(|one| std::mem::take(&mut one.entry));
        self.disk.append(entries);
        match loss {
            Some(Loss::LastEntry) => {
                self.disk.tear();
                handled.pop();
                Ok(None)
            }
            Some(_) => checkpoint(&self.farm).map(Some),
            None if is_over || self.disk.wants_checkpoint() => {
                self.disk.compact(&self.farm).map(|()| None)
            }
            None => Ok(None),
        }
    }

    /// The process ends; what was under way in it is gone.
    pub fn end(&mut self) {
        self.is_up = false;
        self.is_asleep = false;
        self.process += 1;
        self.inbox.clear();
        self.arriving.clear();
        self.handled.clear();
    }

    /// A new process reads the journal.
    pub fn begin(&mut self, now: Millis) -> Result<(), String> {
        self.farm = self.disk.restore()?;
        self.is_up = true;
        (self.begun, self.offset) = (now, self.farm.now());
        Ok(())
    }

    /// Frames to be rendered again: those that failed, and those whose files are gone.
    pub fn frames_again(&self) -> Vec<i32> {
        let files = &self.disk.files;
        let lost = self
            .farm
            .frames_done()
            .filter(|frame| !files.contains_key(frame));
        self.farm.frames_failed().chain(lost).collect()
    }
}

/// Does nothing follow after this?
pub fn is_end(effect: &Effect) -> bool {
    matches!(effect, Effect::Finished { .. })
}
