//! Looks after a running Blender: that it does not take the computer's memory until nothing else runs, and that it does
//! something at all.

use crate::{
    sandbox::MEMORY_BYTES_MAX_DEFAULT,
    system::{self, Memory, Usage},
};
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// Longest time without any use of a processor: loading from a slow disk uses some all the time.
const IDLE_MAX_DEFAULT: Duration = Duration::from_secs(600);
/// Less than this is no use, in ticks: threads that wait wake up now and then.
const IDLE_TICKS_MAX: u64 = 2;
/// Share of the memory that is left to others, with its bounds.
const RESERVE_SHARE: u64 = 32;
const RESERVE_BYTES: (u64, u64) = (128 << 20, 1 << 30);

/// What a Blender process may do before it is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessLimits {
    /// Most memory that it may hold, in bytes. It is ended earlier where the computer has less left.
    pub memory_bytes_max: u64,
    /// Longest time that it may take for a command without using a processor.
    pub idle_max: Duration,
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self {
            memory_bytes_max: MEMORY_BYTES_MAX_DEFAULT,
            idle_max: IDLE_MAX_DEFAULT,
        }
    }
}

/// Looks at one process during commands.
pub(super) struct Watch {
    process: u32,
    limits: ProcessLimits,
    looked: Instant,
    /// Time of looks in a row in which no processor was used.
    idle: Duration,
    processor_ticks: u64,
    memory_bytes: u64,
    /// How many processes the system had ended for want of memory when this one began.
    ended_for_memory: Option<u64>,
}

impl Watch {
    pub(super) fn new(process: u32, limits: ProcessLimits) -> Self {
        Self {
            process,
            limits,
            looked: Instant::now(),
            idle: Duration::ZERO,
            processor_ticks: 0,
            memory_bytes: 0,
            ended_for_memory: system::ended_for_memory(),
        }
    }

    /// A command begins: that nothing was done before it is as it should be.
    pub(super) fn begin(&mut self) {
        (self.looked, self.idle) = (Instant::now(), Duration::ZERO);
    }

    /// Why the process must be ended, if it must; looks only now and then.
    pub(super) fn look(&mut self) -> Option<String> {
        let passed = self.looked.elapsed();
        if passed < LOOK {
            return None;
        }
        self.looked = Instant::now();
        let usage = system::usage(self.process)?;
        self.memory_bytes = usage.memory_bytes;
        let memory = excess(
            usage.memory_bytes,
            self.limits.memory_bytes_max,
            system::memory(),
        );
        memory.or_else(|| self.idleness(usage, passed))
    }

    fn idleness(&mut self, usage: Usage, passed: Duration) -> Option<String> {
        if usage.processor_ticks.abs_diff(self.processor_ticks) > IDLE_TICKS_MAX {
            (self.processor_ticks, self.idle) = (usage.processor_ticks, Duration::ZERO);
            return None;
        }
        // A pause of this program itself, with a computer that slept, is not the other's.
        self.idle += passed.min(LOOK * 10);
        let seconds = self.idle.as_secs();
        (self.idle > self.limits.idle_max).then(|| {
            format!("Blender hangs: it has used no processor for {seconds} s and did not answer")
        })
    }

    /// What it held when it was last looked at, for a person.
    pub(super) fn held(&self) -> String {
        gibibytes(self.memory_bytes)
    }

    /// Has the system ended a process for want of memory since this one began?
    pub(super) fn was_memory_out(&self) -> bool {
        let before = self.ended_for_memory;
        before.is_some_and(|before| system::ended_for_memory().is_some_and(|now| now > before))
    }
}

/// Why a process that holds so much must be ended, if it must.
fn excess(held: u64, most: u64, memory: Option<Memory>) -> Option<String> {
    let shown = gibibytes(held);
    if held > most {
        let most = gibibytes(most);
        return Some(format!(
            "out of memory: Blender holds {shown} and may hold {most}"
        ));
    }
    let Memory {
        total_bytes,
        left_bytes,
    } = memory?;
    let reserve = (total_bytes / RESERVE_SHARE).clamp(RESERVE_BYTES.0, RESERVE_BYTES.1);
    // Ending what holds less would help nobody.
    let is_short = left_bytes < reserve && held > reserve;
    is_short.then(|| {
        let (left, total) = (gibibytes(left_bytes), gibibytes(total_bytes));
        format!("out of memory: Blender holds {shown}, and of the computer's {total} only {left} are left")
    })
}

fn gibibytes(bytes: u64) -> String {
    format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn who_holds_too_much_is_ended_before_the_computer_stands_still() {
        let memory = |left_bytes| {
            Some(Memory {
                total_bytes: 16 * GIB,
                left_bytes,
            })
        };
        assert_eq!(excess(12 * GIB, 64 * GIB, memory(GIB)), None);
        let why = excess(15 * GIB, 64 * GIB, memory(GIB / 4)).unwrap();
        assert!(
            why.contains("15.00 GiB") && why.contains("16.00 GiB") && why.contains("0.25 GiB"),
            "{why}"
        );
        // Others hold the memory.
        assert_eq!(excess(GIB / 4, 64 * GIB, memory(GIB / 4)), None);
        let why = excess(3 * GIB, 2 * GIB, None).unwrap();
        assert!(
            why.contains("holds 3.00 GiB and may hold 2.00 GiB"),
            "{why}"
        );
    }

    #[test]
    fn only_time_without_any_use_of_a_processor_counts_as_hanging() {
        let limits = ProcessLimits {
            idle_max: Duration::from_secs(3),
            ..ProcessLimits::default()
        };
        let mut watch = Watch::new(0, limits);
        let usage = |processor_ticks| Usage {
            processor_ticks,
            memory_bytes: 0,
        };
        for second in 0..100 {
            assert_eq!(
                watch.idleness(usage(second * 100), Duration::from_secs(1)),
                None
            );
        }
        assert_eq!(watch.idleness(usage(9_901), Duration::from_secs(1)), None);
        // A long pause of this program counts for one second.
        assert_eq!(
            watch.idleness(usage(9_901), Duration::from_secs(3_600)),
            None
        );
        assert_eq!(watch.idleness(usage(9_901), Duration::from_secs(1)), None);
        let why = watch
            .idleness(usage(9_902), Duration::from_secs(1))
            .unwrap();
        assert!(why.contains("Blender hangs"), "{why}");
    }
}
